"""Many files of texts, read part by part: each part has a name that stays the same as long as its rows do."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from core.console import UserError, first_line
from core.tables.cells import cell_text, join_cells
from core.tables.columns import choose_columns, text_columns
from core.tables.places import PARQUET, Input
from core.tables.read import open_table, telling_damage, with_distinct_names
from core.text.decode import open_text
from core.text.tokenizer import replace_surrogates

if TYPE_CHECKING:
    import pyarrow
    from pyarrow.fs import FileSystem

NAMES = 2  # another number where `part_name` names the same rows otherwise than before
TEXT = "text"  # the column of a file with a text a line


class Part(NamedTuple):
    """Some rows of a file.

    Attributes:
        start: the first of them, counted from 0.
        table: their own columns.
        items: of each row what is asked about: a text, or several.
    """

    start: int
    table: "pyarrow.Table"
    items: list[str] | list[list[str]]


class Wanted(NamedTuple):
    """What is read of a table.

    Attributes:
        columns: names of those that hold the texts; empty: those of usual names.
        join: what stands between the texts of several columns.
        usual: the usual names of the column of each text, where items are several texts; (): where they are one.
    """

    columns: tuple[str, ...] = ()
    join: str = " "
    usual: tuple[tuple[str, ...], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names that tell a header from a row."""
        return self.columns or tuple(name for names in self.usual for name in names)

    def choose(self, names: Sequence[str], file: str) -> list[int]:
        """The columns of a table by their names.

        Raises:
            UserError: it lacks one.
        """
        if not self.usual:
            return text_columns(names, self.columns, file)
        given: list[tuple[str, ...]] = [(name,) for name in self.columns] or [()] * len(self.usual)
        if len(given) != len(self.usual):
            raise UserError(f"--column must name {len(self.usual)} columns, such as {self.examples}")
        found = [choose_columns(names, *of, "--column", file) for of in zip(given, self.usual, strict=True)]
        if not all(found):
            known = ", ".join(map(repr, names))
            raise UserError(
                f"{file}: which columns are asked about? It has {known}: name them with --column, as in "
                f"--column {self.examples}"
            )
        return [columns[0] for columns in found]

    @property
    def examples(self) -> str:
        """The first usual name of each column."""
        return " ".join(names[0] for names in self.usual)

    def item(self, row: Sequence[object], chosen: Sequence[int]) -> Any:
        """What a row asks about."""
        return [cell_text(row[place]) for place in chosen] if self.usual else join_cells(row, chosen, self.join)


def file_key(file: str, what: str) -> str:
    """How the names begin of all that is made of a file; `what` says how."""
    return hashlib.sha256(f"{file}\n{what}".encode("utf-8", "surrogatepass")).hexdigest()[:20]


def part_name(file: str, what: str, start: int, rows: bytes) -> str:
    """The name of what is made of a part: it tells the file and its own rows, not their age."""
    own = hashlib.sha256(f"{start}\n".encode() + rows).hexdigest()
    return f"{file_key(file, what)}-{own[:20]}"


def read_parts(fs: "FileSystem", file: Input, wanted: Wanted, rows: int) -> Iterator[Part]:
    """The parts of a file, of so many rows each; at least one, be it empty.

    Args:
        fs: that it lies on.
        file: what to read.
        wanted: of its tables.
        rows: of a part.

    Raises:
        UserError: the file is missing or damaged, or has no such columns; parts before the damage have been given.
    """
    suffix = PurePosixPath(file.name).suffix.lower()
    try:
        with fs.open_input_file(file.path) as source:
            if suffix == PARQUET:
                yield from _of_parquet(source, file.name, wanted, rows)
            else:
                yield from _of_rows(io.BufferedReader(source), file.name, wanted, rows)
    except (OSError, ValueError, MemoryError) as fault:  # pyarrow's are among them
        raise UserError(f"{file.name} cannot be read ({first_line(fault)})") from fault


def _of_parquet(source, name: str, wanted: Wanted, rows: int) -> Iterator[Part]:
    from pyarrow import Table
    from pyarrow.parquet import ParquetFile

    start = 0
    with telling_damage(name):
        file = ParquetFile(source)
        schema = with_distinct_names(file.schema_arrow)
        if not schema.names:
            raise UserError(f"{name} holds no column: is this the right file?")
        chosen = wanted.choose(schema.names, name)
        for batch in file.iter_batches(batch_size=rows):
            cells = [batch.column(index).to_pylist() for index in chosen]
            items = [wanted.item(row, range(len(chosen))) for row in zip(*cells, strict=True)]
            yield Part(start, Table.from_arrays(batch.columns, schema=schema), items)
            start += batch.num_rows
    if not start:
        yield Part(0, schema.empty_table(), [])


def _of_rows(source, name: str, wanted: Wanted, rows: int) -> Iterator[Part]:
    import pyarrow

    if PurePosixPath(name).suffix.lower() == ".txt":
        chosen = wanted.choose([TEXT], name)
        with open_text(source, name) as text:
            yield from _in_parts(([line] for line in text.lines()), [TEXT], chosen, wanted, rows, pyarrow)
        return
    with open_table(source, name, wanted.names) as table:
        chosen = wanted.choose(table.columns, name)
        yield from _in_parts(table.rows, table.columns, chosen, wanted, rows, pyarrow)


def _in_parts(
    cells: Iterator, names: Sequence[str], chosen: Sequence[int], wanted: Wanted, rows: int, arrow
) -> Iterator[Part]:
    schema = arrow.schema([(name, arrow.string()) for name in names])
    start = 0
    taken: list[Sequence[object]] = []
    items: list[Any] = []

    def part() -> Part:
        columns = zip(*taken, strict=True) if taken else [[] for _ in names]
        arrays = [arrow.array(map(shown, column), arrow.string()) for column in columns]
        return Part(start, arrow.table(arrays, schema), items)

    for row in cells:
        taken.append(row)
        items.append(wanted.item(row, chosen))
        if len(taken) == rows:
            yield part()
            start, taken, items = start + rows, [], []
    if taken or not start:
        yield part()


def shown(cell: object) -> str | None:
    """A cell as text that any file can hold; None stays."""
    return None if cell is None else replace_surrogates(cell_text(cell))
