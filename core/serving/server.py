"""The HTTP server of an application: a bounded number of connections, bounded memory for them, an orderly end.

One thread looks after all connections (asyncio), however many are idle. A client that does nothing, or little, gives
its place to one that comes: the oldest goes first.
"""

import asyncio
import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from multiprocessing.connection import Connection as Link
from types import FrameType
from typing import Protocol

from core.serving.answers import TOO_MANY, TOO_SLOW, ApiError
from core.serving.connection import IDLE, LINGERING, READING, SENDING, Connection
from core.serving.messages import Request, Response
from core.serving.sockets import BACKLOG, CONNECTIONS, connection_limit

SECONDS = {IDLE: 60, SENDING: 30, READING: 30, LINGERING: 10}  # in which a client has to do what it has to do
HELD_BYTES = 128 << 20  # of bodies that are read or answered, of all connections
UNSENT_BYTES = 64 << 20  # of answers that are not taken yet
TICK_SECONDS = 0.5
GRACE_SECONDS = 6  # to answer what has been accepted, once the end is asked for
SETTLE_SECONDS = 1.0  # at most, to accept and read what the system has received already
QUIET_SECONDS = 0.1  # without a new connection: there is nothing more
FLUSH_SECONDS = 1


class App(Protocol):
    """What a server serves.

    Attributes:
        max_body: bytes of a body that are taken.
    """

    max_body: int

    async def __call__(self, request: Request) -> Response:
        """Answer a request; never raises."""

    def look(self, request: Request) -> ApiError | None:
        """Why a request is refused by its head alone, before its body is read."""

    def refuse(self, refusal: ApiError) -> Response:
        """The answer to a request that is not read to its end."""

    def tick(self) -> None:
        """Is called now and then."""

    def close(self) -> None:
        """Answer what still waits, with an error."""


class Server:
    """Serves an application on a listening socket.

    Args:
        app: the application.
        listener: accepts connections; other processes may accept from it too.
        connections: how many may be open at a time.
    """

    def __init__(self, app: App, listener: socket.socket, connections: int = CONNECTIONS) -> None:
        self.app, self._listener, self._most = app, listener, connections
        self.stopping = False
        self.date = ""
        self._open: set[Connection] = set()
        # By what their clients have to do next, with the time until which; the oldest first.
        self._undone: dict[str, dict[Connection, float]] = {IDLE: {}, SENDING: {}, READING: {}, LINGERING: {}}
        self._held = self._unsent = self._opened = 0

    # What connections tell.

    def opened(self, connection: Connection) -> None:
        """A connection is there; the oldest one that does nothing makes room for it."""
        self._opened += 1
        self._open.add(connection)
        self.note(connection, IDLE)
        if len(self._open) > self._most:
            for kind in (LINGERING, IDLE, SENDING, READING):
                if self._undone[kind]:
                    self._drop(next(iter(self._undone[kind])))
                    return

    def lost(self, connection: Connection) -> None:
        """A connection is no more."""
        self.hold(connection, -connection.held)
        self.untaken(connection, 0)
        self.note(connection, None)
        self._open.discard(connection)

    def note(self, connection: Connection, kind: str | None) -> None:
        """Keep what the client of a connection has to do next, None: nothing."""
        if connection.undone:
            self._undone[connection.undone].pop(connection, None)
        connection.undone = kind
        if kind:
            self._undone[kind][connection] = self.loop.time() + SECONDS[kind]

    def hold(self, connection: Connection, count: int) -> None:
        """Count bytes of bodies; the oldest body that is being sent is given up where there are too many."""
        connection.held += count
        self._held += count
        while self._held > HELD_BYTES and count > 0:
            oldest = next(iter(self._undone[SENDING]), connection)
            self.note(oldest, None)
            oldest.refuse(TOO_MANY)
            if oldest is connection:
                return

    def untaken(self, connection: Connection, count: int) -> None:
        """Count bytes that a client has not taken yet; the oldest reader goes where there are too many."""
        self._unsent += count - connection.unsent
        connection.unsent = count
        if count:
            self.note(connection, READING)
        while self._unsent > UNSENT_BYTES and self._undone[READING]:
            self._drop(next(iter(self._undone[READING])))

    def _drop(self, connection: Connection) -> None:
        """End a connection whose client does not do its part."""
        if connection.undone == SENDING:
            self.note(connection, None)
            connection.refuse(TOO_SLOW)
            return
        self._unsent -= connection.unsent
        connection.unsent = 0
        self.note(connection, None)
        self._open.discard(connection)
        connection.transport.abort()

    # From start to end.

    async def serve(self, ready: Callable[[], object] = lambda: None) -> None:
        """Answer requests until `stop`; then accept no more, answer what was accepted, and return."""
        self.loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._tell_time()
        with self._ending_on_signals():
            # One connection accepted at a time, so that workers share them; the queue of the system stays long.
            accepting = await self.loop.create_server(lambda: Connection(self), sock=self._listener, backlog=1)
            self._listener.listen(BACKLOG)
            ready()
            while not self.stopping:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), TICK_SECONDS)
                self._tick()
            await self._drain(accepting)

    def stop(self) -> None:
        """Have `serve` end."""
        self.stopping = True
        self._stop.set()

    def _tick(self) -> None:
        self._tell_time()
        now = self.loop.time()
        for connections in self._undone.values():
            while connections and next(iter(connections.values())) < now:
                self._drop(next(iter(connections)))
        self.app.tick()

    def _tell_time(self) -> None:
        self.date = f"Date: {formatdate(usegmt=True)}\r\n"

    async def _drain(self, accepting: asyncio.Server) -> None:
        asked = time.monotonic()
        before = -1
        while before != self._opened and time.monotonic() < asked + SETTLE_SECONDS:
            before = self._opened
            await asyncio.sleep(QUIET_SECONDS)
        accepting.close()
        for connection in list(self._undone[IDLE]):
            connection.transport.close()
        await self._wait(asked + GRACE_SECONDS)
        self.app.close()  # what still waits is answered 503
        await self._wait(time.monotonic() + FLUSH_SECONDS)
        for connection in list(self._open):
            connection.transport.abort()
        await asyncio.sleep(0)

    async def _wait(self, until: float) -> None:
        while any(each.is_busy for each in self._open) and time.monotonic() < until:
            await asyncio.sleep(0.02)

    @contextlib.contextmanager
    def _ending_on_signals(self):
        """SIGTERM, SIGHUP and Ctrl-C end `serve`; a second Ctrl-C does not wait."""

        def stop(number: int, frame: FrameType | None) -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self.loop.call_soon_threadsafe(self.stop)

        before = {number: signal.signal(number, stop) for number in ending_signals()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def ending_signals() -> list[int]:
    """What a user or a system ends a server with."""
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


def run_server(
    app: App, listener: socket.socket, on_ready: Callable[[], object] = lambda: None, link: Link | None = None
) -> None:
    """Serve an application until a signal ends it.

    Args:
        app: the application.
        listener: accepts connections.
        on_ready: is called once requests are answered.
        link: to the process that started this one, with which the socket is shared; its end is the end of this one.
    """
    server = Server(app, listener, connection_limit(link is not None))

    def start() -> None:
        on_ready()
        if link is not None:
            link.send("ready")
            threading.Thread(target=follow, args=(link, server), daemon=True).start()

    # Of Windows' two loops the one without a limit cannot share a socket.
    factory = asyncio.SelectorEventLoop if link is not None and os.name == "nt" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(server.serve(start))


def follow(link: Link, server: Server) -> None:
    """Stop a server when nothing more can come through a link."""
    with contextlib.suppress(EOFError, OSError):
        link.recv()
    with contextlib.suppress(RuntimeError):  # it has ended by itself
        server.loop.call_soon_threadsafe(server.stop)
