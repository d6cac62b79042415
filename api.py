"""Serve one model or several over HTTP until Ctrl-C:

    python api.py
    python api.py --model teacher --port 8010
    python api.py --workers auto --feedback feedback.csv    # all cores; users may say what was wrong
    python api.py --model teacher --model student=models_save/bilstm_soft_distill.onnx    # side by side, for A/B tests

POST /predict answers a text, a question, or a list; "model" in the request chooses, the first one is the default.
GET /health says whether the models answer, /ready whether there is room too, /models what they are, /metrics counts
for Prometheus, /openapi.json how to ask. Requests that come together share a forward pass. Where the environment has
NEWS_API_KEY, predictions, models, counters and feedback ask for it as a bearer token.
"""

import logging
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

from tyro.conf import UseAppendAction

import tasks
from config import MODELS
from core.console import UserError, parse, run
from core.model_files.facts import CLASSIFICATION
from core.model_files.find import find_model
from core.model_files.names import called, canonical
from core.model_files.onnx_model import usable_cores
from core.model_files.predictor import Predictor
from core.serving.application import Application
from core.serving.counters import FOLDER, HttpMetrics
from core.serving.feedback import Feedback
from core.serving.server import run_server
from core.serving.settings import Settings, environment_key
from core.serving.sockets import connection_limit, listen
from core.serving.workers import Workers

LOOPBACK = {"127.0.0.1", "localhost", "::1"}
MAX_WAITING = 1000  # requests
THREADS = 4  # of a model, where --workers auto asks how many workers there is room for
SHOWN_LABELS = 30  # whose names are printed at the start


@dataclass
class ApiConfig:
    """What is served, where, and how much a request may ask."""

    model: UseAppendAction[tuple[str, ...]] = ()
    """Name (teacher, soft_int8, …) or path of a model, NAME=PATH to give it a name of your own; may be repeated. None:
    NEWS_MODEL, else what save_models/default.json names."""
    host: str = "0.0.0.0"
    """Address to listen on: 0.0.0.0 is every network card, 127.0.0.1 this machine only."""
    port: int = 8004
    """Port to listen on."""
    batch_size: int = 32
    """Texts of concurrent requests that share a forward pass."""
    queue: int = 128
    """Requests that may be waiting; one more is answered 503 at once."""
    timeout: float = 30.0
    """Seconds that a request may take; then it is answered 504."""
    max_chars: int = 10_000
    """Characters allowed in a text."""
    max_texts: int = 1_000
    """Texts allowed in a list."""
    max_body_mb: float = 2.0
    """Size allowed for a request, in MiB."""
    workers: int | Literal["auto"] = 1
    """Processes that share the port; auto: as many as there are cores for the threads of a model."""
    threads: int | None = None
    """Threads of each process that compute. None: the cores, shared among the processes; with --workers auto 4."""
    feedback: Path | None = None
    """CSV file that POST /feedback appends to. None: users cannot say what was wrong."""
    quiet: bool = False
    """Log no line for each request."""
    cors: str | None = None
    """Origin whose web pages may call the API from a browser, for example https://news.example.com; * is any."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise UserError(f"--port is {self.port}: it must be 1 to 65535, or 0 for any free port")
        if not 1 <= self.batch_size <= self.queue <= MAX_WAITING:
            raise UserError(
                f"--batch-size is {self.batch_size}, --queue {self.queue}: they must be 1 to {MAX_WAITING}, "
                "and the queue must hold a batch"
            )
        if min(self.timeout, self.max_chars, self.max_texts, self.max_body_mb) <= 0:
            raise UserError("--timeout, --max-chars, --max-texts and --max-body-mb must be above 0")
        if self.workers != "auto" and not 1 <= self.workers <= 256:
            raise UserError(f"--workers is {self.workers}: it must be 1 to 256, or auto")
        if self.threads is not None and self.threads < 1:
            raise UserError(f"--threads is {self.threads}: it must be 1 or more")
        if self.feedback and not environment_key() and self.host not in LOOPBACK:
            raise UserError("--feedback writes to this machine's disk: set NEWS_API_KEY, or give --host 127.0.0.1")
        if self.cors not in (None, "*") and not self.cors.startswith(("http://", "https://")):
            raise UserError(f"--cors is {self.cors}: give an origin such as https://news.example.com, or *")

    @property
    def processes(self) -> int:
        """How many workers there are."""
        return max(1, usable_cores() // (self.threads or THREADS)) if self.workers == "auto" else self.workers

    @property
    def threads_a_model(self) -> int:
        """How many threads compute in a worker; 0: as many as the model's runtime takes."""
        return self.threads or (max(1, usable_cores() // self.processes) if self.processes > 1 else 0)


def create_app(predictors: Mapping[str, Predictor], config: ApiConfig, recent: Path | None = None) -> Application:
    """The application around loaded models, the default one first; it is to be closed at the end.

    Args:
        predictors: the models by name.
        config: limits.
        recent: a file in which workers share what feedback is about.
    """
    settings = Settings(
        key=environment_key(),
        max_body=int(config.max_body_mb * 2**20),
        **{
            name: getattr(config, name) for name in ("batch_size", "queue", "timeout", "max_chars", "max_texts", "cors")
        },
    )
    models = {name: (each, tasks.task_of(each.facts).question) for name, each in predictors.items()}
    feedback = Feedback(config.feedback, recent) if config.feedback else None
    return Application(models, other_names(predictors), settings, HttpMetrics(), feedback)


def other_names(predictors: Mapping[str, Predictor]) -> dict[str, str]:
    """What else a request may call each served model: its own name, aliases, what made it, and its file."""
    aliases: dict[str, str] = {}
    for name, predictor in predictors.items():
        own = called(predictor.path, MODELS) if predictor.path else name
        others = [own, predictor.facts["stage"], *(MODELS[own].aliases if own in MODELS else ())]
        if predictor.path:
            others += [predictor.path.name, predictor.path.stem]
        aliases = {**dict.fromkeys(others, name), **aliases}  # of two models with one name the first one has it
    return aliases


def load_models(models: Sequence[str], threads: int = 0) -> dict[str, Predictor]:
    """Open the models that --model names, by the names that requests choose them by, and have each answer once.

    A model is called what --model calls it: NAME of NAME=PATH, the name that the project has for it, or its file's.

    Raises:
        UserError: a model is missing or unusable, or two have the same name.
    """
    predictors: dict[str, Predictor] = {}
    for model in models or (None,):
        name, equals, path = (model or "").partition("=")
        if not equals or Path(model).is_file():
            name, path = "", model
        file = find_model(path, MODELS)
        name = name or (path if canonical(path or "", MODELS) and not Path(path).is_file() else called(file, MODELS))
        if name in predictors:
            raise UserError(f"two models are called {name}: give one a name of its own, --model NAME={path}")
        print(f"loading {name} ({file})", file=sys.stderr, flush=True)
        task, predictors[name] = tasks.load(file, in_server=True, threads=threads)
        predictors[name].predict([task.question.sample])
    return predictors


def serve(listener: socket.socket | None, link: Connection | None, config: ApiConfig) -> None:
    """Load the models and answer requests; one of several workers is given a socket, and a link to who started it."""
    level = logging.WARNING if config.quiet else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s")
    predictors = load_models(config.model, config.threads_a_model)
    listener = listener or listen(config.host, config.port)
    shared = os.environ.get(FOLDER)
    app = create_app(predictors, config, Path(shared) / "recent" if link and shared else None)
    run_server(app, listener, lambda: link or announce(listener, config, predictors), link)


def announce(listener: socket.socket, config: ApiConfig, predictors: Mapping[str, Predictor] | None = None) -> None:
    """Say where requests are answered, by which models, and with which labels."""
    host = f"[{config.host}]" if ":" in config.host else config.host
    print(f"Running on http://{host}:{listener.getsockname()[1]}", flush=True)
    for name, predictor in (predictors or {}).items():
        more = " …" if len(predictor.labels) > SHOWN_LABELS else ""
        shown = " ".join(predictor.labels[:SHOWN_LABELS])
        task = predictor.facts.get("task", CLASSIFICATION)
        print(f"model {name} ({task}), {len(predictor.labels)} labels: {shown}{more}", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(ApiConfig, argv, __doc__)
    connection_limit()  # refused before models are loaded
    if not environment_key() and config.host not in LOOPBACK:
        print(
            f"warning: NEWS_API_KEY is {'empty' if 'NEWS_API_KEY' in os.environ else 'not set'}: whoever reaches "
            f"{config.host} may ask; set it, or serve this machine alone with --host 127.0.0.1",
            file=sys.stderr,
        )
    if config.processes == 1:
        serve(None, None, config)
        return
    listener = listen(config.host, config.port)
    print(f"{config.processes} workers, {config.threads_a_model} thread(s) a model", file=sys.stderr)
    Workers(config.processes, serve, listener, config).run(lambda: announce(listener, config))


if __name__ == "__main__":
    run(main)
