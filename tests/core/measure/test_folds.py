"""Parts for cross-validation."""

import numpy as np

from core.measure.folds import part_of


def test_texts_that_differ_in_punctuation_are_judged_together_and_classes_evenly():
    texts = [f"标题{number}" for number in range(40)] + ["标题3！", " 标题 3", "ABC", "abc。", "！！", "？"]
    labels = [number % 4 for number in range(40)] + [3, 0, 1, 1, 2, 2]
    part = part_of(texts, labels, 5, seed=1)
    assert part[3] == part[40] == part[41] and part[42] == part[43]
    different = [row for row in range(len(texts)) if row not in (40, 41, 43)]
    for label in range(4):
        counts = np.bincount([part[row] for row in different if labels[row] == label], minlength=5)
        assert counts.max() - counts.min() <= 1
    assert (part == part_of(texts, labels, 5, seed=1)).all() and (part != part_of(texts, labels, 5, seed=2)).any()
