"""A run is resumed only as itself, has its folders to itself, and loses nothing of an earlier one."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import ARTEFACT, ROOT, press_ctrl_c, train_args, write_bert, write_data
from torch import nn

import core
import train
from core.console import Stopped, UserError
from core.model_files import checkpoint
from core.training.resume import RunState, finish, has_finished

HOLD = """
import sys, time
from pathlib import Path
from core.training.resume import RunState
with RunState(Path(sys.argv[1])).claim(Path(sys.argv[2])):
    print("held", flush=True)
    time.sleep(60)
"""


def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The flags of a training that was stopped after three steps, on data and a BERT of its own."""
    flags = train_args(write_bert(tmp_path / "bert"), write_data(tmp_path / "data"), tmp_path)
    with monkeypatch.context() as patch:
        press_ctrl_c(patch, at=3)
        with pytest.raises(UserError, match="stopped at step 3"):
            train.main(flags)
    return [*flags, "--resume"]


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def other_weights(tmp_path: Path) -> None:
    write_bert(tmp_path / "bert", initializer_range=0.5)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda folder: append(folder / "data/class.txt", "娱乐\n"), "class names"),
        (lambda folder: append(folder / "data/dev.txt", "球队新赛\t体育\n"), "dev rows"),
        (lambda folder: append(folder / "data/train.txt", "球队新赛\t体育\n"), "training rows"),
        (other_weights, "encoder"),
    ],
    ids=["class", "dev", "train", "encoder"],
)
def test_what_decides_the_result_is_named_where_it_has_changed(change, named, tmp_path, monkeypatch):
    flags = stopped(tmp_path, monkeypatch)
    change(tmp_path)
    with pytest.raises(UserError, match=f"the stopped run had {named} = .*start afresh without --resume"):
        train.main(flags)
    assert RunState(tmp_path / "save" / ARTEFACT).exists()  # it can still go on, with what it was begun with


def test_another_version_is_told_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    flags = stopped(tmp_path, monkeypatch)
    monkeypatch.setattr("core.training.resume.__version__", "9.9")
    train.main(flags)
    assert f"made with version {core.__version__} of this project, this is 9.9" in capsys.readouterr().out


def test_of_two_runs_in_one_folder_the_second_is_refused_at_once(tmp_path: Path):
    reports = tmp_path / "reports"
    state = RunState(tmp_path / "save" / "m.pt")
    with state.claim(reports):
        for artefact, folder in ((state.artefact, tmp_path / "other"), (tmp_path / "mine" / "m.pt", reports)):
            begun = time.monotonic()
            with pytest.raises(UserError, match="another run is writing .*--save-dir and --output"):
                RunState(artefact).claim(folder).__enter__()
            assert time.monotonic() - begun < 5
        with RunState(tmp_path / "save" / "another.pt").claim(tmp_path / "other"):
            pass
    with state.claim(reports):
        pass
    assert not list(tmp_path.rglob("*.lock"))


def test_a_lock_that_a_dead_process_leaves_is_seen_through(tmp_path: Path):
    artefact, reports = tmp_path / "m.pt", tmp_path / "reports"
    command = [sys.executable, "-c", HOLD, str(artefact), str(reports)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another run is writing"):
            RunState(artefact).claim(reports).__enter__()
        process.kill()
    with RunState(artefact).claim(reports):
        pass


@pytest.mark.parametrize(
    ("fault", "is_over"),
    [(None, True), (UserError("bad data"), True), (Stopped("by Ctrl-C"), False), (KeyboardInterrupt(), False)],
    ids=["ended", "refused", "stopped", "killed"],
)
def test_a_run_that_has_begun_has_not_finished_though_an_earlier_one_has(
    fault: BaseException | None, is_over: bool, tmp_path: Path
):
    artefact = tmp_path / "m.pt"
    artefact.write_bytes(b"earlier")
    try:
        with RunState(artefact).claim(tmp_path / "reports"):
            assert not has_finished(artefact)
            if fault:
                raise fault
    except (UserError, KeyboardInterrupt) as raised:
        assert raised is fault
    assert has_finished(artefact) is is_over and (tmp_path / "resume").exists() is not is_over


def test_a_folder_that_cannot_be_written_is_told_before_the_run(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write into .*file"):
        RunState(tmp_path / "file" / "m.pt").claim(tmp_path / "reports").__enter__()
    with pytest.raises(UserError, match="cannot write into .*file"):
        RunState(tmp_path / "m.pt").claim(tmp_path / "file").__enter__()


def test_a_disk_without_room_for_the_model_is_told_before_the_first_step(bert, data, tmp_path, monkeypatch):
    monkeypatch.setattr("core.files.shutil.disk_usage", lambda _: type("Usage", (), {"free": 10_000}))
    monkeypatch.setattr(train, "finish", None)
    with pytest.raises(UserError, match="has room for 0 MB, but 0 MB are needed: free some disk space"):
        train.main(train_args(bert, data, tmp_path))
    assert not (tmp_path / "reports/train/log.jsonl").exists()


def test_what_was_made_of_the_earlier_model_goes_only_once_the_new_one_is_there(tmp_path: Path, monkeypatch):
    artefact, stale = tmp_path / "m.pt", tmp_path / "m_int8.onnx"
    facts = {
        "stage": "t",
        "architecture": {"type": "x", "num_labels": 1},
        "labels": ["a"],
        "vocab": [],
        "max_length": 8,
    }
    artefact.write_bytes(b"earlier")
    stale.write_bytes(b"made of it")
    order: list[str] = []
    state = RunState(artefact)
    monkeypatch.setattr(state, "drop", lambda: order.append("drop"))

    def full(*_: object) -> None:
        raise UserError("cannot write")

    with monkeypatch.context() as patch:
        patch.setattr("core.training.resume.save", full)
        with pytest.raises(UserError, match="cannot write"):
            finish(artefact, nn.Linear(1, 1), facts, state, [stale])
    assert (artefact.read_bytes(), stale.read_bytes(), order) == (b"earlier", b"made of it", [])
    monkeypatch.setattr("core.training.resume.save", lambda path, *_: order.append(f"save {stale.exists()}"))
    finish(artefact, nn.Linear(1, 1), facts, state, [stale], lambda: order.append(f"then {stale.exists()}"))
    assert order == ["save True", "then False", "drop"]


def test_the_lock_is_gone_with_a_run(bert: Path, data: Path, tmp_path: Path):
    train.main(train_args(bert, data, tmp_path, "--max-steps", "1"))
    assert {path.name for path in (tmp_path / "save").iterdir()} == {ARTEFACT}
    assert torch.isfinite(checkpoint.load(tmp_path / "save" / ARTEFACT)[0]["classifier.weight"]).all()
