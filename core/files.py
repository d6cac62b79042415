"""Files: written whole or not at all, folders looked at before long work, and fingerprints."""

import contextlib
import errno
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from core.console import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHUNK_BYTES = 1 << 20
LEFT_BEHIND = re.compile(r"\.[0-9a-f]{16}\.tmp")  # the end of the names of temporary files
LEFT_SECONDS = 86_400  # after which one was left by a process that was killed
FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC), None}
REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}


def atomic_write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that a kill or a full disk at any moment leaves the earlier file, or none, but never half of one.

    A link stays one, and its target is replaced; its mode is kept. A device or pipe is written to as it is.

    Args:
        path: where the file goes; its folder is made when needed.
        write: writes the content to the open binary file that it is given.

    Raises:
        UserError: the file could not be written.
    """
    try:
        mode = _mode(path)
        if mode is not None and (not stat.S_ISREG(mode) or path.as_posix().startswith(("/dev/", "/proc/"))):
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND), "wb") as file:
                write(file)
            return
        target = Path(os.path.realpath(path)) if path.is_symlink() else path
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, write, mode)
    except OSError as fault:
        raise UserError(f"cannot write {path} ({_reason(fault)}; an earlier file there is untouched") from fault


def _replace(target: Path, write: Callable[[BinaryIO], object], mode: int | None) -> None:
    """Write beside a regular file, under a name that nobody has, and put that in its place."""
    beside = f".{target.name[:60]}"
    temporary = target.with_name(f"{beside}.{secrets.token_hex(8)}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            temporary.chmod(stat.S_IMODE(mode))
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    for left in target.parent.glob(".*.tmp"):
        if left.name.startswith(beside) and LEFT_BEHIND.fullmatch(left.name[len(beside) :]):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > LEFT_SECONDS:
                    left.unlink()


def _mode(path: Path) -> int | None:
    """What kind of file lies there, links followed, and who may use it; None: nothing does."""
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None


def _reason(fault: OSError) -> str:
    """Why a file could not be written, and the next step."""
    if fault.errno in FULL:
        return f"{fault.strerror or 'is the disk full?'}): free some disk space or choose another folder"
    if fault.errno in REFUSED:
        return f"{fault.strerror}): check its permissions, close the program that uses it, or choose another folder"
    return f"{fault.strerror}): check the path or choose another one"


def require_folder(folder: Path, size: int = 0) -> None:
    """Refuse a folder, before long work, in which no file of a size can be written; it is made when needed.

    Raises:
        UserError: it cannot be made or written, or its disk has less room.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{secrets.token_hex(8)}.tmp"
        probe.touch(exist_ok=False)
        probe.unlink()
        free = shutil.disk_usage(folder).free
    except OSError as fault:
        raise UserError(f"cannot write into {folder} ({_reason(fault)}") from fault
    if free < size:
        raise UserError(
            f"{folder} has room for {free / 1e6:,.0f} MB, but {size / 1e6:,.0f} MB are needed: free some disk space or "
            "choose another folder"
        )


def require_data_folder(folder: Path) -> None:
    """Refuse a data folder that is none.

    Raises:
        UserError: there is no such folder, or it is a file.
    """
    if folder.is_file():
        raise UserError(f"{folder} is a file: give the folder that holds it and the other labelled files")
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: check the path")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON, atomically."""
    text = json.dumps(value, ensure_ascii=False, indent=2) + "\n"
    atomic_write(path, lambda file: file.write(text.encode("utf-8")))


def write_picture(path: Path, figure: "Figure") -> None:
    """Write a figure of Matplotlib as a PNG: sharp on screens with many pixels, and small, having 256 colours."""
    from PIL import Image

    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=200)
    picture = Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    atomic_write(path, lambda file: picture.save(file, format="png", optimize=True))


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
