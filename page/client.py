"""The page's way to the API: questions over HTTP, answers whose shape has been checked, errors in Chinese."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests

ADDRESS = "http://127.0.0.1:8004"
LOOPBACK = {"127.0.0.1", "localhost", "::1"}  # where no proxy named in the environment can reach this machine
PREDICT_SECONDS = 30
LIST_SECONDS = 60
STATUS_SECONDS = 2
ALL_CLASSES = 1000  # the server lowers top_k to the number of its classes
CLASS = {"pred_class": str, "confidence": float}
ITEM = {"text": str, **CLASS, "top_k": [CLASS], "truncated": bool}
UNUSABLE = {"error": str}
NO_API = f"这个地址不是新闻标题分类的 API：请在侧栏改正，例如 {ADDRESS}"
REFUSALS = {  # where the server's own words would not help whoever sits before the page
    401: "API 密钥不对或缺失：请在侧栏填写密钥（启动 api.py 时的 NEWS_API_KEY）",
}


def plain(text: object) -> str:
    """The text with its Markdown switched off, for what Streamlit shows as Markdown."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(str(text).split()))


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
        return self.call("/health", {"model": str, "labels": [str]}, STATUS_SECONDS)

    def models(self) -> dict[str, Any]:
        """What the server says of its models."""
        return self.call("/models", {"models": [{"name": str, "labels": [str]}]}, PREDICT_SECONDS)

    def predict(self, text: str, model: str | None = None) -> dict[str, Any]:
        """One title, with the probabilities of all classes."""
        shape = {**ITEM, "model": str, "elapsed_ms": float}
        return self.call("/predict", shape, PREDICT_SECONDS, _question(text, ALL_CLASSES, model))

    def predict_list(self, texts: Sequence[str], model: str | None = None, top_k: int = 1) -> dict[str, Any]:
        """Several titles; an item of `predictions` is as one title's answer, or {"text", "error"}."""
        shape = {"model": str, "elapsed_ms": float, "predictions": [dict]}
        answer = self.call("/predict", shape, LIST_SECONDS, _question(list(texts), top_k, model))
        if "error" in answer:
            return answer
        items = answer["predictions"]
        if len(items) != len(texts) or not all(fits(item, ITEM) or fits(item, UNUSABLE) for item in items):
            return _failure(self._in_the_way(502) or NO_API, 502)
        return answer

    def call(self, path: str, shape: dict, seconds: float, question: dict | None = None) -> dict[str, Any]:
        """POST with a question, else GET."""
        try:
            with requests.Session() as session:
                session.trust_env = urlsplit(self.url).hostname not in LOOPBACK
                if self.key:
                    session.headers["Authorization"] = f"Bearer {self.key}".encode()
                method = "POST" if question else "GET"
                response = session.request(method, self.url.rstrip("/") + path, json=question, timeout=seconds)
        except requests.Timeout:
            way = f"（经代理 {proxy}）" if (proxy := proxy_of(self.url)) else ""
            return _failure(f"API 在 {seconds} 秒内没有回答{way}：请稍后再试，或查看 python api.py 的终端", 504)
        except requests.ConnectionError:
            lost = "连不上 API：请先在另一个终端运行 python api.py，或在侧栏改正地址"
            return _failure(self._in_the_way() or lost, 503)
        except (requests.RequestException, ValueError):
            return _failure(f"API 地址不对：请在侧栏改正，例如 {ADDRESS}", 400)
        try:
            answer = response.json()
        except (ValueError, RecursionError):
            answer = None
        status = response.status_code
        if response.ok:
            return answer if fits(answer, shape) else _failure(self._in_the_way(status) or NO_API, 502)
        if status in REFUSALS:
            return _failure(REFUSALS[status], status)
        if fits(answer, UNUSABLE):
            return _failure(answer["error"], status, _seconds(response.headers.get("Retry-After")))
        if proxy_of(self.url):
            return _failure(self._in_the_way(status), status)
        if status >= 500:
            return _failure(f"服务器出错（{status}）：请查看 python api.py 的终端", status)
        return _failure(NO_API, status)

    def _in_the_way(self, status: int | None = None) -> str:
        """What to say where a proxy lost the question, or answered it with a status of its own; "" without a proxy."""
        if not (proxy := proxy_of(self.url)):
            return ""
        did = "连不上，或它连不上 API" if status is None else f"代为回答了（{status}），但不是 API 的回答"
        host = urlsplit(self.url).hostname
        return f"代理 {proxy} {did}：请设置环境变量 no_proxy={host} 后重新启动页面，或在侧栏改正地址"


def proxy_of(url: str) -> str:
    """The proxy that the environment puts before an address, without its password; "" where there is none."""
    try:
        asked = urlsplit(url).hostname not in LOOPBACK
        found = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url)) if asked else None
    except ValueError:  # no address
        found = None
    return (found or "").rpartition("@")[2].rpartition("//")[2].strip("/")


def _question(text: str | list[str], top_k: int, model: str | None) -> dict[str, Any]:
    return {"text": text, "top_k": top_k} | ({"model": model} if model else {})


def _failure(message: str, status: int, retry_after: float = 0) -> dict[str, Any]:
    return {"error": message, "status": status, "retry_after": retry_after}


def _seconds(header: str | None) -> float:
    return min(float(header), 60) if header and header.isdecimal() else 0
