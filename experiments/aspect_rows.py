"""Training rows made otherwise, for experiments.aspects: oversampled, undersampled, changed copies.

Rows have many labels, so that repeating a review for a rare state repeats its common ones too: how much the shares of
states move is printed.
"""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np

from aspect_sentiment.data import Reviews
from aspect_sentiment.texts import clean
from core.tables.write import write_table
from core.training.units import IGNORED

MOST = 4  # times that a review stands among the oversampled ones
CHANGED = 0.1  # of the characters, in a copy
Rows = list[tuple[str, np.ndarray]]


def rarity(train: Reviews) -> np.ndarray:
    """(reviews,) how rare the rarest state of each review is: 1 / its share in its aspect."""
    counts = np.stack(
        [(train.states == state).sum(0) for state in range(len(train.labels))], axis=1
    )  # (aspects, states)
    weights = len(train) / np.maximum(counts, 1)
    found = np.take_along_axis(weights, np.maximum(train.states, 0).T, axis=1).T
    return np.where(train.states == IGNORED, 0, found).max(1)


def oversample(train: Reviews, seed: int) -> Rows:
    """Each review as many times as the square root of how rare its rarest state is, MOST at the most."""
    rare = rarity(train)
    times = np.clip(np.round(np.sqrt(rare / np.median(rare))), 1, MOST).astype(int)
    return [(text, states) for text, states, n in zip(train.items, train.states, times, strict=True) for _ in range(n)]


def undersample(train: Reviews, seed: int) -> Rows:
    """Without the quarter of the reviews whose rarest state is the commonest."""
    kept = np.sort(np.argsort(-rarity(train), kind="stable")[: round(0.75 * len(train))])
    return [(train.items[row], train.states[row]) for row in kept]


def eda(train: Reviews, seed: int) -> Rows:
    """Each review, and a copy with a tenth of its characters swapped or dropped (EDA, Wei & Zou 2019, sections 2.3-4).

    EDA's synonyms would need a dictionary: left out.
    """
    rng, rows = random.Random(seed), list(zip(train.items, train.states, strict=True))
    copies: Rows = []
    for text, states in rows:
        characters = list(clean(text))
        for _ in range(max(1, round(CHANGED * len(characters)))):
            one, other = (rng.randrange(len(characters)) for _ in range(2))
            if rng.random() < 0.5:
                characters[one], characters[other] = characters[other], characters[one]
            elif len(characters) > 1:
                del characters[one]
        copies.append(("".join(characters), states))
    return rows + copies


WAYS: dict[str, Callable[[Reviews, int], Rows]] = {"oversample": oversample, "undersample": undersample, "eda": eda}


def make_folder(way: str, splits: dict[str, Reviews], folder: Path, seed: int) -> Path:
    """A data folder whose train is made in a way of WAYS, with the dev that is given."""
    train = splits["train"]
    made = {"train": WAYS[way](train, seed), "dev": list(zip(splits["dev"].items, splits["dev"].states, strict=True))}
    for name, rows in made.items():
        cells = [[text, *("" if s == IGNORED else train.labels[s] for s in states)] for text, states in rows]
        write_table(folder / f"{name}.csv", ["review", *train.aspects], cells)
    for name, lines in (("aspects", train.aspects), ("states", train.labels)):
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    states = np.stack([states for _, states in made["train"]])
    shares = [((each == s).mean(), name) for each in (train.states, states) for s, name in enumerate(train.labels)]
    told = ", ".join(f"{name} {share:.1%}" for share, name in shares)
    print(f"{way}: {len(train)} -> {len(states)} reviews; shares of the states before and after: {told}")
    return folder
