"""Several processes train as one: gloo on the CPU, the same code as NCCL on GPUs."""

import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import psutil
import pytest
import torch
from conftest import ARTEFACT, LAUNCHERS, ROOT, launch, train_args

import custom_pruning
import pretrain_mlm
import soft_label_distillation
import train
from core.console import UserError
from core.model_files import checkpoint
from core.model_files.module import pick_device
from core.training.resume import RunState

FP32 = ("--precision", "fp32", "--limit", "49")  # in batches of 16: the last one has a row for one process only
FP32 += ("--recipe", "fgm,class_weights")  # two passes over each batch, and weights that all rows decide
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="PyTorch's launcher has no libuv on Windows")


@pytest.fixture(scope="module")
def alone(calm: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("alone")
    train.main(train_args(calm, data, folder, *FP32))
    state_dict, facts = checkpoint.load(folder / "save" / ARTEFACT)
    return {"weights": state_dict, "metrics": facts["metrics"]}


def assert_same(folder: Path, alone: dict) -> None:
    state_dict, facts = checkpoint.load(folder / "save" / ARTEFACT)
    for name, tensor in alone["weights"].items():
        assert torch.allclose(tensor, state_dict[name], atol=1e-4), name
    for split in ("dev", "test"):
        assert facts["metrics"][split]["accuracy"] == alone["metrics"][split]["accuracy"]
        assert facts["metrics"][split]["loss"] == pytest.approx(alone["metrics"][split]["loss"], abs=1e-3)
    assert not (folder / "save" / "resume").exists()


def test_two_processes_give_the_result_of_one(calm: Path, data: Path, tmp_path: Path, alone: dict):
    result = launch("accelerate", train_args(calm, data, tmp_path, *FP32))  # torchrun's do below
    assert result.returncode == 0, result.stderr
    assert_same(tmp_path, alone)
    assert result.stdout.count("test accuracy") == 1  # one process speaks for all


def test_two_processes_stop_and_resume(calm: Path, data: Path, tmp_path: Path, alone: dict):
    args = train_args(calm, data, tmp_path, *FP32, "--save-minutes", "0.00001")
    command = [sys.executable, "-m", *LAUNCHERS["torchrun"], str(ROOT / "train.py"), *args]
    state = RunState(tmp_path / "save" / ARTEFACT, {})
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as launcher:
        deadline = time.monotonic() + 60
        while not state.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        for process in [*psutil.Process(launcher.pid).children(recursive=True), launcher]:
            process.kill()
    assert state.exists() and not (tmp_path / "save" / ARTEFACT).exists()

    result = launch("torchrun", [*args, "--resume"])
    assert result.returncode == 0, result.stderr
    assert "resumed at step" in result.stdout
    assert_same(tmp_path, alone)


def test_another_number_of_processes_cannot_resume(calm: Path, data: Path, tmp_path: Path, monkeypatch):
    real_save = RunState.save

    def save_and_break(self, state):
        self.identity = {**self.identity, "processes": 2}
        real_save(self, state)
        raise KeyboardInterrupt

    monkeypatch.setattr(RunState, "save", save_and_break)
    with pytest.raises(KeyboardInterrupt):
        train.main(train_args(calm, data, tmp_path, *FP32, "--save-minutes", "0.00001"))
    monkeypatch.undo()
    with pytest.raises(UserError, match="had processes = 2, this one has 1"):
        train.main(train_args(calm, data, tmp_path, *FP32, "--resume"))


@pytest.mark.parametrize("stage", [custom_pruning, pretrain_mlm, soft_label_distillation])
def test_the_other_stages_run_in_one_process(
    stage: ModuleType, data: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WORLD_SIZE", "2")
    source = ["--corpus", str(data / "train.txt")] if stage is pretrain_mlm else ["--model", str(teacher)]
    with pytest.raises(UserError, match="launch are for train.py: start this script with python"):
        stage.main(["--save-dir", str(tmp_path / "save"), "--device", "cpu", *source])
    assert not (tmp_path / "save").exists()


def test_unknown_device():
    assert pick_device("cpu") == torch.device("cpu")
    with pytest.raises(UserError, match="--device cpu"):
        pick_device("cuda:77")
    with pytest.raises(UserError, match="--device cpu"):
        pick_device("toaster")
