"""The baselines: what the CRF knows of a unit, what the dictionary holds; time that grows with the text alone."""

import time
from pathlib import Path

import pytest
from ner_sentences import VOCAB

from core.text.tokenizer import Tokenizer
from ner.baseline import Dictionary, features
from ner.data import Sentences
from ner.metrics import entity_metrics
from ner.report import check
from ner.tags import Entity, drop_overlaps, tags_of

TAGS = tags_of(["A"])


def many(start: int) -> list[Entity]:
    """Six thousand entities with a character between them."""
    return [Entity(place, place + 1, "A") for place in range(start, 12_000, 2)]


def long_name() -> Sentences:
    """Sentences in which one name has 2,000 characters; of none of the others is a beginning one of it."""
    name = "名" * 2000
    return Sentences([name] * 3 + ["文" * 12_000], [[Entity(0, 2000, "A")]] * 3 + [[]], TAGS)


@pytest.mark.parametrize(
    "work",
    [
        lambda _: drop_overlaps(many(0)),
        lambda _: entity_metrics(["文" * 12_000], [many(0)], [many(1)], ["A"]),
        lambda _: Dictionary(long_name()),
        lambda _: Dictionary(long_name()).predict(["文" * 12_000]),
        lambda folder: check(["A"], {"train": long_name()}, Tokenizer(VOCAB, 128), folder),
    ],
    ids=["overlaps", "scores", "dictionary", "dictionary's answers", "report"],
)
def test_many_entities_and_long_ones_take_no_longer_than_others(work, tmp_path: Path):
    started = time.process_time()
    work(tmp_path)
    assert time.process_time() - started < 1


def test_the_dictionary_holds_the_longest_at_each_place_and_counts_each_once():
    spans = [[Entity(3, 5, "A")], [Entity(0, 4, "A")], [Entity(0, 1, "A")], [], []]
    train = Sentences(["我们在北京", "上海大学好", "王说", "王", "王"], spans, TAGS)
    dictionary = Dictionary(train)
    assert dictionary.labels == {"上海大学": "A", "北京": "A"}, "a name at the end of a text occurs once"
    found = dictionary.predict(["上海大学在北京", "京北"])
    assert found == [[Entity(0, 4, "A"), Entity(5, 7, "A")], []]


def test_the_kinds_of_units_know_capitals():
    [first, *_, last] = features(["NBA", "Kim", "王", "12", "。"])
    assert "kinds=<<Aa字" in first and "kinds=字D.>>" in last and "c=nba" in first
