"""Bulk scoring: many files on two workers, kills and what is left to do, inputs that are none."""

import json
import shutil
import sys
from pathlib import Path

import pyarrow
import pyarrow.fs
import pyarrow.parquet
import pytest

import bulk_predict
from core.console import UserError
from core.tables import parts
from core.tables.parts import Wanted, part_name, read_parts
from core.tables.places import list_inputs
from core.tables.scoring import Reader, Scorer, settle, write_whole
from predict_fun import NewsClassifier

TITLES = ["球赛夺冠军胜", "银行利率今日", "", "手机芯片发布", "\u200b", "球队胜"]


def write_inputs(folder: Path, copies: int = 4) -> Path:
    """Twenty-four rows a copy in CSV and Parquet, with the same columns."""
    folder.mkdir()
    ids = [str(number) for number in range(4 * len(TITLES))]
    table = pyarrow.table({"编号": ids, "标题": TITLES * 4})
    for copy in range(copies):
        if copy % 2:
            pyarrow.parquet.write_table(table, folder / f"{copy}.parquet", row_group_size=7)
        else:
            lines = "".join(f'{number},"{title}"\r\n' for number, title in zip(ids, TITLES * 4, strict=True))
            (folder / f"{copy}.csv").write_text(f"编号,标题\r\n{lines}", encoding="utf-8-sig", newline="")
    return folder


def flags(model: Path, given: Path, output: Path, *more: str) -> list[str]:
    return ["--model", str(model), "--input", str(given), "--output", str(output), "--rows", "10", *more]


def rows_of(output: Path) -> list[dict]:
    return [row for path in sorted(output.glob("*.parquet")) for row in pyarrow.parquet.read_table(path).to_pylist()]


def parts_of(place: Path | str, done: frozenset[str] = frozenset(), what: str = "model") -> dict[str, list[str]]:
    """The names of the parts of each file, and below "new" those that a run would score."""
    fs, files = list_inputs(str(place))
    reader, found = Reader(fs, (Wanted(), 10), what, ["编号", "标题"], done), {"new": []}
    for file in files:
        told = reader(pyarrow.table([[each] for each in file], [*file._fields]))
        *parts, last = [row for each in told for row in each.to_pylist()]
        assert not last["fault"] and last["read"] == 24
        found[file.name] = last["parts"].split()
        found["new"] += [part["name"] for part in parts]
    return found


def manifest_of(output: Path) -> dict:
    return json.loads((output / "_manifest.json").read_text(encoding="utf-8"))


def test_two_formats_beside_bad_files_and_what_is_missing(
    light: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    pytest.importorskip("ray.data", reason="bulk scoring is optional: pip install -r requirements-bulk.txt")
    given, output = write_inputs(tmp_path / "in", copies=8), tmp_path / "out"
    (given / "broken.parquet").write_bytes(b"PAR1 no more")
    (given / "other.csv").write_text("标题,类别\n球队胜,体育\n", encoding="utf-8")
    (given / "_hidden.csv").write_text("x\n", encoding="utf-8")
    args = flags(light, given, output, "--workers", "2", "--top-k", "2")
    with monkeypatch.context() as patch:
        patch.setattr(bulk_predict, "stop", lambda: None)  # Ray stays for the next run
        with pytest.raises(UserError, match="not all could be scored") as told:
            bulk_predict.main(args)
    assert "broken.parquet is no Parquet file" in str(told.value) and "other.csv has other columns" in str(told.value)
    found, done = rows_of(output), manifest_of(output)
    assert sorted(row["编号"] for row in found) == sorted(str(number) for number in range(24) for _ in range(8))
    usable = [title for title in TITLES if title not in ("", "\u200b")]
    expected = dict(zip(usable, NewsClassifier.load(light).predict(usable), strict=True))
    for row in found:
        answer = expected.get(row["标题"])
        assert row["error"] == (None if answer else "empty")
        assert row["类别"] == (answer and answer.pred_class)
        assert row["置信度"] == (answer and pytest.approx(answer.confidence, abs=1e-3))
        assert (row["类别2"] is None) == (answer is None)
    assert pyarrow.parquet.read_table(output).num_rows == 8 * 24  # the whole folder at once
    assert not done["finished"] and (done["rows_out"], done["workers"]) == (8 * 24, 2)
    assert list(done["rows_by_node"].values()) == [done["rows_of_this_run"]] == [8 * 24]

    for name in ("broken.parquet", "other.csv"):
        (given / name).unlink()
    (given / "1.parquet").touch()
    mended = (given / "2.csv").read_text(encoding="utf-8").replace("23,", "32,")  # in the last of its parts
    (given / "2.csv").write_text(mended, encoding="utf-8")
    before = {path.name: path.stat().st_mtime_ns for path in output.glob("*.parquet")}
    rows = {
        path: {str(row["编号"]) for row in pyarrow.parquet.read_table(path).to_pylist()}
        for path in output.glob("*.parquet")
    }
    next(path for path, ids in rows.items() if "23" not in ids).unlink()  # one of the others is lost
    (output / "_half_x.parquet.1").write_bytes(b"PAR1")
    capsys.readouterr()
    bulk_predict.main([*args, "--resume"])
    again = {path.name: path.stat().st_mtime_ns for path in output.glob("*.parquet")}
    assert len(again.keys() & before.keys()) == len(again) - 1 == len(before) - 1
    assert sum(again[name] != before.get(name) for name in again) == 2
    assert [row["编号"] for row in rows_of(output)].count("32") == 1
    assert manifest_of(output)["finished"] and manifest_of(output)["rows_in"] == manifest_of(output)["rows_out"] == 192
    assert "192 of 192 rows in 24 parts" in capsys.readouterr().out and not list(output.glob("_half*"))


def test_parts_have_names_of_their_own(tmp_path: Path):
    fs, files = list_inputs(str(write_inputs(tmp_path / "in")))
    assert [file.name for file in files] == ["0.csv", "1.parquet", "2.csv", "3.parquet"]
    for file in files:
        parts = list(read_parts(fs, file, Wanted(), 10))
        assert [(part.start, len(part.items)) for part in parts] == [(0, 10), (10, 10), (20, 4)]
        assert sum((part.items for part in parts), [])[:2] == TITLES[:2]
        assert parts[0].table.column_names == ["编号", "标题"]
    ways = [("a", "model", 0, b"1"), ("b", "model", 0, b"1"), ("a", "other", 0, b"1"), ("a", "model", 10, b"1")]
    assert len({part_name(*way) for way in [*ways, ("a", "model", 0, b"2")]}) == 5
    (tmp_path / "lines.txt").write_text("一\n\n二\n", encoding="gb18030")
    fs, (file,) = list_inputs(str(tmp_path / "*.txt"))
    assert [part.items for part in read_parts(fs, file, Wanted(), 2)] == [["一", ""], ["二"]]
    (tmp_path / "pairs.jsonl").write_text('{"title": "a\\ud800", "n": 1}\n{"title": "b"}\n', encoding="utf-8")
    fs, (file,) = list_inputs(str(tmp_path / "pairs.jsonl"))
    (part,) = read_parts(fs, file, Wanted(("title", "n"), "-"), 5)
    assert part.items[1] == "b" and part.table.column("title").to_pylist()[1] == "b"


def test_only_rows_that_changed_are_scored_again(tmp_path: Path):
    given = write_inputs(tmp_path / "in")
    before = parts_of(given)
    done = frozenset(before["new"])
    assert len(done) == 4 * 3
    for file in given.iterdir():
        file.rename(tmp_path / "moved")
        shutil.copyfile(tmp_path / "moved", file)  # another time, the same rows
    shutil.copytree(given, tmp_path / "elsewhere")
    assert parts_of(given, done)["new"] == parts_of(tmp_path / "elsewhere", done)["new"] == []
    csv = (given / "0.csv").read_text(encoding="utf-8")
    (given / "0.csv").write_text(csv.replace("12,", "21,"), encoding="utf-8")  # amid the file, as long as before
    after = parts_of(given, done)
    assert after["new"] == [after["0.csv"][1]] and after["0.csv"][::2] == before["0.csv"][::2]
    assert len({name.partition("-")[0] for name in after["0.csv"] + before["0.csv"]}) == 1


def test_parts_of_earlier_rows_go_and_nothing_else_does(teacher: Path, tmp_path: Path):
    given, output = write_inputs(tmp_path / "in", copies=2), tmp_path / "out"
    told = {"read": 0, "rows": 0, "errors": 0}
    resume = flags(teacher, given, output, "--resume")

    def finish(args: list[str], fault: str = "") -> dict:
        job = bulk_predict.Run(bulk_predict.parse(bulk_predict.BulkConfig, args, ""))
        job.write_manifest({"finished": False})
        found = parts_of(args[3], what=job.what)["new"]
        for name in found:
            pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), output / f"{name}.parquet")
        return job.close(told, set(found), None, {"faults": [fault] if fault else []})

    assert finish(resume)["rows_out"] == 6
    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), output / "mine.parquet")
    (given / "0.csv").write_text((given / "0.csv").read_text(encoding="utf-8").replace("9,", "99,"), encoding="utf-8")
    (given / "1.parquet").rename(given / "renamed.parquet")  # its parts may be wanted
    for fault, others in (("x", 6), ("", 4)):  # with a fault nothing goes; without one, the two parts of earlier rows
        done = finish(resume, fault)
        assert (done["rows_out"], done["other_parquet_files"]) == (6, others)
        assert len(list(output.glob("*.parquet"))) == 6 + others
    assert (output / "mine.parquet").exists() and manifest_of(output)["inputs"] == [given.resolve().as_posix()]

    other = write_inputs(tmp_path / "day2", copies=1)  # a file of the same name, but not the same one
    (other / "0.csv").write_text((other / "0.csv").read_text(encoding="utf-8").replace("球", "棋"), encoding="utf-8")
    for args in (flags(teacher, other, output, "--resume"), resume):
        finish(args)
        assert len(manifest_of(output)["inputs"]) == 2 and len(list(output.glob("*.parquet"))) == 10 + 3


def test_a_part_that_is_damaged_is_told_and_a_whole_one_is_moved_into_place(tmp_path: Path):
    local = pyarrow.fs.LocalFileSystem()
    write_whole(
        local, f"{tmp_path}/a-1.parquet", lambda sink: pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), sink)
    )
    assert settle(local, str(tmp_path), {"a-1"}, set())["rows_out"] == 1 and len(list(tmp_path.iterdir())) == 1
    (tmp_path / "a-2.parquet").touch()  # as a power cut leaves it
    with pytest.raises(UserError, match="a-2.parquet is damaged: delete it, and run again with --resume"):
        settle(local, str(tmp_path), {"a-1", "a-2"}, set())


def test_answers_stand_beside_those_of_earlier_runs():
    scorer, table = object.__new__(Scorer), pyarrow.table({"标题": ["球"]})
    scorer.kinds = {"类别": str, "置信度": float}
    for _ in range(3):
        table = scorer.beside(table, [{"类别": "体育", "置信度": 0.5}], [None])
    assert len(set(table.column_names)) == table.num_columns == 10
    assert table.column_names[1::3] == ["类别", "预测类别", "预测预测类别"]


def test_faults_of_a_file_are_told_and_a_line_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.txt").write_text("好" * 150_000 + "\n\n二\n", encoding="utf-8")
    pyarrow.parquet.write_table(pyarrow.table({"标题": ["球"]}).select([]), tmp_path / "b.parquet")
    fs, (lines, without) = list_inputs(str(tmp_path))
    assert [len(item) for part in read_parts(fs, lines, Wanted(), 2) for item in part.items] == [150_000, 0, 1]
    with pytest.raises(UserError, match="b.parquet holds no column"):
        list(read_parts(fs, without, Wanted(), 2))

    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(parts, "open_text", full)
    with pytest.raises(UserError, match=r"a.txt cannot be read \(MemoryError\)"):
        list(read_parts(fs, lines, Wanted(), 2))


def test_questions_have_two_columns(tmp_path: Path):
    usual = (("问题", "question"), ("原文", "context"))
    (tmp_path / "a.csv").write_text("编号,context,问题\n1,九点开门。,几点开门？\n2,,谁？\n", encoding="utf-8")
    fs, (file,) = list_inputs(str(tmp_path / "a.csv"))
    for wanted in (Wanted(usual=usual), Wanted(("问题", "context"), usual=usual)):
        [part] = read_parts(fs, file, wanted, 5)
        assert part.items == [["几点开门？", "九点开门。"], ["谁？", ""]]
    with pytest.raises(UserError, match="--column must name 2 columns, such as 问题 原文"):
        list(read_parts(fs, file, Wanted(("问题",), usual=usual), 5))
    (tmp_path / "b.csv").write_text("甲,乙\n1,2\n", encoding="utf-8")
    fs, (file,) = list_inputs(str(tmp_path / "b.csv"))
    with pytest.raises(UserError, match="which columns are asked about"):
        list(read_parts(fs, file, Wanted(usual=usual), 5))


@pytest.mark.parametrize(
    ("prepare", "more", "fault"),
    [
        (lambda folder: None, (), "holds no file that ends in"),
        (lambda folder: (folder / "a.csv").write_text("甲,乙\n1,2\n", encoding="utf-8"), (), "which column holds"),
        (lambda folder: (folder / "a.txt").write_text("球\n", encoding="utf-8"), ("--column", "标题"), "标题"),
        (lambda folder: (folder / "a.parquet").write_bytes(b"x"), (), "no file of --input can be scored"),
        (
            lambda folder: (folder / "a.txt").write_text("球\n", encoding="utf-8"),
            ("--output", "IN/out"),
            "lies in --input",
        ),
        (lambda folder: (folder / "a.txt").write_text("球\n", encoding="utf-8"), ("--rows", "0"), "--rows is 0"),
        (lambda folder: None, ("--input", "IN/none"), "cannot be read"),
        (lambda folder: None, ("--input", "nowhere://x"), "cannot be reached"),
    ],
)
def test_inputs_that_are_none(prepare, more: tuple[str, ...], fault: str, teacher: Path, tmp_path: Path):
    given = tmp_path / "in"
    given.mkdir()
    prepare(given)
    with pytest.raises(UserError, match=fault):
        bulk_predict.main(
            [*flags(teacher, given, tmp_path / "out"), *(each.replace("IN", str(given)) for each in more)]
        )


def test_an_output_of_another_run_and_no_ray(teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    given, output = write_inputs(tmp_path / "in", copies=1), tmp_path / "out"
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="pip install -r requirements-bulk.txt"):
        bulk_predict.main(flags(teacher, given, output))
    (output / "0123.parquet").write_bytes(b"")
    with pytest.raises(UserError, match="go on with --resume, or"):
        bulk_predict.main(flags(teacher, given, output))
    for manifest in ('{"what": "another"}', "{", "[]"):
        (output / "_manifest.json").write_text(manifest, encoding="utf-8")
        with pytest.raises(UserError, match="was made by another model, version or flags"):
            bulk_predict.main(flags(teacher, given, output, "--resume"))
