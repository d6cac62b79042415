"""A teacher's logits, computed once and kept on disk: a student then costs no forward pass of its teacher.

One file for each teacher and set of encoded rows; it holds fp16, since what fp16 rounds off is far below what one
teacher differs from the next by. While it is being made, rows without logits are NaN, and a run that was stopped or
killed goes on from the last save.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import nn

from core.console import UserError, progress
from core.model_files.checkpoint import read_tensors, write_tensors
from core.model_files.module import call
from core.training.batches import Batches
from core.training.device import Devices
from core.training.units import Batch

SAVE_SECONDS = 30.0


@dataclass
class RowLogits:
    """The logits of each row of some data, whatever their shape.

    Attributes:
        values: (rows, …), or one after the other those of all tokens, (tokens, …).
        starts: (rows + 1,) where each row begins among the tokens; None where a row has one entry.
    """

    values: torch.Tensor
    starts: torch.Tensor | None = None

    def of(self, rows: torch.Tensor, width: int) -> torch.Tensor:
        """The logits of some rows, (batch, …), or (batch, width, …) with zeros behind the tokens of each."""
        if self.starts is None:
            return self.values[rows]
        found = self.values.new_zeros((len(rows), width, *self.values.shape[1:]))
        for place, row in zip(found, rows.tolist(), strict=True):
            own = self.values[self.starts[row] : self.starts[row + 1]]
            place[: len(own)] = own
        return found

    def put(self, rows: torch.Tensor, logits: torch.Tensor) -> None:
        """Keep the logits of a batch, in fp16."""
        largest = torch.finfo(torch.float16).max
        logits = logits.float().cpu().clamp(-largest, largest).half()
        if self.starts is None:
            self.values[rows] = logits
            return
        for row, values in zip(rows.tolist(), logits, strict=True):
            start, end = self.starts[row], self.starts[row + 1]
            self.values[start:end] = values[: end - start]

    def missing(self) -> torch.Tensor:
        """(rows,) whether a row has no logits yet."""
        empty = self.values.flatten(1).isnan().any(1)
        return empty if self.starts is None else empty[self.starts[:-1]]

    def to(self, device: torch.device) -> "RowLogits":
        """The same on a device, in FP32."""
        return RowLogits(self.values.float().to(device), self.starts)

    @staticmethod
    def join(parts: Sequence["RowLogits"]) -> "RowLogits":
        """The rows of several data, one after the other."""
        values = torch.cat([part.values for part in parts])
        if parts[0].starts is None:
            return RowLogits(values)
        starts = [cast(torch.Tensor, part.starts) for part in parts]  # all have entries token by token
        lengths = torch.cat([each.diff() for each in starts])
        return RowLogits(values, nn.functional.pad(lengths.cumsum(0), (1, 0)))

    @staticmethod
    def mean(teachers: Sequence["RowLogits"]) -> "RowLogits":
        """The mean of the logits of several teachers of the same rows, in FP32."""
        return RowLogits.weighted(teachers, [1 / len(teachers)] * len(teachers))

    @staticmethod
    def weighted(teachers: Sequence["RowLogits"], weights: Sequence[float]) -> "RowLogits":
        """The sum of the logits of several teachers of the same rows, a weight for each, in FP32."""
        values = sum(weight * each.values.float() for weight, each in zip(weights, teachers, strict=True))
        return RowLogits(values, teachers[0].starts)


def cached_logits(
    folder: Path,
    teacher_sha256: str,
    shape: Sequence[int],
    batches: Batches,
    logits_fn: Callable[[Batch], torch.Tensor],
    per_token: bool = False,
) -> RowLogits:
    """Logits of a teacher for all rows, read from the cache as far as it has them.

    The cache is found by the teacher's hash (a teacher file says where it cuts texts) and by that of the encoded rows,
    so that one of another teacher, data or length is never read. A damaged one is computed again.

    Args:
        folder: of the caches.
        teacher_sha256: the hash of the teacher's file.
        shape: of the logits of a row, or of a token: (labels,).
        batches: the rows, in batches of like length.
        logits_fn: batch -> (batch, *shape) or (batch, seq, *shape), the teacher at work.
        per_token: whether the logits are token by token.

    Returns:
        The logits in fp16 on the CPU, in the order of the data, so that `batch["row"]` finds them.
    """
    rows = len(batches.lengths)
    starts = nn.functional.pad(torch.tensor(batches.lengths).cumsum(0), (1, 0)) if per_token else None
    key = hashlib.sha256(f"{teacher_sha256} {batches.sha256()}".encode()).hexdigest()
    path = folder / f"{key[:24]}.pt"
    logits = RowLogits(_read(path, (rows if starts is None else int(starts[-1]), *shape)), starts)
    todo = logits.missing()
    if not todo.any():
        print(f"teacher's logits: {rows} rows, read from {path}")
        return logits
    saved = time.perf_counter()
    with progress(total=rows, initial=rows - int(todo.sum()), desc="teacher", unit="row") as bar:
        for batch in batches.epoch():
            if not todo[batch["row"]].any():
                continue
            logits.put(batch["row"], logits_fn(batch))
            bar.update(int(todo[batch["row"]].sum()))
            if time.perf_counter() - saved > SAVE_SECONDS:
                write_tensors(path, {"logits": logits.values})
                saved = time.perf_counter()
    if logits.values.isnan().any():
        raise UserError("the teacher gives logits that are not numbers: it is damaged, or try --precision fp32")
    write_tensors(path, {"logits": logits.values})
    return logits


def logits_of(teacher: nn.Module, devices: Devices) -> Callable[[Batch], torch.Tensor]:
    """A teacher, moved to its device and set to predict, as `cached_logits` takes it."""
    teacher.to(devices.device).eval()

    def logits(batch: Batch) -> torch.Tensor:
        with torch.inference_mode(), devices.autocast():
            return call(teacher, batch, devices.device)

    return logits


def _read(path: Path, shape: Sequence[int]) -> torch.Tensor:
    """What the cache holds; NaN where it holds nothing."""
    nothing = torch.full(tuple(shape), torch.nan, dtype=torch.float16)
    if not path.is_file():
        return nothing
    try:
        content = read_tensors(path)
        logits = content.get("logits") if isinstance(content, dict) else None
        if isinstance(logits, torch.Tensor) and (logits.shape, logits.dtype) == (nothing.shape, nothing.dtype):
            return logits
    except UserError:
        pass  # told below
    print(f"warning: the teacher's logits in {path} are damaged: computing them again")
    return nothing
