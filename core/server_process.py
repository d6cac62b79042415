"""Servers in processes of their own, to be measured from outside."""

import multiprocessing
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psutil

from core.console import UserError


@contextmanager
def running_function(serve: Callable[..., None], *args: Any) -> Iterator[str]:
    """The address of a server that `serve(*args, pipe)` runs, which sends its port through the pipe."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(*args, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    except EOFError as fault:
        raise UserError(f"{serve.__name__} did not start: see the lines above") from fault
    finally:
        process.kill()
        process.join()
        ours.close()


@contextmanager
def running_command(command: Sequence[str]) -> Iterator[tuple[str, subprocess.Popen]]:
    """The address of a server whose first printed line ends with it, and its process."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8") as process:
        try:
            line = process.stdout.readline()
            if not line:
                raise UserError(f"the server did not start: find out why with `{' '.join(command)}`")
            yield line.split()[-1], process
        finally:
            process.kill()


@contextmanager
def watched_memory(pid: int) -> Iterator[list[float]]:
    """The resident megabytes of a process, ten times a second while the block runs."""
    process, seen, over = psutil.Process(pid), [], threading.Event()

    def watch() -> None:
        while not over.is_set():
            seen.append(round(process.memory_info().rss / 1e6, 1))
            over.wait(0.1)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
