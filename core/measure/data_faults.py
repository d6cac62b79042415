"""What is wrong between the splits of a data set: shared texts, two labels for one, what no model can be trained on."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Protocol

from core.tables.split import near_key

MAX_CLASS_SHARE = 0.9  # classes for a row of train; more of them are no classes
MAX_HELD_SHARE = 1 / 2  # of the titles of dev or test may stand in train


class LabelledTexts(Protocol):
    """A split: `texts` and `labels` (ids) row by row, and what was odd about its file, in sentences."""

    texts: list[str]
    labels: list[int]
    warnings: list[str]


Splits = Mapping[str, LabelledTexts]


def shared_titles(splits: Splits) -> dict[tuple[str, str], list[str]]:
    """The distinct titles of the second of two splits that stand in the first too, or near repeats of them do."""
    distinct = {name: {near_key(text): text for text in titles.texts} for name, titles in splits.items()}
    return {
        (one, other): [text for key, text in distinct[other].items() if key in distinct[one]]
        for one, other in combinations(splits, 2)
    }


def contested_titles(splits: Splits) -> dict[str, dict[int, list[str]]]:
    """The titles with more than one label, within a split or across them: {text: {label: names of its splits}}."""
    first: dict[str, int] = {}
    contested: dict[str, dict[int, list[str]]] = {}
    for titles in splits.values():
        for text, label in zip(titles.texts, titles.labels, strict=True):
            if first.setdefault(text, label) != label:
                contested[text] = {}
    for name, titles in splits.items():
        for text, label in zip(titles.texts, titles.labels, strict=True):
            if text in contested and name not in contested[text].setdefault(label, []):
                contested[text][label].append(name)
    return contested


def find_stops(labels: Sequence[str], splits: Splits) -> list[str]:
    """Why nothing sensible can be trained on a data set, a phrase each: see `MAX_CLASS_SHARE` and `MAX_HELD_SHARE`."""
    train, stops = splits["train"], []
    present, keys = set(train.labels), set(map(near_key, train.texts))
    if len(present) > max(2, MAX_CLASS_SHARE * len(train.texts)):
        stops.append(f"{len(present)} classes in {len(train.texts)} rows of train: is that the text column?")
    for name, titles in splits.items():
        if lacking := sorted(set(titles.labels) - present):
            named = ", ".join(labels[index] for index in lacking[:5]) + (" …" if len(lacking) > 5 else "")
            stops.append(f"train has no row of {len(lacking)} class(es) that {name} has: {named}")
        held = sum(near_key(text) in keys for text in titles.texts)
        if name != "train" and held > MAX_HELD_SHARE * len(titles.texts):
            stops.append(
                f"train holds {held} of the {len(titles.texts)} titles of {name}, punctuation aside: no score on it "
                "would mean anything"
            )
    return stops
