"""The training loop that every stage uses: it knows a model, batches and a loss, and neither BERT nor text."""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import nn

from core.console import Stopped, UserError, progress
from core.files import require_folder
from core.model_files.facts import is_per_token
from core.model_files.module import call, run_module
from core.model_files.onnx_model import Run
from core.training.batches import Batches
from core.training.device import Devices, return_freed_memory
from core.training.knobs import LoopConfig
from core.training.log import TrainingLog
from core.training.resume import Progress, RunState, hold_ctrl_c, rng_state, set_rng_state
from core.training.units import Batch, count_rows
from core.training.updater import BatchSource, LossFn, Updater, learning_rate

# A run may be resumed although these have changed.
MAY_CHANGE = ("config", "resume", "minutes", "save_minutes", "output", "save_dir", "data_dir", "logits_dir", "device")

SAVE_SECONDS = 20.0  # at least between two saves of the state at the ends of epochs: short epochs need none each


class Budget(NamedTuple):
    """How long a run lasts: `seconds` where `--minutes` is given, else `steps`, which is infinite where none are."""

    steps: float
    seconds: float | None

    @classmethod
    def of(cls, knobs: LoopConfig, batches: int) -> "Budget":
        """The budget of a run of so many batches in an epoch."""
        steps = math.inf if knobs.minutes else batches * cast(int, knobs.num_epochs)
        return cls(min(steps, knobs.max_steps or math.inf), knobs.minutes and knobs.minutes * 60)

    def position(self, now: Progress, devices: Devices) -> tuple[float, float]:
        """How far a run is and where it ends, in seconds or in steps; the same in all processes."""
        return (devices.gather(now.seconds)[0], self.seconds) if self.seconds else (now.step, self.steps)

    def bar(self, now: Progress, devices: Devices) -> Any:
        """The progress bar of a run."""
        total = None if self.seconds else self.steps
        shown: dict[str, Any] = {} if devices.is_main else {"disable": True}
        return progress(total=total, initial=now.step, desc="training", unit="step", **shown)

    def told(self, step: int) -> str:
        """`step 5 of 100` for people."""
        return f"step {step}" if self.seconds else f"step {step} of {self.steps}"


def fit(
    model: nn.Module,
    batches: BatchSource,
    loss_fn: LossFn,
    score: Callable[[nn.Module], dict[str, Any]],
    knobs: LoopConfig,
    devices: Devices,
    run_state: RunState,
    reports: Path,
    best_by: str,
    units: Callable[[Batch], int] = count_rows,
) -> Progress:
    """Train a model and leave it with the weights that scored best.

    AdamW with a learning rate that climbs and falls, clipped gradients, and evaluation `knobs.evals_per_epoch` times an
    epoch. The run can be stopped at any moment and resumed; on a CPU it then ends with the very weights of one that was
    not.

    Args:
        model: on its device already.
        batches: the training data.
        loss_fn: (model, batch) -> (mean loss over the units, {name: part}); the parts are logged.
        score: model -> metrics; the floats among them are logged.
        knobs: `num_epochs` and `learning_rate` are numbers here; what `watch` raises goes on to the caller.
        devices: what to compute on.
        run_state: where the state to resume from lies, and what else than knobs and rows decides the result.
        reports: the folder for `log.jsonl` and `learning_curve.png`.
        best_by: the metric that is best when highest.
        units: batch -> what the loss is a mean over: rows, tokens, masked tokens.

    Raises:
        UserError: Ctrl-C (the state is saved), out of memory, a loss that is not a number, or no minute left to train.
    """
    budget, patience = Budget.of(knobs, len(batches)), knobs.patience or math.inf
    eval_every, save_seconds = -(-len(batches) // knobs.evals_per_epoch), knobs.save_minutes * 60
    updater = Updater(model, loss_fn, devices, units, knobs)
    set_dropout(model, knobs.dropout)
    torch.manual_seed(knobs.seed + devices.rank)
    run_state.identity |= {key: value for key, value in knobs.plain().items() if key not in MAY_CHANGE}
    run_state.identity |= {"training rows": batches.sha256(), "processes": devices.world}
    knobs.watch.begins(run_state.identity)
    now = _go_on(run_state, model, updater, devices, knobs.resume, budget)
    log = TrainingLog(reports, now.log, best_by, devices.is_main)
    model.train()
    clock = saved = time.perf_counter()
    at, end = budget.position(now, devices)
    if at >= end and not now.best:
        raise UserError(f"this run has trained {at / 60:.1f} minutes and was not scored yet: give more --minutes")
    with hold_ctrl_c() as ctrl_c, budget.bar(now, devices) as bar:
        while at < end and now.step < budget.steps and now.misses < patience:
            epoch, done = divmod(now.step, len(batches))
            for batch in batches.epoch(epoch, skip=done):
                rate = learning_rate(at, end, cast(float, knobs.learning_rate), knobs.warmup_ratio)
                parts = updater.step(batch, rate)
                now.count(parts, int(batch["attention_mask"].sum()), time.perf_counter() - clock)
                clock = time.perf_counter()
                at, end = budget.position(now, devices)
                bar.set_postfix(loss=f"{parts['loss']:.3f}", lr=f"{rate:.1e}", refresh=False)
                bar.update()

                last = at >= end or now.step == budget.steps
                end_of_epoch = now.step % len(batches) == 0 or last
                metrics = None
                if end_of_epoch or now.step % len(batches) % eval_every == 0:
                    metrics = _evaluate(model, score)
                    better = now.judge(metrics, best_by, model)
                    bar.write(log.add(now, now.step / len(batches), rate, metrics) + better * "  best so far")
                if devices.any(ctrl_c.is_set()):
                    _save(run_state, model, updater, devices, now)
                    raise Stopped(f"stopped at {budget.told(now.step)}: go on with the same flags and --resume")
                if metrics:  # after Ctrl-C, which would be lost if the watcher ended the run
                    knobs.watch.evaluated(min(1.0, at / end), metrics, best_by)
                if devices.any(clock - saved > (min(save_seconds, SAVE_SECONDS) if end_of_epoch else save_seconds)):
                    _save(run_state, model, updater, devices, now)
                    saved = time.perf_counter()
                if last or now.misses >= patience:
                    break
    model.load_state_dict(now.best["weights"])
    log.draw(now.best["step"])
    return now


def set_dropout(model: nn.Module, share: float | None) -> None:
    """Have a model drop such a share of its activations in training, at each place where it drops any."""
    for module in model.modules() if share is not None else ():
        if isinstance(module, nn.Dropout):
            module.p = share


def _go_on(
    run_state: RunState, model: nn.Module, updater: Updater, devices: Devices, resume: bool, budget: Budget
) -> Progress:
    """Take up a stopped run where it is to be resumed; else begin one. The model must fit the disk in either case."""
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    require_folder(run_state.artefact.parent, size)
    if not (resume and run_state.exists()):
        if run_state.exists():
            print("a stopped run is discarded (--resume would have gone on with it)")
        return Progress()
    state = run_state.load()
    model.load_state_dict(state["model"])
    updater.load_state_dict(state["updater"])
    set_rng_state(state["rng"][devices.rank])
    now = Progress(**state["progress"])
    print(f"resumed at {budget.told(now.step)}")
    return now


def _evaluate(model: nn.Module, score: Callable[[nn.Module], dict[str, Any]]) -> dict[str, Any]:
    """The metrics of a model in training, which goes on after them with the memory that it needs alone."""
    metrics = score(model)
    model.train()
    return_freed_memory()
    return metrics


def _save(run_state: RunState, model: nn.Module, updater: Updater, devices: Devices, now: Progress) -> None:
    """Keep all that a resumed run needs."""
    state = {"model": model.state_dict(), "updater": updater.state_dict(), "progress": vars(now)}
    state["rng"] = devices.gather(rng_state())
    if devices.is_main:
        run_state.save(state)


def run_on(model: nn.Module, devices: Devices) -> Run:
    """A module as a function of arrays, in the arithmetic of training."""
    run = run_module(model, devices.device)

    def autocast(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        with devices.autocast():
            return run(inputs)

    return autocast


def forward_rows(model: nn.Module, batches: Batches, devices: Devices) -> list[np.ndarray]:
    """The logits of each row in the order of the data, float32, without padding, in each process."""
    model.eval()
    logits: dict[int, np.ndarray] = {}
    per_token = is_per_token(model)
    with torch.inference_mode(), devices.autocast():
        for batch in batches.epoch(skip=devices.rank, stride=devices.world):
            found = call(model, batch, devices.device).float().cpu().numpy()
            for row, values in zip(batch["row"].tolist(), found, strict=True):
                logits[row] = values[: batches.lengths[row]] if per_token else values
    parts = devices.gather(logits)
    everywhere = {row: values for part in parts for row, values in part.items()}
    return [everywhere[row] for row in range(len(batches.lengths))]
