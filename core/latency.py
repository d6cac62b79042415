"""How long models take for one text at a time, measured so that a busy machine slows all of them alike."""

import statistics
import time
from collections.abc import Iterable, Sequence

import torch
from torch import nn

TEXTS = 50
TURNS = 3


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
