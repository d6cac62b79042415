"""The page's way to the API: questions over HTTP, answers whose shape has been checked, errors in Chinese."""

import http.client
import json
import math
import re
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

ADDRESS = "http://127.0.0.1:8004"
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
PREDICT_SECONDS = 30
LIST_SECONDS = 60
STATUS_SECONDS = 2
MAX_BYTES, STATUS_BYTES = 8 << 20, 1 << 20  # of an answer
ALL_CLASSES = 1000  # the server lowers top_k to the number of its classes
CLASS = {"pred_class": str, "confidence": float}
ITEM = {"text": str, **CLASS, "top_k": [CLASS], "truncated": bool}
ENTITIES = {"text": str, "entities": [{"text": str, "start": int, "end": int, "label": str, "confidence": float}]}
STATE = {"state": str, "confidence": float}
ASPECTS = {"text": str, "aspects": [{"aspect": str, **STATE}], "overall": STATE}
SPAN = {"answer": str, "confidence": float}
ANSWER = {**SPAN, "top_k": [SPAN], "truncated": bool}
UNUSABLE = {"error": str}
ADDRESS_MARK = re.compile(r"www(?=\.)|https?(?=:)|ftp(?=:)|mailto(?=:)|xmpp(?=:)|[\w.+-](?=@)", re.IGNORECASE)
NO_API = f"这个地址不是本项目的 API：请在侧栏改正，例如 {ADDRESS}"
REFUSALS = {  # where the server's own words would not help whoever sits before the page
    401: "API 密钥不对或缺失：请在侧栏填写密钥（启动 api.py 时的 NEWS_API_KEY）",
}


def plain(text: object) -> str:
    """The text with its Markdown switched off, for what Streamlit shows as Markdown.

    An address becomes a link in spite of escapes: an invisible character (U+2060) takes what it is known by apart.
    """
    apart = ADDRESS_MARK.sub("\\g<0>\u2060", " ".join(str(text).split()))
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", apart)


def fits(value: Any, shape: Any) -> bool:
    """Whether a JSON value has a shape: a type, a list of one shape, or a dict that names some of its keys."""
    if isinstance(shape, dict):
        return isinstance(value, dict) and all(key in value and fits(value[key], part) for key, part in shape.items())
    if isinstance(shape, list):
        return isinstance(value, list) and all(fits(item, shape[0]) for item in value)
    if shape is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, shape)


@dataclass(frozen=True)
class Api:
    """A server and the key to it.

    Each question returns the server's JSON in the promised shape, or {"error": what happened and what to do, as plain
    text, "status": the HTTP status (503 where nobody answered, 504 where nobody did in time), "retry_after": seconds}.
    """

    url: str
    key: str = field(default="", repr=False)

    def health(self) -> dict[str, Any]:
        """The default model's name and classes."""
        return self.call("/health", {"model": str, "labels": [str]}, STATUS_SECONDS, most=STATUS_BYTES)

    def models(self, seconds: float = PREDICT_SECONDS) -> dict[str, Any]:
        """What the server says of its models."""
        return self.call("/models", {"models": [{"name": str, "labels": [str]}]}, seconds)

    def predict(self, text: str, model: str | None = None) -> dict[str, Any]:
        """One title, with the probabilities of all classes."""
        shape = {**ITEM, "model": str, "elapsed_ms": float}
        return self.call("/predict", shape, PREDICT_SECONDS, _question(text, ALL_CLASSES, model))

    def pieces(self, text: str, model: str) -> list[str]:
        """The words and characters that a model sees in a text; its characters where the server cannot tell."""
        answer = self.call("/pieces", {"pieces": [str]}, PREDICT_SECONDS, {"text": text, "model": model})
        return answer.get("pieces", [character for character in text if not character.isspace()])

    def predict_list(self, texts: Sequence[str], model: str | None = None, top_k: int = 1) -> dict[str, Any]:
        """Several titles; an item of `predictions` is as one title's answer, or {"text", "error"}."""
        return self.ask_list(_question(list(texts), top_k, model), ITEM)

    def ask_list(self, question: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
        """A question of any task about a list of texts; an item of `predictions` has that shape, or {"error"}."""
        shape = {"model": str, "elapsed_ms": float, "predictions": [dict]}
        answer = self.call("/predict", shape, LIST_SECONDS, question)
        if "error" in answer:
            return answer
        items = answer["predictions"]
        if len(items) != len(question["text"]) or not all(fits(each, item) or fits(each, UNUSABLE) for each in items):
            return _failure(NO_API, 502)
        return answer

    def ask_passage(self, question: str, passage: str, model: str, top_k: int) -> dict[str, Any]:
        """A question about a passage; "start" and "end" are the place of the answer, None where it has none."""
        asked = {"question": question, "context": passage, "model": model, "top_k": top_k}
        return self.call("/predict", {**ANSWER, "elapsed_ms": float}, PREDICT_SECONDS, asked)

    def call(
        self, path: str, shape: dict, seconds: float, question: dict | None = None, most: int = MAX_BYTES
    ) -> dict[str, Any]:
        """POST with a question, else GET."""
        headers = {"Content-Type": "application/json"} if question else {}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}".encode()
        body = json.dumps(question).encode() if question else None
        try:
            status, retry_after, content = fetch(self.url.rstrip("/") + path, headers, body, seconds, most)
        except TimeoutError:
            return _failure(f"API 在 {seconds} 秒内没有回答：请稍后再试，或查看 python api.py 的终端", 504)
        except ValueError:
            return _failure(f"API 地址不对：请在侧栏改正，例如 {ADDRESS}", 400)
        except (OSError, http.client.HTTPException):
            return _failure("连不上 API：请先在另一个终端运行 python api.py，或在侧栏改正地址", 503)
        try:
            answer = json.loads(content) if len(content) <= most else None
        except (ValueError, RecursionError):
            answer = None
        if 200 <= status < 300:
            return answer if fits(answer, shape) else _failure(NO_API, 502)
        if status in REFUSALS:
            return _failure(REFUSALS[status], status)
        if fits(answer, UNUSABLE):
            return _failure(answer["error"], status, _seconds(retry_after))
        if status >= 500:
            return _failure(f"服务器出错（{status}）：请查看 python api.py 的终端", status)
        return _failure(NO_API, status)


def fetch(
    url: str, headers: dict[str, Any], body: bytes | None, seconds: float, most: int
) -> tuple[int, str | None, bytes]:
    """Ask an address directly, whatever proxies, .netrc or redirects say: status, Retry-After, the answer's bytes.

    Args:
        url: http or https.
        headers: of the request.
        body: what is posted; None: GET.
        seconds: that all of it may take, from the look-up of the name to the last byte.
        most: bytes of the answer that are read, and one more where there are more.

    Raises:
        TimeoutError: it takes longer.
        ValueError: the address is none.
        OSError, http.client.HTTPException: nobody answers there, or it is no HTTP.
    """
    parts = urlsplit(url)
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    if parts.scheme not in kinds or not parts.hostname or not url.isprintable() or " " in url:
        raise ValueError(f"no address: {url}")
    connection = kinds[parts.scheme](parts.hostname, parts.port, timeout=seconds)
    found: dict[str, Any] = {}

    def ask() -> None:
        try:
            connection.connect()
            found["socket"] = connection.sock  # the connection forgets it once the answer is being read
            target = parts._replace(scheme="", netloc="", fragment="").geturl()
            connection.request("POST" if body else "GET", quote(target, safe="/?=&%:"), body, headers)
            response = connection.getresponse()
            found["answer"] = response.status, response.headers.get("Retry-After"), response.read(most + 1)
        except Exception as fault:
            found["fault"] = fault
        finally:
            connection.close()

    # A thread, since a time limit of a socket is for each byte, and the look-up of a name has none.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        with suppress(OSError, KeyError):
            found["socket"].shutdown(socket.SHUT_RDWR)
        raise TimeoutError
    if "fault" in found:
        raise found["fault"]
    return found["answer"]


def _question(text: str | list[str], top_k: int, model: str | None) -> dict[str, Any]:
    return {"text": text, "top_k": top_k} | ({"model": model} if model else {})


def _failure(message: str, status: int, retry_after: float = 0) -> dict[str, Any]:
    return {"error": message, "status": status, "retry_after": retry_after}


def _seconds(header: str | None) -> float:
    return min(float(header), 60) if header and header.isdecimal() else 0
