"""Files from the network, a folder or a zip: resumed where they broke off, compared by size and hash."""

import hashlib
import lzma
import shutil
import sys
import time
import zipfile
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from core.console import UserError, progress
from core.files import sha256

CHUNK_BYTES = 1 << 16
MAX_BYTES = 2 << 30  # of one file; more is a mistake or a zip bomb
PATIENCE = 20.0  # seconds without an answer or a byte
MIN_SPEED = 500  # bytes a second over PATIENCE; what is slower counts as stalled
TRIES = 3  # failed attempts in a row, each of less than ENOUGH_BYTES
ENOUGH_BYTES = 1 << 20
PAUSE = 2.0  # seconds before the second attempt; twice as long before the third

REASONS = {  # an exception among the causes of a fault, in the order of the search -> what it means
    "OfflineModeIsEnabled": "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set: unset it",
    "ProxyError": "the proxy does not let it through: check HTTP_PROXY and HTTPS_PROXY",
    "gaierror": "the host is not found: is there a network?",
    "SSLError": "no secure connection: is the clock right, is there a proxy?",
    "ConnectionRefusedError": "the connection is refused",
    "TimeoutError": "no answer in time",
    "TooManyRedirects": "it redirects in a circle",
    "HTTPException": "the connection broke off",
    "ConnectionError": "no connection, or it broke off",
}


class FetchError(Exception):
    """A file could not be fetched; the text is a clause without a next step."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"cannot fetch {url} ({reason})")


class _Broken(Exception):
    """A transfer that ended too early or too late; the text says so to the person at the keyboard."""


@dataclass(frozen=True)
class Remote:
    """Where a file is fetched from and what is known of it; what is not known is not compared.

    `size` is in bytes. `hashes` are those of the versions that count as whole, in hex: git's SHA-1 of a blob
    (40 digits) or SHA-256 (64).
    """

    url: str = ""
    size: int | None = None
    hashes: tuple[str, ...] = ()


def git_sha1(content: bytes) -> str:
    """The SHA-1 that git gives to a file of this content, in hex."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def fault_in(path: Path, remote: Remote) -> str | None:
    """What tells a file from the one that `remote` describes, as a predicate ("has 3 bytes …"); None: it is whole."""
    if not path.is_file():
        return "is missing"
    size = path.stat().st_size
    if remote.size not in (None, size):
        return f"has {size:,} bytes instead of {remote.size:,}"
    if remote.hashes:
        found = sha256(path) if len(remote.hashes[0]) == 64 else git_sha1(path.read_bytes())
        if found not in remote.hashes:
            return f"has another content ({size:,} bytes, hash {found[:10]}… instead of {remote.hashes[0][:10]}…)"
    return None


def reason(fault: BaseException) -> str:
    """What a fault of requests, urllib3 or huggingface_hub means to the person at the keyboard."""
    response = getattr(fault, "response", None)
    if response is not None and response.status_code >= 400:
        return f"the server answers {response.status_code}"
    text = str(fault) if isinstance(fault, _Broken) else f"{type(fault).__name__}: {fault}"
    causes: list[BaseException] = []
    cause: BaseException | None = fault
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    names = {kind.__name__ for each in causes for kind in type(each).__mro__}
    return next((meaning for name, meaning in REASONS.items() if name in names), text.splitlines()[0][:160])


def fetch_all(remotes: Mapping[str, Remote], part: Path, installed: Path) -> None:
    """Bring files into the folder `part`, each whole; those whole in the folder `installed` are copied from there.

    Raises:
        FetchError: a file cannot be fetched, or what comes is not the file; whole files and beginnings stay in `part`.
    """
    part.mkdir(parents=True, exist_ok=True)
    for name, remote in remotes.items():
        if fault_in(part / name, remote) is None:
            continue
        if fault_in(installed / name, remote) is None:
            shutil.copyfile(installed / name, part / name)
            continue
        fetch(remote.url, part / name, remote.size)
        if fault := fault_in(part / name, remote):
            (part / name).unlink(missing_ok=True)
            raise FetchError(remote.url, f"what came {fault}")


def fetch(url: str, path: Path, size: int | None = None) -> None:
    """Fetch a file with a progress bar; what `path` already holds is taken for its beginning.

    A transfer that stalls or breaks off goes on where it stopped, after a pause, and so does the next call. The content
    is not compared: see `fault_in`.

    Args:
        url: http or https; redirections are followed.
        path: the file to write; it stays when the transfer fails.
        size: bytes of the whole file, where known.

    Raises:
        FetchError: several attempts in a row brought next to nothing, or the server answers with an error.
    """
    import requests
    from urllib3.exceptions import HTTPError as ConnectionFault

    failures = 0
    while True:
        start = _size(path)
        try:
            return _transfer(url, path, size)
        except (requests.RequestException, ConnectionFault, _Broken) as fault:
            failures = 1 if _size(path) >= start + ENOUGH_BYTES else failures + 1
            response = fault.response if isinstance(fault, requests.HTTPError) else None
            status = None if response is None else response.status_code
            if failures == TRIES or (status and status < 500 and status not in (408, 429)):
                raise FetchError(url, reason(fault)) from fault
            print(f"{path.name}: {reason(fault)}; trying again in {PAUSE * failures:.0f} s", file=sys.stderr)
            time.sleep(PAUSE * failures)


def _transfer(url: str, path: Path, size: int | None) -> None:
    """One attempt: ask for the rest of the file and append it to what is there."""
    import requests

    start = _size(path)
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with requests.get(url, headers=headers, stream=True, timeout=PATIENCE) as response:
        resumed = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if start and (response.status_code == 416 or (response.status_code == 206 and not resumed)):
            path.unlink()  # it was not the beginning of this file
            return _transfer(url, path, size)
        response.raise_for_status()
        if response.status_code != 206:  # some servers ignore the range and send everything
            start = 0
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdigit() else size
        with (
            path.open("ab" if start else "wb") as file,
            progress(desc=path.name, total=total, initial=start, unit="B", unit_scale=True) as bar,
        ):
            _receive(response.raw, file, bar, limit=(size or total or MAX_BYTES) - start)


def _receive(response: Any, file: BinaryIO, bar: Any, limit: int) -> None:
    """Write what comes in, at most `limit` bytes, and see to it that it keeps coming."""
    received = mark = 0
    deadline = time.monotonic() + PATIENCE
    while chunk := response.read1(CHUNK_BYTES):  # read() would wait for a whole chunk, however slowly it drips
        received += len(chunk)
        if received > limit:
            raise _Broken("more bytes come than the file has")
        file.write(chunk)
        bar.update(len(chunk))
        if time.monotonic() > deadline:
            if received - mark < MIN_SPEED * PATIENCE:
                raise _Broken(f"fewer than {MIN_SPEED} bytes a second come")
            mark, deadline = received, time.monotonic() + PATIENCE


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def copy_files(source: Path, names: Collection[str], folder: Path) -> list[str]:
    """Copy files from a folder, or from anywhere in a zip, by their bare names.

    Args:
        source: a folder that holds the files, or a zip file.
        names: the names wanted; one that is not there is passed over.
        folder: where the copies go; nothing is written elsewhere.

    Returns:
        The names found.

    Raises:
        UserError: the source is neither, is damaged or locked, or holds two files of one name or one beyond 2 GB.
    """
    if source.is_dir():
        found = [name for name in names if (source / name).is_file()]
        for name in found:
            with (source / name).open("rb") as file:
                _copy(file, folder / name)
        return found
    if not source.exists():
        raise UserError(f"{source} does not exist: give the folder or the zip that holds {', '.join(names)}")
    try:
        with zipfile.ZipFile(source) as archive:
            members = [(PurePosixPath(info.filename).name, info) for info in archive.infolist() if not info.is_dir()]
            members = [(name, info) for name, info in members if name in names]
            found = [name for name, _ in members]
            if len(set(found)) < len(found):
                raise UserError(f"{source} holds two files of one name: unpack it and give the right folder")
            for name, info in members:
                with archive.open(info) as file:
                    _copy(file, folder / name)
            return found
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError) as fault:
        raise UserError(f"{source} is not a zip file, or a damaged one ({fault}): fetch it again") from fault
    except (RuntimeError, NotImplementedError) as fault:  # a password, or another program's compression
        raise UserError(f"{source} cannot be unpacked here ({fault}): unpack it and give the folder") from fault


def _copy(file: Any, target: Path) -> None:
    copied = 0
    with target.open("wb") as copy:
        while chunk := file.read(CHUNK_BYTES):
            copied += len(chunk)
            if copied > MAX_BYTES:
                raise UserError(f"{target.name} is larger than {MAX_BYTES >> 20} MB: it is not the file wanted")
            copy.write(chunk)
