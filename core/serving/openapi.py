"""The contract of the API for machines (OpenAPI 3.1), and a page that says how to ask."""

import html
import json
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.serving.questions import Question
    from core.serving.settings import Settings

HTML = "text/html; charset=utf-8"
STRING, NUMBER, INTEGER = {"type": "string"}, {"type": "number"}, {"type": "integer"}
OBJECT = {"type": "object"}
ASK_PIECES = {"text": "一段文字"}  # an example
SHARE = {"type": "number", "minimum": 0, "maximum": 1}
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
    413: "文字、列表或请求体太大",
    415: "请求体不是 JSON",
    422: "缺少某个键，某个键的值不对，或模型没有这个选项",
    500: "服务器内部出错",
    503: "正忙或正在关闭：按 Retry-After 再试",
    504: "没有在时限内算完",
}


def with_keys(keys: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of an object, from those of its keys."""
    return {"type": "object", "properties": dict(keys)}


def listed(keys: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a list of objects."""
    return {"type": "array", "items": with_keys(keys)}


def heading(questions: Mapping[str, "Question"]) -> str:
    """What is served, in Chinese."""
    return "、".join(dict.fromkeys(question.called for question in questions.values())) + " API"


def describe(
    questions: Mapping[str, "Question"],
    examples: Mapping[str, Any],
    settings: "Settings",
    told: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The OpenAPI document of a server.

    Args:
        questions: of each model, the default one first.
        examples: a request for each model.
        settings: limits.
        told: an example of feedback; None: it takes none.
    """
    text = {"type": "string", "minLength": 1, "maxLength": settings.max_chars}
    tasks = {question.called: question for question in questions.values()}
    asked = [_request(questions, question, text, settings.max_texts) for question in tasks.values()]
    items = [
        {"title": called, **with_keys({"text": STRING, **question.keys, "error": STRING})}
        for called, question in tasks.items()
    ]
    item = {"description": "一条的答案；不能用的一条只有 text 和 error。", "anyOf": items}
    one = {"$ref": "#/components/schemas/Item"}
    answer = {
        "oneOf": [
            {"allOf": [one, with_keys(TRACE)]},
            with_keys({"predictions": {"type": "array", "items": one}, **TRACE}),
        ]
    }
    shown = {name: {"summary": questions[name].called, "value": value} for name, value in examples.items()}
    pieces = {"required": ["text"], **with_keys({"text": text, "model": STRING})}
    paths = {
        "/predict": {"post": _post("预测一条或多条", {"anyOf": asked}, answer, shown)},
        "/pieces": {"post": _post("模型看到的词和字", pieces, OBJECT, {"一段文字": {"value": ASK_PIECES}})},
        "/health": {"get": _get("模型是否回答", open_to_all=True)},
        "/ready": {"get": _get("现在是否该把请求发到这里", open_to_all=True)},
        "/models": {"get": _get("模型的信息，以及最近一次评测")},
        "/metrics": {"get": _get("Prometheus 计数", "text/plain")},
    }
    if told:
        learns = {"type": "string", "enum": [name for name, each in questions.items() if each.takes_feedback]}
        keys = {"request_id": STRING, "text": STRING, "label": STRING, "model": learns}
        feedback = {"required": ["label"], **with_keys(keys)}
        paths["/feedback"] = {"post": _post("告诉正确的类别", feedback, OBJECT, {"反馈": {"value": dict(told)}})}
    return {
        "openapi": "3.1.0",
        "info": {"title": heading(questions), "version": "1"},
        "paths": paths,
        "security": [{"key": []}] if settings.key else [],
        "components": {
            "schemas": {"Item": item, "Error": ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _request(questions: Mapping[str, "Question"], question: "Question", text: dict, most: int) -> dict[str, Any]:
    """The schema of a request to the models of a task; all but the default model are to be named."""
    names = [name for name, each in questions.items() if each.called == question.called]
    is_default = names[0] == next(iter(questions))
    several = {"type": "array", "minItems": 1, "maxItems": most, "items": text}
    keys = {key: {"oneOf": [text, several]} for key in question.example}
    model = {"type": "string", "enum": names, **({"default": names[0]} if is_default else {})}
    needed = [*keys, *(() if is_default else ("model",))]
    return {"title": question.called, "required": needed, **with_keys({**keys, **question.options, "model": model})}


def _post(summary: str, question: dict, answer: dict, examples: dict) -> dict[str, Any]:
    refusals = {
        str(status): {"description": why, "content": _content({"$ref": "#/components/schemas/Error"})}
        for status, why in REFUSALS.items()
    }
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": _content(question, examples)},
        "responses": {"200": {"description": "答案", "content": _content(answer)}, **refusals},
    }


def _get(summary: str, kind: str = "application/json", open_to_all: bool = False) -> dict[str, Any]:
    schema = OBJECT if kind == "application/json" else STRING
    found = {"summary": summary, "responses": {"200": {"description": "答案", "content": {kind: {"schema": schema}}}}}
    return {**found, "security": []} if open_to_all else found


def _content(schema: dict, examples: dict | None = None) -> dict[str, Any]:
    return {"application/json": {"schema": schema, **({"examples": examples} if examples else {})}}


def page(host: str, key: bool, questions: Mapping[str, "Question"], examples: Mapping[str, Any]) -> bytes:
    """What a browser is shown at the server's address.

    Args:
        host: the address that the browser asked, as it says.
        key: whether requests need one.
        questions: of each model.
        examples: a request for each model.
    """
    address = f"http://{host}" if host and all(letter.isalnum() or letter in ".-:[]" for letter in host) else "http://…"
    bearer = " -H 'Authorization: Bearer 密钥'" if key else ""
    ask = f"curl {address}/predict -H 'Content-Type: application/json'{bearer} -d "
    lines = "".join(
        f"""<p>{html.escape(f"{name}（{questions[name].called}）：")}</p>
<pre style="overflow-x: auto; background: #f4f4f4; padding: 1rem">{html.escape(ask + _quoted(value), quote=False)}</pre>
"""
        for name, value in examples.items()
    )
    title = html.escape(heading(questions))
    return f"""<!doctype html>
<html lang="zh"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<body style="font-family: sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem">
<h1>{title}</h1>
<p>每个模型一个例子：</p>
{lines}<p><a href="openapi.json">openapi.json</a>：全部地址、键和错误码。
<a href="health">health</a>、<a href="ready">ready</a>：状态。</p>
</body></html>
""".encode()


def _quoted(value: Any) -> str:
    """The JSON of a value as a word of a command line."""
    return shlex.quote(json.dumps(value, ensure_ascii=False))
