"""Rows of a text with a delimiter between its cells; a line or a row without end is refused before memory is full."""

import csv
import re
from collections.abc import Iterator
from functools import partial
from typing import Any, TextIO

from core.console import UserError
from core.text.decode import CHUNK_BYTES, LONGEST_LINE

MOST_CELLS = 20_000  # of a row; a delimiter inside quotes counts as one


def bounded_lines(text: TextIO, name: str) -> Iterator[str]:
    """The lines of a text, with their ends.

    Raises:
        UserError: one of them is too long.
    """
    for number, line in enumerate(iter(partial(text.readline, LONGEST_LINE + 1), ""), start=1):
        if len(line) > LONGEST_LINE and line[-1] != "\n":
            raise UserError(
                f"{name} line {number} is longer than {LONGEST_LINE:,} characters: one row a line, each text on its row"
            )
        yield line


def read_delimited(text: TextIO, name: str, suffix: str) -> Iterator[list[str]]:
    """The rows of a CSV or TSV; where quotes of a TSV do not fit together, they are characters like others.

    Raises:
        UserError: a quote of a CSV is never closed, a line is too long, or a row has too many cells.
    """
    csv.field_size_limit(LONGEST_LINE)
    outside = re.sub('"[^"]*"', "", text.read(CHUNK_BYTES)).partition("\n")[0]
    delimiter = max(",\t;", key=outside.count) if suffix == ".csv" else "\t"
    line, quoting = 1, csv.QUOTE_MINIMAL
    try:
        for end, _, _ in _read(text, name, delimiter, strict=True):
            line = end + 1
    except csv.Error as fault:
        if suffix != ".csv":
            quoting = csv.QUOTE_NONE
        elif "unexpected end" in str(fault) or "limit" in str(fault):
            raise _never_closed(name, line) from fault
        else:
            _refuse_swallowed(text, name, delimiter)
    return (row for _, row, _ in _read(text, name, delimiter, quoting=quoting))


def _never_closed(name: str, line: int) -> UserError:
    return UserError(
        f'{name} line {line} opens a quote that is never closed: write a quote in a text as "", the text itself in '
        '"…", or save the sheet as .xlsx'
    )


def _refuse_swallowed(text: TextIO, name: str, delimiter: str) -> None:
    """Refuse a row that goes on over lines whose quotes do not fit together: it has swallowed the rows after it."""
    for end, _, lines in _read(text, name, delimiter):
        if len(lines) > 1:
            try:
                list(csv.reader(lines, delimiter=delimiter, strict=True))
            except csv.Error as fault:
                raise _never_closed(name, end - len(lines) + 1) from fault


def _read(text: TextIO, name: str, delimiter: str, **dialect: Any) -> Iterator[tuple[int, list[str], list[str]]]:
    """Each row from the first one on, the number of the line in which it ends, and its lines, which do not last."""
    read: list[str] = []  # of the row that is being read

    def lines() -> Iterator[str]:
        delimiters = 0
        for line in bounded_lines(text, name):
            delimiters = (delimiters if read else 0) + line.count(delimiter)
            if delimiters > MOST_CELLS:
                raise UserError(f"{name} has a row of more than {MOST_CELLS:,} cells: is this the right file?")
            read.append(line)
            yield line

    text.seek(0)
    reader = csv.reader(lines(), delimiter=delimiter, **dialect)
    for row in reader:
        yield reader.line_num, row, read
        read.clear()
