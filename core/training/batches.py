"""Rows encoded once and served in batches of like length."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from core.text.collate import collate

BUCKET_BATCHES = 50  # shuffled rows are sorted by length within so many batches


class Batches:
    """Encoded rows in batches of like length, so that little padding is computed.

    A batch is a dict of int64 tensors: each column; `attention_mask` (batch, seq), 1 for tokens and 0 for padding; and
    `row` (batch,), the index in the data.

    Args:
        columns: a value of each row by name, `input_ids` among them: numbers, or token by token.
        pads: by name of the column, what fills up shorter rows; 0 where it is not named.
        batch_size: rows in a batch; the last one may be smaller.
        seed: None serves all rows in one fixed order; a number shuffles, each epoch in its own reproducible order.
    """

    def __init__(
        self, columns: Mapping[str, Sequence], pads: Mapping[str, int], batch_size: int, seed: int | None = None
    ) -> None:
        self.columns = {name: _compact(values) for name, values in columns.items()}
        self.pads = pads
        # on a CPU PyTorch keeps kernels and memory for each shape that it has met
        self.most = {name: max(map(len, each)) for name, each in self.columns.items() if not np.isscalar(each[0])}
        self.lengths = list(map(len, self.columns["input_ids"]))
        self.batch_size = batch_size
        self.seed = seed

    def sha256(self) -> str:
        """A fingerprint of all columns, in order."""
        digest = hashlib.sha256()
        for values in self.columns.values():
            if np.isscalar(values[0]):
                digest.update(np.array(values).tobytes())
                continue
            for value in values:
                digest.update(len(value).to_bytes(4) + value.tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.lengths) // self.batch_size)

    def epoch(self, number: int = 0, skip: int = 0, stride: int = 1) -> Iterator[dict[str, torch.Tensor]]:
        """The batches of epoch `number` from the one at `skip` on, every one or every `stride`-th."""
        for rows in self._order(number)[skip::stride]:
            values = {name: [column[row] for row in rows] for name, column in self.columns.items()}
            arrays = collate(values, self.pads, self.most)
            batch = {name: torch.from_numpy(array) for name, array in arrays.items()}
            yield batch | {"row": torch.tensor(rows)}

    def _order(self, epoch: int) -> list[list[int]]:
        rows = range(len(self.lengths))
        if self.seed is None:
            return _cut(sorted(rows, key=self.lengths.__getitem__), self.batch_size)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        batches = []
        shuffled = torch.randperm(len(rows), generator=generator).tolist()
        for bucket in _cut(shuffled, self.batch_size * BUCKET_BATCHES):
            batches += _cut(sorted(bucket, key=self.lengths.__getitem__), self.batch_size)
        return [batches[index] for index in torch.randperm(len(batches), generator=generator).tolist()]


def _compact(values: Sequence) -> Sequence:
    """A column, with arrays in place of lists of numbers, which take ten times the memory."""
    return values if np.isscalar(values[0]) else [np.asarray(value, dtype=np.int32) for value in values]


def _cut(rows: list[int], size: int) -> list[list[int]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]
