"""What the HTTP API reads and says: requests checked, answers and errors as JSON, each error with a code."""

import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import Request

from core.answers import Prediction, text_fault
from core.serving.micro_batcher import DeadlinePassed, NotAnswered, QueueFull, Stopped
from core.text.tokenizer import replace_surrogates

RETRY_SECONDS = 1


@dataclass(eq=False)
class ApiError(Exception):
    """A request, or one text of a list, that cannot be answered; the message says in Chinese what to do."""

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
}
UNAUTHORIZED = (401, "unauthorized", "密钥不对或缺失：请加上请求头 Authorization: Bearer 密钥")
NOT_READY = (503, "not_ready", "模型暂时没有回答：请稍后再试")
NOT_ANSWERED: dict[type[NotAnswered], tuple[int, str, str]] = {
    QueueFull: (503, "busy", "服务器正忙，排队已满：请稍后再试"),
    Stopped: (503, "stopping", "服务器正在关闭：请稍后再试"),
    DeadlinePassed: (504, "timeout", "没有在时限内算完：请减少标题，或稍后再试"),
}


def is_authorized(request: Request, key: str) -> bool:
    """Whether a request carries the key as a bearer token; takes the same time wherever they differ."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    # WSGI hands the bytes of a header over as Latin-1.
    return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode("latin-1", "replace"), key.encode())


def read_object(request: Request) -> dict[str, Any]:
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


def read_model(body: dict[str, Any], names: Sequence[str]) -> str:
    """The model that a request chooses, the first one if it chooses none."""
    name = body.get("model", names[0])
    if name not in names:
        raise ApiError(404, "unknown_model", f"没有这个模型：请去掉 model，或改为 {'、'.join(names)}")
    return name


def read_top_k(body: dict[str, Any]) -> int:
    """How many classes a request asks for."""
    top_k = body.get("top_k", 3)
    if type(top_k) is not int or top_k < 1:
        raise ApiError(422, "bad_top_k", "top_k 应为不小于 1 的整数")
    return top_k


def read_texts(body: dict[str, Any], max_texts: int) -> list[str | None]:
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


def failure(request_id: str) -> ApiError:
    """The error for what is the server's own fault; the log has more under the same id."""
    return ApiError(500, "internal_error", f"服务器内部出错：请把编号 {request_id} 告诉管理员")


def as_answer(prediction: Prediction, top_k: int) -> dict[str, Any]:
    """The part of an answer that belongs to one text."""
    return {
        "text": prediction.text,
        "pred_class": prediction.pred_class,
        "confidence": round(prediction.confidence, 6),
        "top_k": [{"pred_class": label, "confidence": round(share, 6)} for label, share in prediction.top(top_k)],
        "truncated": prediction.truncated,
    }
