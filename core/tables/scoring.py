"""Scoring of parts of many files: the two steps that Ray runs, reading and predicting, and what goes between them."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.answers import text_fault
from core.console import UserError
from core.tables.columns import free_names
from core.tables.parts import Wanted, part_name, read_parts
from core.tables.places import PARQUET, Input, file_system
from core.tables.write import arrow_types

if TYPE_CHECKING:
    import pyarrow
    from pyarrow.fs import FileSystem

HALF = "_half_"  # how the name of a file begins that is not whole yet
ERROR = "error"  # the column that says why a row has no answer


class Reader:
    """Reads the parts of files that are not done yet.

    Args:
        fs: that the files lie on.
        wanted: of each table, and rows of a part; see `read_parts`.
        what: how a part is scored; see `part_name`.
        names: of the columns that each file must have.
        done: names of parts that are there.
    """

    def __init__(
        self, fs: "FileSystem", wanted: tuple[Wanted, int], what: str, names: list[str], done: frozenset[str]
    ) -> None:
        self.fs, self.wanted, self.what, self.names, self.done = fs, wanted, what, names, done

    def __call__(self, batch: "pyarrow.Table") -> Iterator["pyarrow.Table"]:
        """The parts of a file, one by one; at last the names of all, its rows, or why it could be read no further."""
        from pyarrow import BufferOutputStream, ipc

        file, total, skipped, fault = Input(**batch.to_pylist()[0]), 0, 0, ""
        names: list[str] = []
        try:
            for part in read_parts(self.fs, file, *self.wanted):
                if (found := part.table.column_names) != self.names:
                    raise UserError(f"{file.name} has other columns than the first file: {', '.join(found)}")
                sink, items = BufferOutputStream(), json.dumps(part.items)
                with ipc.new_stream(sink, part.table.schema) as stream:
                    stream.write_table(part.table)
                table, total = sink.getvalue().to_pybytes(), total + len(part.items)
                names.append(part_name(file.name, self.what, part.start, table + items.encode()))
                if names[-1] in self.done:
                    skipped += len(part.items)
                    continue
                yield record(file.name, names[-1], table, items)
        except UserError as caught:
            fault = str(caught)
        yield record(file.name, read=total, skipped=skipped, fault=fault, parts=" ".join(names))


def record(file: str, name: str = "", table: bytes = b"", items: str = "", **told: Any) -> "pyarrow.Table":
    """What goes from one step to the next: a part, or what is known of a file or a part."""
    import pyarrow

    counts = {"read": 0, "skipped": 0, "rows": 0, "errors": 0, "node": "", "fault": "", "parts": "", **told}
    row = {"file": file, "name": name, "table": table, "items": items, **counts}
    return pyarrow.table({key: [value] for key, value in row.items()})


class Scorer:
    """Predicts parts and writes their files; Ray makes one in each worker.

    Args:
        model: Ray's reference to the content of the model's files, by their names.
        load: opens a model file: its task and its predictor.
        output: folder, or its address.
        top_k: how many of the likeliest classes to give.
        chunk: items predicted at a time: an INT8 model's answers depend a little on their neighbours.
    """

    def __init__(self, model: Any, load: Callable, output: str, top_k: int, chunk: int) -> None:
        import ray

        files = ray.get(model)
        self.folder = tempfile.TemporaryDirectory()
        for name, content in files.items():
            (Path(self.folder.name) / name).write_bytes(content)
        self.task, self.predictor = load(Path(self.folder.name) / next(iter(files)), "cpu", threads=1)
        self.fs, self.output = file_system(output)
        self.top_k, self.chunk, self.node = top_k, chunk, ray.get_runtime_context().get_node_id()
        known = self.task.cells(self.predictor.predict([self.task.question.sample])[0], self.top_k)
        self.kinds = {column: type(cell) for column, cell in known.items()}

    def __call__(self, batch: "pyarrow.Table") -> "pyarrow.Table":
        """Score a part; what is none is handed on."""
        from pyarrow import ipc
        from pyarrow.parquet import write_table

        given = batch.to_pylist()[0]
        if not given["name"]:
            return batch
        items = json.loads(given["items"])
        faults = list(map(_fault, items))
        rows: list[dict[str, Any]] = []
        pairs = list(zip(items, faults, strict=True))
        for start in range(0, len(pairs), self.chunk):
            part = pairs[start : start + self.chunk]
            answers = iter(self.predictor.predict([item for item, fault in part if not fault]))
            rows += [{} if fault else self.task.cells(next(answers), self.top_k) for _, fault in part]
        table = self.beside(ipc.open_stream(given["table"]).read_all(), rows, faults)
        try:
            path = f"{self.output}/{given['name']}{PARQUET}"
            write_whole(self.fs, path, lambda sink: write_table(table, sink, compression="zstd"))
        except OSError as fault:
            return record(given["file"], fault=f"{given['file']}: its part could not be written ({fault})")
        told = {"rows": len(items), "errors": len(items) - faults.count(None), "node": self.node}
        return record(given["file"], given["name"], **told)

    def beside(self, table: "pyarrow.Table", rows: list[dict[str, Any]], faults: list[str | None]) -> "pyarrow.Table":
        """A table with the answers beside its own columns, under `free_names`."""
        import pyarrow

        kinds = arrow_types()
        added = {name: ([row.get(name) for row in rows], kinds[kind]) for name, kind in self.kinds.items()}
        added[ERROR] = (faults, kinds[str])
        names = free_names(table.column_names, list(added))
        for name, (cells, kind) in zip(names, added.values(), strict=True):
            table = table.append_column(name, pyarrow.array(cells, kind))
        return table


def _fault(item: str | list[str]) -> str | None:
    """Why there is no answer about a text, or about several."""
    return next(filter(None, map(text_fault, [item] if isinstance(item, str) else item)), None)


def write_whole(fs: "FileSystem", path: str, write: Callable[[Any], object]) -> None:
    """Write a file, by what is given it open, that is there whole or not at all, after a power cut too."""
    folder, _, name = path.rpartition("/")
    half = f"{folder}/{HALF}{name}.{os.getpid()}"
    with fs.open_output_stream(half) as sink:
        write(sink)
    if fs.type_name == "local":  # others keep what they have taken
        with Path(half).open("rb+") as file:
            os.fsync(file.fileno())
    fs.move(half, path)


def settle(fs: "FileSystem", folder: str, parts: set[str], keys: set[str]) -> dict[str, int]:
    """Remove what is left of earlier rows of the input; how many parts, rows and other Parquet files are there then.

    Args:
        fs: that the output lies on.
        folder: of the output.
        parts: names of those of the input as it is.
        keys: of the files whose other parts go; see `file_key`.

    Raises:
        UserError: a part is damaged.
    """
    from pyarrow.fs import FileSelector
    from pyarrow.parquet import read_metadata

    infos = fs.get_file_info(FileSelector(folder))
    there = {info.base_name.removesuffix(PARQUET): info.path for info in infos if info.base_name.endswith(PARQUET)}
    others = {name for name in there if name not in parts and not name.startswith("_")}
    earlier = {name for name in others if name.partition("-")[0] in keys}
    for name in earlier:
        fs.delete_file(there[name])
    kept = there.keys() & parts
    rows = 0
    for name in sorted(kept):
        try:
            rows += read_metadata(there[name], filesystem=fs).num_rows
        except (OSError, ValueError) as fault:  # pyarrow's are among them
            raise UserError(f"{there[name]} is damaged: delete it, and run again with --resume") from fault
    return {"parts": len(kept), "rows_out": rows, "other_parquet_files": len(others - earlier)}
