"""Encoded rows of different lengths as arrays, and which of them share a forward pass."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

WIDE, STEP = 64, 16  # tokens
TOKENS = 4096  # in a forward pass, with padding: with more, which no cache holds, a CPU takes longer for each


def collate(
    columns: Mapping[str, Sequence], pads: Mapping[str, int], most: Mapping[str, int] | None = None
) -> dict[str, np.ndarray]:
    """Rows of different lengths as int64 arrays, with the `attention_mask` of `input_ids`.

    Args:
        columns: a value of each row by name, `input_ids` among them: numbers, or token by token.
        pads: by name of the column, what fills up shorter rows; 0 where it is not named.
        most: by name of the column, up to what width one that is wider than `WIDE` may be filled up to a multiple of
            `STEP`: so that batches have few shapes.

    Returns:
        (rows,) for columns of numbers, (rows, longest) for the others; the mask is 1 for tokens and 0 for padding.
    """
    batch, most = {}, most or {}
    for name, values in columns.items():
        if np.isscalar(values[0]):
            batch[name] = np.array(values, dtype=np.int64)
            continue
        width = max(map(len, values))
        if width > WIDE:
            width = max(width, min(-(-width // STEP) * STEP, most.get(name, 0)))
        batch[name] = np.full((len(values), width), pads.get(name, 0), dtype=np.int64)
        for row, value in zip(batch[name], values, strict=True):
            row[: len(value)] = value
    batch["attention_mask"] = mask = np.zeros_like(batch["input_ids"])
    for row, ids in zip(mask, columns["input_ids"], strict=True):
        row[: len(ids)] = 1
    return batch


def passes(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Rows that share a forward pass, the short ones first: `most` of them at most, and `TOKENS` tokens or one row.

    Args:
        lengths: tokens of each row.
        most: rows.
    """
    taken: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if taken and (len(taken) == most or lengths[row] * (len(taken) + 1) > TOKENS):
            yield taken
            taken = []
        taken.append(row)
    if taken:
        yield taken
