"""Prediction, evaluation and the linear model, each by its own command."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from conftest import LABELS, ROOT, write_data

import baseline
import evaluate
import predict_fun
from config import MODELS, find_model
from core.answers import every
from core.console import UserError
from core.measure import plots
from core.model_files import checkpoint
from predict_fun import NewsClassifier, text_fault
from utils import read_titles


@pytest.fixture(scope="module")
def classifier(teacher: Path) -> NewsClassifier:
    return NewsClassifier.load(teacher, "cpu")


def test_predictions_say_all_and_keep_their_order(classifier: NewsClassifier, data: Path):
    titles = read_titles(data / "test.txt", LABELS)
    predictions = classifier.predict(titles.texts, batch_size=7)
    assert [prediction.text for prediction in predictions] == titles.texts
    right = sum(p.label_id == label for p, label in zip(predictions, titles.labels, strict=True))
    assert right / len(predictions) == classifier.meta["metrics"]["test"]["accuracy"]
    for prediction in predictions:
        assert list(prediction.probabilities) == list(LABELS)
        assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert prediction.pred_class == LABELS[prediction.label_id] == prediction.top(1)[0][0]
        assert prediction.confidence == max(prediction.probabilities.values())


def test_a_title_gets_the_same_answer_in_any_company(classifier: NewsClassifier):
    texts = ["球队夺冠", "银行基金股债利率" * 6, "芯"]
    alone = [classifier.predict([text])[0] for text in texts]
    for one, other in zip(alone, classifier.predict(texts), strict=True):
        assert one.confidence == pytest.approx(other.confidence, abs=1e-5)


@pytest.mark.parametrize("text", ["好" * 100_000, "😀🎉🚀", "球\ud800队", "a\0b", "=cmd|'/C calc'!A0", "\u202e球"])
def test_strange_texts_get_an_answer_that_can_be_written(classifier: NewsClassifier, text: str):
    (prediction,) = classifier.predict([text])
    assert prediction.pred_class in LABELS
    assert prediction.truncated == (len(text) > 100)
    prediction.text.encode("utf-8")


@pytest.mark.parametrize(
    ("text", "fault"),
    [("", "empty"), (" \t\n\u3000", "empty"), ("\u200b\ufeff", "empty"), ("\ud800", "empty"), (None, "not_a_string")],
)
def test_unusable_texts(classifier: NewsClassifier, text: object, fault: str):
    assert text_fault(text) == fault
    with pytest.raises(UserError, match="text 2 of 2 is"):
        classifier.predict(["好", text])


def test_titles_to_measure_with_are_spread_evenly_and_can_be_seen():
    assert every(["\u200b", *map(str, range(10)), " "], 5) == ["0", "2", "4", "6", "8"]
    with pytest.raises(UserError, match="none of the titles"):
        every(["\u200b", " "], 5)


def test_no_text_no_prediction(classifier: NewsClassifier):
    assert classifier.predict([]) == []


def test_the_command_line(teacher: Path, capsys: pytest.CaptureFixture[str]):
    predict_fun.main(["--model", str(teacher), "--text", "银行股债利率", "--top-k", "9"])
    line = capsys.readouterr().out.strip()
    assert line.startswith("财经 0.") and line.endswith("\t银行股债利率")
    assert all(label in line for label in LABELS)
    predict_fun.main(["--model", str(teacher)])
    assert len(capsys.readouterr().out.splitlines()) == len(predict_fun.SAMPLES)


def test_a_file_becomes_a_csv_row_by_row(teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(predict_fun, "CHUNK", 2)
    source, target = tmp_path / "titles.txt", tmp_path / "out" / "classes.csv"
    source.write_bytes('球队夺冠\r\n\r\n银行,“基金”"债"\r\n  \r\n芯片手机'.encode("gb18030"))
    predict_fun.main(["--model", str(teacher), "--file", str(source), "--output", str(target), "--top-k", "2"])
    content = target.read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    assert [row["text"] for row in rows] == ["球队夺冠", "", '银行,“基金”"债"', "  ", "芯片手机"]
    assert [row["pred_class"] for row in rows] == ["体育", "", "财经", "", "科技"]
    assert [row["error"] for row in rows] == ["", "empty", "", "empty", ""]
    assert float(rows[0]["confidence"]) > float(rows[0]["confidence_2"]) > 0


def test_standard_input_and_a_foreign_console(teacher: Path):
    result = subprocess.run(
        [sys.executable, str(ROOT / "predict_fun.py"), "--model", str(teacher), "--file", "-"],
        input="球队夺冠\n".encode("gb18030") + "\n芯片手机\n".encode(),
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0", "OMP_NUM_THREADS": "1"},
    )
    lines = result.stdout.decode("utf-8").splitlines()
    assert result.returncode == 0, result.stderr
    assert lines[0].startswith("体育") and lines[0].endswith("球队夺冠")
    assert lines[1].startswith("(empty)") and lines[2].startswith("科技")


def test_the_default_model(teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NEWS_MODEL", raising=False)
    predict_fun._default_classifier.cache_clear()
    for name in (None, "teacher"):
        with pytest.raises(UserError, match="run `python train.py`"):
            find_model(name)
    with pytest.raises(UserError, match="there is no model nothing.pt"):
        find_model("nothing.pt")
    with pytest.raises(UserError, match="run `python train.py`"):
        predict_fun.predict({"text": "球队夺冠"})

    path = MODELS["teacher"].path
    path.parent.mkdir()
    shutil.copy(teacher, path)
    assert find_model(None) == find_model("teacher") == path
    assert predict_fun.predict({"text": "球队夺冠"}) == {"text": "球队夺冠", "pred_class": "体育"}
    with pytest.raises(UserError, match="takes a dict"):
        predict_fun.predict({"title": "球队夺冠"})
    monkeypatch.setenv("NEWS_MODEL", str(teacher))
    assert find_model(None) == teacher
    predict_fun._default_classifier.cache_clear()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--text", " "], "--text is empty"),
        (["--text", "a", "--file", "b"], "exclude each other"),
        (["--output", "a"], "--output goes with --file"),
        (["--top-k", "0"], "--top-k is 0: it must be 1 or more"),
        (["--file", "nowhere.txt"], "nowhere.txt does not exist"),
        (["--model", "nowhere.pt"], "there is no model nowhere.pt"),
    ],
)
def test_wrong_flags(flags: list[str], says: str):
    with pytest.raises(UserError, match=says):
        predict_fun.main(flags)


@pytest.mark.parametrize(("script", "flag"), [(evaluate, "--batch-size"), (evaluate, "--limit"), (baseline, "--limit")])
def test_impossible_numbers(script: ModuleType, flag: str):
    for number in (0, -5):
        with pytest.raises(UserError, match=f"{flag} is {number}: it must be 1 or more"):
            script.main([flag, str(number)])


@pytest.mark.parametrize("key", ["architecture", "labels", "vocab", "max_length"])
def test_a_model_whose_parts_do_not_fit(teacher: Path, tmp_path: Path, key: str):
    state_dict, meta = checkpoint.load(teacher)
    wrong = {
        "architecture": {**meta["architecture"], "num_labels": 4},
        "labels": ["甲", "乙"],
        "vocab": [],
        "max_length": "long",
    }
    checkpoint.save(tmp_path / "m.pt", state_dict, {**meta, key: wrong[key]})
    with pytest.raises(UserError, match="m.pt"):
        NewsClassifier.load(tmp_path / "m.pt", "cpu").predict(["好"])


def test_weights_with_a_wrong_shape(teacher: Path, tmp_path: Path):
    state_dict, meta = checkpoint.load(teacher)
    checkpoint.save(tmp_path / "m.pt", {**state_dict, "classifier.bias": torch.zeros(5)}, meta)
    with pytest.raises(UserError, match="do not fit"):
        NewsClassifier.load(tmp_path / "m.pt", "cpu")


def test_a_checkpoint_tells_what_it_is(teacher: Path, tmp_path: Path):
    command = [sys.executable, "-m", "core.model_files.checkpoint"]
    result = subprocess.run([*command, str(teacher)], cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    for expected in (
        "teacher",
        "3: 体育 财经 科技",
        "metrics, test",
        "config, seed",
        "parent_sha256",
        "versions, torch",
    ):
        assert expected in result.stdout, result.stderr
    bad = tmp_path / "bad.pt"
    bad.write_bytes(b"no")
    result = subprocess.run([*command, str(bad)], cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert result.returncode == 1 and result.stderr.startswith("error: ") and "damaged" in result.stderr


def test_evaluate_writes_what_it_says(teacher: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    evaluate.main(["--model", str(teacher), "--data", str(data / "test.txt"), "--output", str(tmp_path)])
    folder = tmp_path / "evaluate"
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    expected = checkpoint.load(teacher)[1]["metrics"]["test"]
    assert metrics["accuracy"] == expected["accuracy"] and metrics["macro_f1"] == pytest.approx(expected["macro_f1"])
    assert metrics["n"] == 20 and metrics["model"] == "teacher" and len(metrics["data_sha256"]) == 64
    assert (folder / "confusion_matrix.png").read_bytes().startswith(b"\x89PNG")
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

    with pytest.raises(UserError, match="measured on other data"):
        evaluate.main([*common, "--data", str(data / "dev.txt"), "--against", str(tmp_path / "baseline")])
    with pytest.raises(UserError, match="not a report of baseline.py or evaluate.py"):
        evaluate.main([*common, "--against", str(tmp_path / "nowhere")])


def test_evaluate_warns_of_other_classes_and_lists_mistakes(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(plots, "cjk_font", lambda: None)
    data = write_data(tmp_path / "data")
    (data / "class.txt").write_text("科技\n财经\n体育\n", encoding="utf-8")
    (data / "mine.txt").write_text("球队夺冠\t科技\n银行利率\t财经\n\u200b\t1\n", encoding="utf-8")
    evaluate.main(["--model", str(teacher), "--data", str(data / "mine.txt"), "--output", str(tmp_path)])
    out = capsys.readouterr().out
    assert "names other classes" in out and "体育 财经 科技" in out and "科技 财经 体育" in out
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
