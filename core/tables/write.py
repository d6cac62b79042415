"""Tables written: CSV, TSV, XLSX, JSONL or Parquet, as the suffix of the file says; memory holds some of the rows."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from itertools import chain, islice
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from core.console import UserError
from core.files import atomic_write
from core.tables.cells import cell_text, inert
from core.tables.columns import letter
from core.tables.formats import SHEET_ROWS, WRITTEN, need, require_suffix

if TYPE_CHECKING:
    import pyarrow

SHEET_CHARACTERS = 32_767  # of a cell
DAY_AND_TIME = "yyyy-mm-dd hh:mm:ss"
SHEET_DAYS = timedelta(days=2_958_465)  # of a duration at most; a sheet shows none below nothing
LOOK_ROWS = 1000  # that tell which columns of a sheet hold days and times
EXACT = 10**15  # a whole number from here on loses digits in a sheet
BATCH = 4096  # rows of a Parquet batch


def write_table(
    path: Path,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    schema: "pyarrow.Schema | None" = None,
    kinds: Mapping[str, type] | None = None,
) -> None:
    """Write a table to a file, whole or not at all.

    Args:
        path: its suffix names the format.
        columns: names.
        rows: a cell for each column.
        schema: types of the columns of a Parquet file; a column that it lacks is text.
        kinds: of more of its columns, those of numbers: int or float.

    Raises:
        UserError: the suffix names no format, the table does not fit into it, or the file cannot be written.
    """
    suffix = require_suffix(path, WRITTEN)
    atomic_write(path, lambda file: write_format(file, suffix, columns, rows, schema, kinds))


def write_format(
    file: BinaryIO,
    suffix: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    schema: "pyarrow.Schema | None" = None,
    kinds: Mapping[str, type] | None = None,
) -> None:
    """Write a table to an open file in the format of a suffix; see `write_table`."""
    if suffix in (".csv", ".tsv"):
        write_rows(file, chain([columns], rows), "," if suffix == ".csv" else "\t")
    elif suffix == ".jsonl":
        for row in rows:
            line = json.dumps(_finite(dict(zip(columns, row, strict=True))), ensure_ascii=False, default=cell_text)
            file.write(line.encode("utf-8", "replace") + b"\n")
    elif suffix == ".parquet":
        _write_parquet(file, columns, rows, schema, kinds)
    else:
        _write_xlsx(file, chain([columns], rows))


def _finite(value: Any) -> Any:
    """A value with null for numbers that JSON has not: NaN and the infinities."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_rows(file: BinaryIO, rows: Iterable[Iterable[Any]], delimiter: str = ",") -> None:
    """Write CSV, or TSV, that Excel opens with its Chinese intact (UTF-8 with BOM, CRLF), and no cell of it runs."""
    text_file = io.TextIOWrapper(file, encoding="utf-8-sig", newline="", errors="replace")
    csv.writer(text_file, delimiter=delimiter).writerows([inert(cell_text(cell)) for cell in row] for row in rows)
    text_file.detach()


def _write_xlsx(file: BinaryIO, rows: Iterable[Iterable[Any]]) -> None:
    need("openpyxl")
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    sheet = book.create_sheet("Sheet1")
    try:
        rows = iter(rows)
        looked = [list(row) for row in islice(rows, LOOK_ROWS)]
        for column, width in _time_widths(looked).items():  # before the first row is written
            sheet.column_dimensions[letter(column)].width = width
        for number, row in enumerate(chain(looked, rows), start=1):
            if number > SHEET_ROWS:
                raise UserError(f"a sheet holds {SHEET_ROWS - 1:,} rows and the table has more: write a .csv file")
            sheet.append([_styled(_sheet_cell(cell), sheet) for cell in row])
    finally:
        sheet.close()
    book.save(file)


def _time_widths(rows: Iterable[Sequence[Any]]) -> dict[int, int]:
    """How wide the columns of days and times must be, where a sheet would show ######## instead."""
    widths: dict[int, int] = {}
    for row in rows:
        for column, cell in enumerate(row):
            if _is_time(cell):
                widths[column] = max(widths.get(column, 12), len(cell_text(cell)) + 2)
    return widths


def _is_time(cell: Any) -> bool:
    """Whether a cell is a day, a time or a duration that a sheet can hold."""
    if isinstance(cell, timedelta):
        return timedelta(0) <= cell <= SHEET_DAYS
    is_time = isinstance(cell, date | time) and getattr(cell, "tzinfo", None) is None
    return is_time and (not isinstance(cell, date) or cell.year >= 1900)


def _styled(cell: Any, sheet: Any) -> Any:
    """A cell of a sheet that shows a day as such, and its time where it has one."""
    if not isinstance(cell, datetime):
        return cell
    if cell.time() == time():
        return cell.date()
    from openpyxl.cell import WriteOnlyCell

    styled = WriteOnlyCell(sheet, cell)
    styled.number_format = DAY_AND_TIME
    return styled


def _sheet_cell(cell: Any) -> Any:
    """What a sheet can hold of a cell: numbers, days and times as such, anything else as text that does not run."""
    is_real = isinstance(cell, Real)
    if _is_time(cell) or (is_real and cell == cell and abs(cell) < EXACT):
        return cell
    text = "".join(c for c in cell_text(cell) if c >= " " or c in "\t\n\r")
    return inert(_plain(text))[:SHEET_CHARACTERS] or None


def _plain(text: str) -> str:
    """A text without lone surrogates, which no file can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def arrow_types() -> dict[type, "pyarrow.DataType"]:
    """What a Parquet file calls the kinds of cells."""
    import pyarrow

    return {str: pyarrow.string(), float: pyarrow.float64(), int: pyarrow.int64(), bool: pyarrow.bool_()}


def _write_parquet(
    file: BinaryIO,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    schema: "pyarrow.Schema | None",
    kinds: Mapping[str, type] | None,
) -> None:
    need("pyarrow")
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    known = {name: arrow_types()[kind] for name, kind in (kinds or {}).items()}
    known |= {} if schema is None else {field.name: field.type for field in schema}
    schema = pyarrow.schema([(name, known.get(name, pyarrow.string())) for name in columns])
    with ParquetWriter(file, schema) as writer:
        rows = iter(rows)
        while part := list(islice(rows, BATCH)):
            arrays = []
            for field, column in zip(schema, zip(*part, strict=True), strict=True):
                cells: Sequence[Any] = column
                if field.type == pyarrow.string():
                    cells = [None if cell is None else _plain(cell_text(cell)) for cell in column]
                arrays.append(pyarrow.array(cells, field.type))
            writer.write_batch(pyarrow.record_batch(arrays, schema=schema))
