"""Errors of the HTTP API as JSON, each with a code, and the parts of a request that are the same for every task."""

import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.model_files.finite import NotFinite
from core.serving.messages import Request, Response, from_json, to_json
from core.serving.micro_batcher import DeadlinePassed, NotAnswered, QueueFull, Stopped

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

    def response(self, *headers: tuple[str, str]) -> Response:
        """The answer that tells of it."""
        if self.status == 503:
            headers += (("Retry-After", str(RETRY_SECONDS)),)
        if self.status == 401:
            headers += (("WWW-Authenticate", "Bearer"),)
        return Response(self.status, to_json(self.body()), headers=headers)


def http_error(status: int) -> ApiError:
    """The error of a status that the HTTP layer itself gives."""
    return ApiError(status, *HTTP_ERRORS.get(status, ("bad_request", "请求无效：请检查后再试")))


HTTP_ERRORS = {
    404: ("not_found", "没有这个地址：请用 POST /predict 预测，全部地址见 GET /openapi.json"),
    405: ("method_not_allowed", "这个地址不支持此请求方法：/predict、/pieces 和 /feedback 用 POST，其他用 GET"),
    413: ("body_too_large", "请求体太大：请缩短文字，或分批发送"),
    431: ("headers_too_large", "请求头太大：请减少请求头"),
    500: ("internal_error", "服务器内部出错：请稍后再试"),
    501: ("not_implemented", "不支持这种传输编码：请改用 Content-Length 或 chunked"),
}
UNAUTHORIZED = ApiError(401, "unauthorized", "密钥不对或缺失：请加上请求头 Authorization: Bearer 密钥")
TOO_SLOW = ApiError(408, "too_slow", "请求没有在时限内发完：请检查网络后再试")
TOO_MANY = ApiError(503, "busy", "同时上传的请求太多：请稍后再试")
NOT_HEALTHY = ApiError(503, "not_finite", "模型的输出不是有限的数（NaN 或无穷）：请管理员换一个模型，或重新训练")
NOT_READY = ApiError(503, "not_ready", "模型暂时没有回答：请稍后再试")
NOT_ANSWERED: dict[type[NotAnswered], ApiError] = {
    QueueFull: ApiError(503, "busy", "服务器正忙，排队已满：请稍后再试"),
    Stopped: ApiError(503, "stopping", "服务器正在关闭：请稍后再试"),
    DeadlinePassed: ApiError(504, "timeout", "没有在时限内算完：请减少文字，或稍后再试"),
}


def is_authorized(request: Request, key: str) -> bool:
    """Whether a request carries the key as a bearer token; takes the same time wherever they differ."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode("latin-1"), key.encode())


def check_body_kind(request: Request) -> ApiError | None:
    """Why the body of a request cannot be JSON, by its headers."""
    if (encoding := request.headers.get("content-encoding", "").strip()).lower() not in ("", "identity"):
        shown = "".join(filter(str.isprintable, encoding))[:40]
        return ApiError(415, "unsupported_encoding", f"不支持压缩的请求体（Content-Encoding: {shown}）：请不压缩再发送")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        return ApiError(415, "unsupported_media_type", "请求头 Content-Type 应为 application/json")
    return None


def read_object(request: Request, example: Mapping[str, Any]) -> dict[str, Any]:
    """The request's JSON object; ApiError 415 or 400, with an example, where it holds none."""
    if fault := check_body_kind(request):
        raise fault
    try:
        body = from_json(request.body)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        shown = json.dumps(example, ensure_ascii=False)
        raise ApiError(400, "bad_json", f"请求体应为 UTF-8 编码的 JSON 对象，例如 {shown}")
    return body


def read_model(body: dict[str, Any], names: Sequence[str], aliases: Mapping[str, str]) -> str:
    """The model that a request chooses, by its name or an alias; the first one if it chooses none."""
    name = body.get("model")
    if name is None:
        return names[0]
    if name not in names and isinstance(name, str):
        name = aliases.get(name)
    if not isinstance(name, str) or name not in names:
        raise ApiError(404, "unknown_model", f"没有这个模型：请去掉 model，或改为 {'、'.join(names)}")
    return name


def failure(request_id: str, fault: Exception) -> ApiError:
    """The error for what is the server's own fault; the log has more under the same id."""
    if isinstance(fault, NotFinite):
        return ApiError(500, "not_finite", f"模型算出的不是有限的数：请换一个模型，或把编号 {request_id} 告诉管理员")
    return ApiError(500, "internal_error", f"服务器内部出错：请把编号 {request_id} 告诉管理员")
