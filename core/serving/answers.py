"""Errors of the HTTP API as JSON, each with a code, and the parts of a request that are the same for every task."""

import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.model_files.finite import NotFinite
from core.serving.micro_batcher import DeadlinePassed, NotAnswered, QueueFull, Stopped

if TYPE_CHECKING:
    from flask import Request

RETRY_SECONDS = 1


@dataclass(eq=False)
class ApiError(Exception):
    """A request, or one item of a list, that cannot be answered; the message says in Chinese what to do."""

    status: int
    code: str
    message: str

    def body(self) -> dict[str, Any]:
        """The JSON that tells of it."""
        return {"status": self.status, "code": self.code, "error": self.message}

    def headers(self) -> dict[str, str]:
        """The headers that go with its status."""
        if self.status == 503:
            return {"Retry-After": str(RETRY_SECONDS)}
        return {"WWW-Authenticate": "Bearer"} if self.status == 401 else {}


def http_error(status: int) -> ApiError:
    """The error of a status that the HTTP layer itself gives."""
    return ApiError(status, *HTTP_ERRORS.get(status, ("bad_request", "请求无效：请检查后再试")))


HTTP_ERRORS = {
    404: ("not_found", "没有这个地址：请用 POST /predict 预测，或用 GET /health、/models、/metrics 查看状态"),
    405: ("method_not_allowed", "这个地址不支持此请求方法：/predict 用 POST，其他用 GET"),
    413: ("body_too_large", "请求体太大：请缩短标题，或分批发送"),
    431: ("headers_too_large", "请求头太大：请减少请求头"),
    500: ("internal_error", "服务器内部出错：请稍后再试"),
    501: ("not_implemented", "不支持这种传输编码：请改用 Content-Length 或 chunked"),
    503: ("no_space", "服务器的临时文件夹放不下这个请求：请分批发送，或请管理员清理磁盘（TMPDIR）"),
}
UNAUTHORIZED = (401, "unauthorized", "密钥不对或缺失：请加上请求头 Authorization: Bearer 密钥")
NOT_HEALTHY = (503, "not_finite", "模型的输出不是有限的数（NaN 或无穷）：请管理员换一个模型，或重新训练")
NOT_READY = (503, "not_ready", "模型暂时没有回答：请稍后再试")
NOT_ANSWERED: dict[type[NotAnswered], tuple[int, str, str]] = {
    QueueFull: (503, "busy", "服务器正忙，排队已满：请稍后再试"),
    Stopped: (503, "stopping", "服务器正在关闭：请稍后再试"),
    DeadlinePassed: (504, "timeout", "没有在时限内算完：请减少标题，或稍后再试"),
}


def is_authorized(request: "Request", key: str) -> bool:
    """Whether a request carries the key as a bearer token; takes the same time wherever they differ."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    # WSGI hands the bytes of a header over as Latin-1.
    return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode("latin-1", "replace"), key.encode())


def read_object(request: "Request") -> dict[str, Any]:
    """The request's JSON object; ApiError 415 or 400 where it holds none."""
    if (encoding := request.headers.get("Content-Encoding", "").strip()).lower() not in ("", "identity"):
        shown = "".join(filter(str.isprintable, encoding))[:40]
        raise ApiError(415, "unsupported_encoding", f"不支持压缩的请求体（Content-Encoding: {shown}）：请不压缩再发送")
    if not request.is_json:
        raise ApiError(415, "unsupported_media_type", "请求头 Content-Type 应为 application/json")
    try:  # parse_constant is called for NaN and Infinity, which `int` refuses
        body = json.loads(request.get_data().decode("utf-8-sig"), parse_constant=int)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise ApiError(400, "bad_json", '请求体应为 UTF-8 编码的 JSON 对象，例如 {"text": "新闻标题"}')
    return body


def read_model(body: dict[str, Any], names: Sequence[str], aliases: Mapping[str, str]) -> str:
    """The model that a request chooses, by its name or an alias; the first one if it chooses none."""
    name = body.get("model")
    if name is None:
        return names[0]
    if name not in names and isinstance(name, str):
        name = aliases.get(name)
    if name not in names:
        raise ApiError(404, "unknown_model", f"没有这个模型：请去掉 model，或改为 {'、'.join(names)}")
    return name


def failure(request_id: str, fault: Exception) -> ApiError:
    """The error for what is the server's own fault; the log has more under the same id."""
    if isinstance(fault, NotFinite):
        return ApiError(500, "not_finite", f"模型算出的不是有限的数：请换一个模型，或把编号 {request_id} 告诉管理员")
    return ApiError(500, "internal_error", f"服务器内部出错：请把编号 {request_id} 告诉管理员")
