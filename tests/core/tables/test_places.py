"""Places of many files: what a pattern names, names with brackets, outputs that would be read as input."""

import os
import sys
from pathlib import Path

import pytest
from pyarrow import fs

from core.console import UserError
from core.tables.places import list_inputs, refuse_overlap, split_pattern

FILES = ("a.csv", "b1.csv", "b[1].csv", "sub/y.csv", "2026-01/q.csv", "old/2026-01/q.csv", "x[1]/c.csv", "x1/c.csv")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder with files in it and below."""
    for name in FILES:
        path = tmp_path / "t" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "t"


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.csv", {"a.csv", "b1.csv", "b[1].csv"}),
        ("2026-*/*.csv", {"2026-01/q.csv"}),
        ("*/q.csv", {"2026-01/q.csv"}),
        ("*/2026-*/*", {"old/2026-01/q.csv"}),
        ("**/q.csv", {"2026-01/q.csv", "old/2026-01/q.csv"}),
        ("**/2026-01/**", {"2026-01/q.csv", "old/2026-01/q.csv"}),
        ("**/a.csv", {"a.csv"}),
        ("**", set(FILES)),
        ("", set(FILES)),
        ("b[1].csv", {"b[1].csv"}),
        ("b[12].csv", {"b1.csv"}),
        ("x[1]", {"c.csv"}),
        ("x[1]/*.csv", {"c.csv"}),
        ("x?/*.csv", {"x1/c.csv"}),
    ],
)
def test_a_pattern_names_whole_paths_and_a_file_with_brackets_itself(pattern: str, names: set[str], base: Path):
    assert {file.name for file in list_inputs(f"{base}/{pattern}")[1]} == names
    if not set(pattern) & {*"[?"}:
        assert {file.name for file in list_inputs(f"{base.as_uri()}/{pattern}")[1]} == names


def test_what_is_hidden_is_read_where_it_is_named(base: Path):
    for name in ("_a.csv", ".b.csv", "~$c.xlsx"):
        (base / name).touch()
        assert [file.name for file in list_inputs(str(base / name))[1]] == [name]
    assert {file.name for file in list_inputs(str(base))[1]} == set(FILES)
    with pytest.raises(UserError, match=r"holds no file that ends in .*; what begins with \. _ ~\$ is passed over"):
        list_inputs(f"{base}/_*.csv")


def test_folders_that_no_pattern_reaches_are_not_entered(base: Path, monkeypatch: pytest.MonkeyPatch):
    selector, depths = fs.FileSelector, []

    def select(folder: str, recursive: bool) -> fs.FileSelector:
        depths.append(recursive)
        return selector(folder, recursive=recursive)

    monkeypatch.setattr(fs, "FileSelector", select)
    for pattern in ("*.csv", "**", "*/q.csv", ""):
        list_inputs(f"{base}/{pattern}")
    assert depths == [False, True, True, True]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_not_in_utf_8_is_told_where_the_file_would_be_read(base: Path):
    base = base.rename(base.with_name("数据"))
    before = list_inputs(str(base))[1]
    for name in ("图片.jpg", "_旧.csv"):
        Path(os.fsdecode(os.fsencode(base) + b"/" + name.encode("gb18030"))).touch()
    assert list_inputs(str(base))[1] == before
    Path(os.fsdecode(os.fsencode(base) + b"/" + "标题.csv".encode("gb18030"))).touch()
    with pytest.raises(UserError, match="holds 标题.csv, whose name is not in UTF-8: rename it"):
        list_inputs(str(base))
    assert [file.name for file in list_inputs(f"{base}/a*.csv")[1]] == ["a.csv"]


def test_patterns_on_drives_and_in_buckets():
    class Storage:
        def get_file_info(self, path: str):
            raise OSError("no such name")

    assert split_pattern(Storage(), "C:/*.csv") == ("C:/", ("*.csv",))
    assert split_pattern(Storage(), "C:/t/2026-*/*.csv") == ("C:/t", ("2026-*", "*.csv"))
    assert split_pattern(Storage(), "//host/share/*.csv") == ("//host/share", ("*.csv",))
    assert split_pattern(Storage(), "bucket/t/*.csv") == ("bucket/t", ("*.csv",))
    assert split_pattern(Storage(), "bucket/t") == ("bucket/t", ("**",))


@pytest.mark.parametrize(
    ("pattern", "output", "refused"),
    [
        ("", "sub/out", True),
        ("*.parquet", "", True),
        ("**/*.parquet", "sub/out", True),
        ("**", "sub/out", True),
        ("*", "sub", False),
        ("*/*.parquet", "scored", True),
        ("*/*", "scored", True),
        ("*/[a-f]*", "scored", True),
        ("[!q]*/*.parquet", "scored", True),
        ("*/*.csv", "scored", False),
        ("*/*.parquet", "scored/2", False),
        ("old/*.parquet", "scored", False),
        ("*/*.parquet", "_scored", False),
        ("a.csv", "", False),
        ("*.parquet", "../scored", False),
    ],
)
def test_an_output_that_would_be_read_is_refused(pattern: str, output: str, refused: bool, base: Path):
    pairs = [(f"{base}/{pattern}", f"{base}/{output}"), (f"{base}/{pattern}", (base / output).as_uri())]
    if os.name == "posix":
        (base.parent / "link").symlink_to(base)
        pairs.append((f"{base.parent}/link/{pattern}", f"{base}/{output}"))
    for place, folder in pairs:
        if refused:
            with pytest.raises(UserError, match="choose a folder elsewhere"):
                refuse_overlap(place, folder)
        else:
            refuse_overlap(place, folder)
