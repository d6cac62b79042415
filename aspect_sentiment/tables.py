"""Tables of reviews without labels, read, and written again with what a model says of them."""

import sys
from collections.abc import Iterator, Sequence
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aspect_sentiment.columns import REVIEW_NAMES
from core.console import UserError
from core.tables.columns import choose_columns
from core.tables.formats import is_table
from core.tables.read import open_table
from core.text.decode import open_text

if TYPE_CHECKING:
    import pyarrow


def read_reviews(
    path: Path, column: str | None, sheet: str | None = None
) -> tuple[list[str], list[list[Any]], int, "pyarrow.Schema | None"]:
    """The columns of a table, its rows, which column holds the reviews, and the types of the columns where known.

    A text file is a column `text`.

    Raises:
        UserError: the file cannot be read, or is a table without such a column.
    """
    if not is_table(path):
        if column is not None or sheet is not None:
            raise UserError(f"--column and --sheet go with a table, and {path} is read as a text a line")
        with open_text(path) as file:
            columns, rows, place, schema = ["text"], [[line] for line in file.lines()], 0, None
            warnings = file.warnings
    else:
        wanted = [column] if column else []
        with open_table(path, wanted=(*wanted, *REVIEW_NAMES), sheet=sheet) as found:
            chosen = choose_columns(found.columns, wanted, REVIEW_NAMES, "--column", str(path))
            if not chosen:
                odd = "".join(f"; {told}" for told in found.warnings)
                raise UserError(f"{path} has no column that is known to hold reviews: name it with --column{odd}")
            columns, rows, place, schema = found.columns, list(found.rows), chosen[0], found.schema
            warnings = found.warnings
    for warning in warnings:
        print(f"warning: {path}: {warning}", file=sys.stderr)
    return columns, rows, place, schema


def answer_columns(columns: Sequence[str], aspects: Sequence[str]) -> list[str]:
    """The columns of a table with answers: its own, and those of `answer_rows` under names that are free."""
    names = list(columns)
    for name in ("overall", "confidence", *aspects, "error"):
        tries = chain((name, f"{name}_predicted"), (f"{name}_predicted_{number}" for number in count(2)))
        names.append(next(free for free in tries if free not in names))
    return names


def answer_rows(
    rows: Sequence[Sequence[Any]], answers: Sequence[dict[str, Any] | None], aspects: int
) -> Iterator[list[Any]]:
    """Each row as it was, and behind it the overall state, its confidence, and each aspect's state."""
    for row, answer in zip(rows, answers, strict=True):
        if answer is None:
            yield [*row, "", None, *[""] * aspects, "empty"]
            continue
        states = [entry["state"] for entry in answer["aspects"]]
        yield [*row, answer["overall"]["state"], round(answer["overall"]["confidence"], 4), *states, ""]
