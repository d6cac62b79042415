"""Latency and throughput of models, measured so that a busy machine slows all of them alike; memory of a process."""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

ROUNDS = 5
BATCH = 32  # texts at once where the throughput counts

Predictor = Callable[[Sequence[str], int], object]  # (texts, how many of them at once) -> answers


def compare_speed(
    predictors: Sequence[Predictor], texts: Sequence[str], rounds: int = ROUNDS
) -> list[dict[str, float]]:
    """From text to answer: alone and in batches. The models take turns, each warmed up in every turn.

    Returns:
        For each model `p50_ms` and `p95_ms` of a text alone and `titles_per_s` in batches of 32: medians of the rounds.
    """
    found: list[list[dict[str, float]]] = [[] for _ in predictors]
    with tqdm(total=rounds * len(predictors), desc="speed", unit="run", leave=False) as bar:
        for _ in range(rounds):
            for mine, predict in zip(found, predictors, strict=True):
                times = []
                for text in [*texts[:3], *texts]:
                    started = time.perf_counter()
                    predict([text], 1)
                    times.append(1e3 * (time.perf_counter() - started))
                p50, p95 = np.percentile(times[3:], (50, 95))
                predict(texts[:BATCH], BATCH)
                started = time.perf_counter()
                predict(texts, BATCH)
                titles_per_s = len(texts) / (time.perf_counter() - started)
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
