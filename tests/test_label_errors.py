"""Labels that are wrong on purpose are found, in the file and line where they stand."""

import csv
import shutil
import sys
from pathlib import Path

import pytest
from conftest import LABELS, write_data

import label_errors
from core.console import UserError
from utils import Titles, read_data, read_titles

WRONG = {"train.txt": (6, 17, 40), "dev.txt": (4,), "test.txt": (9,)}  # lines, from 1, of rows about one class alone


@pytest.fixture
def spoilt(tmp_path: Path) -> Path:
    """Data in which a few labels are wrong, and a blank line stands at the beginning of train.txt."""
    folder = write_data(tmp_path / "data")
    for name, lines in WRONG.items():
        rows = (folder / name).read_text(encoding="utf-8").splitlines()
        rows = ["", *rows] if name == "train.txt" else rows
        for line in lines:
            text, _, label = rows[line - 1].partition("\t")
            rows[line - 1] = f"{text}\t{LABELS[(int(label) + 1) % 3]}"
        (folder / name).write_text("\n".join([*rows, "\u200b\t1", ""]), encoding="utf-8")
    return folder


def args(data: Path, folder: Path, *more: str) -> list[str]:
    return ["--data-dir", str(data), "--output", str(folder), "--save-dir", str(folder / "save"), *more]


def listed(folder: Path) -> list[dict[str, str]]:
    with (folder / "label_errors" / "label_errors.tsv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def places(rows: list[dict[str, str]]) -> set[tuple[str, int]]:
    return {(row["file"], int(row["line"])) for row in rows}


def test_wrong_labels_come_first_with_file_and_line(spoilt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    label_errors.main(args(spoilt, tmp_path))
    rows, wrong = listed(tmp_path), {(name, line) for name, lines in WRONG.items() for line in lines}
    assert len(places(rows[:5]) & wrong) >= 4
    for row in rows:
        assert row["label"] != row["likelier_class"] and {row["label"], row["likelier_class"]} <= set(LABELS)
        text, _, label = (
            (spoilt / row["file"]).read_text(encoding="utf-8").splitlines()[int(row["line"]) - 1].partition("\t")
        )
        assert text == row["text"] and label in (row["label"], str(LABELS.index(row["label"])))
        assert 0.33 < float(row["confidence"]) <= 1
    out = capsys.readouterr().out
    assert f"{len(rows)} label(s) to look at: " in out and "part 5 of 5" in out
    assert not (tmp_path / "save").exists()


def test_bert_judges_part_by_part_and_goes_on_after_a_stop(
    spoilt: Path, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    flags = args(spoilt, tmp_path, "--model", "bert", "--folds", "2", "--bert-path", str(bert), "--batch-size", "16")
    flags += ["--device", "cpu"]
    real, trained = label_errors.fine_tune, []

    def stopped_at_the_second(config):
        if trained:
            raise KeyboardInterrupt
        trained.append(config.save_dir.name)
        real(config)

    monkeypatch.setattr(label_errors, "fine_tune", stopped_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        label_errors.main(flags)
    work = tmp_path / "save" / "label_errors"
    assert [path.name for path in work.glob("*/*.npy")] == ["part_1.npy"] and not list(work.glob("*/part_1/*.pt"))
    monkeypatch.setattr(label_errors, "fine_tune", lambda config: (trained.append(config.save_dir.name), real(config)))
    label_errors.main(flags)
    assert trained == ["part_1", "part_2"] and not list(work.iterdir())
    assert places(listed(tmp_path)) & {(name, line) for name, lines in WRONG.items() for line in lines}


def test_the_linear_model_knows_nothing_of_a_class_that_it_has_not_seen():
    train = Titles(["球队夺冠", "银行降息", "球赛", "股债"] * 3, [0, 2, 0, 2] * 3)
    found = label_errors.judge_linear(4, train, Titles(["芯片", "球"], [1, 0]), ["球队", "银行"])
    assert found.shape == (2, 4) and found.argmax(axis=1).tolist() == [0, 2]
    assert found[:, [1, 3]].max() == 0 and found.sum(axis=1) == pytest.approx([1, 1])


def test_what_is_written_is_read_the_same(data: Path, tmp_path: Path):
    labels, splits = read_data(data)
    splits["train"].texts[:2] = ["一\t二", "=1+1"]
    label_errors.write_data(tmp_path, labels, splits)
    again = read_data(tmp_path)
    assert again[0] == labels
    for name, titles in splits.items():
        assert (again[1][name].texts, again[1][name].labels) == (titles.texts, titles.labels)


def test_lines_are_those_of_the_file(tmp_path: Path):
    path = tmp_path / "t.txt"
    path.write_bytes("\ufeff\n甲\t0\r\n\t\n乙\t1\n".encode())
    assert read_titles(path, ["a", "b"]).lines == [2, 4]


def test_faults_are_told_before_any_training(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UserError, match="--folds is 1: it must be 2 or more"):
        label_errors.main(args(data, tmp_path, "--folds", "1"))
    few = Path(shutil.copytree(data, tmp_path / "few"))
    for name in ("train", "dev", "test"):
        (few / f"{name}.txt").write_text("球队\t0\n银行\t1\n", encoding="utf-8")
    with pytest.raises(UserError, match="2 different titles are too few to judge labels by: collect more"):
        label_errors.main(args(few, tmp_path))
    monkeypatch.setitem(sys.modules, "cleanlab", None)
    with pytest.raises(UserError, match="label errors are found by cleanlab: run `pip install -r requirements.txt`"):
        label_errors.main(args(tmp_path / "nowhere", tmp_path))
