"""Questions and passages read from a file, a text that is one passage or a table with many, and answers as a table."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.answers import FAULTS, text_fault
from core.console import UserError
from core.tables.cells import cell_text
from core.tables.columns import choose_columns
from core.tables.formats import is_table
from core.tables.read import open_table
from core.text.decode import open_text
from qa.formats import Pair
from qa.question import CONTEXT_NAMES, QUESTION_NAMES

if TYPE_CHECKING:
    from qa.predict import Answer

COLUMNS = ("row", "question", "answer", "start", "end", "confidence", "error")
KINDS = {"row": int, "start": int, "end": int, "confidence": float}
CHUNK = 1 << 20  # characters read at a time


def read_pairs(
    path: Path, question: str | None, columns: Sequence[str] | None = None, sheet: str | None = None
) -> list[Pair]:
    """The questions of a file, and the passage that each is about; what was odd about the file is told.

    Args:
        path: a text file, or a table.
        question: asked about every passage of the file; None: the table has a column of questions.
        columns: names or letters of those with the questions and the passages; None: those of usual names.
        sheet: of a workbook; None: see `open_table`.

    Raises:
        UserError: the file cannot be read, or is a table without such columns.
    """
    if not is_table(path):
        with open_text(path) as file:
            text, warnings = "".join(file.parts(CHUNK)).removeprefix("\ufeff"), file.warnings
        pairs = [Pair(question or "", text)]
    else:
        wanted = [*(columns or (*QUESTION_NAMES, *CONTEXT_NAMES))]
        with open_table(path, wanted=wanted, sheet=sheet) as found:
            places = []
            for at, (name, known) in enumerate((("questions", QUESTION_NAMES), ("passages", CONTEXT_NAMES))):
                if name == "questions" and question is not None:
                    continue
                own = [columns[at]] if columns else []
                if not (chosen := choose_columns(found.columns, own, known, "--columns", str(path))):
                    raise UserError(f"{path} has no column that is known to hold {name}: name both with --columns")
                places += chosen
            if columns is None:
                told = ", ".join(repr(found.columns[place]) for place in places)
                print(f"{path}: read from {told}; other columns: --columns", file=sys.stderr)
            cells = [[cell_text(row[place]) for place in places] for row in found.rows]
            warnings = found.warnings
        pairs = [Pair(*([question] if question is not None else []), *row) for row in cells]
    for warning in warnings:
        print(f"warning: {path}: {warning}", file=sys.stderr)
    return pairs


def answer_rows(pairs: Sequence[Pair], answers: Sequence["Answer | None"]) -> Iterator[list[Any]]:
    """A row for each question; without an answer it says why."""
    for number, (pair, found) in enumerate(zip(pairs, answers, strict=True), start=1):
        if found is None:
            yield [number, pair.question, "", None, None, None, fault_of(pair)]
            continue
        note = "" if found["answer"] else "no answer in the passage"
        own = [found[name] for name in ("answer", "start", "end")]
        yield [number, pair.question, *own, round(found["confidence"], 4), note]


def fault_of(pair: Pair) -> str:
    """Why a question cannot be answered; "" where it can."""
    faults = {name: text_fault(text) for name, text in zip(("question", "passage"), pair, strict=True)}
    return next((f"the {name} is {FAULTS[fault]}" for name, fault in faults.items() if fault), "")
