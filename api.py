"""Serve a model over HTTP until Ctrl-C:

    python api.py
    python api.py --model teacher --port 8010

POST /predict classifies a title or a list of titles, GET /health says which model answers.
"""

import json
import logging
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import waitress
from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException

from config import parse
from core.console import UserError, run
from core.encoding import replace_surrogates
from predict_fun import NewsClassifier, Prediction, find_model, text_fault

HTTP_ERRORS = {
    404: ("not_found", "没有这个地址：请用 POST /predict 预测，或用 GET /health 查看状态"),
    405: ("method_not_allowed", "这个地址不支持此请求方法：/predict 用 POST，/health 用 GET"),
    413: ("body_too_large", "请求体太大：请缩短标题，或分批发送"),
}


@dataclass
class ApiConfig:
    """What is served, where, and how much a request may ask."""

    model: str | None = None
    """Name (soft, teacher, int8, pruned, hard) or path of a model. None: NEWS_MODEL, else the first one present."""
    host: str = "0.0.0.0"
    """Address to listen on: 0.0.0.0 is every network card, 127.0.0.1 this machine only."""
    port: int = 8004
    """Port to listen on."""
    max_chars: int = 10_000
    """Characters allowed in a text."""
    max_texts: int = 1_000
    """Texts allowed in a list."""
    max_body_mb: float = 2.0
    """Size allowed for a request, in MiB."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise UserError(f"--port is {self.port}: it must be 1 to 65535, or 0 for any free port")


@dataclass(eq=False)
class ApiError(Exception):
    """A request, or one text of a list, that cannot be answered; the message says in Chinese what to do."""

    status: int
    code: str
    message: str


def create_app(classifier: NewsClassifier, config: ApiConfig) -> Flask:
    """The WSGI application around a loaded model; every answer, errors included, is JSON."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = int(config.max_body_mb * 2**20)
    app.json.ensure_ascii = app.json.sort_keys = False
    app.json.mimetype = "application/json; charset=utf-8"  # PowerShell 5 needs the charset

    @app.before_request
    def start() -> None:
        g.started = time.perf_counter()
        g.request_id = uuid.uuid4().hex[:12]

    @app.get("/health")
    def health() -> Response:
        return jsonify({"status": 200, "model": classifier.name, "labels": classifier.labels})

    @app.post("/predict")
    def predict() -> Response:
        body = read_object()
        if body.get("model", classifier.name) != classifier.name:
            raise ApiError(404, "unknown_model", f"没有这个模型：请去掉 model，或改为 {classifier.name}")
        top_k = body.get("top_k", 3)
        if type(top_k) is not int or top_k < 1:
            raise ApiError(422, "bad_top_k", "top_k 应为不小于 1 的整数")
        texts = read_texts(body, config.max_texts)
        faults = [text_error(text, config.max_chars) for text in texts]
        single = not isinstance(body["text"], list)
        if single and faults[0]:
            raise faults[0]
        predictions = iter(classifier.predict([text for text, fault in zip(texts, faults, strict=True) if not fault]))
        answers = [
            {"text": text, "error": fault.message} if fault else as_answer(next(predictions), top_k)
            for text, fault in zip(texts, faults, strict=True)
        ]
        answer = answers[0] if single else {"predictions": answers}
        return jsonify({**answer, "status": 200, "model": classifier.name, **trace()})

    @app.errorhandler(ApiError)
    def api_error(fault: ApiError) -> tuple[Response, int]:
        return jsonify({"status": fault.status, "code": fault.code, "error": fault.message}), fault.status

    @app.errorhandler(HTTPException)
    def http_error(fault: HTTPException) -> tuple[Response, int, list]:
        error = ApiError(fault.code, *HTTP_ERRORS.get(fault.code, ("bad_request", "请求无效：请检查后再试")))
        return *api_error(error), [header for header in fault.get_headers() if header[0] == "Allow"]

    @app.errorhandler(Exception)
    def server_error(fault: Exception) -> tuple[Response, int]:
        app.logger.error("request %s failed", g.request_id, exc_info=fault)
        return api_error(ApiError(500, "internal_error", f"服务器内部出错：请把编号 {g.request_id} 告诉管理员"))

    @app.after_request
    def log_request(response: Response) -> Response:
        app.logger.info("%s %a %d %s ms %s", request.method, request.path[:80], response.status_code, *trace().values())
        return response

    return app


def read_object() -> dict:
    """The request's JSON object; ApiError 415 or 400 where it holds none."""
    if not request.is_json:
        raise ApiError(415, "unsupported_media_type", "请求头 Content-Type 应为 application/json")
    try:  # parse_constant is called for NaN and Infinity, which `int` refuses
        body = json.loads(request.get_data().decode("utf-8-sig"), parse_constant=int)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise ApiError(400, "bad_json", '请求体应为 UTF-8 编码的 JSON 对象，例如 {"text": "新闻标题"}')
    return body


def read_texts(body: dict, max_texts: int) -> list[str | None]:
    """The texts to classify, fit to be echoed in UTF-8; None in place of what is no string."""
    if "text" not in body:
        raise ApiError(422, "text_missing", '缺少 text：请发送 {"text": "新闻标题"}')
    texts = body["text"] if isinstance(body["text"], list) else [body["text"]]
    if not texts:
        raise ApiError(422, "empty_list", "text 是空列表：请至少放入一条标题")
    if len(texts) > max_texts:
        raise ApiError(413, "too_many_texts", f"一次最多 {max_texts} 条标题，收到 {len(texts)} 条：请分批发送")
    return [replace_surrogates(text) if isinstance(text, str) else None for text in texts]


def text_error(text: str | None, max_chars: int) -> ApiError | None:
    """Why this text cannot be classified, or None."""
    fault = text_fault(text)
    if fault == "not_a_string":
        return ApiError(422, "text_not_a_string", "text 的类型不对：应为字符串，或由字符串组成的列表")
    if fault == "empty":
        return ApiError(422, "text_empty", "标题是空的：请填写新闻标题")
    if len(text) > max_chars:
        return ApiError(413, "text_too_long", f"标题有 {len(text)} 个字，最多 {max_chars} 个：请缩短后再试")
    return None


def as_answer(prediction: Prediction, top_k: int) -> dict:
    """The part of an answer that belongs to one text."""
    return {
        "text": prediction.text,
        "pred_class": prediction.pred_class,
        "confidence": round(prediction.confidence, 6),
        "top_k": [{"pred_class": label, "confidence": round(share, 6)} for label, share in prediction.top(top_k)],
        "truncated": prediction.truncated,
    }


def trace() -> dict:
    """What the answer and the log line of a request share."""
    return {"elapsed_ms": round((time.perf_counter() - g.started) * 1000, 2), "request_id": g.request_id}


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(ApiConfig, argv, __doc__)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # it warns of each request that waits its turn
    classifier = NewsClassifier.load(find_model(config.model))
    classifier.predict(["预热"])
    try:  # not left to waitress, whose SO_REUSEADDR lets two servers share one port on Windows
        listener = socket.create_server((config.host, config.port))
    except OSError as fault:
        raise UserError(f"port {config.port} is taken or unusable: choose another with --port ({fault})") from fault
    app, threads = create_app(classifier, config), max(4, 2 * (os.cpu_count() or 1))
    # A body above 64 MiB is refused by waitress in plain text, a smaller one by the application in JSON.
    server = waitress.create_server(app, sockets=[listener], threads=threads, max_request_body_size=64 * 2**20)
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda *_: sys.exit(0))
    print(f"Running on http://{config.host}:{listener.getsockname()[1]}")
    print(f"model {classifier.name}, {len(classifier.labels)} classes: {' '.join(classifier.labels)}", flush=True)
    server.run()


if __name__ == "__main__":
    run(main)
