"""A request and its answer, apart from how they come and go; JSON by orjson."""

import json
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson

JSON = "application/json; charset=utf-8"  # PowerShell 5 needs the charset
REASONS = {status.value: status.phrase for status in HTTPStatus}


class Request:
    """A request: `headers` by their names in lower case, `id` by which its answer and its log line name it."""

    __slots__ = ("body", "headers", "id", "keep_alive", "method", "path", "started")

    def __init__(self, method: str, path: str, headers: Mapping[str, str], request_id: str, started: float) -> None:
        self.method, self.path, self.headers = method, path, headers
        self.id, self.started = request_id, started
        self.body, self.keep_alive = b"", True

    @property
    def elapsed_ms(self) -> float:
        """Milliseconds since its head was read."""
        return round((time.perf_counter() - self.started) * 1000, 2)


class Response(NamedTuple):
    """An answer; `headers` beside those that every answer has."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()

    def head(self, more: str = "") -> bytes:
        """What goes before the body; `more` are whole lines."""
        lines = "".join([f"{name}: {value}\r\n" for name, value in self.headers])
        return (
            f"HTTP/1.1 {self.status} {REASONS.get(self.status, 'Unknown')}\r\nContent-Type: {self.content_type}\r\n"
            f"Content-Length: {len(self.body)}\r\n{lines}{more}\r\n"
        ).encode("latin-1", "replace")


def to_json(value: Any) -> bytes:
    """The bytes of a JSON value."""
    return orjson.dumps(value)


def from_json(data: bytes) -> Any:
    """The value that some bytes of JSON hold, with or without a BOM.

    Raises:
        ValueError, RecursionError: they hold none; NaN and Infinity are none.
    """
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:  # it knows neither half surrogates nor numbers of many digits
        return json.loads(data.decode("utf-8"), parse_constant=int)  # `int` refuses NaN
