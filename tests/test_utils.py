"""The labelled-file contract; titles in batches, and models scored on them."""

import csv
import os
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from core.console import UserError
from core.model_files.module import run_module
from core.text.tokenizer import Tokenizer
from core.training.device import Devices
from predict_fun import NewsClassifier
from utils import Titles, read_labels, read_titles, score_module, score_titles, title_batches

LABELS = ["财经", "体育", "科技"]


def write(path: Path, content: str | bytes, encoding: str = "utf-8") -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_reads_every_encoding_and_line_end(tmp_path: Path, encoding: str, newline: str):
    lines = ["央行降息\t0", "主队\t夺冠\t1", "新款手机发布\t科技", "  前后有空格  \t 2 "]
    titles = read_titles(write(tmp_path / "train.txt", newline.join(lines), encoding), LABELS)
    assert titles.texts == ["央行降息", "主队\t夺冠", "新款手机发布", "前后有空格"]
    assert titles.labels == [0, 1, 2, 2]


def test_a_few_broken_bytes_do_not_garble_the_file(tmp_path: Path):
    content = "央行降息\t0\n".encode() * 200 + b"\xe5\xa4 lost\t1\n"
    titles = read_titles(write(tmp_path / "train.txt", content), LABELS)
    assert titles.texts[0] == "央行降息"
    assert titles.texts[-1] == "\ufffd lost"
    assert any("U+FFFD" in warning for warning in titles.warnings)


def test_warnings_are_counted_and_rows_kept(tmp_path: Path):
    lines = ["降息\t0", "降息\t0", "", "   ", "坏\ufffd字\t0", "零\u200b宽\t1", "\t1"]
    titles = read_titles(write(tmp_path / "train.txt", "\n".join(lines)), LABELS)
    assert len(titles.texts) == 4
    report = "\n".join(titles.warnings)
    for expected in ("3 blank", "1 title(s) with U+FFFD", "zero-width", "1 repeated", "no row of class 科技"):
        assert expected in report


def test_spaces_of_all_kinds_are_not_odd(tmp_path: Path):
    lines = ["央行\u3000降息\t0", "央行\u00a0加息\t1", "主队\t夺冠\t2"]
    assert read_titles(write(tmp_path / "train.txt", "\n".join(lines)), LABELS).warnings == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "no labelled title"),
        ("\n  \n", "no labelled title"),
        ("没有制表符\n", "line 1: no tab"),
        ("央行降息\t3\n", "line 1: unknown label '3'"),
        ("央行降息\t-1\n", "unknown label"),
        ("央行降息\t1.0\n", "unknown label"),
        ("央行降息\t军事\n", "unknown label '军事'"),
        (b"\xff\xfe" + "央行\t0\n".encode("utf-16-le"), "UTF-16"),
        ("好的标题\t0\n坏\0的\t0\n", "line 2 holds a NUL byte"),
        (bytes(range(128, 256)) * 20, "neither UTF-8 nor GB18030"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, content: str | bytes, says: str):
    path = write(tmp_path / "train.txt", content)
    with pytest.raises(UserError) as refusal:
        read_titles(path, LABELS)
    assert says in str(refusal.value)
    assert str(path) in str(refusal.value)


def test_the_first_twenty_bad_lines_are_listed_and_the_rest_counted(tmp_path: Path):
    with pytest.raises(UserError) as refusal:
        read_titles(write(tmp_path / "train.txt", "好\t0\n" + "坏行\n" * 50), LABELS)
    message = str(refusal.value)
    assert "50 bad line(s)" in message
    assert message.count("no tab") == 20
    assert "line 21" in message and "line 22" not in message and "30 more" in message


def test_missing_file_and_folder(tmp_path: Path):
    with pytest.raises(UserError, match="does not exist"):
        read_titles(tmp_path / "none.txt", LABELS)
    with pytest.raises(UserError, match="cannot read"):
        read_titles(tmp_path, LABELS)


def test_limit_takes_the_first_rows(tmp_path: Path):
    path = write(tmp_path / "train.txt", "甲\t0\n乙\t1\n丙\t2\n坏行\n")
    assert read_titles(path, LABELS, limit=2).texts == ["甲", "乙"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "0 class"),
        ("财经\n", "1 class"),
        ("财经\n体育\n财经\n", "twice: 财经"),
        ("财经\n\n体育\n", "line 2 is blank"),
        ("1\n2\n3\n", "names a class 1, which is the id of another one .*rename .*1星"),
    ],
)
def test_bad_class_files(tmp_path: Path, content: str, says: str):
    with pytest.raises(UserError, match=says):
        read_labels(write(tmp_path / "class.txt", content))


def test_numbers_that_cannot_be_taken_for_another_class(tmp_path: Path):
    assert read_labels(write(tmp_path / "class.txt", "0\n01\n2\n3\n")) == ["0", "01", "2", "3"]
    assert read_labels(write(tmp_path / "class.txt", "10\n20\n30\n")) == ["10", "20", "30"]


def test_class_file_with_bom_and_crlf(tmp_path: Path):
    assert read_labels(write(tmp_path / "class.txt", "财经\r\n体育\r\n\r\n", "utf-8-sig")) == ["财经", "体育"]


def test_class_names_and_labels_are_cleaned_alike_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = write(tmp_path / "class.txt", "财经\u200b\n“体育”\n AI  科技\n")
    labels = read_labels(path)
    assert labels == ["财经", "体育", "AI 科技"]
    told = capsys.readouterr().err
    assert told.startswith(f"warning: {path}: 3 class name(s) without") and r"财经\u200b" in told
    lines = ["甲\t财经\u200b", '乙\t"体育"', "丙\tＡＩ科技", "丁\tai 科技", "戊\t财经", "己\t２"]
    titles = read_titles(write(tmp_path / "train.txt", "\n".join(lines)), labels)
    assert titles.labels == [0, 1, 2, 2, 0, 2] and any(each.startswith("5 label(s)") for each in titles.warnings)
    assert (
        read_titles(tmp_path / "train.txt", ["财经\u200b", "体育", "ai科技"]).labels == titles.labels
    )  # an older model's


def test_a_label_that_could_be_either_class_is_unknown(tmp_path: Path):
    path = write(tmp_path / "train.txt", "甲\tIT\n乙\tit\n丙\tIt\n")
    with pytest.raises(UserError, match="line 3: unknown label 'It'"):
        read_titles(path, ["IT", "it"])


def test_rows_in_the_other_encoding_are_read_and_counted(tmp_path: Path):
    rows = [f"央行下调存款准备金率第{row}次\t财经".encode("gb18030") for row in range(40)]
    rows[11] = "主队加时绝杀夺冠\t体育".encode()
    titles = read_titles(write(tmp_path / "train.txt", b"\r\n".join(rows)), LABELS)
    assert titles.texts[11] == "主队加时绝杀夺冠" and titles.labels[11] == 1
    assert titles.warnings[0] == "1 line(s) in UTF-8 among those in GB18030, read as such"


def test_garbled_titles_are_counted(tmp_path: Path):
    lines = ["央行下调利率\t0", "主队加时绝杀夺冠".encode().decode("gb18030") + "\t1"]
    titles = read_titles(write(tmp_path / "train.txt", "\n".join(lines)), LABELS)
    assert any(warning.startswith("1 title(s) garbled") for warning in titles.warnings)


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes are POSIX")
def test_a_labelled_pipe_is_refused(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="is a pipe or a device.*save it to a file"):
        read_titles(tmp_path / "pipe", LABELS)


def test_titles_with_nothing_to_see_are_rows_but_no_items(tmp_path: Path):
    lines = ["甲\t0", "\u200b\t1", "乙\t2", "\u2060\ufeff\t0"]
    titles = read_titles(write(tmp_path / "dev.txt", "\n".join(lines)), LABELS)
    assert len(titles) == 4 and titles.items == ["甲", "乙"]


def test_titles_in_batches_are_encoded_and_labelled():
    tokenizer = Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "好"], max_length=5)
    batches = title_batches(Titles(["好", "好好好好好", "坏好"], [2, 0, 1]), tokenizer, 2)
    first, second = batches.epoch()
    assert first["input_ids"].tolist() == [[2, 4, 3, 0], [2, 1, 4, 3]] and first["labels"].tolist() == [2, 1]
    assert second["input_ids"].tolist() == [[2, 4, 4, 4, 3]] and second["row"].tolist() == [1]


class Told(nn.Module):
    """A classifier that takes the second token of a title for its class, and is sure of it."""

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return 100.0 * F.one_hot(input_ids[:, 1] - 4, 3)


def test_a_module_and_a_classifier_are_scored_alike(tmp_path: Path):
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "财", "体", "科"]
    titles = Titles(["财", "体育", "科", "财财财"], [0, 1, 2, 1])
    found = score_module(Told(), title_batches(titles, Tokenizer(vocab, 8), 3), LABELS, Devices())
    assert found["accuracy"] == 0.75 and found["loss"] == pytest.approx(25.0) and found["per_class"]["科技"]["f1"] == 1
    facts = {"stage": "x", "labels": LABELS, "vocab": vocab, "max_length": 8}
    classifier = NewsClassifier(facts, run_module(Told(), torch.device("cpu")))
    del found["loss"]
    assert score_titles(classifier, titles) == found
    unseen = Titles([*titles.texts, "\u200b"], [*titles.labels, 0])  # no answer is a mistake
    metrics = score_titles(classifier, unseen, tmp_path)
    assert metrics["accuracy"] == 0.6 and metrics["predicted"] == "0 1 2 0 -1" and metrics["n"] == 5
    table = (tmp_path / "bad_cases.tsv").read_text(encoding="utf-8-sig").splitlines()
    assert table == ["confidence\ttrue\tpredicted\ttext", "1.0000\t体育\t财经\t财财财"]
    assert (tmp_path / "confusion_matrix.png").read_bytes().startswith(b"\x89PNG")


def test_the_mistakes_are_read_back_row_by_row(tmp_path: Path):
    facts = {
        "stage": "x",
        "labels": LABELS,
        "vocab": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", '"', "=", "银"],
        "max_length": 8,
    }
    classifier = NewsClassifier(facts, run_module(Told(), torch.device("cpu")))
    texts = ['"银行', '"银"行"', "银\t行", "=1+银行", "银\x0b\u2028\u0085, 行", '=银,"行']
    right = [[4, 5, 6].index({'"': 4, "=": 5, "银": 6}[text[0]]) for text in texts]
    score_titles(classifier, Titles(texts, [(label + 1) % 3 for label in right]), tmp_path)
    with (tmp_path / "bad_cases.tsv").open(encoding="utf-8-sig", newline="") as file:
        header, *rows = csv.reader(file, delimiter="\t", strict=True)
    assert header == ["confidence", "true", "predicted", "text"] and all(len(row) == 4 for row in rows)
    assert sorted(row[3] for row in rows) == sorted(f"'{text}" if text[0] == "=" else text for text in texts)
