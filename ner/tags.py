"""Tags of tokens and the entities that they mean: every common scheme is read, BIO is what models learn.

In BIO (IOB2) an entity begins with B- and goes on with I-. IOB1 writes B- only where two entities of a type touch,
BIOES (BILOU) marks the last token and entities of one token too, and BMES writes M- for I-.
"""

import re
from bisect import bisect
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from core.console import UserError

OUTSIDE = "O"
TAG = re.compile(r"([BIESMLUW])[-_](\S.*)|O")
KINDS = {"L": "E", "M": "I", "U": "S", "W": "S"}  # other letters for the same
SCHEMES = {"BIOES": set("BIES"), "BILOU": set("BILU"), "BMES": set("BMES"), "BMEW": set("BMEW"), "BIO": set("BI")}


class Entity(NamedTuple):
    """A stretch of a text, from `start` to before `end`, and its type."""

    start: int
    end: int
    label: str


def is_tag(text: str) -> bool:
    """Whether a text is a tag of any scheme."""
    return TAG.fullmatch(text) is not None


def find_scheme(sentences: Sequence[Sequence[str]]) -> str:
    """The scheme of the tags of a file: "IOB1" or one of `SCHEMES`.

    Raises:
        UserError: they are of several.
    """
    letters = {tag[0] for tags in sentences for tag in tags} - {OUTSIDE}
    found = [name for name, known in SCHEMES.items() if letters <= known]
    if not found:
        raise UserError(f"its tags mix schemes: they begin with {' '.join(sorted(letters))}; write them in BIO")
    if found[-1] != "BIO":
        return found[0]
    begins = [
        before != OUTSIDE and before[2:] == tag[2:]  # whether an entity of the type stands before
        for tags in sentences
        for before, tag in zip([OUTSIDE, *tags], tags, strict=False)
        if tag[0] == "B"
    ]
    return "IOB1" if all(begins) and "I" in letters else "BIO"


def read_tags(tags: Sequence[str], scheme: str) -> tuple[list[Entity], int]:
    """The entities of a sentence, over its tokens, and how many tags stand where the scheme has none.

    An entity goes on only within a type: after anything else, I- begins one.
    """
    entities: list[Entity] = []
    start, label, illegal = 0, "", 0
    marks_ends = scheme not in ("BIO", "IOB1")
    for index, tag in enumerate([*tags, OUTSIDE]):
        kind, own = KINDS.get(tag[0], tag[0]), tag[2:]
        goes_on = bool(label) and own == label and kind in "IE"
        if label and not goes_on:
            entities.append(Entity(start, index, label))
            illegal += marks_ends  # it had no E-
            label = ""
        if kind != OUTSIDE and not goes_on:
            start, label = index, own
            illegal += kind in "IE" and scheme != "IOB1"
        if label and kind in "ES":
            entities.append(Entity(start, index + 1, label))
            label = ""
    return entities, illegal


def bio(entities: Sequence[Entity], length: int) -> list[str]:
    """The BIO tags of so many tokens with these entities."""
    tags = [OUTSIDE] * length
    for start, end, label in entities:
        tags[start:end] = [f"B-{label}", *[f"I-{label}"] * (end - start - 1)]
    return tags


def tags_of(types: Sequence[str]) -> list[str]:
    """The tags that a model of these types has, in the order of their ids."""
    return [OUTSIDE, *(f"{kind}-{each}" for each in types for kind in "BI")]


def types_of(tags: Sequence[str]) -> list[str]:
    """The types of entities among some tags, in their order."""
    return list(dict.fromkeys(tag[2:] for tag in tags if tag != OUTSIDE))


def drop_overlaps(entities: Sequence[Entity]) -> tuple[list[Entity], int]:
    """The entities in order, without those that overlap a longer one or stand twice; and how many these are."""
    kept: list[Entity] = []
    for each in sorted(entities, key=lambda entity: (entity.start - entity.end, entity.start)):
        at = bisect(kept, each)
        if all(each.end <= other.start or other.end <= each.start for other in kept[max(at - 1, 0) : at + 1]):
            kept.insert(at, each)
    return kept, len(entities) - len(kept)


def count_types(sentences: Sequence[Sequence[Entity]]) -> Counter[str]:
    """How many entities of each type there are."""
    return Counter(entity.label for entities in sentences for entity in entities)
