"""train.py from end to end: what the teacher learns, says of itself and leaves, and what is refused."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import ARTEFACT, LABELS, assert_calibrated, same, train_args, write_bert, write_data

import train
from core import __version__
from core.console import UserError
from core.model_files import checkpoint


def test_the_teacher_learns_and_says_all_about_itself(teacher: Path, data: Path):
    _, facts = checkpoint.load(teacher)
    assert facts["metrics"]["test"]["accuracy"] > 0.8
    assert facts["metrics"]["dev"]["n"] == 20
    assert facts["labels"] == list(LABELS)
    assert facts["config"]["num_epochs"] == 4 and facts["config"]["learning_rate"] == 5e-3  # finetune.json's
    assert (facts["task"], facts["stage"], facts["best_by"]) == ("classification", "teacher", "macro_f1")
    assert facts["inputs"] == ["input_ids", "attention_mask"] and facts["per_token"] is False
    assert facts["project"] == __version__
    for key in ("vocab", "max_length", "truncation", "parent_sha256", "versions", "seed"):
        assert facts[key], key
    assert_calibrated(teacher, data)


def test_log_and_picture(teacher: Path):
    reports = teacher.parent.parent / "reports" / "train"
    log = [json.loads(line) for line in (reports / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [entry["epoch"] for entry in log] == [0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4]
    assert log[-1]["loss"] < log[0]["loss"]
    assert all(
        {"dev_accuracy", "dev_macro_f1", "dev_loss", "learning_rate", "seconds"} <= entry.keys() for entry in log
    )
    assert (reports / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert not (teacher.parent / "resume").exists()


def test_same_seed_same_weights_and_another_seed_others(teacher: Path, bert: Path, data: Path, tmp_path: Path):
    train.main(train_args(bert, data, tmp_path / "again"))
    assert same(tmp_path / "again" / "save" / ARTEFACT, teacher)
    train.main(train_args(bert, data, tmp_path / "other", "--seed", "7"))
    assert not same(tmp_path / "other" / "save" / ARTEFACT, teacher)


def test_a_limit_of_steps_and_what_an_earlier_teacher_left(bert: Path, data: Path, tmp_path: Path):
    files = [tmp_path / "save" / name for name in ("bertclassifer_int8.onnx", "bertclassifer_int8.bin", "another.onnx")]
    files[0].parent.mkdir()
    for file in files:
        file.touch()
    train.main(train_args(bert, data, tmp_path, "--max-steps", "5"))
    assert [file.is_file() for file in files] == [False, False, True]  # no INT8 of an earlier teacher is left
    log = (tmp_path / "reports" / "train" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in log] == [2, 4, 5]


def test_a_full_disk_leaves_the_earlier_model(
    bert: Path, data: Path, tmp_path: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch
):
    artefact = tmp_path / "save" / ARTEFACT
    artefact.parent.mkdir()
    shutil.copy(teacher, artefact)

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("core.files.os.fsync", full)
    with pytest.raises(UserError, match="No space left on device"):
        train.main(train_args(bert, data, tmp_path, "--num-epochs", "1"))
    assert artefact.read_bytes() == teacher.read_bytes()


def test_bad_data_is_told_before_any_model_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data = write_data(tmp_path / "data")
    with (data / "dev.txt").open("a", encoding="utf-8") as file:
        file.write("没有标签\n")
    with pytest.raises(UserError, match="line 21: no tab"):
        train.main(train_args(tmp_path / "no-bert", data, tmp_path))
    (data / "dev.txt").unlink()
    with pytest.raises(UserError, match="dev.txt does not exist"):
        train.main(train_args(tmp_path / "no-bert", data, tmp_path))


def test_a_vocabulary_that_does_not_know_the_data(data: Path, tmp_path: Path):
    latin = write_bert(tmp_path / "latin", vocab=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b"])
    with pytest.raises(UserError, match="does not know .* of the characters"):
        train.main(train_args(latin, data, tmp_path))


def test_without_test_file_limited_and_longer_than_the_model(bert: Path, tmp_path: Path):
    data = write_data(tmp_path / "data")
    (data / "test.txt").unlink()
    train.main(train_args(bert, data, tmp_path, "--limit", "6"))
    _, facts = checkpoint.load(tmp_path / "save" / ARTEFACT)
    assert facts["metrics"]["test"] is None and facts["metrics"]["dev"]["n"] == 20
    assert facts["config"]["num_epochs"] == 1  # finetune.json: up to 10 rows
    with pytest.raises(UserError, match="--max-length 65.*64 positions"):
        train.main(train_args(bert, data, tmp_path, "--max-length", "65"))


@pytest.mark.parametrize(
    "flags",
    [
        ["--batch-size", "0"],
        ["--learning-rate", "nan"],
        ["--warmup-ratio", "1"],
        ["--max-length", "2"],
        ["--max-steps", "0"],
    ],
)
def test_impossible_knobs(flags: list[str]):
    with pytest.raises(UserError, match=f"{flags[0]} is {flags[1]}"):
        train.main(flags)


def test_knobs_that_contradict_each_other():
    with pytest.raises(UserError, match="--gradient-accumulation 9 is more than --batch-size 8"):
        train.main(["--batch-size", "8", "--gradient-accumulation", "9"])
    with pytest.raises(UserError, match="fp16 needs a GPU"):
        train.main(["--precision", "fp16", "--device", "cpu"])
