"""Changed copies of encoded titles: each of the four changes, and nothing else."""

import numpy as np

from core.text.augment import augment


def test_augmented_copies():
    rows = [np.array([2, *range(10, 10 + length), 3], dtype=np.int32) for length in (0, 1, 2, 5, 30)] * 20
    before = [ids.copy() for ids in rows]
    copies = augment(rows, 2, mask_id=4, seed=1)
    assert len(copies) == 2 * len(rows)
    assert all(np.array_equal(one, other) for one, other in zip(rows, before, strict=True))
    kinds = set()
    for ids, copy in zip(rows * 2, copies, strict=True):
        assert copy[0] == 2 and copy[-1] == 3 and copy.dtype == ids.dtype
        assert set(copy.tolist()) <= {*ids.tolist(), 4}
        assert len(copy) >= min(3, len(ids))
        if len(ids) == 32:
            if 4 in copy:
                kinds.add("mask")
                assert (copy == 4).sum() == 3 and len(copy) == 32
            elif len(copy) == 32:
                kinds.add("swap")
                assert sorted(copy.tolist()) == sorted(ids.tolist())
            elif len(copy) == 29:
                kinds.add("delete")
            elif np.array_equal(copy[1:-1], np.arange(copy[1], copy[1] + len(copy) - 2)):
                kinds.add("n-gram")
    assert kinds == {"mask", "swap", "delete", "n-gram"}
    again, other = (augment(rows, 2, 4, seed) for seed in (1, 2))
    assert all(map(np.array_equal, copies, again)) and not all(map(np.array_equal, copies, other))
