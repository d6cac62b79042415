"""The import command: a table of labelled reviews becomes a data folder.

    python -m aspect_sentiment.data import reviews.xlsx --to my_data
    python -m aspect_sentiment.data import a.csv b.csv --to my_data

The table is as aspect_sentiment/data.py says: .xlsx .csv .tsv .jsonl or .parquet, a column of reviews and one for each
aspect. A tenth each becomes dev and test: of many shuffles the one in which each state of each aspect has most nearly
its share of both. A review, and what differs from it in punctuation, spaces or width only, is in one part. The files
aspects.txt and states.txt beside them name the columns and the states.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from tyro.conf import Positional, arg

from aspect_sentiment.data import PARTS, Reviews, find_file, read
from aspect_sentiment.states import ASPECTS_FILE, STATES_FILE, write_lists
from aspect_sentiment.texts import clean
from core.console import UserError, quoted
from core.tables.split import SHARE, group_rows
from core.tables.write import write_table
from core.training.units import IGNORED

SHUFFLES = 500
FEWEST = 10  # different reviews that can be shared out


@dataclass
class ImportConfig:
    """Knobs of the import."""

    command: Positional[Literal["import"]]
    """import: make a data folder of tables."""
    files: Positional[Annotated[tuple[Path, ...], arg(metavar="FILE")]] = ()
    """Tables of labelled reviews, with the same aspects: .xlsx .csv .tsv .jsonl .parquet."""
    to: Annotated[Path | None, arg(constructor=Path, metavar="PATH", help_behavior_hint="(required)")] = None
    """The data folder to write."""
    sheet: str | None = None
    """Sheet of a workbook. Not given: the first one with such columns, else the first one."""
    seed: int = 42
    """Of the shuffles that choose dev and test."""

    def __post_init__(self) -> None:
        if self.to is None or not self.files:
            raise UserError("name the tables and the folder to write: import reviews.xlsx --to my_data")


def import_tables(config: ImportConfig) -> None:
    """Make a data folder of tables.

    Raises:
        UserError: the folder holds a data set, a table cannot be read, or there are too few reviews.
    """
    source, lists = config.files[0].parent, [config.to / name for name in (ASPECTS_FILE, STATES_FILE)]
    known = [find_file(config.to, name) for name in PARTS]
    known += [path for path in lists if path.is_file() and source.resolve() != config.to.resolve()]
    if there := next(filter(None, known), None):
        raise UserError(f"{there} is there already: choose another folder for --to, or delete it")
    first = read(config.files[0], sheet=config.sheet)
    shared = {"labels": first.labels, "aspects": first.aspects, "sheet": config.sheet}
    tables = [first, *(read(path, **shared) for path in config.files[1:])]
    items = [text for table in tables for text in table.items]
    states = np.concatenate([table.states for table in tables])
    whole = Reviews(items, states, first.aspects, first.labels)
    for path, table in zip(config.files, tables, strict=True):
        print(f"{path}: {len(table):,} reviews")
        for warning in table.warnings:
            print(f"  warning: {warning}")
    if (different := len(_groups(items))) < FEWEST:
        raise UserError(f"{different} different reviews are too few to share out: {FEWEST} are needed at least")
    parts = split(whole, config.seed)
    write_lists(config.to, source, first.aspects, first.labels)
    for name in reversed(PARTS):  # train, without which nothing reads the folder, comes last
        cells = [
            [items[row], *("" if state == IGNORED else first.labels[state] for state in states[row])]
            for row in parts[name]
        ]
        write_table(config.to / f"{name}.csv", ["review", *first.aspects], cells)
    print(f"{len(first.aspects)} aspects: {', '.join(first.aspects)}; states: {', '.join(first.labels)}")
    counts = ", ".join(f"{name} {len(rows):,}" for name, rows in parts.items())
    print(f"wrote {counts} to {config.to}\nlook it over: python -m aspect_sentiment.data check {quoted(config.to)}")
    print(f"train: python -m aspect_sentiment.train --data-dir {quoted(config.to)}")


def split(reviews: Reviews, seed: int) -> dict[str, list[int]]:
    """The rows of train, dev and test; see the top of the file."""
    groups = _groups(reviews.items)
    size = max(1, round(SHARE * len(groups)))
    held = reviews.states[..., None] == np.arange(len(reviews.labels))  # (reviews, aspects, states)
    sums = np.stack([held[group].sum(0) for group in groups])
    expected = sums.sum(0) * size / len(groups)
    rng, best = np.random.default_rng(seed), (np.inf, np.arange(0))
    for _ in range(SHUFFLES):
        order = rng.permutation(len(groups))
        cost = sum(
            float(((sums[part].sum(0) - expected) ** 2 / np.maximum(expected, 0.5)).sum()) for part in _cut(order, size)
        )
        if cost < best[0]:
            best = (cost, order)
    dev, test = _cut(best[1], size)
    chosen = {"train": best[1][2 * size :], "dev": dev, "test": test}
    return {name: sorted(row for group in own for row in groups[group]) for name, own in chosen.items()}


def _groups(texts: Sequence[str]) -> list[list[int]]:
    return group_rows(list(map(clean, texts)))


def _cut(order: np.ndarray, size: int) -> Sequence[np.ndarray]:
    return order[:size], order[size : 2 * size]
