"""Serve one model or several over HTTP until Ctrl-C:

    python api.py
    python api.py --model teacher --port 8010
    python api.py --model teacher --model student=models_save/bilstm_soft_distill.onnx    # side by side, for A/B tests

POST /predict classifies a title or a list of titles; "model" in the request chooses, the first one is the default.
GET /health says whether the models answer, /models what they are, /metrics counts for Prometheus. Requests that come
together share a forward pass. Where the environment has NEWS_API_KEY, all but /health ask for it as a bearer token.
"""

import logging
import os
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask, Response, g, jsonify, request
from tyro.conf import UseAppendAction
from werkzeug.exceptions import HTTPException

import tasks
from config import MODELS
from core.console import UserError, parse, run
from core.model_files.find import find_model
from core.model_files.finite import NotFinite
from core.model_files.names import called, canonical
from core.model_files.predictor import Predictor
from core.serving.answers import (
    NOT_ANSWERED,
    NOT_HEALTHY,
    NOT_READY,
    UNAUTHORIZED,
    ApiError,
    failure,
    http_error,
    is_authorized,
    read_model,
    read_object,
)
from core.serving.counters import HttpMetrics
from core.serving.facts import model_facts, read_benchmark
from core.serving.micro_batcher import MicroBatcher, NotAnswered
from core.serving.questions import Asked, Limits, Question
from core.serving.server import MAX_WAITING, end_on_signal, listen, make_server, serve

FRESH_SECONDS = 10  # a model that has answered so lately is healthy
SHOWN_CLASSES = 30  # whose names are printed at the start
PROBE_SECONDS = 1  # that any other one has to answer in


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
    """Titles of concurrent requests that share a forward pass."""
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
        if self.cors not in (None, "*") and not self.cors.startswith(("http://", "https://")):
            raise UserError(f"--cors is {self.cors}: give an origin such as https://news.example.com, or *")


def create_app(predictors: Mapping[str, Predictor], config: ApiConfig) -> Flask:
    """The WSGI application around loaded models, the default one first; all it says but /metrics is JSON.

    Its `extensions["micro_batcher"]` computes in a thread of its own and is to be closed at the end.
    """
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = int(config.max_body_mb * 2**20)
    app.json.ensure_ascii = app.json.sort_keys = False
    app.json.mimetype = "application/json; charset=utf-8"  # PowerShell 5 needs the charset
    names, key = list(predictors), os.environ.get("NEWS_API_KEY", "").strip()
    metrics = HttpMetrics(lambda: batcher.waiting)
    aliases = other_names(predictors)
    limits = Limits(config.max_chars, config.max_texts)
    questions = {name: tasks.task_of(predictor.facts).question for name, predictor in predictors.items()}
    functions = {name: predictor.predict for name, predictor in predictors.items()}
    batcher = MicroBatcher(functions, config.batch_size, config.queue, on_batch=metrics.count_batch).start()
    app.extensions["micro_batcher"] = batcher
    facts = [model_facts(name, predictor.path, predictor.facts) for name, predictor in predictors.items()]

    @app.before_request
    def start() -> None:
        g.started = time.perf_counter()
        g.request_id = uuid.uuid4().hex[:12]
        # A browser asks by OPTIONS whether it may send the key.
        if key and request.path != "/health" and request.method != "OPTIONS" and not is_authorized(request, key):
            raise ApiError(*UNAUTHORIZED)

    @app.get("/health")
    def health() -> Response:
        for name in names:
            if batcher.seconds_since_answer(name) > FRESH_SECONDS:
                try:
                    [answer] = batcher.predict(name, [questions[name].warm_up], PROBE_SECONDS)
                except NotAnswered as fault:
                    answer = fault
                if isinstance(answer, Exception):
                    app.logger.error("model %s does not answer", name, exc_info=answer)
                    raise ApiError(*(NOT_HEALTHY if isinstance(answer, NotFinite) else NOT_READY))
        return jsonify({"status": 200, "model": names[0], "labels": predictors[names[0]].labels})

    @app.get("/models")
    def models() -> Response:
        benchmark = read_benchmark(Path("reports"))
        return jsonify({"status": 200, "default": names[0], "models": facts, "benchmark": benchmark})

    @app.get("/metrics")
    def counters() -> Response:
        return Response(metrics.text(), content_type="text/plain; version=0.0.4; charset=utf-8")

    @app.post("/predict")
    def predict() -> Response:
        with batcher.admit():
            body = read_object(request)
            name = read_model(body, names, aliases)
            asked = questions[name].read(body, limits)
            if asked.single and isinstance(asked.items[0], ApiError):
                raise asked.items[0]
            usable = [item for item in asked.items if not isinstance(item, ApiError)]
            predictions = iter(batcher.predict(name, usable, config.timeout))
        found = [item if isinstance(item, ApiError) else next(predictions) for item in asked.items]
        answers = list(answer_items(name, questions[name], asked, found))
        answer = answers[0] if asked.single else {"predictions": answers}
        return jsonify({**answer, "status": 200, "model": name, **trace()})

    def answer_items(name: str, question: Question, asked: Asked, found: Sequence[Any]) -> Iterator[dict[str, Any]]:
        """The JSON of each item, from its prediction, its error, or the exception that predicting it raised."""
        broken = [each for each in found if isinstance(each, Exception) and not isinstance(each, ApiError)]
        if broken:
            app.logger.error("request %s failed on %d item(s)", g.request_id, len(broken), exc_info=broken[0])
            if asked.single:
                raise failure(g.request_id, broken[0])
        for echo, each in zip(asked.echoes, found, strict=True):
            if isinstance(each, Exception):
                fault = each if isinstance(each, ApiError) else failure(g.request_id, each)
                yield {**echo, "error": fault.message}
                continue
            metrics.count_prediction(name, question.count_as(each))
            yield {**echo, **question.answer(each, asked.options)}

    @app.errorhandler(ApiError)
    def api_error(fault: ApiError) -> tuple[Response, int, dict[str, str]]:
        return jsonify(fault.body()), fault.status, fault.headers()

    @app.errorhandler(NotAnswered)
    def not_answered(fault: NotAnswered) -> tuple[Response, int, dict[str, str]]:
        return api_error(ApiError(*NOT_ANSWERED[type(fault)]))

    @app.errorhandler(HTTPException)
    def refused(fault: HTTPException) -> tuple[Response, int, dict[str, str]]:
        return *api_error(http_error(fault.code))[:2], {n: v for n, v in fault.get_headers() if n == "Allow"}

    @app.errorhandler(Exception)
    def server_error(fault: Exception) -> tuple[Response, int, dict[str, str]]:
        app.logger.error("request %s failed", g.request_id, exc_info=fault)
        return api_error(failure(g.request_id, fault))

    @app.after_request
    def log_request(response: Response) -> Response:
        if config.cors:
            response.headers["Access-Control-Allow-Origin"] = config.cors
            response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
        route = request.url_rule.rule if request.url_rule else "unknown"
        metrics.count_request(route, response.status_code, time.perf_counter() - g.started)
        app.logger.info("%s %a %d %s ms %s", request.method, request.path[:80], response.status_code, *trace().values())
        return response

    return app


def trace() -> dict[str, float | str]:
    """What the answer and the log line of a request share."""
    return {"elapsed_ms": round((time.perf_counter() - g.started) * 1000, 2), "request_id": g.request_id}


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


def load_models(models: Sequence[str]) -> dict[str, Predictor]:
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
        task, predictors[name] = tasks.load(file, in_server=True)
        predictors[name].predict([task.question.warm_up])
    return predictors


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(ApiConfig, argv, __doc__)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("waitress").setLevel(logging.ERROR)  # it warns of each request that waits its turn
    predictors = load_models(config.model)
    listener = listen(config.host, config.port)
    app = create_app(predictors, config)
    server = make_server(app, listener, config.queue, app.config["MAX_CONTENT_LENGTH"])
    end_on_signal(server)
    host = f"[{config.host}]" if ":" in config.host else config.host
    print(f"Running on http://{host}:{listener.getsockname()[1]}")
    for name, predictor in predictors.items():
        more = " …" if len(predictor.labels) > SHOWN_CLASSES else ""
        shown = " ".join(predictor.labels[:SHOWN_CLASSES])
        print(f"model {name}, {len(predictor.labels)} classes: {shown}{more}", flush=True)
    serve(server, app.extensions["micro_batcher"])


if __name__ == "__main__":
    run(main)
