"""Several processes that serve one port: started, replaced where one dies, ended together.

All of them accept from the socket of the process that started them, so that nothing waits in a queue of a process
that is no more. They are started afresh (spawn), on Windows as elsewhere.
"""

import logging
import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from core import console
from core.console import UserError
from core.serving.counters import FOLDER
from core.serving.server import ending_signals

END_SECONDS = 10  # that workers have to end in
LOOK_SECONDS = 0.2
YOUNG_SECONDS = 10  # a worker that dies younger
MAX_YOUNG = 5  # so often in a row would die again and again
log = logging.getLogger(__name__)


class Workers:
    """Runs `work(listener, link, *args)` in some processes.

    Args:
        count: of processes.
        work: a function of a module; it sends something through `link` once it answers requests, and ends in order
            where nothing more can come from there: so too where this process was killed.
        listener: accepts connections.
        args: what else `work` is given.
    """

    def __init__(self, count: int, work: Callable[..., None], listener: socket.socket, *args: Any) -> None:
        self._count, self._work, self._listener, self._args = count, work, listener, args
        self._context = multiprocessing.get_context("spawn")
        self._stopping, self._young = False, 0  # young: deaths in a row
        self._processes: dict[BaseProcess, tuple[Connection, float]] = {}  # with the time of their start

    def run(self, on_ready: Callable[[], object]) -> None:
        """Serve until a signal ends it.

        Args:
            on_ready: is called once all workers answer.

        Raises:
            UserError: workers end again and again.
        """
        folder = Path(tempfile.mkdtemp(prefix="news_api_"))
        os.environ[FOLDER] = str(folder)  # the workers inherit it
        handlers = {number: signal.signal(number, self._stop) for number in ending_signals()}
        try:
            for _ in range(self._count):
                self._start()
            self._await()
            if not self._stopping:
                on_ready()
            while not self._stopping:
                self._replace_dead(folder)
                time.sleep(LOOK_SECONDS)
        finally:
            self._end()
            for number, handler in handlers.items():
                signal.signal(number, handler)
            del os.environ[FOLDER]
            shutil.rmtree(folder, ignore_errors=True)

    def _start(self) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=enter, args=(self._work, self._listener, theirs, self._args), daemon=True
        )
        process.start()
        theirs.close()
        self._processes[process] = ours, time.monotonic()

    def _await(self) -> None:
        """Wait until all workers answer.

        Raises:
            UserError: one has ended before.
        """
        while not self._stopping and not all(link.poll() for link, _ in self._processes.values()):
            if not all(process.is_alive() for process in self._processes):
                raise UserError("a worker did not start: see the lines above")
            time.sleep(LOOK_SECONDS / 4)

    def _replace_dead(self, folder: Path) -> None:
        for process, (link, started) in list(self._processes.items()):
            if process.is_alive():
                continue
            from prometheus_client.multiprocess import mark_process_dead

            mark_process_dead(process.pid, path=str(folder))
            del self._processes[process]
            link.close()
            self._young = self._young + 1 if time.monotonic() < started + YOUNG_SECONDS else 0
            log.error("worker %d ended (%s): another one takes its place", process.pid, process.exitcode)
            if self._young >= MAX_YOUNG:
                raise UserError(f"workers end as soon as they have started ({process.exitcode}): see the lines above")
            self._start()

    def _stop(self, *_: Any) -> None:
        self._stopping = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def _end(self) -> None:
        self._listener.close()
        for link, _ in self._processes.values():
            link.close()
        until = time.monotonic() + END_SECONDS
        for process in self._processes:
            process.join(max(0, until - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()


def enter(work: Callable[..., None], listener: socket.socket, link: Connection, args: tuple[Any, ...]) -> None:
    """What a worker runs."""
    console.run(lambda: work(listener, link, *args))
