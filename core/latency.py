"""How long models take for their answers, measured so that a busy machine slows all of them alike."""

import statistics
import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

TEXTS = 50
TURNS = 3
ROUNDS = 5  # of `compare_speed`
BATCH = 32  # texts at once where the throughput counts

Predictor = Callable[[Sequence[str], int], object]  # (texts, how many of them at once) -> answers


def median_ms(
    models: Sequence[nn.Module], batches: Sequence[Iterable[dict[str, torch.Tensor]]], device: torch.device
) -> list[float]:
    """The median milliseconds of each model for a batch, the models taking turns batch by batch.

    Args:
        models: on their device, ready to predict.
        batches: for each model the same texts, encoded for it, in batches of one; of many, a sample is timed.
        device: what to compute on, in FP32 as the predictor does.
    """
    times: list[list[float]] = [[] for _ in models]
    rounds = list(zip(*batches, strict=True))
    rounds = rounds[:: -(-len(rounds) // TEXTS)]
    with torch.inference_mode():
        for turn in range(TURNS + 1):  # the first one warms up
            for same_texts in rounds:
                for mine, model, batch in zip(times, models, same_texts, strict=True):
                    start = time.perf_counter()
                    model(batch["input_ids"].to(device), batch["attention_mask"].to(device)).cpu()
                    if turn:
                        mine.append(1000 * (time.perf_counter() - start))
    return [statistics.median(mine) for mine in times]


def compare_speed(predictors: Sequence[Predictor], texts: Sequence[str]) -> list[dict[str, float]]:
    """From text to answer: alone and in batches. The models take turns, each warmed up in every turn.

    Returns:
        For each model `p50_ms` and `p95_ms` of a text alone and `titles_per_s` in batches of 32: medians of the rounds.
    """
    rounds: list[list[dict[str, float]]] = [[] for _ in predictors]
    with tqdm(total=ROUNDS * len(predictors), desc="speed", unit="run", leave=False) as bar:
        for _ in range(ROUNDS):
            for mine, predict in zip(rounds, predictors, strict=True):
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
    return [{name: statistics.median(run[name] for run in runs) for name in runs[0]} for runs in rounds]
