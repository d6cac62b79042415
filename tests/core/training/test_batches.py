"""Batches: each row once, with its own columns, in an order that can be had again."""

import numpy as np
import pytest

from core.training.batches import Batches


def some(seed: int | None = 1, batch_size: int = 4, rows: int = 23, longest: int = 7) -> Batches:
    """Rows of different lengths, with a number for each row and one for each token."""
    lengths = [row * 37 % longest + 3 for row in range(rows)]
    columns = {
        "labels": [row % 3 for row in range(rows)],
        "input_ids": [[2, *[5 + row] * (length - 2), 3] for row, length in enumerate(lengths)],
        "tags": [[-100, *range(length - 2), -100] for length in lengths],
        "segments": [np.ones(length, dtype=np.int32) for length in lengths],
    }
    return Batches(columns, {"input_ids": 4, "tags": -100}, batch_size, seed)


def test_an_epoch_serves_each_row_once_with_its_own_columns():
    batches = some()
    served = list(batches.epoch(0))
    assert len(served) == len(batches) == 6
    assert sorted(row for batch in served for row in batch["row"].tolist()) == list(range(23))
    for batch in served:
        rows = batch["row"].tolist()
        assert batch["labels"].tolist() == [row % 3 for row in rows]
        assert batch["attention_mask"].sum(1).tolist() == [row * 37 % 7 + 3 for row in rows]
        padding = batch["attention_mask"] == 0
        assert ((batch["input_ids"] == 4) == padding).all() and (batch["segments"] == ~padding).all()
        for index, row in enumerate(rows):
            length = batches.lengths[row]
            assert batch["input_ids"][index, 1 : length - 1].tolist() == [5 + row] * (length - 2)
            assert batch["tags"][index, :length].tolist() == [-100, *range(length - 2), -100]
        assert (batch["tags"][padding] == -100).all()


def test_epochs_differ_repeat_and_can_be_entered_in_the_middle():
    def orders(number: int, **how: int) -> list[list[int]]:
        return [batch["row"].tolist() for batch in some().epoch(number, **how)]

    first = orders(0)
    assert first == orders(0) != orders(1)
    assert first[2:] == orders(0, skip=2) and first[1::3] == orders(0, skip=1, stride=3)
    assert first != [batch["row"].tolist() for batch in some(seed=2).epoch(0)]


def test_without_a_seed_the_order_is_one_and_the_same_by_length():
    served = [batch for number in (0, 1) for batch in some(seed=None).epoch(number)]
    rows = [batch["row"].tolist() for batch in served]
    assert rows[:6] == rows[6:]
    lengths = [length for batch in served[:6] for length in batch["attention_mask"].sum(1).tolist()]
    assert lengths == sorted(lengths)


def test_wide_batches_have_few_shapes_and_none_is_wider_than_the_data():
    """On a CPU PyTorch keeps memory for each shape that it has met."""
    batches = some(batch_size=2, rows=400, longest=200)
    shapes = set()
    for batch in batches.epoch(0):
        width = batch["attention_mask"].shape[1]
        longest = int(batch["attention_mask"].sum(1).max())
        assert width - longest < 16 and batch["labels"].shape == (2,)
        assert {batch[name].shape for name in ("input_ids", "tags", "segments")} == {(2, width)}
        assert (batch["tags"][batch["attention_mask"] == 0] == -100).all()
        shapes.add(width)
    assert max(shapes) == max(batches.lengths) == 202
    assert {width for width in shapes if width > 64} == {*range(80, 202, 16), 202}
    assert len({width for width in shapes if width <= 64}) > 30, "short texts are padded as little as can be"


def test_bucketing_saves_padding():
    served = list(some(batch_size=16, rows=800, longest=50).epoch(0))
    tokens = sum(batch["attention_mask"].sum().item() for batch in served)
    assert tokens / sum(batch["attention_mask"].numel() for batch in served) > 0.9


@pytest.mark.parametrize("column", ["labels", "input_ids", "tags"])
def test_the_fingerprint_is_that_of_all_columns(column: str):
    def columns() -> dict[str, list]:
        return {name: list(values) for name, values in some().columns.items()}

    one, other = columns(), columns()
    last = other[column][-1]
    other[column][-1] = last + 1 if column == "labels" else np.array([*last[:-1], last[-1] + 1])
    sums = [Batches(each, {}, 4).sha256() for each in (one, columns(), other)]
    assert sums[0] == sums[1] != sums[2]
    moved = {**columns(), "input_ids": one["input_ids"][::-1]}
    assert Batches(moved, {}, 4).sha256() != sums[0]


def test_rows_cut_elsewhere_have_another_fingerprint():
    one, other = ({"input_ids": [[1, 2, 3], [4]]}, {"input_ids": [[1, 2], [3, 4]]})
    assert Batches(one, {}, 2).sha256() != Batches(other, {}, 2).sha256()
