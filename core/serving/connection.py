"""One connection of the HTTP server: bytes -> requests, answers -> bytes, and what is refused before it is read.

The key, the route and the length of a body are looked at as soon as the head of a request is there. Whatever a client
leaves undone has a total time: to send a request, to take its answer, to say something at all.
"""

import asyncio
import logging
import os
import re
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import httptools

from core.serving.answers import TOO_MANY, ApiError, http_error
from core.serving.messages import Request, Response

if TYPE_CHECKING:
    from core.serving.server import Server

MAX_HEAD = 1 << 15  # bytes
MAX_PIPELINED = 16  # requests of a connection that wait for the one before; with more of them it is the last
LONG_BODY = 1 << 16  # bytes; after one nothing more is read until it is answered
LINGER_BYTES = 1 << 24  # of a refused body that are thrown away, so that the client reads why
IDLE, SENDING, READING, LINGERING = "idle", "sending", "reading", "lingering"  # what a connection's client is to do
TARGET = re.compile(rb"(?:[a-z]+://[^/?#]*)?([^?#]*)", re.IGNORECASE)
log = logging.getLogger(__name__)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Refused(Exception):
    """A request that is not read to its end."""


class Connection(asyncio.Protocol):
    """A client of `server`.

    Attributes:
        undone: what the client has to do next, None while the server is about to answer.
        unsent: bytes of answers that the client has not taken yet.
        held: bytes of bodies that are being read, or whose answer is not there yet.
    """

    def __init__(self, server: "Server") -> None:
        self.server = server
        self.undone: str | None = None
        self.unsent = self.held = 0
        self.transport: Any = None
        self._parser = httptools.HttpRequestParser(self)
        self._request: Request | None = None  # that is being read
        self._requests: deque[Request] = deque()  # read, not yet answered
        self._task: asyncio.Task | None = None
        self._deaf = self._last = False  # what comes is thrown away; there will be no further request
        self._begun, self._in_head, self._head_bytes = False, True, 0  # of the request that is being read
        self._url, self._body_bytes = b"", 0
        self._pairs: list[tuple[str, str]] = []
        self._chunks: list[bytes] = []

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered, or an answer is still to be sent."""
        return bool(self._task or self._requests or self.unsent)

    # What asyncio calls.

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.set_write_buffer_limits(high=0)  # so that `pause_writing` tells of any byte not taken yet
        self.server.opened(self)

    def connection_lost(self, fault: Exception | None) -> None:
        self._deaf = True
        if self._task:
            self._task.cancel()
        self.server.lost(self)

    def data_received(self, data: bytes) -> None:
        if self._in_head or self._deaf:
            self._head_bytes += len(data)
        if self._deaf:
            if self._head_bytes > LINGER_BYTES:
                self.transport.abort()
            return
        if self.undone == IDLE:
            self.server.note(self, SENDING)
        try:
            self._parser.feed_data(data)
            if self._in_head and self._head_bytes > MAX_HEAD:
                self.refuse(http_error(431))
        except httptools.HttpParserUpgrade:  # to another protocol: the request is answered, what follows is not read
            self._last = True
        except httptools.HttpParserError as fault:
            cause = fault.__context__
            if not isinstance(cause, Refused):
                if cause is not None:
                    log.error("a request could not be read", exc_info=cause)
                self.refuse(http_error(400 if cause is None else 500))

    def eof_received(self) -> bool:
        self._last = True
        return bool(self._task or self._requests)

    def pause_writing(self) -> None:
        self.server.untaken(self, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        self.server.untaken(self, 0)
        if not self._task:
            self._go_on()

    # What the parser calls.

    def on_message_begin(self) -> None:
        self._begun = True
        self._url, self._pairs, self._chunks, self._body_bytes = b"", [], [], 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._pairs.append((name.lower().decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        if len(self._url) + sum(len(name) + len(value) + 4 for name, value in self._pairs) > MAX_HEAD:
            self._refuse_now(http_error(431))
        self._in_head = False
        headers: dict[str, str] = {}
        for name, value in self._pairs:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        names = [name for name, _ in self._pairs]
        coding = headers.get("transfer-encoding", "chunked").strip().lower()
        if (
            names.count("host") > 1
            or names.count("content-length") > 1
            or ("transfer-encoding" in headers and "content-length" in headers)
        ):
            self._refuse_now(http_error(400))
        if coding != "chunked":
            self._refuse_now(http_error(501))
        target = TARGET.match(self._url)
        self._request = Request(
            self._parser.get_method().decode("latin-1"),
            target[1].decode("latin-1") if target else "",
            headers,
            os.urandom(6).hex(),
            time.perf_counter(),
        )
        if refusal := self.server.app.look(self._request):
            self._refuse_now(refusal)
        if headers.get("expect", "").lower() == "100-continue" and not self._task:
            self.transport.write(CONTINUE)

    def on_body(self, chunk: bytes) -> None:
        self._body_bytes += len(chunk)
        if self._body_bytes > self.server.app.max_body:
            self._refuse_now(http_error(413))
        self._chunks.append(chunk)
        self.server.hold(self, len(chunk))
        if self._deaf:  # this one was the oldest of too many
            raise Refused

    def on_message_complete(self) -> None:
        request, self._request = self._request, None  # no longer kept here than it takes to answer it
        assert request is not None  # its head is complete before
        request.body = b"".join(self._chunks)
        request.keep_alive = self._parser.should_keep_alive()
        self._begun, self._in_head, self._head_bytes, self._chunks = False, True, 0, []
        self._requests.append(request)
        if len(request.body) > LONG_BODY:
            self.transport.pause_reading()
        if not self._task and not self.unsent:
            self._go_on()
        if len(self._requests) > MAX_PIPELINED:
            self._refuse_now(TOO_MANY)

    # Answers.

    def _go_on(self) -> None:
        """Answer the next request, or wait for one."""
        if self._requests:
            self.server.note(self, None)
            self._task = self.server.loop.create_task(self._answer(self._requests.popleft()))
        elif self._deaf:
            self.server.note(self, LINGERING)
        elif self._last:
            self.transport.close()
        else:
            self.transport.resume_reading()
            self.server.note(self, SENDING if self._begun else IDLE)

    async def _answer(self, request: Request) -> None:
        response = await self.server.app(request)
        self._task = None
        self.server.hold(self, -len(request.body))
        is_last = not request.keep_alive or self.server.stopping or (self._last and not self._requests)
        self._write(response, is_last, request.method != "HEAD")
        if is_last:
            self._last = True
            self._requests.clear()
            self.transport.close()
        elif not self.unsent:
            self._go_on()

    def _write(self, response: Response, is_last: bool, with_body: bool = True) -> None:
        head = response.head(self.server.date + ("Connection: close\r\n" if is_last else "Connection: keep-alive\r\n"))
        self.transport.write(head + response.body if with_body else head)

    def refuse(self, refusal: ApiError) -> None:
        """Answer a request that is not read to its end, and read no other; those before it are answered first."""
        self.server.hold(self, -sum(map(len, self._chunks)))
        self._deaf = self._last = True
        self._head_bytes, self._chunks = 0, []
        response = self.server.app.refuse(refusal)
        if self._task or self._requests:  # a bad request behind a good one, whose answer is the last
            return
        self._write(response, is_last=True)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        if not self.unsent:
            self.server.note(self, LINGERING)

    def _refuse_now(self, refusal: ApiError) -> None:
        self.refuse(refusal)
        raise Refused
