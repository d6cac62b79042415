"""Tables read row by row: XLSX, CSV, TSV, JSONL or Parquet, as the suffix of the file says.

Cells keep their kind: numbers and days of a sheet are numbers and days. Text files may be in any encoding that
`core.text.decode` knows, or in UTF-16.
"""

import codecs
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from io import TextIOWrapper
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from core.console import UserError, first_line
from core.tables.cells import is_blank, without_guard
from core.tables.columns import distinct, find_header, name_columns
from core.tables.delimited import MOST_CELLS, bounded_lines, read_delimited
from core.tables.formats import SHEETS, TABLES, need, require_suffix
from core.tables.workbook import open_workbook
from core.text.decode import CHUNK_BYTES, open_text
from core.text.strange import guess

if TYPE_CHECKING:
    import pyarrow

BATCH = 1024  # rows of Parquet at once
LOOK_ROWS = 200  # that tell whether there is a header
Row = list[Any]


@dataclass
class Table:
    """A table that is read once, from the first row to the last.

    Attributes:
        name: what its file is called.
        columns: their names, all different.
        rows: a cell for each column; in a row with nothing in it all are None. None follow the last one with something.
        warnings: what was odd, in sentences.
        first_row: the number of the first of the rows in its file, the header and what is above it counted.
        schema: types of the columns of a Parquet file.
        merged: the letters of the columns of a sheet in which cells are merged.
    """

    name: str
    columns: list[str]
    rows: Iterator[Row]
    warnings: list[str] = field(default_factory=list)
    first_row: int = 1
    schema: "pyarrow.Schema | None" = None
    merged: frozenset[str] = frozenset()


@contextmanager
def open_table(
    source: Path | BinaryIO, name: str | None = None, wanted: Sequence[str] = (), sheet: str | None = None
) -> Iterator[Table]:
    """Open a table of any format.

    Args:
        source: a path, or an open binary file that can be read again from its start; it is closed with the table.
        name: what it is called; its suffix names the format (.txt: columns with tabs between). The path where there is
            one.
        wanted: names of columns that tell the header.
        sheet: of a workbook; None: the first one with the name of a column that is known, else the first one.

    Raises:
        UserError: it is missing, of no known format, damaged, or holds no row; while rows are read: one of them is
            broken.
    """
    name = name or str(source)
    suffix = require_suffix(Path(name), (*TABLES, ".txt"))
    try:
        with ExitStack() as stack:
            file = stack.enter_context(source.open("rb") if isinstance(source, Path) else source)
            text = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace", newline="\n"))
            if suffix == ".parquet":
                table = _open_parquet(file, name)
            elif suffix == ".jsonl":
                table = _read_jsonl(text, name, _copy_text(file, name, text, may_be_json=True))
            elif suffix in SHEETS:
                rows, warnings, merged = open_workbook(stack, file, name, wanted, sheet)
                table = replace(_with_header(name, rows, warnings, wanted, is_sheet=True), merged=merged)
            else:
                warnings = _copy_text(file, name, text)
                table = _with_header(name, read_delimited(text, name, suffix), warnings, wanted)
            if sheet is not None and suffix not in SHEETS:
                raise UserError(f"{name} has no sheets: leave out --sheet")
            opened = stack.pop_all()
    except FileNotFoundError:
        raise UserError(f"{name} does not exist: check the path") from None
    except OSError as fault:
        raise UserError(f"cannot read {name} ({fault.strerror}): check the path and its permissions") from fault
    with opened:
        yield table


def _with_header(
    name: str, rows: Iterator[Row], warnings: list[str], wanted: Sequence[str], is_sheet: bool = False
) -> Table:
    """Find the header among the first rows, and make every row as wide as the table.

    A sheet is as wide as the widest of the first rows; a text file as its header, or else as most of these rows: a row
    that is wider has a delimiter in a text.
    """
    rows = _without_blank_end(rows)
    looked = list(islice(rows, LOOK_ROWS))
    if not looked:
        raise UserError(f"{name} holds no row: is this the right file?")
    at = find_header(looked, wanted)
    start = 0 if at is None else at + 1
    if at is None:
        warnings.append("no header: its columns are called by their letters, A, B, …")
    elif above := sum(not is_blank(row) for row in looked[:at]):
        warnings.append(f"{above} row(s) above the header, skipped")
    header = [] if at is None else looked[at]
    widths = [len(_trimmed(row)) for row in [header, *looked[start:]] if row]
    width = max(widths) if is_sheet else len(header) or Counter(widths).most_common(1)[0][0]
    columns = name_columns(header[:width], width)
    cells = _as_wide(name, chain(looked[start:], rows), width, start, is_sheet)
    return Table(name, columns, cells, warnings, start + 1)


def _as_wide(name: str, rows: Iterator[Row], width: int, start: int, is_sheet: bool = False) -> Iterator[Row]:
    for number, row in enumerate(rows, start=start + 1):
        if len(row) > width and (cells := len(_trimmed(row))) > width:
            cure = 'put a text with a comma or a tab in it in quotes ("…")'
            if is_sheet:
                cure = "give the columns after these a name in the row of names, or clear their cells"
            raise UserError(f"{name} row {number} has {cells} cells, and the table {width} columns: {cure}")
        yield [without_guard(cell) for cell in row[:width]] + [None] * (width - len(row))


def _trimmed(row: Row) -> Row:
    """A row without the empty cells at its end."""
    end = len(row)
    while end and is_blank(row[end - 1 : end]):
        end -= 1
    return row[:end]


def _without_blank_end(rows: Iterator[Row]) -> Iterator[Row]:
    """Rows up to the last one with something in it; one with nothing in it has no cells."""
    blank = 0
    for row in rows:
        if is_blank(row):
            blank += 1
            continue
        for _ in range(blank):
            yield []
        blank = 0
        yield row


def _copy_text(file: BinaryIO, name: str, text: TextIO, may_be_json: bool = False) -> list[str]:
    """Copy the text of a file to a temporary one, which can be read several times; what was odd about it."""
    head = file.read(CHUNK_BYTES)
    file.seek(0)
    wide = "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else guess(head)
    if wide and wide.startswith("utf-16") and b"\0" in head:
        warnings: list[str] = []
        with TextIOWrapper(file, encoding=wide, errors="replace") as lines:
            text.writelines(lines)
    else:
        with open_text(file, name, may_be_json) as opened:
            warnings = opened.warnings
            text.writelines(opened.parts(CHUNK_BYTES))
    text.seek(0)
    return warnings


def _read_jsonl(text: TextIO, name: str, warnings: list[str]) -> Table:
    """A table with a column for each key of any line."""
    columns: dict[str, None] = {}
    for number, line in enumerate(bounded_lines(text, name), start=1):
        try:
            row = json.loads(line) if line.strip() else {}
        except (ValueError, RecursionError) as fault:
            raise UserError(f"{name} line {number} is no JSON ({fault}): write one object a line") from fault
        if not isinstance(row, dict):
            raise UserError(f'{name} line {number} is no JSON object: write {{"text": "…", "label": "…"}} on each line')
        columns |= dict.fromkeys(row)
        if len(columns) > MOST_CELLS:
            raise UserError(f"{name} has more than {MOST_CELLS:,} different keys: is this the right file?")
    if not columns:
        raise UserError(f"{name} holds no row: is this the right file?")
    text.seek(0)
    rows = ([json.loads(line).get(column) for column in columns] if line.strip() else [] for line in text)
    return Table(name, list(columns), _as_wide(name, _without_blank_end(rows), len(columns), 0), warnings)


def _open_parquet(file: BinaryIO, name: str) -> Table:
    need("pyarrow")
    from pyarrow.parquet import ParquetFile

    with telling_damage(name):
        table = ParquetFile(file)
    schema = with_distinct_names(table.schema_arrow)
    if not table.metadata.num_rows or not schema.names:
        raise UserError(f"{name} holds no row: is this the right file?")

    def rows() -> Iterator[Row]:
        with telling_damage(name):
            for batch in table.iter_batches(BATCH):
                yield from map(list, zip(*(column.to_pylist() for column in batch.columns), strict=True))

    return Table(name, schema.names, rows(), schema=schema)


@contextmanager
def telling_damage(name: str) -> Iterator[None]:
    """Refuse a Parquet file that turns out to be none, or whose values Python cannot hold.

    Raises:
        UserError: it does.
    """
    from pyarrow import ArrowException

    try:
        yield
    except (ArrowException, OSError, ValueError, OverflowError) as fault:
        raise UserError(f"{name} is no Parquet file, or damaged ({first_line(fault)}): write it again") from fault


def with_distinct_names(schema: "pyarrow.Schema") -> "pyarrow.Schema":
    """The schema of a Parquet file, where columns may share a name, with `distinct` ones."""
    import pyarrow

    fields = [own.with_name(name) for own, name in zip(schema, distinct(schema.names), strict=True)]
    return pyarrow.schema(fields, schema.metadata)
