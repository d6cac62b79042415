"""Parts of labelled texts for cross-validation."""

from collections.abc import Sequence

import numpy as np


def part_of(texts: Sequence[str], labels: Sequence[int], parts: int, seed: int) -> np.ndarray:
    """(texts,) the part that each falls into: classes evenly spread; texts of the same letters and digits together."""
    keys = ["".join(filter(str.isalnum, text)).casefold() or text for text in texts]
    first = dict(reversed(list(zip(keys, labels, strict=True))))  # by key, the label of the first text that has it
    order = sorted(first)
    np.random.default_rng(seed).shuffle(order)
    order.sort(key=first.__getitem__)
    part = {key: place % parts for place, key in enumerate(order)}
    return np.array([part[key] for key in keys])
