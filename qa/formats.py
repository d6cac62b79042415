"""Labelled files in the JSON of SQuAD, versions 1 and 2, read as questions with the places of their answers.

{"data": [{"paragraphs": [{"context": "…", "qas": [{"id": "…", "question": "…", "answers": [{"text": "…",
"answer_start": 12}]}]}]}]}; where `is_impossible` is true, the passage has no answer. In UTF-8 or GB18030. An answer
that does not stand where it is said to is looked for nearby. Also the JSON that CMRC 2018 was published in: a list of
passages with context_text, query_text, query_id, and answers that are texts alone.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from core.answers import text_fault
from core.console import UserError, listed, shorten
from core.tables.cells import cell_text
from core.text.decode import open_text

CHUNK = 1 << 20  # characters read at a time
NEAR = 10  # characters that an answer may stand away from its place
FORMAT = 'the JSON of SQuAD: {"data": [{"paragraphs": [{"context", "qas": [{"id", "question", "answers": […]}]}]}]}'
NO_TEXT = "question(s) or passage(s) with nothing to see in them, left out"
MOVED = "answer(s) that did not stand at their answer_start, found once nearby and moved"
LOST = "answer(s) that their passage does not have at answer_start nor once nearby: scored by their text, not learned"
NUMBERS = "answer(s) written as a number, read as its text"
UNLABELLED = "question(s) without an answer and without is_impossible, left out"
TWICE = "id(s) that stand twice, all kept"


class Pair(NamedTuple):
    """A question, and the passage that it is asked about."""

    question: str
    context: str


class Labelled(NamedTuple):
    """A question with its answers.

    Attributes:
        id: of the question.
        pair: question and passage.
        answers: the references; none where the passage has no answer.
        spans: where those begin and end that the passage has.
        note: which of its answers stand nowhere, in words.
    """

    id: str
    pair: Pair
    answers: list[str]
    spans: list[tuple[int, int]]
    note: str = ""


@dataclass
class LabelledFile:
    """A labelled file: its questions, and what was mended or odd, counted."""

    rows: list[Labelled] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)


def read_labelled(path: Path, limit: int | None = None) -> LabelledFile:
    """Read a labelled file, or the first so many questions of it.

    Raises:
        UserError: it is missing, of another format, or without a question; or has faulty entries: the first 20 are
            listed.
    """
    found, faults = LabelledFile(), []
    with open_text(path, may_be_json=True) as file:
        found.warnings += file.warnings
        text = "".join(file.parts(CHUNK)).removeprefix("\ufeff")
    try:
        content = json.loads(text)
        is_list = isinstance(content, list)  # of passages, as CMRC 2018 was published
        passages = content if is_list else [each for article in content["data"] for each in article["paragraphs"]]
    except (ValueError, KeyError, TypeError, RecursionError) as fault:
        raise UserError(f"{path} is not {FORMAT}: write it so ({type(fault).__name__}: {fault})") from fault
    for number, passage in enumerate(passages, start=1):
        try:
            found.rows += _questions(passage, found.counts)
        except (KeyError, TypeError, AttributeError, ValueError) as fault:
            told = f"{fault} is missing" if isinstance(fault, KeyError) else fault
            faults.append(f"passage {number}: {told}: {shorten(json.dumps(passage, ensure_ascii=False))}")
        if limit and len(found.rows) >= limit:
            break
    if faults:
        raise UserError(f"{path} has {len(faults)} bad passage(s); mend these:{listed(faults)}")
    found.rows = found.rows[:limit]
    if not found.rows:
        raise UserError(f"{path} has no labelled question: write {FORMAT} into it")
    ids = Counter(row.id for row in found.rows)
    found.counts[TWICE] = sum(count > 1 for count in ids.values())
    return found


def _questions(passage: dict[str, Any], counts: Counter[str]) -> Iterator[Labelled]:
    """The questions of a passage that can be used."""
    context = _either(_object(passage, "passage"), "context", "context_text")
    for asked in passage["qas"]:
        question = _either(_object(asked, "question"), "question", "query_text")
        pair = Pair(_text(question, "question"), _text(context, "context"))
        if text_fault(pair.question) or text_fault(pair.context):
            counts[NO_TEXT] += 1
            continue
        answers, spans, lost = [], [], []
        impossible = asked.get("is_impossible") is True
        for given, said in () if impossible else _answers(asked.get("answers") or ()):
            counts[NUMBERS] += not isinstance(given, str)
            whole = _text(cell_text(given) if isinstance(given, int | float) else given, "answer")
            if text_fault(whole):
                continue
            text, start = whole.strip(), _start(said)
            start += len(whole) - len(whole.lstrip()) if start >= 0 else 0
            answers.append(text)
            place = find_answer(context, text, start)
            counts[MOVED] += place is not None and place != start
            counts[LOST] += place is None
            if place is None:
                lost.append(f"{text!r} at {said}")
            else:
                spans.append((place, place + len(text)))
        if not answers and not impossible:
            counts[UNLABELLED] += 1
            continue
        name = str(asked.get("id", asked.get("query_id", "")))
        note = f"{name}: {', '.join(lost)} of {shorten(context)}" if lost else ""
        yield Labelled(name, pair, answers, spans, note)


def _answers(given: Any) -> Iterator[tuple[Any, Any]]:
    """The answers of a question and where each is said to begin; Hugging Face writes a list of either."""
    if isinstance(given, dict) and isinstance(given.get("text"), list):
        yield from zip_longest(given["text"], given.get("answer_start") or ())
        return
    for answer in given:
        if isinstance(answer, str):  # as CMRC 2018 was published, without its place
            yield answer, None
            continue
        yield _object(answer, "answer")["text"], answer.get("answer_start")


def _either(values: dict[str, Any], key: str, other: str) -> Any:
    """The value of a key, or of what CMRC 2018 called it."""
    return values[other] if key not in values and other in values else values[key]


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f'this {what} is {type(value).__name__}, not {{"…": …}}')
    return value


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a {what} is {type(value).__name__}, not a text")
    return value


def _start(value: Any) -> int:
    """Where an answer is said to begin; -1 where that is no number."""
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    return int(value) if is_number else -1


def find_answer(context: str, text: str, start: int) -> int | None:
    """Where an answer begins in its passage; None where that cannot be told.

    It is where it is said to, or its only place within ten characters of that, or its only place at all. In JSON of
    JavaScript or Java places count UTF-16 units, two of which are one rare character.

    Args:
        context: the passage.
        text: the answer.
        start: where it is said to begin; negative: not said.
    """
    if start >= 0 and context.startswith(text, start):
        return start
    if start >= 0:
        in_characters = len(context.encode("utf-16-le", "surrogatepass")[: 2 * start].decode("utf-16-le", "ignore"))
        if context.startswith(text, in_characters):
            return in_characters
    places = []
    place = context.find(text)
    while place >= 0:
        places.append(place)
        place = context.find(text, place + 1)
    near = [place for place in places if abs(place - start) <= NEAR] if start >= 0 else []
    return near[0] if len(near) == 1 else places[0] if len(places) == 1 else None
