"""The likeliest tags that obey BIO, against all tags there are."""

import itertools

import numpy as np
import pytest

from ner.decode import best_path, entities_of
from ner.tags import Entity, tags_of

TAGS = tags_of(["A", "B"])


def is_legal(path: tuple[int, ...]) -> bool:
    named = ["O", *(TAGS[index] for index in path)]
    return all(tag[0] != "I" or before[2:] == tag[2:] for before, tag in itertools.pairwise(named))


@pytest.mark.parametrize("seed", range(20))
def test_no_legal_path_is_likelier(seed: int):
    logits = np.random.default_rng(seed).normal(size=(4, len(TAGS))).astype(np.float32)
    paths = [path for path in itertools.product(range(len(TAGS)), repeat=4) if is_legal(path)]
    best = max(paths, key=lambda path: sum(logits[unit, tag] for unit, tag in enumerate(path)))
    assert tuple(best_path(logits, TAGS).tolist()) == best


def test_no_unit_no_path():
    assert best_path(np.zeros((0, 5)), TAGS).tolist() == [] and entities_of(np.zeros(0, int), TAGS) == []


def test_entities_that_touch_stay_apart():
    path = np.array([TAGS.index(tag) for tag in ["B-A", "I-A", "B-A", "B-B", "I-B", "O", "B-B"]])
    assert entities_of(path, TAGS) == [Entity(0, 2, "A"), Entity(2, 3, "A"), Entity(3, 5, "B"), Entity(6, 7, "B")]
