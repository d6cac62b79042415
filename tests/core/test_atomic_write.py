"""Nothing of the user's is replaced or deleted by a write that was not meant for it."""

import errno
import os
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.console import UserError
from core.files import LEFT_SECONDS, atomic_write, require_folder

POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")


def put(path: Path, content: bytes) -> None:
    atomic_write(path, lambda file: file.write(content))


@POSIX
def test_a_fifo_is_written_to_and_stays_one(tmp_path: Path):
    path, seen = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: seen.append(path.read_bytes()))
    reader.start()
    put(path, b"answers")
    reader.join(10)
    assert seen == [b"answers"] and stat.S_ISFIFO(path.stat().st_mode)


@POSIX
def test_a_device_stays_one():
    put(Path("/dev/null"), b"answers")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@POSIX
@pytest.mark.parametrize("target", ["file", "missing"])
def test_a_link_stays_one_and_its_target_is_written(target: str, tmp_path: Path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "file").write_bytes(b"old")
    link, second = tmp_path / "link", tmp_path / "second"
    link.symlink_to(folder / target)
    second.symlink_to(link)
    put(second, b"new")
    assert second.is_symlink() and link.is_symlink() and (folder / target).read_bytes() == b"new"


@POSIX
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_the_mode_of_a_file_is_kept(mode: int, tmp_path: Path):
    path = tmp_path / "m.pt"
    path.write_bytes(b"old")
    path.chmod(mode)
    put(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == mode and path.read_bytes() == b"new"


@POSIX
def test_a_new_file_has_the_mode_that_any_file_gets(tmp_path: Path):
    put(tmp_path / "ours", b"")
    (tmp_path / "any").touch()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "any").stat().st_mode


def test_files_of_the_user_beside_it_are_left_alone(tmp_path: Path):
    others = ["m.pt.tmp", ".m.pt.tmp", ".m.pt.0123.tmp", "m.pt~", ".m.pt.mine.tmp"]
    for name in others:
        (tmp_path / name).write_text("mine", encoding="utf-8")
        os.utime(tmp_path / name, (0, 0))
    put(tmp_path / "m.pt", b"new")
    assert {path.name for path in tmp_path.iterdir()} == {*others, "m.pt"}
    assert all((tmp_path / name).read_text(encoding="utf-8") == "mine" for name in others)


def test_what_a_kill_left_behind_goes_in_time(tmp_path: Path):
    old, fresh = (tmp_path / f".m.pt.{digit * 16}.tmp" for digit in "ab")
    for path in (old, fresh):
        path.touch()
    os.utime(old, (time.time() - 2 * LEFT_SECONDS,) * 2)
    put(tmp_path / "m.pt", b"new")
    assert not old.exists() and fresh.exists()  # which another process may be writing just now


def test_many_writers_at_once_all_succeed(tmp_path: Path):
    path = tmp_path / "m.pt"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: put(path, bytes([number]) * 100_000), range(64)))
    assert len(set(path.read_bytes())) == 1 and path.stat().st_size == 100_000
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.pt"]


@pytest.mark.parametrize("name", ["n" * 200, "题" * 80])
def test_a_long_name_is_no_reason_to_fail(name: str, tmp_path: Path):
    put(tmp_path / name, b"new")
    assert (tmp_path / name).read_bytes() == b"new"


@pytest.mark.parametrize(
    ("number", "step"),
    [(errno.ENOSPC, "free some disk space"), (errno.EACCES, "check its permissions"), (errno.EIO, "check the path")],
)
def test_the_true_reason_is_told(number: int, step: str, tmp_path: Path):
    def fail(_: object) -> None:
        raise OSError(number, os.strerror(number))

    with pytest.raises(UserError, match=f"{os.strerror(number)}\\): {step}.*an earlier file there is untouched"):
        atomic_write(tmp_path / "m.pt", fail)
    assert not list(tmp_path.iterdir())


def test_a_folder_in_its_place(tmp_path: Path):
    (tmp_path / "m.pt").mkdir()
    with pytest.raises(UserError, match="cannot write"):
        put(tmp_path / "m.pt", b"new")
    with pytest.raises(UserError, match="cannot write"):
        put(tmp_path / "m.pt" / ".." / "file" / ".." / "m.pt", b"new")


def test_a_folder_is_looked_at_before_long_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    require_folder(tmp_path / "new" / "folder", size=1000)
    assert not list((tmp_path / "new" / "folder").iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write into .*file"):
        require_folder(tmp_path / "file")
    with pytest.raises(UserError, match="cannot write into"):
        require_folder(tmp_path / "file" / "folder")
    with pytest.raises(UserError, match="has room for .* free some disk space or choose another folder"):
        require_folder(tmp_path, size=1 << 60)
