"""The texts of a file, and the predicted classes beside them: a text a line, or a table that keeps its own columns."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.answers import UNSURE, Prediction, answer_rows
from core.console import UserError
from core.tables.cells import join_cells
from core.tables.columns import free_names, text_columns
from core.tables.formats import WRITTEN, is_table, require_suffix
from core.tables.read import Table, open_table
from core.text.decode import Text, open_text
from core.text.odd import watch

if TYPE_CHECKING:
    import pyarrow

SURE = "置信度"  # how columns of confidences are called
# texts -> each with its prediction; None for one with nothing to see in it
Predict = Callable[[Iterator[str]], Iterator[tuple[str, Prediction | None]]]


@dataclass
class Source:
    """A file of texts that is read once.

    Attributes:
        content: a text a line, or a table.
        columns: of the table, those of the texts.
        join: what stands between the texts of several columns.
    """

    content: Text | Table
    columns: Sequence[int] = ()
    join: str = " "

    def texts(self) -> Iterator[str]:
        """The texts, each on one line; at the end it is told how many are not to be trusted."""
        if isinstance(self.content, Text):
            return watch(self.content.lines(), self.content.name, "line")
        rows = (join_cells(row, self.columns, self.join) for row in self.content.rows)
        return watch(rows, self.content.name, "row")

    def answered(
        self, predict: Predict, top_k: int, min_confidence: float | None
    ) -> tuple[list[str], Iterator[list[Any]], "pyarrow.Schema | None", dict[str, type]]:
        """The table to write, as `write_table` takes it: what was read, and the answers beside it.

        Args:
            predict: gives the answers, in order.
            top_k: of the likeliest classes.
            min_confidence: below which an answer is unsure; None: it is not asked.
        """
        if isinstance(self.content, Text):
            rows = answer_rows(predict(self.texts()), top_k, min_confidence)
            names = [str(name) for name in next(rows)]
            return names, rows, None, {name: float for name in names if name.startswith("confidence")}
        added = added_columns(self.content.columns, top_k, min_confidence)
        own, self.content.rows = tee(self.content.rows)  # as far apart as `predict` looks ahead
        answers = (prediction for _, prediction in predict(self.texts()))
        cells = partial(added_cells, top_k=top_k, min_confidence=min_confidence, width=len(added))
        rows = _beside(self.content.name, own, answers, cells)
        kinds: dict[str, type] = {name: float for name in added if SURE in name}
        return [*self.content.columns, *added], rows, self.content.schema, kinds


def _beside(
    name: str,
    rows: Iterator[list[Any]],
    answers: Iterator[Prediction | None],
    cells: Callable[[Prediction | None], list[Any]],
) -> Iterator[list[Any]]:
    """Rows with the cells of their answers; at the end it is told how many texts have none, or were cut."""
    empty = cut = 0
    for row, prediction in zip(rows, answers, strict=True):
        empty += prediction is None
        cut += prediction is not None and prediction.truncated
        yield row + cells(prediction)
    for count, what in ((empty, "without a text: no class"), (cut, "longer than the model reads: the end was cut")):
        if count:
            print(f"warning: {name}: {count} row(s) {what}", file=sys.stderr)


def added_columns(columns: Sequence[str], top_k: int, min_confidence: float | None) -> list[str]:
    """The names of the columns that predictions add to those of a table."""
    added = ["类别", SURE] + (["说明"] if min_confidence is not None else [])
    added += [f"{name}{rank}" for rank in range(2, top_k + 1) for name in ("类别", SURE)]
    return free_names(columns, added)


def added_cells(prediction: Prediction | None, top_k: int, min_confidence: float | None, width: int) -> list[Any]:
    """The cells of a row in the `added_columns`, nothing in them without a prediction."""
    if prediction is None:
        return [None] * width
    first, *others = ((name, round(share, 6)) for name, share in prediction.top(top_k))
    note = [] if min_confidence is None else ["" if prediction.is_sure(min_confidence) else UNSURE]
    cells = [*first, *note, *(cell for each in others for cell in each)]
    return cells + [None] * (width - len(cells))


@contextmanager
def open_source(
    path: Path, output: Path | None, columns: Sequence[str], join: str, sheet: str | None
) -> Iterator[Source]:
    """Open a file of texts, a table where its name says so; warns of what is odd in it.

    Args:
        path: of the file; - is standard input.
        output: where the answers will go; None: they are printed.
        columns: names of those that hold the texts; empty: the first that is called like it, or the only one.
        join: what stands between the texts of several columns.
        sheet: of a workbook; None: see `open_table`.

    Raises:
        UserError: it cannot be read, the output is the same file or no table, or the columns are not found.
    """
    is_stdin = str(path) == "-"
    if output and output.is_file():
        with suppress(OSError):  # standard input may be no file, the path may not exist
            status = os.fstat(sys.stdin.fileno()) if is_stdin else path.stat()
            if os.path.samestat(status, output.stat()):
                raise UserError(f"--output {output} is the file that is read: give the answers another name")
    if output:
        require_suffix(output, WRITTEN)
    opened: AbstractContextManager[Text | Table]
    if is_table(path):
        opened = open_table(path, wanted=columns, sheet=sheet)
    elif columns or sheet:
        raise UserError(f"--column and --sheet go with a table, and {path} is read as a text a line")
    else:
        opened = open_text(sys.stdin.buffer, "standard input") if is_stdin else open_text(path)
    with opened as content:
        for warning in content.warnings:
            print(f"warning: {content.name}: {warning}", file=sys.stderr)
        yield Source(
            content, text_columns(content.columns, columns, content.name) if isinstance(content, Table) else (), join
        )


def class_columns(prediction: Prediction, top_k: int) -> dict[str, Any]:
    """The columns that a prediction adds to a table, and its cells in them."""
    names = added_columns((), min(top_k, len(prediction.probabilities)), None)
    return dict(zip(names, added_cells(prediction, top_k, None, len(names)), strict=True))
