"""How the API asks and answers: {"question": "…", "context": "…"}, or lists of either."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.answers import text_fault
from core.serving.answers import ApiError
from core.serving.openapi import SHARE, STRING, listed
from core.serving.questions import TOP_K, TRUNCATED, Asked, Limits, read_top_k
from core.text.tokenizer import replace_surrogates
from qa.formats import Pair

if TYPE_CHECKING:
    from qa.predict import Answer

NAMES = {"question": "问题", "context": "原文"}
QUESTION_NAMES = ("问题", "提问", "question", "query", "questions")  # of columns
# In the order in which they are taken; a title is no passage.
CONTEXT_NAMES = ("原文", "段落", "文章", "材料", "正文", "内容", "文本", "文章内容", "新闻内容")
CONTEXT_NAMES += ("context", "passage", "paragraph", "text", "content")
PLACE = {"type": ["integer", "null"]}
SPAN = {"answer": STRING, "start": PLACE, "end": PLACE, "confidence": SHARE}


@dataclass(frozen=True)
class PairQuestion:
    """A question about a passage; of two lists the n-th question is about the n-th passage, one text is for all."""

    sample: Pair
    called: str = "阅读理解"
    columns: tuple[tuple[str, ...], ...] = (QUESTION_NAMES, CONTEXT_NAMES)
    options: Mapping[str, Any] = field(default_factory=lambda: TOP_K)
    keys: Mapping[str, Any] = field(default_factory=lambda: {**SPAN, "top_k": listed(SPAN), **TRUNCATED})
    takes_feedback: bool = False

    @property
    def example(self) -> dict[str, Any]:
        """The request for the sample."""
        return self.sample._asdict()

    def read(self, body: dict[str, Any], limits: Limits) -> Asked:
        """Read the questions and passages of a request."""
        options = read_top_k({name: value for name, value in body.items() if value is not None})
        given = {name: body[name] if isinstance(body[name], list) else [body[name]] for name in NAMES}
        lists = {name for name in NAMES if isinstance(body[name], list)}
        sizes = {len(given[name]) for name in lists} or {1}
        if 0 in sizes:
            raise ApiError(422, "empty_list", "question 或 context 是空列表：请至少放入一条")
        if len(sizes) > 1:
            told = "、".join(str(len(given[name])) for name in NAMES)
            raise ApiError(422, "lengths_differ", f"question 和 context 的条数不同（{told}）：请一一对应")
        if (count := max(sizes)) > limits.max_texts:
            raise ApiError(413, "too_many_texts", f"一次最多 {limits.max_texts} 条，收到 {count} 条：请分批发送")
        columns = [given[name] if name in lists else given[name] * count for name in NAMES]
        pairs = list(zip(*columns, strict=True))
        items = [next(_faults(pair, limits.max_chars), None) or Pair(*map(replace_surrogates, pair)) for pair in pairs]
        echoes = [{"text": replace_surrogates(asked) if isinstance(asked, str) else None} for asked, _ in pairs]
        return Asked(items, echoes, not lists, options)

    def answer(self, prediction: "Answer", options: int) -> dict[str, Any]:
        """The JSON of an answer, with so many of the likeliest."""
        top = [{**each, "confidence": round(each["confidence"], 6)} for each in prediction["top_k"][:options]]
        return {**top[0], "top_k": top, "truncated": prediction["truncated"]}

    def count_as(self, prediction: "Answer") -> str:
        """Whether there is an answer."""
        return "answer" if prediction["answer"] else "none"


def _faults(pair: tuple[Any, Any], max_chars: int) -> Iterator[ApiError]:
    """Why a question cannot be answered."""
    for (name, called), text in zip(NAMES.items(), pair, strict=True):
        fault = text_fault(text)
        if fault == "not_a_string":
            yield ApiError(422, f"{name}_not_a_string", f"{name} 的类型不对：应为字符串，或由字符串组成的列表")
        elif fault:
            yield ApiError(422, f"{name}_empty", f"{called}是空的：请填写 {name}")
        elif len(text) > max_chars:
            yield ApiError(413, "text_too_long", f"{called}有 {len(text)} 个字，最多 {max_chars} 个：请缩短或分段")
