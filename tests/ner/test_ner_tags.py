"""Tag schemes: each is recognised and means the same entities; what it has no place for is mended and counted."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.console import UserError
from ner.tags import Entity, bio, drop_overlaps, find_scheme, read_tags, tags_of, types_of

SAME = {
    "BIO": "B-PER I-PER O B-LOC B-LOC I-LOC",
    "IOB1": "I-PER I-PER O I-LOC B-LOC I-LOC",
    "BIOES": "B-PER E-PER O S-LOC B-LOC E-LOC",
    "BILOU": "B-PER L-PER O U-LOC B-LOC L-LOC",
    "BMES": "B-PER E-PER O S-LOC B-LOC E-LOC B-PER M-PER E-PER",
}
MEANT = [Entity(0, 2, "PER"), Entity(3, 4, "LOC"), Entity(4, 6, "LOC")]


@pytest.mark.parametrize("scheme", SAME)
def test_every_scheme_is_recognised_and_means_the_same(scheme: str):
    tags = SAME[scheme].split()
    assert find_scheme([tags, ["O"]]) == scheme
    entities, illegal = read_tags(tags, scheme)
    assert entities[:3] == MEANT and illegal == 0


@pytest.mark.parametrize(
    ("tags", "scheme", "meant", "illegal"),
    [
        ("I-PER I-PER O", "BIO", [Entity(0, 2, "PER")], 1),
        ("B-PER I-LOC I-LOC", "BIO", [Entity(0, 1, "PER"), Entity(1, 3, "LOC")], 1),
        ("B-PER I-PER O", "BIOES", [Entity(0, 2, "PER")], 1),
        ("E-PER O S-PER", "BIOES", [Entity(0, 1, "PER"), Entity(2, 3, "PER")], 1),
        ("S-PER I-PER E-PER", "BIOES", [Entity(0, 1, "PER"), Entity(1, 3, "PER")], 1),
    ],
)
def test_illegal_tags_are_mended_and_counted(tags: str, scheme: str, meant: list[Entity], illegal: int):
    assert read_tags(tags.split(), scheme) == (meant, illegal)


def test_a_file_of_several_schemes_is_refused():
    with pytest.raises(UserError, match="mix schemes: they begin with E I L"):
        find_scheme([["I-PER", "L-PER"], ["O", "E-LOC"]])


@st.composite
def sentences(draw: st.DrawFn) -> tuple[list[Entity], int]:
    """Entities that do not overlap, and a length that holds them."""
    entities, place = [], 0
    for gap, size, label in draw(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from("AB")))):
        entities.append(Entity(place + gap, place + gap + size, label))
        place += gap + size
    return entities, place + draw(st.integers(0, 2))


@given(sentences())
def test_bio_and_back(case: tuple[list[Entity], int]):
    entities, length = case
    tags = bio(entities, length)
    assert len(tags) == length and read_tags(tags, "BIO") == (entities, 0)
    assert set(tags) <= set(tags_of("AB")) and types_of(tags_of("AB")) == ["A", "B"]


def test_of_entities_that_overlap_the_longest_stays():
    entities = [Entity(0, 2, "A"), Entity(1, 5, "B"), Entity(5, 6, "A"), Entity(5, 6, "B")]
    assert drop_overlaps(entities) == ([Entity(1, 5, "B"), Entity(5, 6, "A")], 2)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9), st.sampled_from("AB"))))
def test_what_is_kept_touches_nothing_and_what_is_dropped_something(spans: list[tuple[int, int, str]]):
    entities = [Entity(start, start + size, label) for start, size, label in spans]
    kept, dropped = drop_overlaps(entities)
    assert all(one.end <= other.start for one, other in pairwise(kept)) and len(kept) + dropped == len(entities)
    for each in entities:
        assert any(other.start < each.end and each.start < other.end for other in kept)
