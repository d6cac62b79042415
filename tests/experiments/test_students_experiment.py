"""students.py from end to end: every training once, test.txt once for each row, and the figures of the table."""

import json
from pathlib import Path

import pytest
from conftest import COMMON, WORDS

from core.console import UserError
from core.model_files import checkpoint
from experiments import students
from experiments.readme_words import ENGLISH
from experiments.students import compare, summarise


@pytest.mark.measurement
def test_the_comparison_is_made_once_and_goes_on_where_it_was(
    teacher: Path, data: Path, tmp_path: Path, small_student: None, monkeypatch: pytest.MonkeyPatch
):
    trained = []
    real = students.train_student

    def train_student(row, seed, *args):
        if len(trained) == 4:
            raise KeyboardInterrupt
        trained.append((row, seed))
        return real(row, seed, *args)

    monkeypatch.setattr(students, "train_student", train_student)
    titles = tmp_path / "titles.txt"
    lines = ("".join(pair) for pair in zip(WORDS["体育"], COMMON, strict=False))
    titles.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    flags = ["--model", str(teacher), "--data-dir", str(data), "--output", str(tmp_path / "out"), "--seeds", "2"]
    flags += ["--save-dir", str(tmp_path / "save"), "--unlabeled", str(titles), "--augment", "1", "--updates", "9"]
    flags += ["--batch-size", "16", "--device", "cpu", "--learning-rates", "2e-3", "1e-2"]
    with pytest.raises(KeyboardInterrupt):
        students.main(flags)
    before = list(trained)
    trained.clear()
    monkeypatch.setattr(students, "train_student", lambda *args: (trained.append(args[:2]), real(*args))[1])
    timed, compare_speed = [], students.compare_speed
    monkeypatch.setattr(students, "compare_speed", lambda *args: (timed.append(len(args[0])), compare_speed(*args))[1])
    students.main(flags)
    # two learning rates with the first seed, the better one with the second, for each of five students
    assert before + trained == [(row, seed) for row in students.STUDENTS for seed in (1, 1, 2)]
    assert timed == [len(students.STUDENTS) + 1]  # the teacher and all students take turns

    report = json.loads((tmp_path / "out" / "distillation.json").read_text(encoding="utf-8"))
    names = ["majority", "linear", *students.STUDENTS, "teacher"]
    assert [row["name"] for row in report["rows"]] == names
    rows = {row["name"]: row for row in report["rows"]}
    assert rows["linear"]["accuracy"] > rows["majority"]["accuracy"]
    assert rows["teacher"]["accuracy"] == pytest.approx(checkpoint.load(teacher)[1]["metrics"]["test"]["accuracy"])
    for name in students.STUDENTS:
        assert len(rows[name]["accuracy_each"]) == len(rows[name]["predicted"]) == 2
        assert rows[name]["p95_ms"] >= rows[name]["p50_ms"] > 0 and rows[name]["size_mb"] > 0
        assert 0 < rows[name]["params"] < rows["teacher"]["params"]
        runs = [run for run in report["runs"] if run["row"] == name]
        best = max(run["dev_macro_f1"] for run in runs if run["seed"] == 1)
        assert rows[name]["factor"] in [run["factor"] for run in runs if run["dev_macro_f1"] == best]
    assert {(found["of"], found["against"]) for found in report["comparisons"]} >= {
        ("BiLSTM, soft + transfer", "BiLSTM alone"),
        ("BiLSTM, soft + transfer", "linear"),
    }
    table = (tmp_path / "out" / "distillation.md").read_text(encoding="utf-8")
    assert all(f"| {ENGLISH.get(name, name)} |" in table for name in names) and "of the teacher's accuracy" in table
    assert (tmp_path / "out" / "distillation.png").read_bytes().startswith(b"\x89PNG")
    files = list((tmp_path / "save" / "benchmark").rglob("*.pth"))
    assert len(files) == 15
    for file in files:
        facts = checkpoint.load(file)[1]
        assert facts["metrics"]["test"] is None  # the trainings did not look at test.txt
        assert facts["training"]["step"] <= facts["config"]["max_steps"] == 9

    trained.clear()
    students.main(flags)
    assert not trained
    with pytest.raises(UserError, match="was made with another updates: delete it"):
        students.main([*flags, "--updates", "10"])
    (tmp_path / "out" / "distillation.json").write_text("[]", encoding="utf-8")
    with pytest.raises(UserError, match="is damaged: delete it"):
        students.main(flags)


def test_the_figures_of_the_comparison():
    true = [0, 1] * 50
    half = summarise("half", true, [[0] * 100, true], ["a", "b"])
    assert half["accuracy_each"] == [0.5, 1.0] and half["accuracy"] == 0.75
    assert half["macro_f1"] == pytest.approx((1 / 3 + 1) / 2)
    found = compare([half, summarise("teacher", true, [true], ["a", "b"])], true, [("half", "teacher")])
    assert found["ratio_to_teacher"] == 0.75
    (pair,) = found["comparisons"]
    assert pair["difference"] == -0.25 and pair["low"] < -0.25 < pair["high"] < 0 and pair["p"] < 0.001


@pytest.mark.parametrize("flags", [["--seeds", "0"], ["--limit", "0"], ["--augment", "0"], ["--learning-rates", "0"]])
def test_nothing_to_compare(flags: list[str]):
    with pytest.raises(UserError):
        students.main(flags)
