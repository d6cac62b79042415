"""Workbooks: which sheet is read, and its rows, streamed."""

import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from typing import IO, Any, BinaryIO
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
PART_BYTES = 1_000_000  # of a sheet's XML at once
LONGEST = 100_000  # bytes of a formula's cell; a formula has 8,192 characters at most
FORMULA = re.compile(  # without a value; the cell's attributes
    rb"<(?:\w+:)?c\b([^<>]*)>\s*<(?:\w+:)?f\b(?:[^<>]*/>|[^<>]*>[^<]*</(?:\w+:)?f>)"
    rb"\s*(?:</|<(?:\w+:)?v\b[^<>]*(?:/>|></))"
)
MERGED = re.compile(rb"""<(?:\w+:)?mergeCell\s[^<>]*?ref=["']([A-Z]{1,3})\d+:\1\d""")  # in one column; its letters


def open_workbook(
    stack: ExitStack, file: BinaryIO, name: str, wanted: Sequence[str], sheet: str | None
) -> tuple[Iterator[list[Any]], list[str], frozenset[str]]:
    """The rows of a sheet, as values: a number, a day, a text; what is to be told; the columns with merged cells.

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

    def look_over(title: str) -> tuple[list[str], frozenset[str]]:
        try:
            with sheets[title]._get_source() as xml:
                count, merged = scan(xml)
        except DAMAGED as fault:
            raise UserError(damaged) from fault
        cure = "open the workbook in Excel, save it, and run again"
        told = f"{count} cell(s) of sheet {title!r} hold formulas without a stored value, and are read as empty: {cure}"
        return [told] if count else [], merged

    if sheet is not None:
        if sheet not in sheets:
            raise UserError(f"{name} has no sheet {sheet!r}: --sheet must be one of {', '.join(map(repr, sheets))}")
        return rows_of(sheet), *look_over(sheet)
    looked = {title: list(islice(filter(_is_written, rows_of(title)), HEADER_ROWS)) for title in sheets}
    written = [title for title in sheets if looked[title]]
    if not written:
        return iter(()), [], frozenset()
    better = [title for title in written if with_names(looked[title], wanted) is not None]
    chosen = (better or written)[0]
    others = [repr(title) for title in written if title != chosen]
    read = [f"sheet {chosen!r} is read, not {', '.join(others)}: see --sheet"] if others else []
    warnings, merged = look_over(chosen)
    return rows_of(chosen), read + warnings, merged


def scan(xml: IO[bytes]) -> tuple[int, frozenset[str]]:
    """Look through the XML of a sheet for what its values do not say; reading it takes twenty times as long.

    Returns:
        How many formulas have no value, as programs write them that do not compute; the letters of the columns in which
        cells are merged.
    """
    count, merged, text = 0, set(), b""
    while part := xml.read(PART_BYTES):
        text += part
        end = max(0, len(text) - LONGEST)  # what begins later may not be whole yet
        for found in FORMULA.finditer(text):
            count += b"str" not in found[1]  # a text of no characters is a value
            end = max(end, found.end())
        merged.update(MERGED.findall(text))
        text = text[end:]
    return count, frozenset(letters.decode() for letters in merged)


def _is_written(row: list[Any]) -> bool:
    return not is_blank(row)
