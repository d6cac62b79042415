"""Files in and out: text of unknown encoding read, whole files written or none."""

import codecs
import hashlib
import io
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from core.console import UserError

CHUNK_BYTES = 1 << 20


def atomic_write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that a kill or a full disk at any moment leaves the earlier file, or none, but never half of one.

    Args:
        path: where the file goes; its folder is made when needed.
        write: writes the content to the open binary file that it is given.

    Raises:
        UserError: the file could not be written.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as fault:
        raise UserError(
            f"cannot write {path} ({fault.strerror or 'is the disk full?'}): free some disk space or choose "
            "another folder; an earlier file there is untouched"
        ) from fault


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON, atomically."""
    text = json.dumps(value, ensure_ascii=False, indent=2) + "\n"
    atomic_write(path, lambda file: file.write(text.encode("utf-8")))


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def detect_encoding(path: Path) -> str:
    """The encoding that a text file is in, as `encoding_of` finds it.

    Raises:
        UserError: the file is missing, a folder, UTF-16, binary, or in neither encoding.
    """
    try:
        with path.open("rb") as file:
            return encoding_of(file, str(path))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: check the path") from None
    except OSError as fault:
        raise UserError(f"cannot read {path} ({fault.strerror}): check the path and its permissions") from fault


def encoding_of(file: BinaryIO, name: str) -> str:
    """The encoding of the text in an open binary file: `utf-8-sig` (with or without BOM) or `gb18030`.

    A UTF-8 file with a few broken bytes counts as UTF-8, so that one bad title does not garble all others;
    decode it with `errors="replace"`.

    Args:
        file: can be read again from its beginning.
        name: what the file is called in an error.

    Raises:
        UserError: it is UTF-16, binary, or in neither encoding.
    """
    if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise UserError(f"{name} is UTF-16: save it as UTF-8 (Excel: 'CSV UTF-8', Notepad: encoding 'UTF-8')")
    faults, lines = _count_faults(file, name, "utf-8")
    if faults <= lines // 100:
        return "utf-8-sig"
    if _count_faults(file, name, "gb18030")[0] == 0:
        return "gb18030"
    if faults <= 1 + lines // 20:
        return "utf-8-sig"
    raise UserError(f"{name} is neither UTF-8 nor GB18030 text: save it as UTF-8")


def _count_faults(file: BinaryIO, name: str, encoding: str) -> tuple[int, int]:
    """How many byte sequences of a file do not decode, and how many lines it has.

    Raises:
        UserError: the file holds a NUL byte.
    """
    faults = 0

    def count(error: UnicodeError) -> tuple[str, int]:
        nonlocal faults
        faults += 1
        return "\ufffd", error.end

    handler = f"count_faults_{threading.get_ident()}"  # the names are the whole process's
    codecs.register_error(handler, count)
    decoder = codecs.getincrementaldecoder(encoding)(handler)
    lines = 1
    file.seek(0)
    while chunk := file.read(CHUNK_BYTES):
        if b"\0" in chunk:
            line = lines + chunk[: chunk.index(b"\0")].count(b"\n")
            raise UserError(f"{name} line {line} holds a NUL byte: this is not a text file, or a damaged one")
        decoder.decode(chunk)
        lines += chunk.count(b"\n")
    decoder.decode(b"", final=True)
    return faults, lines


def read_lines(file: BinaryIO, encoding: str | None) -> Iterator[str]:
    """The lines of an open binary file; without an encoding each line is read as UTF-8, else as GB18030."""
    if encoding:
        with io.TextIOWrapper(file, encoding=encoding, errors="replace") as text:
            yield from (line.rstrip("\n") for line in text)
        return
    for raw in file:
        line = raw.rstrip(b"\r\n")
        try:
            yield line.decode("utf-8-sig")
        except UnicodeDecodeError:
            yield line.decode("gb18030", errors="replace")
