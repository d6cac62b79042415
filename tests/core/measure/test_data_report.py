"""The data check: its numbers, counted by hand on small folders, its advice, and its picture."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from conftest import ROOT

import utils
from core.console import UserError, quoted
from core.measure import data_report, plots
from core.text.tokenizer import SPECIAL_TOKENS, Tokenizer

LABELS = ("体育", "财经", "科技")
CLEAN = {
    "train": ["球一\t0", "球二\t0", "球三\t0", "股一\t1", "股二\t1", "芯\t2"],
    "dev": ["球\t0", "股\t1", "芯一\t2"],
}
KNOWN = "球股芯一二三四五六七八九十"


def write_folder(folder: Path, splits: dict[str, list[str]], labels: tuple[str, ...] = LABELS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in {"class": labels, **splits}.items():
        folder.joinpath(f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def write_vocab(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath("vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, *KNOWN]) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Checks splits by `utils.main` and returns the lines on the screen, stripped."""
    monkeypatch.setattr(data_report, "CHUNK", 3)  # so that small files take several

    def run(splits: dict[str, list[str]], *flags: str, labels: tuple[str, ...] = LABELS) -> list[str]:
        data, bert = write_folder(tmp_path / "data", splits, labels), write_vocab(tmp_path / "bert")
        utils.main(["check", str(data), "--bert-path", str(bert), "--output", str(tmp_path / "out"), *flags])
        return [line.strip() for line in capsys.readouterr().out.splitlines()]

    return run


def advice(lines: list[str]) -> list[str]:
    """What the report asks to look at first."""
    return lines[lines.index("look at these first:") + 1 : -2]


def section(lines: list[str], start: str) -> list[str]:
    """The lines of the section whose title starts so."""
    first = next(index for index, line in enumerate(lines) if line.startswith(start))
    return lines[first : lines.index("", first)]


def test_clean_data_is_ready(check, tmp_path: Path):
    lines = check(CLEAN)
    flags = ["--data-dir", str(tmp_path / "data"), "--bert-path", str(tmp_path / "bert")]
    assert lines[-2] == "ready to train: " + " ".join(["python train.py", *map(quoted, flags)])
    assert section(lines, "rows of each class")[1:] == [
        "train     dev   id class",
        "3       1    0 体育",
        "2       1    1 财经",
        "1       1    2 科技",
        "6       3      all",
        "imbalance of train: 3.0 (体育 has 3 rows, 科技 1)",
    ]
    for nothing in ("train: 0", "dev: 0", "train and dev: 0"):
        assert nothing in lines
    assert "titles with two labels: 0 within train, 0 in or across other files" in lines
    written = [line.strip() for line in (tmp_path / "out/check/report.txt").read_text(encoding="utf-8").splitlines()]
    assert written[:3] == ["train.txt: 6 titles", "dev.txt: 3 titles", ""]
    assert written[3:] == lines[lines.index("") + 1 : -1]
    assert (tmp_path / "out/check/data.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_warnings_of_the_files_are_in_the_report(check, tmp_path: Path):
    check({**CLEAN, "dev": ["球\t0", "", "股\t1", "芯\ufffd\t2"]})
    report = (tmp_path / "out/check/report.txt").read_text(encoding="utf-8")
    assert "dev.txt: 3 titles\n  warning: 1 blank line(s), skipped\n  warning: 1 title(s) with U+FFFD" in report


def test_repeated_and_shared_titles(check):
    train = [f"球{number}\t0" for number in KNOWN[3:10]] + ["股\t1"] * 3 + ["芯 \t2", "芯\t2"]
    dev = [f"球{number}\t0" for number in KNOWN[3:10]] + ["股一\t1", "芯 一\t2"]
    dev += [f"球{number}球\t0" for number in KNOWN[3:10]]
    test = ["球\t0", "股一\t1", "股一\t1", "股\t1", "芯一\t2"]
    lines = check({"train": train, "dev": dev, "test": test})
    assert section(lines, "rows that repeat") == [
        "rows that repeat an earlier row of their file",
        *("train: 3", "'股'", "'芯'", "dev: 0", "test: 1", "'股一'"),
    ]
    assert section(lines, "titles that stand in two files")[1:] == [
        *("train and dev: 7", "'球一'", "'球二'", "'球三'", "'球四'", "'球五'"),  # five examples
        *("train and test: 1", "'股'", "dev and test: 2", "'股一'", "'芯一'"),  # once written 芯 一
    ]
    assert advice(lines) == [
        f"{pair} share {count} title(s), which inflates scores: drop one of each"
        for pair, count in (("train and dev", 7), ("train and test", 1), ("dev and test", 2))
    ]
    assert lines[-2].startswith("then train: python train.py --data-dir ")


def test_titles_with_two_labels(check):
    train = ["球\t0", "球\t1", "球\t0", "股\t1", "芯一\t2", "一\t0"]
    dev = ["球\t2", "股\t2", "芯二\t0", "二\t1", "二\t2"]
    lines = check({"train": train, "dev": dev})
    assert section(lines, "titles with two labels") == [
        "titles with two labels: 1 within train, 2 in or across other files",
        "体育 (train) / 财经 (train) / 科技 (dev): '球'",
        "财经 (train) / 科技 (dev): '股'",
        "财经 (dev) / 科技 (dev): '二'",
    ]
    assert "3 title(s) have two labels: which is right?" in advice(lines)


def test_ten_examples_of_two_labels(check):
    train = [f"{one}{other}\t{label}" for one in "球股芯" for other in KNOWN[:4] for label in (0, 1)]
    lines = check({**CLEAN, "train": [*train, "五\t2"], "dev": ["六\t0", "七\t1", "八\t2"]})
    found = section(lines, "titles with two labels")
    assert found[0].endswith("12 within train, 0 in or across other files") and len(found) == 1 + 10


def test_lengths_in_tokens_and_what_is_cut(check, tmp_path: Path):
    train = [f"{'球' * length}\t{length % 3}" for length in range(1, 101)]  # 3 to 102 tokens
    dev = ["球股" * 4 + "\t0", "股\t1", "芯一\t2"]
    texts = [line.partition("\t")[0] for line in train]
    for max_length, cut in ((101, 1), (100, 2), (3, 99)):
        lines = check({"train": train, "dev": dev}, "--max-length", str(max_length))
        table = section(lines, "tokens of a title")
        share = f"{cut}.00%"
        assert table[1].split() == ["median", "95", "%", "99", "%", "longest", "cut", "at", str(max_length)] + [
            *("[UNK]", "file")
        ]
        assert table[2].split() == ["52", "97", "101", "102", share, "0.00%", "train"]
        assert table[3].split()[:4] == ["4", "10", "10", "10"]
        vocab = [*SPECIAL_TOKENS, *KNOWN]
        assert sum(Tokenizer(vocab, max_length).encode(texts).truncated) == cut  # as training does it
        complaints = [line for line in lines if line.startswith("titles cut at")]
        expected = {101: [], 100: ["2.0% of train"], 3: ["99.0% of train, 66.7% of dev"]}[max_length]
        assert complaints == [f"titles cut at {max_length} tokens: {part}: raise --max-length" for part in expected]
        assert lines[-2].endswith(f"--max-length {max_length}")


def test_unknown_characters(check):
    # of the visible characters 3 are unknown, and a word of 3 letters becomes one [UNK]
    train = ["球" * 40 + " \t0", "股囧囧" + "股" * 40 + "\t1", "囍abc芯" + "芯" * 9 + "\t2", "芯芯\t2"]
    assert sum(len(line.split("\t")[0].strip()) for line in train) == 99
    lines = check({**CLEAN, "train": train}, "--max-length", "200")
    assert section(lines, "tokens of a title")[2].split()[-2:] == ["6.06%", "train"]  # 6 of 99
    assert "most frequent of 5 unknown characters: 囧 2, 囍 1, a 1, b 1, c 1" in lines
    assert advice(lines) == ["characters not in the vocabulary: 6.1% of train: choose a BERT that knows them"]


def test_few_unknown_characters_are_no_reason_to_wait(check):
    train = [
        "球" * 25 + "囧\t0",
        "球" * 25 + "\t0",
        "股\u3000" + "股" * 49 + "\ue000\t1",
        "芯" * 50 + "\t2",
    ]  # 1 of 151: the other is no text
    lines = check({**CLEAN, "train": train})
    assert section(lines, "tokens of a title")[2].split()[-2:] == ["0.66%", "train"]
    assert lines[-2].startswith("ready to train")


def test_the_twenty_most_frequent_unknown_characters(check):
    strange = "".join(chr(0x5000 + index) * (index + 1) for index in range(25))
    lines = check({**CLEAN, "train": [*CLEAN["train"], f"{strange}\t0"]}, "--max-length", "999")
    (listed,) = [line for line in lines if line.startswith("most frequent of 25 unknown characters: ")]
    assert listed.count(",") == 19
    assert listed.partition(": ")[2].startswith(f"{chr(0x5018)} 25, {chr(0x5017)} 24, ")


def test_a_class_without_rows(check):
    lines = check({"train": ["球一\t0", "球二\t0", "股一\t1"], "dev": ["球\t0", "股\t1"]})
    assert advice(lines) == [f"{name} has no row of class 科技" for name in ("train", "dev")]
    assert "imbalance of train: 2.0 (体育 has 2 rows, 财经 1)" in lines


@pytest.mark.parametrize(("rows", "warned"), [((60, 30, 10), False), ((50, 35, 15), False), ((34, 33, 33), True)])
def test_classes_shared_out_otherwise(check, rows: tuple[int, ...], warned: bool):
    """A dev file of other class shares than train would choose another model; chance does not count."""
    splits = {
        name: [f"{name}{number}\t{label}" for label, count in enumerate(counts) for number in range(count)]
        for name, counts in {"train": (60, 30, 10), "dev": rows}.items()
    }
    found = "\n".join(check(splits))
    assert ("the classes are shared out otherwise in dev than in train (26% of the rows)" in found) == warned


def test_two_hundred_classes(check, tmp_path: Path):
    labels = tuple(f"类{index}" for index in range(200))
    train = [f"{one}{other}{third}" for one in KNOWN for other in KNOWN for third in KNOWN][:400]
    lines = [f"{text}\t{index % 200}" for index, text in enumerate(train)]
    found = check({"train": lines, "dev": ["球\t0"]}, labels=labels)
    assert advice(found) == ["dev has no row of class 类1, 类2, 类3, 类4, 类5 and 194 more"]
    assert "imbalance of train: 1.0 (类99 has 2 rows, 类0 2)" in found
    assert (tmp_path / "out/check/data.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("labels", [LABELS, ("sport", "fi$_$nance", "$tech")])
def test_the_picture_without_a_chinese_font(check, labels: tuple[str, ...], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(plots, "cjk_font", lambda: None)
    names, axis, _ = plots.class_axis(labels)
    assert (names, axis) == ((["0", "1", "2"], " (ids, see report.txt)") if labels == LABELS else (list(labels), ""))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of characters that it cannot draw
        check(CLEAN, labels=labels)


def test_the_bundled_vocabulary_stands_in_for_an_empty_default_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "my data", CLEAN)
    for name in ("bert-mini-chinese", "bert-base-chinese"):
        write_vocab(tmp_path / name)
        utils.main(["check", "my data"])
        out = capsys.readouterr().out
        assert f"(vocabulary: {Path(name, 'vocab.txt')})" in out
        assert 'ready to train: python train.py --data-dir "my data"\n' in out  # nothing that is the default anyway
    assert (tmp_path / "reports" / "check" / "report.txt").is_file()


@pytest.mark.parametrize("words", [["my data"], ["--data-dir", "my data"], ["--data-dir=my data"]])
def test_the_folder_is_named_with_the_flag_of_other_scripts_or_without(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "my data", CLEAN)
    write_vocab(tmp_path / "bert-mini-chinese")
    utils.main(["check", *words])
    assert 'python train.py --data-dir "my data"\n' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("splits", "says"),
    [
        ({"train": ["球\t0", "股\t1", "芯\t2"]}, "3 classes in 3 rows of train: is that the text column"),
        (
            {"train": ["球一\t0", "球二\t0", "股一\t1"]},
            r"train has no row of 1 class\(es\) that dev has: 科技",
        ),
        ({"test": ["球一！\t0", "股 一\t1", "芯三\t2"]}, "train holds 2 of the 3 titles of test, punctuation aside"),
        ({"dev": CLEAN["train"]}, "train holds .* titles of dev"),
    ],
)
def test_what_cannot_be_trained_on_stops(
    check, tmp_path: Path, splits: dict[str, list[str]], says: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(UserError, match=f"is not fit for training: .*{says}"):
        check(CLEAN | splits)
    out = capsys.readouterr().out
    assert "not to be trained on:" in out and "python train.py" not in out
    assert "not to be trained on:" in (tmp_path / "out" / "check" / "report.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--bert-path", "nowhere"], "vocab.txt does not exist"),
        (["--max-length", "2"], "--max-length is 2"),
        (["--output", "data/class.txt"], "cannot write"),
    ],
)
def test_wrong_flags(tmp_path: Path, flags: list[str], says: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "data", CLEAN)
    write_vocab(tmp_path / "bert-mini-chinese")
    with pytest.raises(UserError, match=says):
        utils.main(["check", "data", *flags])


def run_script(*argv: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "utils.py"), *argv],
        cwd=cwd,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0", "OMP_NUM_THREADS": "1"},
    )


def test_a_faulty_file_ends_in_one_message(tmp_path: Path):
    write_folder(tmp_path / "data", {**CLEAN, "train": ["球一\t0", "没有制表符", "股\t军事"]})
    result = run_script("check", "data", cwd=tmp_path)
    assert result.returncode == 1 and not result.stdout
    assert result.stderr.startswith("error: ") and "Traceback" not in result.stderr
    assert "train.txt has 2 bad line(s)" in result.stderr
    assert "line 2: no tab" in result.stderr and "line 3: unknown label '军事'" in result.stderr
    assert not (tmp_path / "reports").exists()


def test_the_script_alone_explains_itself(tmp_path: Path):
    result = run_script(cwd=tmp_path)
    assert result.returncode == 0
    assert "python utils.py check my_data" in result.stdout and "--max-length" in result.stdout
    assert not list(tmp_path.iterdir())
