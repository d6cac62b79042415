"""Prediction by predict_fun.py: from Python, from the command line, from files of any encoding."""

import csv
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import LABELS, ROOT

import predict_fun
from config import MODELS
from core.answers import UNSURE, text_fault
from core.console import UserError
from predict_fun import NewsClassifier
from utils import read_titles


@pytest.fixture(scope="module")
def classifier(teacher: Path) -> NewsClassifier:
    return NewsClassifier.load(teacher, "cpu")


def test_predictions_say_all_and_keep_their_order(classifier: NewsClassifier, data: Path):
    titles = read_titles(data / "test.txt", LABELS)
    predictions = classifier.predict(titles.texts, batch_size=7)
    assert [prediction.text for prediction in predictions] == titles.texts
    right = sum(p.label_id == label for p, label in zip(predictions, titles.labels, strict=True))
    assert right / len(predictions) == classifier.facts["metrics"]["test"]["accuracy"]
    for prediction in predictions:
        assert list(prediction.probabilities) == list(LABELS)
        assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert prediction.pred_class == LABELS[prediction.label_id] == prediction.top(1)[0][0]
        assert prediction.confidence == max(prediction.probabilities.values())


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


def test_no_text_no_prediction(classifier: NewsClassifier):
    assert classifier.predict([]) == []


def test_the_command_line(teacher: Path, capsys: pytest.CaptureFixture[str]):
    predict_fun.main(["--model", str(teacher), "--text", "银行股债利率", "--top-k", "9"])
    line = capsys.readouterr().out.strip()
    assert line.startswith("财经 0.") and line.endswith("\t银行股债利率")
    assert all(label in line for label in LABELS)
    predict_fun.main(["--model", str(teacher)])
    assert len(capsys.readouterr().out.splitlines()) == len(predict_fun.SAMPLES)


def test_a_title_and_a_file_that_are_called_none(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("None").write_text("银行股债利率\n", encoding="utf-8")
    predict_fun.main(["--model", str(teacher), "--text", "None"])
    assert capsys.readouterr().out.endswith("\tNone\n")
    predict_fun.main(["--model", str(teacher), "--file", "None"])
    assert capsys.readouterr().out.endswith("\t银行股债利率\n")


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


def test_unsure_answers_are_marked_beside_their_class(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    titles = ["球队夺冠", "", "银行今日有球队", "芯片手机"]
    source, target = tmp_path / "titles.txt", tmp_path / "classes.csv"
    source.write_text("\n".join(titles), encoding="utf-8")
    sure = [
        p.confidence if p else 0 for _, p in predict_fun.predict_lines(NewsClassifier.load(teacher), iter(titles), 8)
    ]
    least = sorted(sure)[2]  # of two of them the confidence reaches it
    flags = ["--model", str(teacher), "--file", str(source), "--min-confidence", repr(least)]
    predict_fun.main([*flags, "--output", str(target), "--top-k", "2"])
    with target.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[4:] == ["error", "unsure", "pred_class_2", "confidence_2"]
    assert [row["unsure"] or "" for row in rows] == [UNSURE * (0 < each < least) for each in sure]
    assert all(row["pred_class"] in LABELS for row, title in zip(rows, titles, strict=True) if title)
    capsys.readouterr()
    predict_fun.main(flags)
    lines = capsys.readouterr().out.splitlines()
    shown = [line.split("\t")[0].endswith(f"  {UNSURE}") for line in lines]
    assert shown == [0 < each < least for each in sure] and sum(shown) == 1
    predict_fun.main(["--model", str(teacher), "--text", "球队夺冠", "--min-confidence", "1"])
    assert capsys.readouterr().out.endswith(f"  {UNSURE}\t球队夺冠\n")


def test_the_csv_has_no_formula(teacher: Path, tmp_path: Path):
    titles = ["=1+1 球队", "＋86 银行", "-5 度", "@芯片", "\t=2", '"引号', "正常, 标题"]
    source, target = tmp_path / "titles.txt", tmp_path / "classes.csv"
    source.write_text("\n".join(titles), encoding="utf-8")
    predict_fun.main(["--model", str(teacher), "--file", str(source), "--output", str(target)])
    with target.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file, strict=True))
    assert [row["text"] for row in rows] == [f"'{title}" for title in titles[:5]] + titles[5:]


@pytest.mark.parametrize("kind", ["itself", "symlink", "hard link", "standard input"])
def test_the_answers_do_not_replace_the_titles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str):
    source, other = tmp_path / "titles.txt", tmp_path / "other.csv"
    source.write_text("球队夺冠\n", encoding="utf-8")
    if kind in ("symlink", "hard link"):
        (other.symlink_to if kind == "symlink" else other.hardlink_to)(source)
    target = other if other.exists() else tmp_path / "." / "titles.txt"
    with source.open(encoding="utf-8") as file, pytest.raises(UserError, match="is the file that is read: give the"):
        monkeypatch.setattr(sys, "stdin", file)
        predict_fun.main(["--file", "-" if kind == "standard input" else str(source), "--output", str(target)])
    assert source.read_text(encoding="utf-8") == "球队夺冠\n"


def test_odd_lines_are_told_and_json_is_refused(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    source = tmp_path / "titles.txt"
    lines = ["球队夺冠".encode("gb18030")] * 30 + ["银行".encode(), "芯片手机".encode("gb18030") + b"\xff"]
    source.write_bytes(b"\n".join(lines))
    for flag in (str(source), "-"):
        with source.open(encoding="utf-8") as file:
            monkeypatch.setattr(sys, "stdin", file)
            predict_fun.main(["--model", str(teacher), "--file", flag])
        out, err = capsys.readouterr()
        assert [line.split("\t")[1] for line in out.splitlines()[-2:]] == ["银行", "芯片手机\ufffd"]
        assert "1 line(s) in UTF-8 among those in GB18030" in err and "1 line(s) with broken bytes" in err
    source.write_text("球队主场加时绝杀夺冠".encode().decode("gb18030"), encoding="utf-8")
    predict_fun.main(["--model", str(teacher), "--file", str(source)])
    assert "1 line(s) garbled" in capsys.readouterr().err
    source.write_text("球队\ue123夺冠\n球队夺冠", encoding="gb18030")
    predict_fun.main(["--model", str(teacher), "--file", str(source)])
    assert "1 line(s) with private-use characters" in capsys.readouterr().err
    source.write_text('{"text": "球队夺冠"}\n', encoding="utf-8")
    with pytest.raises(UserError, match="is JSON"):
        predict_fun.main(["--model", str(teacher), "--file", str(source)])


@pytest.mark.skipif(sys.platform == "win32", reason="there is no /dev/stdin")
def test_a_pipe_by_its_path(teacher: Path):
    result = subprocess.run(
        [sys.executable, str(ROOT / "predict_fun.py"), "--model", str(teacher), "--file", "/dev/stdin"],
        input="球队夺冠\n芯片手机\n".encode("gb18030"),
        capture_output=True,
        env={**os.environ, "PYTHONUTF8": "1", "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    assert [line.partition("\t")[2] for line in result.stdout.decode().splitlines()] == ["球队夺冠", "芯片手机"]


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
    with pytest.raises(UserError, match="run `python train.py`"):
        predict_fun.predict({"text": "球队夺冠"})
    path = MODELS["teacher"].path
    path.parent.mkdir()
    shutil.copy(teacher, path)
    assert predict_fun.predict({"text": "球队夺冠"}) == {"text": "球队夺冠", "pred_class": "体育"}
    with pytest.raises(UserError, match="takes a dict"):
        predict_fun.predict({"title": "球队夺冠"})
    predict_fun._default_classifier.cache_clear()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--text", " "], "--text is empty"),
        (["--text", "a", "--file", "b"], "exclude each other"),
        (["--output", "a"], "--output goes with --file"),
        (["--top-k", "0"], "--top-k is 0: it must be 1 or more"),
        (["--min-confidence", "80"], "--min-confidence is 80.0: it must be 0 to 1"),
        (["--min-confidence", "nan"], "--min-confidence is nan: it must be 0 to 1"),
        (["--file", "nowhere.txt"], "nowhere.txt does not exist"),
        (["--model", "nowhere.pt"], "there is no model nowhere.pt"),
    ],
)
def test_wrong_flags(flags: list[str], says: str):
    with pytest.raises(UserError, match=says):
        predict_fun.main(flags)
