"""Prediction by predict_fun.py: from Python, from the command line, from files of any encoding."""

import csv
import io
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import tracemalloc
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import LABELS, ROOT, WORDS

import predict_fun
from config import MODELS
from core.answers import UNSURE, Prediction, text_fault
from core.console import UserError
from core.tables.read import open_table
from core.tables.write import write_table
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
        (["--file", "a.txt", "--output", "a.docx"], "a.docx ends in none of .csv"),
        (["--file", "a.xls"], "an old Excel workbook"),
        (["--file", "a.txt", "--column", "b"], "--column and --sheet go with a table"),
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


COLUMNS = ["编号", "标题", "日期"]
ROWS = [[1, "球队夺冠", "2024-01-05"], [2, "银行，\n“基金”", None], [3, None, "x"], [4, "=芯片手机", "y"]]


def table_of(path: Path) -> tuple[list[str], list[list[object]]]:
    with open_table(path) as table:
        return table.columns, list(table.rows)


@pytest.mark.parametrize("suffix", [".xlsx", ".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_table_comes_back_with_its_classes(
    teacher: Path, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(predict_fun, "CHUNK", 2)
    source, target = tmp_path / f"news{suffix}", tmp_path / f"classes{suffix}"
    write_table(source, COLUMNS, ROWS)
    flags = ["--model", str(teacher), "--file", str(source), "--top-k", "2", "--min-confidence", "1"]
    predict_fun.main([*flags, "--output", str(target)])
    columns, rows = table_of(target)
    assert columns == [*COLUMNS, "类别", "置信度", "说明", "类别2", "置信度2"]
    assert [row[:3] for row in rows] == table_of(source)[1]
    assert [row[3] or None for row in rows] == ["体育", "财经", None, "科技"]
    assert [row[5] or None for row in rows] == ["不确定", "不确定", None, "不确定"]
    assert float(rows[0][4]) > float(rows[0][7]) > 0
    assert "1 row(s) without a text: no class" in capsys.readouterr().err


def test_columns_of_a_table_that_is_predicted(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    write_table(Path("a.csv"), ["摘要", "类别"], [["球队夺冠", "体育"]])
    with pytest.raises(UserError, match="which column .* Its columns are '摘要', '类别': name it with --col"):
        predict_fun.main(["--model", str(teacher), "--file", "a.csv"])
    flags = ["--model", str(teacher), "--file", "a.csv", "--column", "摘要"]
    predict_fun.main([*flags, "类别", "--join", "、"])
    assert capsys.readouterr().out.endswith("\t球队夺冠、体育\n")
    predict_fun.main([*flags, "--output", "b.csv"])
    assert table_of(Path("b.csv"))[0] == ["摘要", "类别", "预测类别", "预测置信度"]
    write_table(Path("c.csv"), ["新闻"], [["球队夺冠"]])  # the only column, and its header a text like any other
    predict_fun.main(["--model", str(teacher), "--file", "c.csv", "--output", "c.xlsx"])
    columns, rows = table_of(Path("c.xlsx"))
    assert columns == ["A", "类别", "置信度"] and [row[0] for row in rows] == ["新闻", "球队夺冠"]


def test_lines_become_a_sheet(teacher: Path, tmp_path: Path):
    (tmp_path / "titles.txt").write_text("球队夺冠\n\n芯片手机\n", encoding="utf-8")
    flags = ["--model", str(teacher), "--file", str(tmp_path / "titles.txt")]
    predict_fun.main([*flags, "--output", str(tmp_path / "classes.xlsx")])
    columns, rows = table_of(tmp_path / "classes.xlsx")
    assert columns == ["text", "pred_class", "confidence", "truncated", "error"]
    assert [row[0] for row in rows] == ["球队夺冠", None, "芯片手机"]
    assert [row[1] for row in rows] == ["体育", None, "科技"] and [row[4] for row in rows] == [None, "empty", None]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_confidences_of_lines_are_numbers_as_those_of_a_table_are(teacher: Path, tmp_path: Path, suffix: str):
    titles, output = tmp_path / "titles.txt", tmp_path / f"answers{suffix}"
    titles.write_text("球赛冠军夺胜\n\n银行利率\n", encoding="utf-8")
    predict_fun.main(["--model", str(teacher), "--file", str(titles), "--top-k", "2", "--output", str(output)])
    with open_table(output) as table:
        rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    for name in ("confidence", "confidence_2"):
        assert [type(row[name]) for row in rows] == [float, type(None), float]
    assert all(0 < row["confidence"] + row["confidence_2"] <= 1.000001 for row in (rows[0], rows[2]))


@pytest.mark.parametrize("suffix", [".xlsx", ".csv", ".tsv", ".jsonl", ".parquet"])
def test_blank_lines_leave_cells_empty_and_there_are_no_more_columns_than_classes(
    teacher: Path, tmp_path: Path, suffix: str
):
    (tmp_path / "titles.txt").write_text("球队夺冠\n\n芯片手机\n", encoding="utf-8")
    flags = ["--model", str(teacher), "--file", str(tmp_path / "titles.txt"), "--top-k", "50", "--min-confidence", "0"]
    predict_fun.main([*flags, "--output", str(tmp_path / f"classes{suffix}")])
    columns, rows = table_of(tmp_path / f"classes{suffix}")
    assert [row[1] or None for row in rows] == ["体育", None, "科技"] and len(columns) == 6 + 2 * 2
    assert all(rows[0][6:]) and not any(rows[1][5:])
    write_table(tmp_path / "table.csv", ["标题"], [["球队夺冠"]])
    predict_fun.main([*flags, "--file", str(tmp_path / "table.csv"), "--output", str(tmp_path / f"answers{suffix}")])
    assert table_of(tmp_path / f"answers{suffix}")[0][-2:] == ["类别3", "置信度3"]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_what_was_predicted_before_is_kept_however_often(teacher: Path, tmp_path: Path, suffix: str):
    files = [tmp_path / f"{number}{suffix}" for number in range(4)]
    write_table(files[0], ["标题"], [["球队夺冠"]])
    for file, target in pairwise(files):
        predict_fun.main(["--model", str(teacher), "--file", str(file), "--output", str(target)])
    columns, [row] = table_of(files[-1])
    assert columns[1::2] == ["类别", "预测类别", "预测预测类别"] and row[1::2] == ["体育"] * 3
    assert suffix == ".csv" or all(isinstance(cell, float) for cell in row[2::2])


def test_memory_stays_flat_on_a_long_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Quick:
        labels = ("体育", "财经")

        def predict(self, texts: list[str], batch_size: int) -> list[Prediction]:
            return [Prediction(text, "体育", 0, 0.9, {"体育": 0.9, "财经": 0.1}, False) for text in texts]

    monkeypatch.setattr(predict_fun, "_load", lambda config: Quick())
    monkeypatch.setattr(predict_fun, "CHUNK", 50)

    def peak(rows: int) -> int:
        write_table(tmp_path / "long.csv", ["标题", "备注"], (["球队主场加时绝杀", row] for row in range(rows)))
        tracemalloc.start()
        predict_fun.main(["--file", str(tmp_path / "long.csv"), "--output", str(tmp_path / "out.csv")])
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(100)
    assert peak(2500) < 1.5 * peak(500)


def test_a_model_by_name_and_a_column_of_pandas(teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pandas = pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    path = MODELS["teacher"].path
    path.parent.mkdir(parents=True)
    shutil.copy(teacher, path)
    frame = pandas.DataFrame({"标题": ["", "球队夺冠", "银行基金", "芯片手机"]})
    for name in ("teacher", str(path)):
        answers = NewsClassifier.load(name).predict(frame["标题"][1:])
        assert [answer.pred_class for answer in answers] == ["体育", "财经", "科技"]
    with pytest.raises(UserError, match="there is no model nobody"):
        NewsClassifier.load("nobody")
    with pytest.raises(UserError, match="give a list"):
        answers = NewsClassifier.load("teacher").predict("球队夺冠")


@pytest.mark.parametrize(("page", "readme"), [("docs/data.md", "README.md"), ("docs/data.en.md", "README_EN.md")])
def test_the_section_about_a_sheet_is_followed_word_by_word(
    page: str, readme: str, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import baseline
    import evaluate
    import train
    import utils

    head = re.compile(r"\n## (?:我有一张 Excel 表|I have an Excel sheet)\n(.*?)\n## ", re.DOTALL)
    section, short = (head.search((ROOT / each).read_text(encoding="utf-8"))[1] for each in (page, readme))
    [block], [own] = (re.findall(r"```\n(.*?)```", each, re.DOTALL) for each in (section, short))
    assert own == block + "python api.py --model teacher\n"
    adding = re.search(r"`(python utils.py import --add [^`]+)`", section)[1]
    rng = random.Random(0)
    rows = [["".join(rng.choices(WORDS[label], k=9)), label] for label in LABELS for _ in range(25)]
    monkeypatch.chdir(tmp_path)
    write_table(Path("news.xlsx"), ["标题", "类别"], rows)
    write_table(Path("corrections.csv"), ["text", "label"], [["芯片软件银行", "财经"]])
    scripts = {"utils.py": utils, "baseline.py": baseline, "train.py": train, "evaluate.py": evaluate}
    more = {"train.py": ["--bert-path", str(bert), "--device", "cpu"], "check": ["--bert-path", str(bert)]}
    for line in [*block.splitlines(), adding]:
        _, script, *flags = shlex.split(line)
        flags += more.get(flags[0], more.get(script, []))
        {**scripts, "predict_fun.py": predict_fun}[script].main(flags)
    columns, answers = table_of(Path("classes.xlsx"))
    assert columns == ["标题", "类别", "预测类别", "预测置信度"] and [row[:2] for row in answers] == rows
    assert Path("my_data/train.txt").read_text(encoding="utf-8").endswith("\n芯片软件银行\t财经\n")
