"""Latency and throughput of models, measured so that a busy machine slows all of them alike; memory of a process."""

import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.console import UserError, progress

if TYPE_CHECKING:
    import torch

ROUNDS = 5
LONGEST_S = 60.0  # after which no further round begins: a slow model differs little from one to the next
BATCH = 32  # items at once where the throughput counts

Predict = Callable[[Sequence[Any], int], object]  # (items, how many of them at once) -> answers


def compare_speed(predictors: Sequence[Predict], items: Sequence[Any], rounds: int = ROUNDS) -> list[dict[str, float]]:
    """Latency and throughput from item to answer; the models take turns, each warmed up in every turn.

    Returns:
        For each model `p50_ms` and `p95_ms` of an item alone, `titles_per_s` in batches of 32: medians of the rounds.
    """
    found: list[list[dict[str, float]]] = [[] for _ in predictors]
    ends = time.monotonic() + LONGEST_S
    with progress(total=rounds * len(predictors), desc="speed", unit="run", leave=False) as bar:
        for done in range(rounds):
            if done and time.monotonic() > ends:
                break
            for mine, predict in zip(found, predictors, strict=True):
                times = []
                for item in [*items[:3], *items]:
                    started = time.perf_counter()
                    predict([item], 1)
                    times.append(1e3 * (time.perf_counter() - started))
                p50, p95 = np.percentile(times[3:], (50, 95))
                predict(items[:BATCH], BATCH)
                started = time.perf_counter()
                predict(items, BATCH)
                titles_per_s = len(items) / (time.perf_counter() - started)
                mine.append({"p50_ms": float(p50), "p95_ms": float(p95), "titles_per_s": titles_per_s})
                bar.update()
    return [{name: statistics.median(run[name] for run in runs) for name in runs[0]} for runs in found]


def peak_mb() -> float:
    """The most resident memory that this process has held so far, in MB."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / 1e6
    status = Path("/proc/self/status")
    if status.is_file():  # Linux; there getrusage would also count what the parent held when it started this process
        facts = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
        if "VmHWM" in facts:
            return int(facts["VmHWM"].split()[0]) * 1024 / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def peak_memory_mb(device: "torch.device") -> float:
    """The most memory of a device that this process has held so far, in MB: a GPU's own, else resident memory."""
    if device.type != "cuda":
        return peak_mb()
    import torch

    return torch.cuda.max_memory_allocated(device) / 1e6


def in_own_process(function: Callable[..., Any], *args: Any) -> Any:
    """What a function returns where nothing else has allocated memory or started threads."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def spread_sample(items: Sequence[Any], count: int) -> list[Any]:
    """About `count` of the items, spread evenly.

    Raises:
        UserError: there is none.
    """
    if not items:
        raise UserError("there is nothing to measure with that a model could answer: give other dev and test data")
    return list(items[:: -(-len(items) // count)])
