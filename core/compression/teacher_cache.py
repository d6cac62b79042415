"""A teacher's logits, computed once and kept on disk: a student then costs no forward pass of its teacher.

One file for each teacher and set of encoded titles; it holds fp16, since what fp16 rounds off is far below what one
teacher differs from the next by. While it is being made, rows without logits are NaN, and a run that was stopped or
killed goes on from the last save.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import torch
from torch import nn
from tqdm import tqdm

from core.console import UserError
from core.model_files.checkpoint import read_tensors, write_tensors
from core.training.device import Devices
from core.training.updater import Batch

SAVE_SECONDS = 30.0


class RowBatches(Protocol):
    """Encoded titles in batches, as `utils.Batches` serves them: `row` is the index in the data."""

    labels: list[int]

    def sha256(self) -> str: ...
    def epoch(self) -> Iterator[Batch]: ...


def cached_logits(
    folder: Path, teacher_sha256: str, num_labels: int, batches: RowBatches, logits_fn: Callable[[Batch], torch.Tensor]
) -> torch.Tensor:
    """The teacher's logits of all titles, read from the cache as far as it has them.

    The cache is found by the teacher's hash (a teacher file says where it cuts titles) and by that of the encoded
    titles, so that one of another teacher, data or length is never read. A damaged one is computed again.

    Args:
        folder: of the caches.
        teacher_sha256: the hash of the teacher's file.
        num_labels: classes of the teacher.
        batches: the titles, in batches of like length.
        logits_fn: batch -> (batch, num_labels), the teacher at work.

    Returns:
        (rows, num_labels) fp16 on the CPU, in the order of the data, so that `batch["row"]` indexes it.
    """
    rows = len(batches.labels)
    key = hashlib.sha256(f"{teacher_sha256} {batches.sha256()}".encode()).hexdigest()
    path = folder / f"{key[:24]}.pt"
    logits = _read(path, rows, num_labels)
    todo = logits.isnan().any(1)
    if not todo.any():
        print(f"teacher's logits: {rows} titles, read from {path}")
        return logits
    saved = time.perf_counter()
    with tqdm(total=rows, initial=rows - int(todo.sum()), desc="teacher", unit="title", mininterval=1.0) as bar:
        for batch in batches.epoch():
            if not todo[batch["row"]].any():
                continue
            largest = torch.finfo(torch.float16).max
            logits[batch["row"]] = logits_fn(batch).float().cpu().clamp(-largest, largest).half()
            bar.update(int(todo[batch["row"]].sum()))
            if time.perf_counter() - saved > SAVE_SECONDS:
                write_tensors(path, {"logits": logits})
                saved = time.perf_counter()
    if logits.isnan().any():
        raise UserError("the teacher gives logits that are not numbers: it is damaged, or try --precision fp32")
    write_tensors(path, {"logits": logits})
    return logits


def logits_of(teacher: nn.Module, devices: Devices) -> Callable[[Batch], torch.Tensor]:
    """A teacher, moved to its device and set to predict, as `cached_logits` takes it."""
    teacher.to(devices.device).eval()

    def logits(batch: Batch) -> torch.Tensor:
        with torch.inference_mode(), devices.autocast():
            return teacher(batch["input_ids"].to(devices.device), batch["attention_mask"].to(devices.device))

    return logits


def _read(path: Path, rows: int, num_labels: int) -> torch.Tensor:
    """What the cache holds; NaN where it holds nothing."""
    nothing = torch.full((rows, num_labels), torch.nan, dtype=torch.float16)
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
