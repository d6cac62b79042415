"""Workbooks: which sheet is read, and its rows, streamed."""

import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from typing import Any, BinaryIO
from zipfile import BadZipFile

from core.console import UserError
from core.tables.cells import is_blank
from core.tables.columns import HEADER_ROWS, with_names
from core.tables.formats import SHEET_ROWS, need

OLD_OR_LOCKED = b"\xd0\xcf\x11\xe0"  # the first bytes of an .xls, or of an .xlsx with a password
DAMAGED = (
    BadZipFile,
    zlib.error,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    SyntaxError,
)  # what openpyxl lets through


def open_workbook(
    stack: ExitStack, file: BinaryIO, name: str, wanted: Sequence[str], sheet: str | None
) -> tuple[Iterator[list[Any]], list[str]]:
    """The rows of a sheet, as values: a number, a day, a text; and what is to be told, in sentences.

    Args:
        stack: closes the workbook.
        file: read from its start.
        name: what it is called.
        wanted: names of columns that tell the sheet.
        sheet: its name; None: the first one that can be seen and has the name of a column that is known or wanted,
            else the first one with something in it.

    Raises:
        UserError: it is no workbook, damaged, or has no such sheet.
    """
    need("openpyxl")
    from openpyxl import load_workbook
    from openpyxl.utils.escape import unescape

    if file.read(len(OLD_OR_LOCKED)) == OLD_OR_LOCKED:
        raise UserError(f"{name} is protected by a password, or an old .xls file: save it as .xlsx without a password")
    file.seek(0)
    damaged = f"{name} is no Excel workbook, or damaged: open it and save it as .xlsx again"
    try:
        book = load_workbook(file, read_only=True, data_only=True)
    except DAMAGED as fault:
        raise UserError(damaged) from fault
    stack.callback(book.close)
    sheets = {each.title: each for each in book.worksheets if each.sheet_state == "visible"}

    def rows_of(title: str) -> Iterator[list[Any]]:
        sheets[title].reset_dimensions()  # which some programs write wrong
        try:
            for row in sheets[title].iter_rows(values_only=True, max_row=SHEET_ROWS):
                yield [unescape(cell) if isinstance(cell, str) and "_x" in cell else cell for cell in row]
        except DAMAGED as fault:
            raise UserError(damaged) from fault

    if sheet is not None:
        if sheet not in sheets:
            raise UserError(f"{name} has no sheet {sheet!r}: --sheet must be one of {', '.join(map(repr, sheets))}")
        return rows_of(sheet), []
    looked = {title: list(islice(filter(_is_written, rows_of(title)), HEADER_ROWS)) for title in sheets}
    written = [title for title in sheets if looked[title]]
    if not written:
        return iter(()), []
    better = [title for title in written if with_names(looked[title], wanted) is not None]
    chosen = (better or written)[0]
    others = [repr(title) for title in written if title != chosen]
    return rows_of(chosen), [f"sheet {chosen!r} is read, not {', '.join(others)}: see --sheet"] if others else []


def _is_written(row: list[Any]) -> bool:
    return not is_blank(row)
