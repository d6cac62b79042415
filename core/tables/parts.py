"""Many files of texts, read part by part: each part has a name that stays the same as long as its file does.

Files lie on disk, or where pyarrow reads them (s3://, hdfs://, gs://).
"""

import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from core.console import UserError
from core.tables.cells import cell_text, join_cells
from core.tables.columns import text_columns
from core.tables.formats import TABLES, need
from core.tables.read import open_table
from core.text.decode import open_text
from core.text.tokenizer import replace_surrogates

if TYPE_CHECKING:
    import pyarrow
    from pyarrow.fs import FileSystem

SUFFIXES = (*TABLES, ".txt")
PARQUET = ".parquet"
TEXT = "text"  # the column of a file with a text a line


class Input(NamedTuple):
    """A file to be read.

    Attributes:
        path: as its file system knows it.
        name: what it is called: the path from the folder that was asked for.
        version: its size and time: with another one it is another file.
    """

    path: str
    name: str
    version: str


class Part(NamedTuple):
    """Some rows of a file.

    Attributes:
        start: the first of them, counted from 0.
        table: their own columns.
        texts: of each.
    """

    start: int
    table: "pyarrow.Table"
    texts: list[str]


def file_system(place: str) -> tuple["FileSystem", str]:
    """The file system of a path or an address, and the path on it.

    Raises:
        UserError: pyarrow does not know it, or cannot reach it.
    """
    need("pyarrow")
    from pyarrow.fs import FileSystem, LocalFileSystem

    if "://" not in place:
        return LocalFileSystem(), Path(place).absolute().as_posix()
    try:
        return FileSystem.from_uri(place)
    except Exception as fault:  # of whichever storage it is
        raise UserError(f"{place} cannot be reached ({fault}): check the address and the credentials") from fault


def list_inputs(place: str) -> tuple["FileSystem", list[Input]]:
    """The files of a folder and all below it, or those that a pattern names, in order.

    Raises:
        UserError: there is none that can be read.
    """
    from pyarrow.fs import FileSelector, FileType

    fs, path = file_system(place)
    base, pattern = path, ""
    if any(sign in path for sign in "*?["):
        parts = PurePosixPath(path).parts
        first = next(index for index, part in enumerate(parts) if any(sign in part for sign in "*?["))
        base, pattern = PurePosixPath(*parts[:first]).as_posix(), PurePosixPath(*parts[first:]).as_posix()
    try:
        found = fs.get_file_info(base)
        if found.type == FileType.File:
            infos, base = [found], PurePosixPath(base).parent.as_posix()
        else:
            infos = fs.get_file_info(FileSelector(base, recursive=True))
    except OSError as fault:
        raise UserError(f"--input {place} cannot be read ({fault}): give a folder, a file or a pattern") from fault
    inputs = []
    for info in infos:
        name = PurePosixPath(info.path).relative_to(base).as_posix()
        hidden = any(part.startswith((".", "_")) for part in PurePosixPath(name).parts)
        fits = not pattern or PurePosixPath(name).match(pattern)
        if info.type == FileType.File and not hidden and fits and PurePosixPath(name).suffix.lower() in SUFFIXES:
            inputs.append(Input(info.path, name, f"{info.size} {info.mtime_ns}"))
    if not inputs:
        raise UserError(f"--input {place} holds no file that ends in {' '.join(SUFFIXES)}")
    return fs, sorted(inputs)


def part_name(file: Input, start: int, what: str) -> str:
    """The name of what is made of a part; `what` says how."""
    key = "\n".join((file.name, file.version, str(start), what))
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def read_parts(fs: "FileSystem", file: Input, columns: Sequence[str], join: str, rows: int) -> Iterator[Part]:
    """The parts of a file, of so many rows each; at least one, be it empty.

    Args:
        fs: that it lies on.
        file: what to read.
        columns: names of those that hold the texts; empty: the one that is called like it, or the only one.
        join: what stands between the texts of several columns.
        rows: of a part.

    Raises:
        UserError: the file is missing or damaged, or has no such columns; parts before the damage have been given.
    """
    suffix = PurePosixPath(file.name).suffix.lower()
    try:
        with fs.open_input_file(file.path) as source:
            if suffix == PARQUET:
                yield from _of_parquet(source, file.name, columns, join, rows)
            else:
                yield from _of_rows(io.BufferedReader(source), file.name, columns, join, rows)
    except (OSError, ValueError, MemoryError) as fault:  # pyarrow's are among them
        raise UserError(f"{file.name} cannot be read ({str(fault).splitlines()[0][:200]})") from fault


def _of_parquet(source, name: str, columns: Sequence[str], join: str, rows: int) -> Iterator[Part]:
    from pyarrow import Table
    from pyarrow.parquet import ParquetFile

    file = ParquetFile(source)
    schema = file.schema_arrow
    chosen = text_columns(schema.names, columns, name)
    start = 0
    for batch in file.iter_batches(batch_size=rows):
        cells = [batch.column(index).to_pylist() for index in chosen]
        texts = [join_cells(row, range(len(chosen)), join) for row in zip(*cells, strict=True)]
        yield Part(start, Table.from_batches([batch], schema), texts)
        start += batch.num_rows
    if not start:
        yield Part(0, schema.empty_table(), [])


def _of_rows(source, name: str, columns: Sequence[str], join: str, rows: int) -> Iterator[Part]:
    import pyarrow

    if PurePosixPath(name).suffix.lower() == ".txt":
        chosen = text_columns([TEXT], columns, name)
        with open_text(source, name) as text:
            yield from _in_parts(([line] for line in text.lines()), [TEXT], chosen, join, rows, pyarrow)
        return
    with open_table(source, name, columns) as table:
        chosen = text_columns(table.columns, columns, name)
        yield from _in_parts(table.rows, table.columns, chosen, join, rows, pyarrow)


def _in_parts(
    cells: Iterator, names: Sequence[str], chosen: Sequence[int], join: str, rows: int, arrow
) -> Iterator[Part]:
    schema = arrow.schema([(name, arrow.string()) for name in names])
    start, taken, texts = 0, [], []

    def part() -> Part:
        columns = zip(*taken, strict=True) if taken else [[] for _ in names]
        shown = [
            [None if cell is None else replace_surrogates(cell_text(cell)) for cell in column] for column in columns
        ]
        return Part(start, arrow.table([arrow.array(column, arrow.string()) for column in shown], schema), texts)

    for row in cells:
        taken.append(row)
        texts.append(join_cells(row, chosen, join))
        if len(taken) == rows:
            yield part()
            start, taken, texts = start + rows, [], []
    if taken or not start:
        yield part()


def shown(cell: object) -> str | None:
    """A cell as text that any file can hold; None stays."""
    return None if cell is None else replace_surrogates(cell_text(cell))
