"""The training loop: stopped, killed, resumed and out of memory, it ends with the weights of a run that was not."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ARTEFACT, assert_close, memory_for, press_ctrl_c, same, train_args, write_data
from torch import nn

import train
from core.console import Stopped, UserError, parse
from core.training import loop
from core.training.batches import Batches
from core.training.device import Devices
from core.training.knobs import LoopConfig
from core.training.loop import fit, forward_rows
from core.training.recipes import cross_entropy
from core.training.resume import RunState
from core.training.units import Batch, row_units
from core.training.watch import Watch, identity_of


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
    assert same(tmp_path / "save" / ARTEFACT, teacher)
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
    assert same(tmp_path / "save" / ARTEFACT, teacher)


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
    assert same(tmp_path / "save" / ARTEFACT, teacher)

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
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0)
    train.main(train_args(bert, data, tmp_path))
    assert saved == [4, 8, 12, 16]


def test_early_stopping(bert: Path, data: Path, tmp_path: Path):
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
    with pytest.raises(UserError, match="had dev rows = .*repeat its flags and data"):
        train.main(train_args(bert, other, tmp_path, "--resume"))

    train.main(train_args(bert, data, tmp_path))
    assert "discarded" in capsys.readouterr().out
    before = (tmp_path / "save" / ARTEFACT).read_bytes()
    train.main(train_args(bert, data, tmp_path, "--resume"))
    assert "nothing to resume" in capsys.readouterr().out
    assert (tmp_path / "save" / ARTEFACT).read_bytes() == before


def test_out_of_memory_halves_the_pieces_and_keeps_the_result(
    calm: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    train.main(train_args(calm, data, tmp_path / "whole", "--precision", "fp32"))
    memory_for(5, monkeypatch)
    train.main(train_args(calm, data, tmp_path / "pieces", "--precision", "fp32"))
    assert "computed in 4 pieces" in capsys.readouterr().out
    assert_close(tmp_path / "whole" / "save" / ARTEFACT, tmp_path / "pieces" / "save" / ARTEFACT)


def test_no_memory_at_all(bert: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    memory_for(0, monkeypatch)
    with pytest.raises(UserError, match=r"out of memory with 1 text\(s\) at once: try --gradient-checkpointing"):
        train.main(train_args(bert, data, tmp_path))


@pytest.mark.parametrize("flag", [["--gradient-accumulation", "3"], ["--gradient-checkpointing"]])
def test_ways_to_save_memory_keep_the_result(flag: list[str], calm: Path, data: Path, tmp_path: Path):
    for name, more in (("plain", []), ("saving", flag)):
        train.main(train_args(calm, data, tmp_path / name, "--precision", "fp32", *more))
    assert_close(tmp_path / "plain" / "save" / ARTEFACT, tmp_path / "saving" / "save" / ARTEFACT)


def test_a_loss_that_is_not_a_number_stops_with_its_rows(bert: Path, data: Path, tmp_path: Path):
    with pytest.raises(UserError, match="the loss is nan on training rows .*lower --learning-rate"):
        train.main(train_args(bert, data, tmp_path, "--learning-rate", "1e30"))


class Echo(nn.Module):
    """Logits that tell which token they are of; for a row, its sum."""

    def __init__(self, per_token: bool) -> None:
        super().__init__()
        self.per_token = per_token

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        assert not self.training
        logits = torch.stack((input_ids, attention_mask), -1).float()
        return logits if self.per_token else (logits * attention_mask.unsqueeze(-1)).sum(1)


@pytest.mark.parametrize("per_token", [False, True])
def test_logits_come_row_by_row_in_the_order_of_the_data_without_padding(per_token: bool):
    rows = [list(range(10 * row + 1, 10 * row + 1 + row % 5 + 1)) for row in range(11)]
    batches = Batches({"input_ids": rows}, {"input_ids": 7}, 4, seed=3)
    found = forward_rows(Echo(per_token).train(), batches, Devices())
    wanted = [[[token, 1] for token in row] if per_token else [sum(row), len(row)] for row in rows]
    assert [values.tolist() for values in found] == wanted and all(values.dtype == np.float32 for values in found)


class Counter(nn.Module):
    """Two logits that are parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(2))

    def forward(self, input_ids: torch.Tensor, _mask: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(input_ids), 2)


def fitted(
    folder: Path, scores: list[float], more: dict[str, float] | None = None, **knobs
) -> tuple[Counter, loop.Progress]:
    """A training of one batch an epoch whose evaluations find these scores."""
    left = iter(scores)
    batches = Batches({"labels": [1, 1, 0], "input_ids": [[5], [6, 7], [8]]}, {}, 4, seed=1)
    config = LoopConfig(num_epochs=len(scores), learning_rate=0.1, evals_per_epoch=1, warmup_ratio=0.0, **knobs)

    def score(model: nn.Module) -> dict[str, float]:
        return {"loss": model.logits[0].item(), **(more or {}), "entity_f1": next(left)}

    model = Counter()
    loss_fn, reports = cross_entropy(row_units), folder / "reports"
    return model, fit(
        model, batches, loss_fn, score, config, Devices(), RunState(folder / "m.pt"), reports, "entity_f1"
    )


def test_the_state_with_the_best_of_the_metric_that_selects_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    model, now = fitted(tmp_path, [0.1, 0.3, 0.3, 0.2], {"accuracy": 0.5, "precision": 0.25})
    assert now.step == 4 and now.best["step"] == 2 and now.best["metrics"]["entity_f1"] == 0.3
    assert model.logits[0].item() == now.best["metrics"]["loss"]  # of the second step, not of the last
    log = [json.loads(line) for line in (tmp_path / "reports" / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [entry["dev_entity_f1"] for entry in log] == [0.1, 0.3, 0.3, 0.2] and log[0]["dev_precision"] == 0.25
    assert [entry["tokens"] for entry in log] == [4, 8, 12, 16]
    told = capsys.readouterr()
    lines = [line for line in (told.out + told.err).splitlines() if "entity f1" in line]
    first = lines[0][lines[0].index("epoch") :]
    assert first.split("  ")[-4:-1] == [
        "dev entity f1 0.1000",
        f"dev loss {log[0]['dev_loss']:.4f}",
        "dev accuracy 0.5000",
    ]
    assert [line.endswith("best so far") for line in lines] == [True, True, False, False]


def test_patience_counts_evaluations_without_a_better_score(tmp_path: Path):
    _, now = fitted(tmp_path, [0.1, 0.2, 0.15, 0.2, 0.9], patience=2)
    assert (now.step, now.best["step"], now.misses) == (4, 2, 2)


def test_a_mean_over_other_units_weighs_a_step_by_them(tmp_path: Path):
    seen: list[int] = []

    def units(batch: Batch) -> int:
        seen.append(int(batch["attention_mask"].sum()))
        return seen[-1]

    batches = Batches({"labels": [1, 0], "input_ids": [[5], [6, 7, 8]]}, {}, 2)
    config = LoopConfig(num_epochs=1, learning_rate=0.1, gradient_accumulation=2, max_grad_norm=1e9)
    model, loss_fn = Counter(), cross_entropy(row_units)
    where = (RunState(tmp_path / "m.pt"), tmp_path / "reports", "score")
    fit(model, batches, loss_fn, lambda _: {"score": 1.0}, config, Devices(), *where, units=units)
    assert set(seen) == {4, 1, 3}
    share = torch.tensor([0.5, 0.5])  # softmax of the logits at the start
    wanted = (share - torch.tensor([0.0, 1.0])) / 4 + 3 * (share - torch.tensor([1.0, 0.0])) / 4
    assert torch.allclose(model.logits.grad, wanted)


class Onlooker(Watch):
    """Notes what it is told, and stops the run at its second evaluation."""

    def __init__(self) -> None:
        self.begun: list[dict] = []
        self.seen: list[tuple[float, float]] = []

    def begins(self, identity) -> None:
        self.begun.append(dict(identity))

    def evaluated(self, done, metrics, best_by) -> None:
        self.seen.append((done, metrics[best_by]))
        if len(self.seen) == 2:
            raise InterruptedError


def test_an_onlooker_is_told_how_a_run_goes_and_may_stop_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    onlooker = Onlooker()
    monkeypatch.setattr(LoopConfig, "watch", onlooker)
    with pytest.raises(InterruptedError):
        fitted(tmp_path, [0.1, 0.3, 0.3, 0.2])
    assert onlooker.seen == [(0.25, 0.1), (0.5, 0.3)]
    [identity] = onlooker.begun
    assert identity["num_epochs"] == 4 and len(identity["training rows"]) == 64 and "output" not in identity


def test_ctrl_c_is_not_lost_where_an_onlooker_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(LoopConfig, "watch", Onlooker())
    press_ctrl_c(monkeypatch, at=2)  # in the step of its second evaluation
    with pytest.raises(Stopped, match="stopped at"):
        fitted(tmp_path, [0.1, 0.3, 0.3, 0.2])


def test_what_decides_a_run_is_known_without_training(bert: Path, data: Path, tmp_path: Path):
    config = parse(train.TrainConfig, train_args(bert, data, tmp_path), None)
    found = identity_of(train.fine_tune, config)
    assert config.num_epochs == 4 and config.learning_rate == 5e-3  # finetune.json's
    assert found["num_epochs"] == 4 and {"encoder", "dev rows", "class names", "training rows"} <= found.keys()
    assert not (tmp_path / "save" / ARTEFACT).exists() and json.loads(json.dumps(found)) == found
    other = parse(train.TrainConfig, train_args(bert, write_data(tmp_path / "other", seed=5), tmp_path), None)
    assert identity_of(train.fine_tune, other)["dev rows"] != found["dev rows"]


def test_dropout_is_the_models_own_unless_it_is_given(bert: Path, data: Path, tmp_path: Path, teacher: Path):
    model = nn.Sequential(nn.Dropout(0.1), nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.3)))
    loop.set_dropout(model, None)
    assert [module.p for module in model.modules() if isinstance(module, nn.Dropout)] == [0.1, 0.3]
    loop.set_dropout(model, 0.0)
    assert [module.p for module in model.modules() if isinstance(module, nn.Dropout)] == [0.0, 0.0]
    for name, more in (("same", ["--dropout", "0.1"]), ("other", ["--dropout", "0"])):
        train.main(train_args(bert, data, tmp_path / name, *more))
        assert same(tmp_path / name / "save" / ARTEFACT, teacher) == (name == "same")
