"""A client of the API's application that needs no socket: what a request becomes is asked of it directly."""

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from core.serving.application import Application
from core.serving.messages import Request, Response


class Answer:
    """A response as tests look at it."""

    def __init__(self, response: Response) -> None:
        self.status_code, self.data, self.content_type = response.status, response.body, response.content_type
        self.headers = dict(response.headers)

    def get_json(self) -> Any:
        return json.loads(self.data.decode("utf-8"))

    @property
    def text(self) -> str:
        return self.data.decode("utf-8")


class ApiClient:
    """Asks an application as the server does: by the head first, then with the body."""

    def __init__(self, app: Application) -> None:
        self.app = app

    def open(
        self,
        path: str,
        method: str = "GET",
        data: bytes | str = b"",
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Answer:
        if "json" in more:
            data, content_type = json.dumps(more["json"]), "application/json"
        data = data.encode() if isinstance(data, str) else data
        given = {name.lower(): value for name, value in (headers or {}).items()}
        given |= {"content-length": str(len(data)), "host": "127.0.0.1:8004"}
        given |= {"content-type": content_type} if content_type else {}
        request = Request(method, quote(path, safe="/%"), given, "0123456789ab", time.perf_counter())
        request.body = data
        if refusal := self.app.look(request):
            return Answer(self.app.refuse(refusal))
        return Answer(asyncio.run(self.app(request)))

    def get(self, path: str, **more: Any) -> Answer:
        return self.open(path, "GET", **more)

    def post(self, path: str, **more: Any) -> Answer:
        return self.open(path, "POST", **more)

    def options(self, path: str, **more: Any) -> Answer:
        return self.open(path, "OPTIONS", **more)
