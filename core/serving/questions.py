"""Questions: how a task asks and answers on the API, POST /predict."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from core.answers import UNSURE, Prediction, text_fault
from core.serving.answers import ApiError
from core.serving.openapi import SHARE, STRING, listed
from core.text.tokenizer import replace_surrogates

TOP_K = {"top_k": {"type": "integer", "minimum": 1, "default": 3}}
TRUNCATED = {"truncated": {"type": "boolean", "description": "文字太长，只看了一部分"}}


class Limits(NamedTuple):
    """What a request may ask for."""

    max_chars: int
    max_texts: int


class Asked(NamedTuple):
    """A request that has been read.

    Attributes:
        items: what the predictor is to answer, or the error of what it cannot answer.
        echoes: the beginning of the answer for each item: {"text": …}.
        single: whether one item is asked for, rather than a list.
        options: what `Question.answer` needs to know of the request.
    """

    items: list[Any]
    echoes: list[dict[str, Any]]
    single: bool
    options: Any


class Question(Protocol):
    """How a task asks and answers.

    Attributes:
        called: what the task is, in Chinese.
        sample: an item to answer before the first request, to see whether a model still answers, and to show.
        columns: where an item is several texts, the usual names of the column of each in a table; (): it is a text.
        options: the JSON schema of each key that a request may have beside those of `example`.
        keys: the JSON schema of each key that an answer has beside its "text".
        takes_feedback: whether an item and one of the model's labels, which a user says it has, can be trained on.
    """

    called: str
    sample: Any
    columns: tuple[tuple[str, ...], ...]
    options: Mapping[str, Any]
    keys: Mapping[str, Any]
    takes_feedback: bool

    @property
    def example(self) -> dict[str, Any]:
        """The JSON object that asks for the sample; it has the keys that every request needs."""

    def read(self, body: dict[str, Any], limits: Limits) -> Asked:
        """Read the JSON object of a request that has these keys; ApiError where nothing in it can be answered."""

    def answer(self, prediction: Any, options: Any) -> dict[str, Any]:
        """The JSON of an item's answer."""

    def count_as(self, prediction: Any) -> str:
        """What the counters of GET /metrics count an answer as; one of few."""


@dataclass(frozen=True)
class TextQuestion:
    """The question of a task whose items are texts: {"text": "…"} or {"text": ["…", "…"]}.

    Args:
        called: see `Question`, as for what is not named here.
        answer: (prediction, options) -> JSON.
        count_as: what an answer is counted as.
        read_options: the request's JSON object -> options; ApiError where it is wrong.
    """

    called: str
    answer: Callable[[Any, Any], dict[str, Any]]
    count_as: Callable[[Any], str]
    read_options: Callable[[dict[str, Any]], Any] = lambda body: None
    sample: str = "一段文字"
    columns: tuple[tuple[str, ...], ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    keys: Mapping[str, Any] = field(default_factory=dict)
    takes_feedback: bool = False

    @property
    def example(self) -> dict[str, Any]:
        """The request for the sample."""
        return {"text": self.sample}

    def read(self, body: dict[str, Any], limits: Limits) -> Asked:
        """Read the texts of a request."""
        given = {name: value for name, value in body.items() if value is not None}  # null is as good as absent
        options, texts = self.read_options(given), read_texts(body, limits.max_texts)
        items = [text_error(text, limits.max_chars) or text for text in texts]
        return Asked(items, [{"text": text} for text in texts], not isinstance(body["text"], list), options)


def examples(questions: Mapping[str, Question]) -> dict[str, dict[str, Any]]:
    """For each model a request that it answers as it stands; the first one is the default, which need not be named."""
    return {
        name: {**question.example, **({"model": name} if number else {})}
        for number, (name, question) in enumerate(questions.items())
    }


def check_keys(body: dict[str, Any], name: str, questions: Mapping[str, Question]) -> None:
    """Refuse a request that lacks a key which its model needs.

    Raises:
        ApiError: it does; where it has more of the keys of other models, these are named.
    """
    given = {key for key, value in body.items() if value is not None}

    def fit(each: str) -> tuple[bool, bool]:
        needed = questions[each].example.keys()
        return needed <= given, bool(needed & given)

    if all(fit(name)):
        return
    best = max(map(fit, questions))
    if fit(name) < best:
        others = [each for each in questions if fit(each) == best]
        theirs = dict.fromkeys(key for each in others for key in questions[each].example if key in given)
        told = "或 ".join(f"{json.dumps(each, ensure_ascii=False)}（{questions[each].called}）" for each in others)
        own = f"模型 {name}（{questions[name].called}）要的是 {'、'.join(questions[name].example)}"
        raise ApiError(422, "other_model", f'{own}，收到的是 {"、".join(theirs)}：请写 "model": {told}')
    for key in questions[name].example:
        if key not in body:
            shown = json.dumps(examples(questions)[name], ensure_ascii=False)
            raise ApiError(422, f"{key}_missing", f"缺少 {key}：请发送 {shown}")


def check_options(body: dict[str, Any], name: str, questions: Mapping[str, Question]) -> None:
    """Refuse an option that the task of a model does not have, lest it be thought to count.

    Raises:
        ApiError: the request has one that other tasks have.
    """
    for key in CLASS_OPTIONS:
        if body.get(key) is not None and key not in questions[name].options:
            raise ApiError(422, f"bad_{key}", f"模型 {name}（{questions[name].called}）没有 {key} 这个选项：请去掉它")


def read_top_k(body: dict[str, Any]) -> int:
    """How many classes a request asks for."""
    top_k = body.get("top_k", 3)
    if type(top_k) is not int or top_k < 1:
        raise ApiError(422, "bad_top_k", "top_k 应为不小于 1 的整数")
    return top_k


CLASS = {"pred_class": STRING, "confidence": SHARE}
CLASS_KEYS = {**CLASS, "top_k": listed(CLASS), **TRUNCATED, "unsure": {"type": "boolean"}, "likely_class": STRING}
CLASS_OPTIONS = {**TOP_K, "min_confidence": {**SHARE, "description": f"置信度低于它时 pred_class 为“{UNSURE}”"}}


class ClassOptions(NamedTuple):
    """How a request wants classes: so many of the likeliest ones, and only those that are sure."""

    top_k: int
    min_confidence: float | None

    @classmethod
    def read(cls, body: dict[str, Any]) -> "ClassOptions":
        """The options in the JSON object of a request."""
        least = body.get("min_confidence")
        if least is not None and (type(least) not in (int, float) or not 0 <= least <= 1):
            raise ApiError(422, "bad_min_confidence", "min_confidence 应为 0 到 1 之间的数，例如 0.8")
        return cls(read_top_k(body), least)

    def answer(self, prediction: Prediction) -> dict[str, Any]:
        """The JSON of a prediction; where a least confidence is asked for, it says `unsure`, and the `likely_class`."""
        answer = {
            "pred_class": prediction.pred_class,
            "confidence": round(prediction.confidence, 6),
            "top_k": [{"pred_class": name, "confidence": round(p, 6)} for name, p in prediction.top(self.top_k)],
            "truncated": prediction.truncated,
        }
        if self.min_confidence is not None:
            sure = prediction.is_sure(self.min_confidence)
            answer |= {"unsure": not sure, "likely_class": prediction.pred_class}
            answer["pred_class"] = prediction.pred_class if sure else UNSURE
        return answer


def read_texts(body: dict[str, Any], max_texts: int) -> list[str | None]:
    """The texts of a request, fit to be echoed in UTF-8; None in place of what is no string."""
    texts = body["text"] if isinstance(body["text"], list) else [body["text"]]
    if not texts:
        raise ApiError(422, "empty_list", "text 是空列表：请至少放入一条文字")
    if len(texts) > max_texts:
        raise ApiError(413, "too_many_texts", f"一次最多 {max_texts} 条文字，收到 {len(texts)} 条：请分批发送")
    return [replace_surrogates(text) if isinstance(text, str) else None for text in texts]


def text_error(text: str | None, max_chars: int) -> ApiError | None:
    """The error of a text that cannot be answered, or None."""
    if text is None:
        return ApiError(422, "text_not_a_string", "text 的类型不对：应为字符串，或由字符串组成的列表")
    if text_fault(text) == "empty":
        return ApiError(422, "text_empty", "文字是空的：请填写 text")
    if len(text) > max_chars:
        return ApiError(413, "text_too_long", f"文字有 {len(text)} 个字，最多 {max_chars} 个：请缩短后再试")
    return None
