"""Questions made from Chinese passages: to train a reader on before the labelled ones, or where there are none.

    python -m qa.cloze articles.txt --to made                  # a passage a line; or a labelled file of passages
    python -m qa.train --data-dir made --num-epochs 1 --cloze 0    # a reader without one labelled question
    python -m qa.train --data-dir my_data                      # ten of them for each passage first, then yours

A clause, or what follows a word such as 是 or 于 in it, is the answer; what is left of its sentence, with some
characters lost, the words before it and the passage's first words make the question, closed by a word that asks. The
idea is that of Lewis et al. 2019, "Unsupervised Question Answering by Cloze Translation", with rules of our own for
Chinese. The questions are clumsy; they teach where to look. Writes train.json and dev.json, in the JSON of SQuAD.
"""

import random
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from core.console import UserError, parse, quoted, require_one_or_more, run
from core.files import write_json
from core.tables.formats import is_table
from core.tables.split import unseen
from core.text.decode import open_text
from qa.formats import read_labelled

CLAUSE = re.compile(r"[^，。；！？\n]{5,}")
SENTENCE_END = re.compile(r"[。！？\n]")
SUBJECT_END = re.compile(r"[（(，,是为。、在\n]")
PART_END = re.compile(r"[的（、]")
TIME = re.compile(r"\d{2,4}年|\d月|\d日|世纪|年代")
WHEN, COUNT = ("什么时候", "哪一年", "何时"), ("多少", "几")
ASKS = {  # by the word before the answer
    "于": ("哪里", "什么时候", "什么"),
    "在": ("哪里", "什么时候", "什么地方"),
    "是": ("什么", "谁", "哪个"),
    "为": ("什么", "谁", "多少"),
    "由": ("谁", "什么", "哪些人"),
    "有": ("什么", "哪些", "多少"),
    "到": ("哪里", "什么", "多少"),
    "自": ("哪里", "什么"),
    "至": ("哪里", "什么时候"),
    "与": ("谁", "什么"),
    **dict.fromkeys("以名：了称因指得用", ("什么",)),
    "达": ("多少",),
}
OF_CLAUSES = ("什么", "是什么", "怎么样", "有哪些", "为什么", "如何", "多少", "什么时候", "在哪里", "是谁")
LONGEST_ANSWER, QUESTION = 80, (6, 60)  # characters
EXCERPT = 150, 260  # characters of a passage that a question is asked about
TRIES = 2  # for each question wanted
DEV_EVERY = 20  # passages
NEEDED = "each needs some clauses of Chinese"


@dataclass
class ClozeConfig:
    """Knobs of making questions."""

    passages: Positional[Annotated[Path, arg(metavar="PASSAGES")]]
    """Text file with a passage a line, or labelled questions (.json) whose passages are taken."""
    to: Path
    """Folder that train.json and dev.json go to."""
    each: int = 10
    """Questions for each passage, fewer for a short one."""
    seed: int = 42
    """Seed of the choices."""

    def __post_init__(self) -> None:
        require_one_or_more(self, "each")


def _lose(text: str, share: float, rng: random.Random) -> str:
    """A text without some of its runs of one to three characters."""
    kept, at = [], 0
    while at < len(text):
        size = rng.randint(1, 3)
        if rng.random() >= share:
            kept.append(text[at : at + size])
        at += size
    return "".join(kept)


def _ask(before: str, answer: str, rng: random.Random) -> str:
    """A word that asks for an answer, by the word before it."""
    if TIME.search(answer[:12]) and len(answer) < 16:
        return rng.choice(WHEN)
    return rng.choice(COUNT if answer[0].isdigit() else ASKS.get(before, OF_CLAUSES))


def _question(passage: str, clauses: Sequence[tuple[int, int]], rng: random.Random) -> tuple[str, int, int] | None:
    """A question, and where its answer begins and ends; None where the clause that was drawn makes none."""
    at = rng.randrange(len(clauses))
    start, end = clauses[at]
    clause = passage[start:end]
    after = clauses[at + 1][1] if at + 1 < len(clauses) else end
    if rng.random() < 0.6:  # a part of the clause
        places = [place for place in range(1, len(clause) - 2) if clause[place] in ASKS]
        if not places:
            return None
        place = rng.choice(places)
        first, last = start + place + 1, end
        if rng.random() < 0.25 and (found := PART_END.search(passage, first + 2, end)):
            last = found.start()
        elif rng.random() < 0.15:
            last = after
        before = clause[place]
        question = _lose(clause[:place], 0.12, rng) + before.strip("：") + _ask(before, passage[first:last], rng)
        if last < end and rng.random() < 0.7:
            question += _lose(passage[last:end], 0.12, rng)
    else:  # all of it, of which the question has a stretch
        first, last = start, after if rng.random() < 0.25 else end
        if rng.random() < 0.2 and passage[last : last + 1] in ("。", "；"):
            last += 1
        size = max(2, int(len(clause) * rng.uniform(0.3, 0.7)))
        place = rng.randint(0, len(clause) - size)
        question = _lose(clause[place : place + size], 0.15, rng) + _ask("", passage[first:last], rng)
    if at and rng.random() < 0.35:
        question = f"{_lose(passage[slice(*clauses[at - 1])], 0.3, rng)[:20]}，{question}"
    subject = SUBJECT_END.split(passage, maxsplit=1)[0][:14].strip()
    if rng.random() < 0.55 and subject not in question:
        question = subject + question
    return f"{question}？", first, last


def _excerpt(passage: str, first: int, last: int, rng: random.Random) -> tuple[int, int]:
    """A stretch of a passage around an answer, as a rule from the beginning of a sentence on."""
    size = rng.randint(*EXCERPT)
    begin = max(0, first - rng.randint(0, max(0, size - (last - first))))
    if rng.random() < 0.8:
        begin = max([0, *(found.end() for found in SENTENCE_END.finditer(passage, 0, begin))])
    return begin, max(last, begin + size)


def make_questions(passages: Sequence[str], each: int, seed: int) -> Iterator[list[dict]]:
    """Of each passage, paragraphs of SQuAD with a question each; none of one without clauses of Chinese.

    Args:
        passages: plain texts.
        each: questions for a passage, at most.
        seed: of the choices.
    """
    for number, passage in enumerate(passages):
        rng = random.Random(f"{seed} {number}")
        clauses = [found.span() for found in CLAUSE.finditer(passage)]
        made: dict[tuple[int, int], dict] = {}
        for _ in range(TRIES * each if len(clauses) > 2 else 0):
            drawn = _question(passage, clauses, rng)
            if drawn is None or len(made) == each:
                continue
            question, first, last = drawn
            answer = passage[first:last]
            if not (1 < len(answer) <= LONGEST_ANSWER and answer.strip() == answer and (first, last) not in made):
                continue
            if not QUESTION[0] <= len(question) <= QUESTION[1]:
                continue
            begin, end = _excerpt(passage, first, last, rng)
            asked = {"id": f"{number}-{len(made) + 1}", "question": question}
            asked["answers"] = [{"text": answer, "answer_start": first - begin}]
            made[first, last] = {"context": passage[begin:end], "qas": [asked]}
        yield list(made.values())


def write_questions(made: Iterable[dict], seed: int, path: Path) -> int:
    """Write paragraphs with a question each in the JSON of SQuAD, and return how many questions.

    Raises:
        UserError: there is none.
    """
    paragraphs = list(made)
    if not paragraphs:
        raise UserError(f"no question can be made of these passages: {NEEDED}")
    random.Random(seed).shuffle(paragraphs)
    write_json(path, {"data": [{"paragraphs": paragraphs}]})
    return len(paragraphs)


def main(argv: Sequence[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    config = parse(ClozeConfig, argv or ["--help"], __doc__)
    path = config.passages
    if path.suffix.lower() == ".json":
        found = read_labelled(path)
        texts, warnings = [row.pair.context for row in found.rows], found.warnings
    elif is_table(path):
        raise UserError(f"{path} is a table: copy its passages into a text file, one a line")
    else:
        with open_text(path) as file:
            texts, warnings = [line for each in file.lines() if (line := each.strip())], file.warnings
    for warning in warnings:
        print(f"warning: {path}: {warning}", file=sys.stderr)
    texts = unseen(texts, ())
    made = list(filter(None, make_questions(texts, config.each, config.seed)))
    if len(made) < 2:
        told = f"questions can be made of {len(made)} of its {len(texts)} passage(s)"
        raise UserError(f"{path}: {told}: give two or more, one a line; {NEEDED}")
    every = min(DEV_EVERY, len(made))
    dev = made[every - 1 :: every]
    del made[every - 1 :: every]
    for name in ("dev", "train"):
        if (path := config.to / f"{name}.json").exists():
            raise UserError(f"{path} is there already: choose another folder for --to, or delete it")
    for name, part in (("dev", dev), ("train", made)):
        path = config.to / f"{name}.json"
        count = write_questions(chain.from_iterable(part), config.seed, path)
        print(f"{path}: {count} questions on {len(part)} passages")
    print(f"next: python -m qa.train --data-dir {quoted(config.to)} --num-epochs 1 --cloze 0")


if __name__ == "__main__":
    run(main)
