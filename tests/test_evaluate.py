"""Evaluation of a model, and the linear one that it has to beat."""

import json
from pathlib import Path
from types import ModuleType

import pytest
from conftest import write_data

import baseline
import evaluate
from core.console import UserError
from core.measure import plots
from core.model_files import checkpoint
from predict_fun import NewsClassifier


@pytest.mark.parametrize(("script", "flag"), [(evaluate, "--batch-size"), (evaluate, "--limit"), (baseline, "--limit")])
def test_impossible_numbers(script: ModuleType, flag: str):
    for number in (0, -5):
        with pytest.raises(UserError, match=f"{flag} is {number}: it must be 1 or more"):
            script.main([flag, str(number)])


def test_evaluate_writes_what_it_says(teacher: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    evaluate.main(["--model", str(teacher), "--data", str(data / "test.txt"), "--output", str(tmp_path)])
    folder = tmp_path / "evaluate"
    assert capsys.readouterr().out.startswith("model: teacher (")  # before what is told of the answers
    assert (folder / "report.txt").read_text(encoding="utf-8").startswith("model: teacher (")
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    expected = checkpoint.load(teacher)[1]["metrics"]["test"]
    assert metrics["accuracy"] == expected["accuracy"] and metrics["macro_f1"] == pytest.approx(expected["macro_f1"])
    assert metrics["n"] == 20 and metrics["model"] == "teacher" and len(metrics["data_sha256"]) == 64
    for picture in ("confusion_matrix.png", "confidence.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
    facts = checkpoint.load(teacher)[1]
    assert metrics["temperature"] == facts["temperature"] and 0 <= metrics["ece"] < 0.2
    assert metrics["coverage"][0] == {"min_confidence": 0, "coverage": 1, "accuracy": metrics["accuracy"]}
    assert f"expected calibration error {metrics['ece']:.4f}, by chance alone" in (folder / "report.txt").read_text(
        encoding="utf-8"
    )

    weights, old = checkpoint.load(teacher)
    del old["temperature"]
    checkpoint.save(tmp_path / "old.pt", weights, old)
    evaluate.main(["--model", str(tmp_path / "old.pt"), "--data", str(data / "test.txt"), "--output", str(tmp_path)])
    before = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert before["ece"] == pytest.approx(metrics["ece_uncalibrated"]) and before["predicted"] == metrics["predicted"]
    assert before["ece"] != pytest.approx(metrics["ece"]) and not {"temperature", "ece_uncalibrated"} & before.keys()
    evaluate.main(["--model", str(teacher), "--data", str(data / "test.txt"), "--output", str(tmp_path)])
    capsys.readouterr()
    header, *mistakes = (folder / "bad_cases.tsv").read_text(encoding="utf-8-sig").splitlines()
    assert header.split("\t") == ["confidence", "true", "predicted", "text"]
    assert len(mistakes) == round((1 - metrics["accuracy"]) * 20)
    assert "warning" not in capsys.readouterr().out


def test_a_difference_comes_with_its_interval(teacher: Path, data: Path, tmp_path: Path, capsys):
    common = ["--model", str(teacher), "--data", str(data / "test.txt"), "--output", str(tmp_path)]
    baseline.main(["--data-dir", str(data), "--output", str(tmp_path)])
    evaluate.main([*common, "--against", str(tmp_path / "baseline")])
    assert "points against linear (95 % interval" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "evaluate" / "metrics.json").read_text(encoding="utf-8"))
    linear = json.loads((tmp_path / "baseline" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["against"]["difference"] == pytest.approx(metrics["accuracy"] - linear["accuracy"])


NO_REPORT = "not a report of baseline.py or evaluate.py"


@pytest.mark.parametrize(
    ("report", "told"),
    [
        (None, NO_REPORT),
        ("", NO_REPORT),
        ("[]", NO_REPORT),
        ({"predicted": None}, NO_REPORT),
        ({"predicted": "a b"}, NO_REPORT),
        ({"model": ...}, NO_REPORT),
        ({"rows": [[1, 2]] * 20}, NO_REPORT),
        ({"rows": [[1, 2, 3], [1]]}, NO_REPORT),
        ({"data_sha256": "0" * 64}, "measured on other data"),
        ({"predicted": "0 1"}, "measured on other data"),
    ],
)
def test_a_wrong_report_to_compare_with_costs_nothing(
    teacher: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, report, told: str
):
    common = ["--model", str(teacher), "--data", str(data / "test.txt"), "--output", str(tmp_path)]
    evaluate.main(common)
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    other = tmp_path / "other" / "metrics.json"
    if isinstance(report, dict):
        sound = json.loads((tmp_path / "evaluate" / "metrics.json").read_text(encoding="utf-8"))
        report = json.dumps({name: value for name, value in (sound | report).items() if value is not ...})
    if report is not None:
        other.parent.mkdir()
        other.write_text(report, encoding="utf-8")
    predicted = []
    monkeypatch.setattr(NewsClassifier, "predict", lambda *given: predicted.append(given))
    monkeypatch.setattr(NewsClassifier, "logits", lambda *given: predicted.append(given))
    with pytest.raises(UserError, match=told):
        evaluate.main([*common, "--against", str(other.parent)])
    assert not predicted
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path != other} == kept


def test_evaluate_refuses_other_classes_and_lists_mistakes(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(plots, "cjk_font", lambda: None)
    data = write_data(tmp_path / "data")
    (data / "class.txt").write_text("科技\n财经\n体育\n", encoding="utf-8")
    (data / "mine.txt").write_text("球队夺冠\t科技\n银行利率\t财经\n\u200b\t1\n", encoding="utf-8")
    flags = ["--model", str(teacher), "--data", str(data / "mine.txt"), "--output", str(tmp_path)]
    with pytest.raises(UserError, match="(?s)names other classes .*体育 财经 科技.*科技 财经 体育"):
        evaluate.main(flags)
    (data / "class.txt").unlink()
    evaluate.main(flags)
    assert "科技\t体育\t球队夺冠" in (tmp_path / "evaluate" / "bad_cases.tsv").read_text(encoding="utf-8")
    assert "0 体育" in (tmp_path / "evaluate" / "report.txt").read_text(encoding="utf-8")


def test_baseline_on_data_without_a_test_file(tmp_path: Path):
    data = write_data(tmp_path / "data")
    (data / "test.txt").unlink()
    baseline.main(["--data-dir", str(data), "--output", str(tmp_path), "--limit", "30"])
    metrics = json.loads((tmp_path / "baseline" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["split"] == "dev" and metrics["train_rows"] == 30 and metrics["n"] == 20


def test_baseline_on_hardly_any_data(tmp_path: Path):
    data = write_data(tmp_path / "data")
    (data / "train.txt").write_text("甲乙\t0\n丙丁\t1\n", encoding="utf-8")
    baseline.main(["--data-dir", str(data), "--output", str(tmp_path)])
    metrics = json.loads((tmp_path / "baseline" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["min_df"] == 1 and metrics["train_rows"] == 2
    with pytest.raises(UserError, match="are of one class: give it those of two or more"):
        baseline.main(["--data-dir", str(data), "--output", str(tmp_path), "--limit", "1"])
