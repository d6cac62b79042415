"""The labelled-file contract, batches and metrics."""

from pathlib import Path

import pytest
import torch

from core.console import UserError
from core.measure.metrics import classification_metrics, metrics_table
from core.text.tokenizer import Encoder
from core.training.device import pick_device
from utils import Batches, Titles, read_labels, read_titles

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


@pytest.fixture
def batches() -> Batches:
    encoder = Encoder(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "好"], max_length=32)
    titles = Titles([("好" * (row % 7 + 1)) for row in range(23)], [row % 3 for row in range(23)])
    return Batches(titles, encoder, 4, seed=1)


def test_an_epoch_serves_each_row_once_with_its_own_text_and_label(batches: Batches):
    served = list(batches.epoch(0))
    assert len(served) == len(batches) == 6
    assert sorted(row for batch in served for row in batch["row"].tolist()) == list(range(23))
    for batch in served:
        assert batch["labels"].tolist() == [row % 3 for row in batch["row"].tolist()]
        assert batch["attention_mask"].sum(1).tolist() == [row % 7 + 3 for row in batch["row"].tolist()]
        assert ((batch["input_ids"] == 0) == (batch["attention_mask"] == 0)).all()


def test_epochs_differ_repeat_and_can_be_entered_in_the_middle(batches: Batches):
    first = [batch["row"].tolist() for batch in batches.epoch(0)]
    assert first == [batch["row"].tolist() for batch in batches.epoch(0)]
    assert first != [batch["row"].tolist() for batch in batches.epoch(1)]
    assert first[2:] == [batch["row"].tolist() for batch in batches.epoch(0, skip=2)]


def test_bucketing_saves_padding():
    encoder = Encoder(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "好"], max_length=64)
    titles = Titles([("好" * (row * 37 % 50 + 1)) for row in range(800)], [0] * 800)
    served = list(Batches(titles, encoder, 16, seed=1).epoch(0))
    tokens = sum(batch["attention_mask"].sum().item() for batch in served)
    assert tokens / sum(batch["attention_mask"].numel() for batch in served) > 0.9


def test_metrics_by_hand():
    metrics = classification_metrics([0, 0, 1, 1], [0, 1, 1, 1], LABELS)
    assert metrics["accuracy"] == 0.75
    assert metrics["per_class"]["财经"] == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "n": 2}
    assert metrics["per_class"]["科技"]["n"] == 0
    assert metrics["macro_f1"] == pytest.approx((2 / 3 + 0.8) / 2)  # the class without rows does not count
    assert metrics["macro_recall"] == pytest.approx(0.75) and metrics["macro_precision"] == pytest.approx(
        (1 + 2 / 3) / 2
    )
    assert metrics["weighted_recall"] == metrics["accuracy"]
    assert metrics_table(metrics).splitlines()[-1].endswith("weighted average")


def test_unknown_device():
    assert pick_device("cpu") == torch.device("cpu")
    with pytest.raises(UserError, match="--device cpu"):
        pick_device("cuda:77")
    with pytest.raises(UserError, match="--device cpu"):
        pick_device("toaster")
