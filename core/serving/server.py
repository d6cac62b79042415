"""The waitress server of an application: limits, JSON for all it refuses, an orderly end."""

import contextlib
import errno
import functools
import json
import logging
import math
import os
import signal
import socket
import time
from types import FrameType
from typing import Any

import waitress
from waitress import wasyncore
from waitress.buffers import BytesIOBasedBuffer, OverflowableBuffer
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.task import ErrorTask, WSGITask
from waitress.utilities import Error

from core.console import UserError
from core.serving.answers import http_error
from core.serving.micro_batcher import MicroBatcher

CONNECTIONS = 500 if os.name == "nt" else 1000  # select() of Windows takes 512 sockets
MAX_WAITING = 400  # requests: fewer than connections, whatever the system
SPARE_THREADS = 16  # that say 503 while all others wait for the model
FEW_BYTES = 1 << 17  # of a body that stay in memory; the rest goes to a temporary file
CROWD = 2  # requests in progress, above which the connections are looked at less often:
LOOK_SECONDS = 1e-4  # between two looks, for each request in progress
SILENCE_SECONDS = 60  # after which a connection is closed: half a request, or an idle client
GRACE_SECONDS = 6  # to answer what has been accepted, once the end is asked for
FLUSH_SECONDS = 1
WSAEADDRINUSE = 10048  # EADDRINUSE of Windows
SETTLE_SECONDS = 0.2  # to read what the system has received already


class RequestTask(WSGITask):
    """A request on its way through the application."""

    def build_response_header(self) -> bytes:
        if self.channel.server.stopping:
            self.set_close_on_finish()
        return super().build_response_header()


class RefusalTask(ErrorTask):
    """A request that the application never sees: it is no HTTP, too large, or the application broke down."""

    def execute(self) -> None:
        error = http_error(self.request.error.code)
        body = json.dumps(error.body(), ensure_ascii=False).encode("utf-8")
        self.status = f"{self.request.error.code} {self.request.error.reason}"
        self.response_headers += [("Content-Type", "application/json; charset=utf-8"), *error.headers().items()]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class NoSpace(Error):
    """A request whose body the temporary folder has no room for."""

    code, reason = 503, "Service Unavailable"


class BodyBuffer(OverflowableBuffer):
    """The body of a request; where the temporary folder is full it is read to its end and dropped."""

    full = False

    def append(self, s: bytes) -> None:
        if self.full:
            return
        try:
            super().append(s)
        except OSError as fault:
            logging.getLogger(__name__).error("no room for a request in the temporary folder (TMPDIR): %s", fault)
            self.full, kept, self.buf = True, self.buf, BytesIOBasedBuffer()
            with contextlib.suppress(OSError):
                kept.close()


class AnswerBuffer(OverflowableBuffer):
    """What is still to be sent; where the temporary folder is full, in memory."""

    def _set_large_buffer(self) -> None:
        try:
            super()._set_large_buffer()
        except OSError:
            self.overflow = math.inf


class Parser(HTTPRequestParser):
    """A request that is being read."""

    def parse_header(self, header_plus: bytes) -> None:
        super().parse_header(header_plus)
        if self.body_rcv is not None:
            self.body_rcv.buf = BodyBuffer(self.adj.inbuf_overflow)

    def received(self, data: bytes) -> int:
        consumed = super().received(data)
        if self.completed and not self.error and self.body_rcv is not None and self.body_rcv.buf.full:
            self.error = NoSpace("")
        return consumed


class Channel(HTTPChannel):
    """A connection."""

    task_class = RequestTask
    error_task_class = RefusalTask
    parser_class = Parser

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.outbufs = [AnswerBuffer(self.adj.outbuf_overflow)]


def listen(host: str, port: int) -> socket.socket:
    """A socket that accepts connections.

    It is not left to waitress, whose SO_REUSEADDR lets two servers share one port on Windows.

    Args:
        host: a name or address of this machine, IPv4 or IPv6.
        port: the port; 0: any free one.

    Raises:
        UserError: the host is none of this machine's, or the port is taken or not allowed.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, place = min(found, key=lambda each: each[0] != socket.AF_INET)  # IPv4 where there are both
        return socket.create_server(place, family=family, backlog=1024)
    except (OSError, UnicodeError) as fault:
        number = None if isinstance(fault, UnicodeError | socket.gaierror) else fault.errno
        if number in (errno.EMFILE, errno.ENFILE):
            raise
        if number in (errno.EADDRINUSE, WSAEADDRINUSE):
            reason = f"port {port} is taken ({fault}): choose another with --port, or end the program that has it"
        elif number in (errno.EACCES, errno.EPERM):
            reason = f"port {port} is not allowed to this user ({fault}): choose one above 1023 with --port"
        else:
            reason = (
                f"--host {host} cannot be used, it is no address of this machine ({fault}): give 0.0.0.0 for every "
                "network card, 127.0.0.1 for this machine only, or an address that this machine has"
            )
        raise UserError(reason) from fault


def make_server(app: Any, listener: socket.socket, max_waiting: int, max_body: int) -> Any:
    """A waitress server that does not run yet.

    Args:
        app: the WSGI application.
        listener: the socket to accept connections from.
        max_waiting: requests that the application lets wait; each takes a thread while it does.
        max_body: bytes of a body that the application takes; up to eight times as much is read, so that the
            application can say so to a client that is still sending.
    """
    server = waitress.create_server(
        app,
        sockets=[listener],
        threads=max_waiting + SPARE_THREADS,
        connection_limit=connection_limit(),
        asyncore_use_poll=True,
        channel_timeout=SILENCE_SECONDS,
        cleanup_interval=SILENCE_SECONDS // 4,
        max_request_header_size=1 << 15,
        max_request_body_size=8 * max_body,
        inbuf_overflow=FEW_BYTES,
        log_socket_errors=False,
        ident=None,
    )
    server.channel_class, server.stopping = Channel, False
    return server


def connection_limit() -> int:
    """Connections that may be open at a time, as far as the system lets a process open files: two for each."""
    if os.name == "nt":
        return CONNECTIONS
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * CONNECTIONS + 100
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return (soft - 100) // 2
    return CONNECTIONS


def end_on_signal(server: Any) -> None:
    """Have SIGTERM and Ctrl-C end `serve`; a second Ctrl-C does not wait."""

    def stop(number: int, frame: FrameType | None) -> None:
        server.stopping = True
        server.pull_trigger()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, stop)


def serve(server: Any, batcher: MicroBatcher) -> None:
    """Answer requests until `server.stopping`; then accept no more, answer what was accepted, and return.

    waitress looks at every connection whenever one request has come or gone. With many of them it would do little
    else, so while several requests are in progress, what comes and goes within some milliseconds is seen in one look.
    """
    turn = functools.partial(wasyncore.loop, use_poll=True, map=server._map, count=1)
    while not server.stopping:
        connections = len(server._map)
        turn(timeout=1.0)
        crowd = server.task_dispatcher.active_count + len(server.task_dispatcher.queue)
        if crowd > CROWD and connections == len(server._map):  # else more of them may be waiting to be accepted
            time.sleep(LOOK_SECONDS * crowd)
    asked = time.monotonic()
    while time.monotonic() < asked + SETTLE_SECONDS:
        turn(timeout=0.05)
    wasyncore.dispatcher.close(server)  # the listening socket alone
    while is_busy(server) and time.monotonic() < asked + GRACE_SECONDS:
        turn(timeout=0.05)
    batcher.close()  # what still waits is answered 503
    closed = time.monotonic()
    while is_busy(server) and time.monotonic() < closed + FLUSH_SECONDS:
        turn(timeout=0.05)


def is_busy(server: Any) -> bool:
    """Whether a request is being answered, or an answer is still to be sent."""
    return any(channel.requests or channel.total_outbufs_len for channel in list(server.active_channels.values()))
