"""The application behind the HTTP server: routes, the way of a request to a model and back, counters, log lines."""

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.model_files.finite import NotFinite
from core.model_files.predictor import Predictor
from core.serving import openapi
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
from core.serving.feedback import Feedback, check_feedback
from core.serving.messages import Request, Response, to_json
from core.serving.micro_batcher import MicroBatcher, NotAnswered, QueueFull, Stopped
from core.serving.pieces import Pieces
from core.serving.questions import Asked, Limits, Question, check_keys, check_options, examples
from core.serving.settings import Settings
from core.serving.waiting import answers, wake

FRESH_SECONDS = 10  # a model that has answered so lately is healthy
PROBE_SECONDS = 1  # that any other one has to answer in
OPEN = {"/health", "/ready", "/", "/openapi.json"}  # where no key is asked for
LONG_BODY = 1 << 14  # bytes: a list of some hundred short texts, as a rule
log = logging.getLogger(__name__)


class Application:
    """Answers requests with some models, the default one first; all it says but /metrics and / is JSON.

    A thread of its own computes; `close` ends it.

    Args:
        models: by name, the predictor and how it asks and answers.
        aliases: what else a request may call a model -> its name.
        settings: limits.
        metrics: counts.
        feedback: keeps what users say was wrong; None: they are not asked.
    """

    def __init__(
        self,
        models: Mapping[str, tuple[Predictor, Question]],
        aliases: Mapping[str, str],
        settings: Settings,
        metrics: HttpMetrics,
        feedback: Feedback | None = None,
    ) -> None:
        self.settings, self.max_body, self.metrics, self.feedback = settings, settings.max_body, metrics, feedback
        self.names, self.aliases, self.stopping = list(models), aliases, False
        self.questions = {name: question for name, (_, question) in models.items()}
        self.labels = {name: list(predictor.labels) for name, (predictor, _) in models.items()}
        functions = {name: predictor.predict for name, (predictor, _) in models.items()}
        self.batcher = MicroBatcher(
            functions, settings.batch_size, settings.queue, on_batch=metrics.count_batch, on_finished=wake
        ).start()
        metrics.watch(lambda: self.batcher.waiting, {name: each.facts for name, (each, _) in models.items()})
        self._limits = Limits(settings.max_chars, settings.max_texts)
        self._facts = [model_facts(name, each.path, each.facts) for name, (each, _) in models.items()]
        self._pieces = Pieces({name: each.facts for name, (each, _) in models.items()}, settings.max_chars)
        self.examples = examples(self.questions)
        self._told = self._example_of_feedback() if feedback else None
        self._contract = to_json(openapi.describe(self.questions, self.examples, settings, self._told))
        self.routes = {
            "/predict": ("POST", self.predict),
            "/pieces": ("POST", self.pieces),
            "/health": ("GET", self.health),
            "/ready": ("GET", self.ready),
            "/models": ("GET", self.models),
            "/metrics": ("GET", self.counters),
            "/openapi.json": ("GET", self.contract),
            "/": ("GET", self.front),
            **({"/feedback": ("POST", self.take_feedback)} if feedback else {}),
        }
        self._cors: tuple[tuple[str, str], ...] = ()
        if settings.cors:
            allowed = ("Access-Control-Allow-Headers", "Authorization, Content-Type")
            self._cors = (("Access-Control-Allow-Origin", settings.cors), allowed)

    def _example_of_feedback(self) -> dict[str, Any] | None:
        """What users may say; None where no model learns from it."""
        for name, question in self.questions.items():
            if question.takes_feedback:
                return {**self.examples[name], "label": self.labels[name][0]}
        return None

    def look(self, request: Request) -> ApiError | None:
        """Why a request is refused by its head alone, before its body is read."""
        key = self.settings.key
        # A browser asks by OPTIONS whether it may send the key.
        if key and request.path not in OPEN and request.method != "OPTIONS" and not is_authorized(request, key):
            return UNAUTHORIZED
        length = request.headers.get("content-length", "0")
        if len(length) > 15 or int(length) > self.max_body:  # digits, or the parser had refused it
            return http_error(413)
        return None

    async def __call__(self, request: Request) -> Response:
        """Answer a request; every fault becomes an answer too."""
        method, handler = self.routes.get(request.path, ("", None))
        try:
            if handler is None:
                response = http_error(404).response()
            elif request.method == method or (request.method == "HEAD" and method == "GET"):
                response = await handler(request)
            else:
                allow = ("Allow", f"{method}, OPTIONS" if method == "POST" else f"{method}, HEAD, OPTIONS")
                options = request.method == "OPTIONS"
                response = Response(200, b"", headers=(allow,)) if options else http_error(405).response(allow)
        except ApiError as fault:
            response = fault.response()
        except NotAnswered as fault:
            response = NOT_ANSWERED[type(fault)].response()
        except Exception as fault:
            log.error("request %s failed", request.id, exc_info=fault)
            response = failure(request.id, fault).response()
        if self._cors:
            response = response._replace(headers=response.headers + self._cors)
        route = request.path if handler else "unknown"
        self.metrics.count_request(route, response.status, time.perf_counter() - request.started)
        if log.isEnabledFor(logging.INFO):
            shown = request.method, request.path[:80], response.status, request.elapsed_ms, request.id
            log.info("%s %a %d %s ms %s", *shown)
        return response

    def refuse(self, refusal: ApiError) -> Response:
        """The answer to a request that is not read to its end."""
        self.metrics.count_request("unread", refusal.status, 0)
        log.info("refused %d %s", refusal.status, refusal.code)
        return refusal.response(*self._cors)

    def tick(self) -> None:
        """Keep the gauges of a process that nobody asks for its counters."""
        self.metrics.sample()

    def close(self) -> None:
        """Compute nothing more; what waits is answered 503."""
        self.stopping = True
        self.batcher.close()

    async def health(self, request: Request) -> Response:
        """Whether every model answers."""
        for name in self.names:
            if self.batcher.seconds_since_answer(name) > FRESH_SECONDS:
                try:
                    [answer] = await answers(self.batcher, name, [self.questions[name].sample], PROBE_SECONDS)
                except NotAnswered as fault:
                    answer = fault
                if isinstance(answer, Exception):
                    log.error("model %s does not answer", name, exc_info=answer)
                    return (NOT_HEALTHY if isinstance(answer, NotFinite) else NOT_READY).response()
        return answered({"status": 200, "model": self.names[0], "labels": self.labels[self.names[0]]})

    async def ready(self, request: Request) -> Response:
        """Whether a load balancer should send requests here now: the models answer, and there is room in the queue."""
        if self.stopping:
            raise Stopped
        if self.batcher.waiting >= self.settings.queue:
            raise QueueFull
        found = await self.health(request)
        return answered({"status": 200, "ready": True}) if found.status == 200 else found

    async def models(self, request: Request) -> Response:
        """What the models are, and how they compare."""
        benchmark = await asyncio.to_thread(read_benchmark, Path("reports"))
        return answered({"status": 200, "default": self.names[0], "models": self._facts, "benchmark": benchmark})

    async def counters(self, request: Request) -> Response:
        """The counters of all workers, for Prometheus."""
        return Response(200, self.metrics.text(), "text/plain; version=0.0.4; charset=utf-8")

    async def contract(self, request: Request) -> Response:
        """How to ask, for machines."""
        return Response(200, self._contract)

    async def front(self, request: Request) -> Response:
        """How to ask, for people."""
        host, key = request.headers.get("host", ""), bool(self.settings.key)
        return Response(200, openapi.page(host, key, self.questions, self.examples), openapi.HTML)

    async def take_feedback(self, request: Request) -> Response:
        """Keep what a text should have been called."""
        assert self.feedback is not None  # or there is no such route
        if self._told is None:
            check_feedback(self.names[0], self.questions)
        body = read_object(request, self._told or {})
        known = self.feedback.recall(body.get("request_id"))
        if known and body.get("model") is None:
            body["model"] = self.names[known[1]]
        name = read_model(body, self.names, self.aliases)
        check_feedback(name, self.questions)
        text, label = self.feedback.read(body, self.labels[name])
        try:
            await asyncio.to_thread(self.feedback.append, text, label)
        except OSError as fault:
            log.error("feedback is lost: %s", fault)
            raise ApiError(503, "no_space", "反馈没有保存下来：请管理员检查 --feedback 的文件和磁盘空间") from fault
        return answered({"status": 200, "text": text, "label": label, "request_id": request.id})

    async def predict(self, request: Request) -> Response:
        """Answer a text, or a list of them."""
        with self.batcher.admit(len(request.body) > LONG_BODY):
            body = read_object(request, self.examples[self.names[0]])
            name = read_model(body, self.names, self.aliases)
            check_keys(body, name, self.questions)
            check_options(body, name, self.questions)
            question = self.questions[name]
            asked = question.read(body, self._limits)
            if asked.single and isinstance(asked.items[0], ApiError):
                raise asked.items[0]
            usable = [item for item in asked.items if not isinstance(item, ApiError)]
            predictions = iter(await answers(self.batcher, name, usable, self.settings.timeout))
        found = [item if isinstance(item, ApiError) else next(predictions) for item in asked.items]
        items = list(self.answer_items(request, name, question, asked, found))
        answer: dict[str, Any] = items[0] if asked.single else {"predictions": items}
        if self.feedback and asked.single:
            self.feedback.remember(request.id, answer["text"], self.names.index(name))
        return answered(
            {**answer, "status": 200, "model": name, "elapsed_ms": request.elapsed_ms, "request_id": request.id}
        )

    async def pieces(self, request: Request) -> Response:
        """The words and characters that a model sees in a text."""
        body = read_object(request, openapi.ASK_PIECES)
        name = read_model(body, self.names, self.aliases)
        return answered({**await asyncio.to_thread(self._pieces.read, name, body), "status": 200, "model": name})

    def answer_items(
        self, request: Request, name: str, question: Question, asked: Asked, found: Sequence[Any]
    ) -> Iterator[dict[str, Any]]:
        """The JSON of each item, from its prediction, its error, or the exception that predicting it raised."""
        broken = [each for each in found if isinstance(each, Exception) and not isinstance(each, ApiError)]
        if broken:
            log.error("request %s failed on %d item(s)", request.id, len(broken), exc_info=broken[0])
            if asked.single:
                raise failure(request.id, broken[0])
        for echo, each in zip(asked.echoes, found, strict=True):
            if isinstance(each, Exception):
                fault = each if isinstance(each, ApiError) else failure(request.id, each)
                yield {**echo, "error": fault.message}
                continue
            self.metrics.count_prediction(name, question.count_as(each), getattr(each, "confidence", None), echo)
            yield {**echo, **question.answer(each, asked.options)}


def answered(value: Mapping[str, Any]) -> Response:
    """The answer that holds a JSON object."""
    return Response(200, to_json(value))
