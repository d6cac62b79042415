"""train.py from end to end, and the loop that all stages use."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import LABELS, press_ctrl_c, train_args, write_bert, write_data

import train
from core.console import UserError
from core.model_files import checkpoint
from core.training.resume import RunState
from core.training.updater import learning_rate, make_optimizer

ARTEFACT = "test_bertclassifer_model.pt"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(folder / "save" / ARTEFACT)[0]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_teacher_learns_and_says_all_about_itself(teacher: Path, data: Path):
    _, meta = checkpoint.load(teacher)
    assert meta["metrics"]["test"]["accuracy"] > 0.8
    assert meta["metrics"]["dev"]["n"] == 20
    assert meta["labels"] == list(LABELS)
    assert meta["config"]["num_epochs"] == 4 and meta["config"]["learning_rate"] == 5e-3  # finetune.json's
    for key in ("vocab", "max_length", "truncation", "parent_sha256", "versions", "seed"):
        assert meta[key], key


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
    assert same(weights(tmp_path / "again"), checkpoint.load(teacher)[0])
    train.main(train_args(bert, data, tmp_path / "other", "--seed", "7"))
    assert not same(weights(tmp_path / "other"), checkpoint.load(teacher)[0])


@pytest.mark.parametrize("stop_at", [2, 4, 11])
def test_ctrl_c_and_resume_end_with_the_same_weights(
    stop_at: int, teacher: Path, bert: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    press_ctrl_c(monkeypatch, at=stop_at)
    with pytest.raises(UserError, match=f"stopped at step {stop_at} of 16.*--resume"):
        train.main(train_args(bert, data, tmp_path))
    assert not (tmp_path / "save" / ARTEFACT).exists()
    monkeypatch.undo()
    train.main(train_args(bert, data, tmp_path, "--resume"))
    assert same(weights(tmp_path), checkpoint.load(teacher)[0])
    log = (tmp_path / "reports" / "train" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(log) == 8
    assert not (tmp_path / "save" / "resume").exists()


def test_killed_in_the_middle_and_resumed(teacher: Path, bert: Path, data: Path, tmp_path: Path):
    args = train_args(bert, data, tmp_path, "--save-minutes", "0.00001")
    state = RunState(tmp_path / "save" / ARTEFACT, {})
    script = Path(train.__file__)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, str(script), *args], env=environment, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not state.exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        process.kill()
    assert state.exists() and not (tmp_path / "save" / ARTEFACT).exists()
    train.main([*args, "--resume"])
    assert same(weights(tmp_path), checkpoint.load(teacher)[0])


def test_a_damaged_state_gives_way_to_the_one_before(
    teacher: Path, bert: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    args = train_args(bert, data, tmp_path, "--save-minutes", "0.00001")
    press_ctrl_c(monkeypatch, at=10)
    with pytest.raises(UserError, match="stopped at step 10"):
        train.main(args)
    monkeypatch.undo()
    folder = RunState(tmp_path / "save" / ARTEFACT, {}).folder
    (folder / "state.pt").write_bytes(b"half")
    train.main(train_args(bert, data, tmp_path, "--resume"))
    assert same(weights(tmp_path), checkpoint.load(teacher)[0])

    press_ctrl_c(monkeypatch, at=10)
    with pytest.raises(UserError, match="stopped at step 10"):
        train.main(args)
    for name in ("state.pt", "before.pt"):
        (folder / name).write_bytes(b"half")
    with pytest.raises(UserError, match="no state .* can be read: start afresh"):
        train.main(train_args(bert, data, tmp_path, "--resume"))


def test_the_state_is_saved_at_ends_of_epochs_unless_they_come_too_fast(
    bert: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    saved = []
    monkeypatch.setattr(RunState, "save", lambda _, state: saved.append(state["progress"]["step"]))
    train.main(train_args(bert, data, tmp_path))
    assert not saved
    monkeypatch.setattr(train, "SAVE_SECONDS", 0)
    train.main(train_args(bert, data, tmp_path))
    assert saved == [4, 8, 12, 16]


def test_early_stopping_and_a_limit_of_steps(bert: Path, data: Path, tmp_path: Path):
    files = [tmp_path / "save" / name for name in ("bertclassifer_int8.onnx", "bertclassifer_int8.bin", "another.onnx")]
    files[0].parent.mkdir()
    for file in files:
        file.touch()
    train.main(train_args(bert, data, tmp_path, "--max-steps", "5"))
    assert [file.is_file() for file in files] == [False, False, True]  # no INT8 of an earlier teacher is left
    log = (tmp_path / "reports" / "train" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in log] == [2, 4, 5]
    train.main(train_args(bert, data, tmp_path, "--num-epochs", "60", "--patience", "3"))
    log = (tmp_path / "reports" / "train" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    scores = [json.loads(line)["dev_macro_f1"] for line in log]
    assert len(scores) < 120 and scores.index(max(scores)) == len(scores) - 4


def test_resume_of_another_run_of_a_finished_one_and_of_none(
    bert: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    press_ctrl_c(monkeypatch, at=1)
    with pytest.raises(UserError, match="stopped at step 1 of 16"):
        train.main(train_args(bert, data, tmp_path, "--resume"))  # nothing to resume: starts afresh
    monkeypatch.undo()
    with pytest.raises(UserError, match="had seed = 42, this one has 9"):
        train.main(train_args(bert, data, tmp_path, "--resume", "--seed", "9"))
    other = write_data(tmp_path / "other", seed=5)
    with pytest.raises(UserError, match="had data = .*repeat its flags and data"):
        train.main(train_args(bert, other, tmp_path, "--resume"))

    train.main(train_args(bert, data, tmp_path))
    assert "discarded" in capsys.readouterr().out
    before = (tmp_path / "save" / ARTEFACT).read_bytes()
    train.main(train_args(bert, data, tmp_path, "--resume"))
    assert "nothing to resume" in capsys.readouterr().out
    assert (tmp_path / "save" / ARTEFACT).read_bytes() == before


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


def memory_for(titles: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the memory hold so many titles at once."""
    real_loss = train.cross_entropy

    def loss(model, batch):
        if len(batch["row"]) > titles:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real_loss(model, batch)

    monkeypatch.setattr(train, "cross_entropy", loss)


def test_out_of_memory_halves_the_pieces_and_keeps_the_result(
    bert: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    calm = write_bert(tmp_path / "bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    train.main(train_args(calm, data, tmp_path / "whole", "--precision", "fp32"))
    memory_for(5, monkeypatch)
    train.main(train_args(calm, data, tmp_path / "pieces", "--precision", "fp32"))
    assert "computed in 4 pieces" in capsys.readouterr().out
    for name, tensor in weights(tmp_path / "whole").items():
        assert torch.allclose(tensor, weights(tmp_path / "pieces")[name], atol=1e-4), name


def test_no_memory_at_all(bert: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    memory_for(0, monkeypatch)
    with pytest.raises(UserError, match=r"out of memory with 1 text\(s\) at once: try --gradient-checkpointing"):
        train.main(train_args(bert, data, tmp_path))


@pytest.mark.parametrize("flag", [["--gradient-accumulation", "3"], ["--gradient-checkpointing"]])
def test_ways_to_save_memory_keep_the_result(flag: list[str], data: Path, tmp_path: Path):
    calm = write_bert(tmp_path / "bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    for name, more in (("plain", []), ("saving", flag)):
        train.main(train_args(calm, data, tmp_path / name, "--precision", "fp32", *more))
    for name, tensor in weights(tmp_path / "plain").items():
        assert torch.allclose(tensor, weights(tmp_path / "saving")[name], atol=1e-4), name


def test_a_loss_that_is_not_a_number_stops_with_its_rows(bert: Path, data: Path, tmp_path: Path):
    with pytest.raises(UserError, match="the loss is nan on training rows .*lower --learning-rate"):
        train.main(train_args(bert, data, tmp_path, "--learning-rate", "1e30"))


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
    _, meta = checkpoint.load(tmp_path / "save" / ARTEFACT)
    assert meta["metrics"]["test"] is None and meta["metrics"]["dev"]["n"] == 20
    assert meta["config"]["num_epochs"] == 1  # finetune.json: up to 10 rows
    with pytest.raises(UserError, match="--max-length 65.*64 positions"):
        train.main(train_args(bert, data, tmp_path, "--max-length", "65"))


def test_the_learning_rate_climbs_then_falls():
    rates = [learning_rate(step, 10, 1.0, 0.2) for step in range(10)]
    assert rates[1] == max(rates) == 1.0
    assert 0 < rates[0] < 1 and 0 < rates[9] <= 0.125
    assert rates[1:] == sorted(rates[1:], reverse=True)


def test_bias_and_layernorm_are_not_decayed(bert: Path):
    model = train.BertClassifier.from_pretrained(bert, num_labels=3)
    decayed, others = make_optimizer(model, 0.01).param_groups
    assert decayed["weight_decay"] > 0 and others["weight_decay"] == 0
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    undecayed = {names[id(parameter)] for parameter in others["params"]}
    assert undecayed == {name for name in names.values() if name.endswith("bias") or "LayerNorm" in name}
    assert len(decayed["params"]) + len(others["params"]) == len(names)


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
