"""One update of the weights by the gradient of one batch, in whatever pieces and processes it is computed."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from math import inf
from typing import Any, Protocol

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from torch import nn
from tqdm import tqdm

from core.console import UserError
from core.text.collate import TOKENS
from core.training.device import Devices
from core.training.knobs import LoopConfig
from core.training.units import Batch


class BatchSource(Protocol):
    """Training data in batches: `input_ids`, `attention_mask` and `row`, and what else the loss needs."""

    def __len__(self) -> int:
        """Batches in an epoch."""

    def epoch(self, number: int, skip: int) -> Iterator[Batch]:
        """The batches of epoch `number` from the one at `skip` on, the same ones each time it is called."""

    def sha256(self) -> str:
        """A fingerprint of the data."""


# (model, batch) -> (mean loss over the units of the batch, {name: part of it worth logging})
LossFn = Callable[[nn.Module, Batch], tuple[torch.Tensor, dict[str, torch.Tensor]]]


def learning_rate(step: float, steps: float, peak: float, warmup_ratio: float) -> float:
    """The rate of step `step` (from 0) of `steps`: linear to `peak` over the warm-up, then linear to 0."""
    warmup = warmup_ratio * steps
    share = (step + 1) / warmup if step + 1 < warmup else (steps - step) / max(1.0, steps - warmup)
    return peak * min(1.0, share)


def make_optimizer(model: nn.Module, weight_decay: float) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019) that decays matrices, but neither biases nor LayerNorm weights."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, fused=True)


class Updater:
    """The optimizer of a model at work.

    A batch is shared out over the processes, and each computes its share in pieces, weighted by their units; so the
    update is the same as if the batch were computed at once, dropout apart. On a CPU no piece of several rows has more
    than `TOKENS` tokens, which is faster. Where memory runs out, pieces are halved and the step repeated.

    Args:
        model: on its device already.
        loss_fn: the loss, a mean over units.
        devices: what to compute on.
        units: batch -> how many there are in it: rows, tokens, masked tokens.
        knobs: `gradient_accumulation`, `weight_decay` and `max_grad_norm` are used.
    """

    def __init__(
        self, model: nn.Module, loss_fn: LossFn, devices: Devices, units: Callable[[Batch], int], knobs: LoopConfig
    ) -> None:
        self.optimizer = make_optimizer(model, knobs.weight_decay)
        self.model = devices.parallel(model)
        self.loss_fn = loss_fn
        self.devices = devices
        self.units = units
        self.pieces = knobs.gradient_accumulation
        self.max_grad_norm = knobs.max_grad_norm
        self.scaler = torch.amp.GradScaler(devices.device.type, enabled=devices.dtype == torch.float16)

    def step(self, batch: Batch, rate: float) -> dict[str, float]:
        """Update the weights by a batch at a learning rate; returns the loss and its parts as numbers.

        Raises:
            UserError: out of memory with nothing left to halve, or a loss that is not a number.
        """
        rank, world = self.devices.rank, self.devices.world
        units: float = self.units(batch)
        own = slice(rank, None, world)
        if rank >= len(batch["row"]):  # a process without a row of a small last batch computes one, as nothing of it
            own, units = slice(1), inf
        mine = {name: tensor[own].to(self.devices.device) for name, tensor in batch.items()}
        while True:
            self.optimizer.zero_grad()
            try:
                numbers = self._accumulate(mine, units)
                break
            except RuntimeError as fault:
                if not should_reduce_batch_size(fault):
                    raise
                at_once = self._at_once(mine)
                if at_once == 1 or world > 1:
                    raise UserError(
                        f"out of memory with {at_once} text(s) at once: try --gradient-checkpointing, a higher "
                        "--gradient-accumulation, a smaller batch or a lower --max-length"
                    ) from fault
            clear_device_cache(garbage_collection=True)
            self.pieces = 2 * -(-len(mine["row"]) // at_once)
            tqdm.write(
                f"out of memory: from here on a batch is computed in {self.pieces} pieces, with the same result; "
                f"--gradient-accumulation {self.pieces} does so from the start"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.model.parameters(), self.max_grad_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return numbers

    def _at_once(self, mine: Batch) -> int:
        """Rows of a piece."""
        rows, width = mine["input_ids"].shape
        most = max(1, TOKENS // width) if self.devices.device.type == "cpu" else rows
        return -(-rows // max(self.pieces, -(-rows // most)))  # of like size

    def _accumulate(self, mine: Batch, units: float) -> dict[str, float]:
        """Add up the gradient of this process's share of a batch of so many units."""
        numbers: dict[str, float] = {}
        size = self._at_once(mine)
        starts = range(0, len(mine["row"]), size)
        own_units = max(1, self.units(mine))
        for start in starts:
            piece = {name: tensor[start : start + size] for name, tensor in mine.items()}
            here = self.units(piece)
            with nullcontext() if start == starts[-1] else self.devices.no_sync(self.model):
                with self.devices.autocast():
                    loss, parts = self.loss_fn(self.model, piece)
                if not here:  # the mean over nothing, which counts for nothing
                    loss, parts = loss.nan_to_num(), {name: part.nan_to_num() for name, part in parts.items()}
                if not torch.isfinite(loss):
                    shown = ", ".join(str(row) for row in piece["row"].tolist()[:20])
                    raise UserError(f"the loss is {loss.item()} on training rows {shown} …: lower --learning-rate")
                # Processes average their gradients; times their number that is the sum.
                self.scaler.scale(loss * (here / max(1, units)) * self.devices.world).backward()
            for name, value in {"loss": loss, **parts}.items():
                numbers[name] = numbers.get(name, 0.0) + value.item() * here / own_units
        return numbers

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs beside the weights."""
        return {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict(), "pieces": self.pieces}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.pieces = state["pieces"]
