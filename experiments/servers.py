"""Servers in processes of their own, to be measured from outside: the API, one without a model, a minimal one."""

import logging
import multiprocessing
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
from flask import Flask, request
from werkzeug.serving import make_server as development_server

from api import ApiConfig, create_app
from core.answers import Prediction
from core.console import UserError
from core.serving.server import run_server
from predict_fun import NewsClassifier


@contextmanager
def running_function(serve: Callable[..., None], *args: Any) -> Iterator[tuple[str, Any]]:
    """The address of a server that `serve(*args, pipe)` runs, which sends its port through the pipe; its process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(*args, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield f"http://127.0.0.1:{ours.recv()}", process
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


class Nothing:
    """A predictor that computes nothing."""

    name, labels, path = "nothing", ["财经"], None
    facts = {"stage": name, "architecture": {}, "labels": labels, "max_length": 0}

    def predict(self, texts: Sequence[str], batch_size: int | None = None) -> list[Prediction]:
        return [Prediction(text, "财经", 0, 1.0, {"财经": 1.0}, False) for text in texts]


def serve_nothing(port: Connection) -> None:
    """The whole server around `Nothing`; runs in a process of its own."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    app = create_app({"nothing": Nothing()}, ApiConfig())
    run_server(app, listener, lambda: port.send(listener.getsockname()[1]))


def serve_minimal(path: Path, port: Connection) -> None:
    """The server of most tutorials: Flask's own, a forward pass a request; runs in a process of its own."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app, classifier = Flask("minimal"), NewsClassifier.load(path, "cpu")

    @app.post("/predict")
    def predict() -> dict[str, Any]:
        text = request.get_json()["text"]
        return {"text": text, "pred_class": classifier.predict([text])[0].pred_class, "status": 200}

    server = development_server("127.0.0.1", 0, app, threaded=True)
    port.send(server.port)
    server.serve_forever()


def api_server(model: Path, *flags: str) -> AbstractContextManager[tuple[str, subprocess.Popen]]:
    """`python api.py` with one model and further flags: its address and its process."""
    script = str(Path(__file__).parent.parent / "api.py")
    place = ["--host", "127.0.0.1", "--port", "0"]
    return running_command([sys.executable, script, "--model", str(model), *place, *flags])
