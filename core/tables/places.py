"""Where many files lie: folders, patterns and addresses that pyarrow reads (s3://, hdfs://, gs://)."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from core.console import UserError
from core.tables.formats import TABLES, need

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

SUFFIXES = (*TABLES, ".txt")
PARQUET = ".parquet"
HIDDEN = (".", "_", "~$")  # how names begin that nobody means; the last is what Excel keeps beside an open workbook


class Input(NamedTuple):
    """A file to be read.

    Attributes:
        path: as its file system knows it.
        name: what it is called: the path from the folder that was asked for.
    """

    path: str
    name: str


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
    base, pattern = split_pattern(fs, path)
    try:
        found = fs.get_file_info(base)
        if found.type == FileType.File:
            infos, base = [found], PurePosixPath(base).parent.as_posix()
        else:
            infos = fs.get_file_info(FileSelector(base, recursive=pattern[0] == "**" or len(pattern) > 1))
    except (OSError, ValueError) as fault:
        raise UserError(f"--input {place} cannot be read ({fault}): give a folder, a file or a pattern") from fault
    inputs = []
    for info in infos:
        try:
            path, is_utf8 = info.path, True
        except UnicodeDecodeError as fault:  # an archive of a Chinese Windows, unpacked on Linux
            path, is_utf8 = fault.object.decode("utf-8", "surrogateescape"), False
        name = PurePosixPath(path).relative_to(base)
        wanted = found.type == FileType.File or is_read(name.parts, pattern)
        if info.type == FileType.File and wanted and name.suffix.lower() in SUFFIXES:
            if not is_utf8:
                told = name.as_posix().encode("utf-8", "surrogateescape").decode("gb18030", "replace")
                raise UserError(f"--input {place} holds {told}, whose name is not in UTF-8: rename it")
            inputs.append(Input(path, name.as_posix()))
    if not inputs:
        hidden = f"; what begins with {' '.join(HIDDEN)} is passed over"
        raise UserError(f"--input {place} holds no file that ends in {' '.join(SUFFIXES)}{hidden}")
    return fs, sorted(inputs)


def home(fs: "FileSystem", file: Input) -> str:
    """The folder that the name of a file begins at."""
    base = file.path.removesuffix(file.name)
    return Path(base).resolve().as_posix() if fs.type_name == "local" else base


def split_pattern(fs: "FileSystem", path: str) -> tuple[str, tuple[str, ...]]:
    """The folder that a pattern begins at, and its parts from there on; of what is there itself, that and ("**",)."""
    parts = PurePosixPath(path).parts
    signs = (at for at, part in enumerate(parts) if not {*"*?["}.isdisjoint(part))
    first = next((at for at in signs if not _is_there(fs, PurePosixPath(*parts[: at + 1]).as_posix())), None)
    if first is None:
        return path, ("**",)
    base = PurePosixPath(*parts[:first]).as_posix()
    return base + "/" * base.endswith(":"), parts[first:]  # C: alone is where one is on that drive


def _is_there(fs: "FileSystem", path: str) -> bool:
    from pyarrow.fs import FileType

    try:
        return fs.get_file_info(path).type != FileType.NotFound
    except OSError:  # Windows knows no names with *
        return False


def is_read(name: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a pattern names a path, and no part of it is hidden."""
    return not any(part.startswith(HIDDEN) for part in name) and matches(name, pattern)


def matches(name: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the parts of a path are those of a pattern, from the first to the last; ** is any number of folders."""
    if not pattern or not name:
        return not name and set(pattern) <= {"**"}
    if pattern[0] == "**":
        return matches(name, pattern[1:]) or matches(name[1:], pattern)
    return fnmatchcase(name[0], pattern[0]) and matches(name[1:], pattern[1:])


def refuse_overlap(place: str, output: str) -> None:
    """Refuse an output folder whose files would be read as input the next time."""
    (fs, path), (out, folder) = file_system(place), file_system(output)
    if fs != out:
        return
    base, (*folders, last) = split_pattern(fs, path)
    last = last if last == "**" else "*" + PurePosixPath(last).suffix  # whatever the part is called
    pairs: list[tuple[PurePath, PurePath]] = [(PurePosixPath(base), PurePosixPath(folder))]
    if out.type_name == "local":
        pairs.append((Path(base).resolve(), Path(folder).resolve()))
    for start, end in pairs:
        if end.is_relative_to(start) and is_read((*end.relative_to(start).parts, f"x{PARQUET}"), (*folders, last)):
            raise UserError(f"--output {output} lies in --input {place}: choose a folder elsewhere")
