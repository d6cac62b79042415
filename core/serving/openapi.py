"""The contract of the API for machines (OpenAPI 3.1), and a page that says how to ask."""

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.serving.settings import Settings

HTML = "text/html; charset=utf-8"
TEXT = "SpaceX 星舰今日成功发射，开启火星移民新篇章"
OBJECT, STRING, NUMBER = {"type": "object"}, {"type": "string"}, {"type": "number"}
SHARE = {"type": "number", "minimum": 0, "maximum": 1}
CLASS = {"type": "object", "properties": {"pred_class": STRING, "confidence": NUMBER}}
ITEM = {
    "type": "object",
    "description": "一条标题的答案；不能用的一条只有 text 和 error。其他任务有自己的键，例如 entities。",
    "properties": {
        "text": STRING,
        "pred_class": STRING,
        "confidence": SHARE,
        "top_k": {"type": "array", "items": CLASS},
        "truncated": {"type": "boolean", "description": "标题太长，只看了一部分"},
        "error": STRING,
    },
}
TRACE = {"status": {"const": 200}, "model": STRING, "elapsed_ms": NUMBER, "request_id": STRING}
ERROR = {
    "type": "object",
    "required": ["status", "code", "error"],
    "properties": {"status": {"type": "integer"}, "code": STRING, "error": STRING},
}
REFUSALS = {
    400: "不是 JSON 对象，或不是正确的 HTTP",
    401: "密钥不对或缺失",
    404: "没有这个模型，或不记得这个 request_id",
    408: "请求没有在时限内发完",
    413: "标题、列表或请求体太大",
    415: "请求体不是 JSON",
    422: "缺少 text，或某个键的值不对",
    500: "服务器内部出错",
    503: "正忙或正在关闭：按 Retry-After 再试",
    504: "没有在时限内算完",
}


def describe(models: Sequence[str], settings: "Settings", feedback: bool) -> dict[str, Any]:
    """The OpenAPI document of a server.

    Args:
        models: names, the default one first.
        settings: limits.
        feedback: whether it takes feedback.
    """
    text = {"type": "string", "minLength": 1, "maxLength": settings.max_chars}
    question = {
        "type": "object",
        "required": ["text"],
        "properties": {
            "text": {"oneOf": [text, {"type": "array", "minItems": 1, "maxItems": settings.max_texts, "items": text}]},
            "top_k": {"type": "integer", "minimum": 1, "default": 3},
            "min_confidence": {**SHARE, "description": "置信度低于它时 pred_class 为“不确定”"},
            "model": {"type": "string", "enum": list(models), "default": models[0]},
        },
    }
    pieces = {"type": "object", "required": ["text"], "properties": {"text": text, "model": STRING}}
    answer = {
        "oneOf": [
            {"allOf": [{"$ref": "#/components/schemas/Item"}, {"type": "object", "properties": TRACE}]},
            {
                "type": "object",
                "properties": {
                    "predictions": {"type": "array", "items": {"$ref": "#/components/schemas/Item"}},
                    **TRACE,
                },
            },
        ]
    }
    paths = {
        "/predict": {"post": _post("预测一条或多条标题", question, answer, {"text": TEXT})},
        "/pieces": {"post": _post("模型看到的词和字", pieces, OBJECT, {"text": TEXT})},
        "/health": {"get": _get("模型是否回答", open_to_all=True)},
        "/ready": {"get": _get("现在是否该把请求发到这里", open_to_all=True)},
        "/models": {"get": _get("模型的信息，以及最近一次评测")},
        "/metrics": {"get": _get("Prometheus 计数", "text/plain")},
    }
    if feedback:
        told = {
            "type": "object",
            "required": ["label"],
            "properties": {"request_id": STRING, "text": STRING, "label": STRING},
        }
        paths["/feedback"] = {"post": _post("告诉正确的类别", told, OBJECT, {"text": TEXT, "label": "科技"})}
    return {
        "openapi": "3.1.0",
        "info": {"title": "中文新闻标题分类 API", "version": "1"},
        "paths": paths,
        "security": [{"key": []}] if settings.key else [],
        "components": {
            "schemas": {"Item": ITEM, "Error": ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _post(summary: str, question: dict, answer: dict, example: dict) -> dict[str, Any]:
    refusals = {
        str(status): {"description": why, "content": _content({"$ref": "#/components/schemas/Error"})}
        for status, why in REFUSALS.items()
    }
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": _content(question, example)},
        "responses": {"200": {"description": "答案", "content": _content(answer)}, **refusals},
    }


def _get(summary: str, kind: str = "application/json", open_to_all: bool = False) -> dict[str, Any]:
    schema = OBJECT if kind == "application/json" else STRING
    found = {"summary": summary, "responses": {"200": {"description": "答案", "content": {kind: {"schema": schema}}}}}
    return {**found, "security": []} if open_to_all else found


def _content(schema: dict, example: dict | None = None) -> dict[str, Any]:
    return {"application/json": {"schema": schema, **({"example": example} if example else {})}}


def page(host: str, key: bool) -> bytes:
    """What a browser is shown at the server's address.

    Args:
        host: the address that the browser asked, as it says.
        key: whether requests need one.
    """
    address = f"http://{host}" if host and all(letter.isalnum() or letter in ".-:[]" for letter in host) else "http://…"
    bearer = " -H 'Authorization: Bearer 密钥'" if key else ""
    line = f"curl {address}/predict -H 'Content-Type: application/json'{bearer} -d '{{\"text\": \"{TEXT}\"}}'"
    return f"""<!doctype html>
<html lang="zh"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>中文新闻标题分类 API</title>
<body style="font-family: sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem">
<h1>中文新闻标题分类 API</h1>
<p>发送一条标题，得到它的类别：</p>
<pre style="overflow-x: auto; background: #f4f4f4; padding: 1rem">{html.escape(line, quote=False)}</pre>
<p><a href="openapi.json">openapi.json</a>：全部地址、键和错误码。
<a href="health">health</a>、<a href="ready">ready</a>：状态。</p>
</body></html>
""".encode()
