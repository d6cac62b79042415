"""Cells of a table: as text, and harmless where a spreadsheet would run them."""

import json
import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any

FORMULA_STARTS = frozenset("=+-@\u2212")  # once narrow; the last is the sign minus
LINE_BREAKS = re.compile(r"\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\s*")
NUMBER = re.compile(r"[+-]?\d[\d,]*(\.\d+)?([eE][+-]?\d+)?%?", re.ASCII)


def inert(cell: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: an apostrophe goes before what could begin one.

    That is a character of `FORMULA_STARTS` of any width, after whatever cannot be seen. A plain number stays as it is,
    and so does a cell that is no text.
    """
    return f"'{cell}" if isinstance(cell, str) and _could_run(cell) else cell


def without_guard(cell: Any) -> Any:
    """A cell without the apostrophe that `inert` once put before it."""
    return cell[1:] if isinstance(cell, str) and cell.startswith("'") and _could_run(cell[1:]) else cell


def _could_run(cell: str) -> bool:
    seen = next((c for c in cell if c.isprintable() and not c.isspace()), " ")
    return not FORMULA_STARTS.isdisjoint(unicodedata.normalize("NFKC", seen)) and not NUMBER.fullmatch(cell)


def cell_text(cell: Any) -> str:
    """A cell as a person reads it: 1.0 is 1, a day has no midnight, nothing is the empty text."""
    if isinstance(cell, str):
        return cell
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    return next((write(cell) for kind, write in WRITTEN.items() if isinstance(cell, kind)), None) or str(cell)


def join_cells(row: Sequence[object], columns: Sequence[int], between: str) -> str:
    """The text of some cells of a row, on one line; cells with nothing in them are left out."""
    cells = (LINE_BREAKS.sub(" ", cell_text(row[column]).strip()) for column in columns)
    return between.join(cell for cell in cells if cell)


def is_blank(row: Sequence[Any]) -> bool:
    """Whether nothing stands in any cell of a row."""
    return not any(cell_text(cell).strip() for cell in row)


WRITTEN: dict[type, Callable[[Any], str]] = {
    float: lambda cell: str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else str(cell),
    datetime: lambda cell: cell.isoformat(" ").removesuffix(" 00:00:00"),
    date: date.isoformat,
    bytes: lambda cell: cell.decode("utf-8", "replace"),
    list: lambda cell: json.dumps(cell, ensure_ascii=False, default=str),
    dict: lambda cell: json.dumps(cell, ensure_ascii=False, default=str),
}
