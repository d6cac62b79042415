"""Labelled reviews: tables read and checked, encoded once for training.

    python -m aspect_sentiment.data import reviews.xlsx --to my_data    # a table becomes a data set; see import --help
    python -m aspect_sentiment.data check my_data                       # look a data set over before training on it

A data folder holds train, dev and, where there is one, test: .csv, .tsv, .xlsx, .jsonl or .parquet, with a column of
reviews (review, content, text, 评论, 内容 …) and a column for each aspect, whose cells name its state; an empty cell is
left out of training and scores. Two files may say more: aspects.txt, the columns that are aspects, one a line, where
others could be taken for some; states.txt, the states, one a line, `value<TAB>name` where the cells hold another value
than the name. Without it numbers from -2 to 1 are known as ASAP's. Training uses the same reader: what is told here,
training will meet.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from tyro.conf import Positional, arg

from aspect_sentiment.columns import REVIEW_NAMES, find_aspects, find_review, read_list, refuse_twins, state_in
from aspect_sentiment.states import MOST_STATES, judge_absent, judge_columns, names_of
from aspect_sentiment.texts import clean, encode
from config import BUNDLED_BERT, PROJECT, Config
from core.answers import text_fault
from core.bert.hub import located
from core.console import UserError, listed, parse, run, shorten
from core.files import require_data_folder
from core.tables.cells import cell_text
from core.tables.formats import WRITTEN
from core.tables.read import open_table
from core.text.names import name_key
from core.text.odd import count_odd
from core.text.tokenizer import Tokenizer
from core.training.units import IGNORED

if TYPE_CHECKING:
    from core.training.batches import Batches

SUFFIXES = WRITTEN
BUNDLED_DATA = Path("data/aspect_sentiment")
if not BUNDLED_DATA.is_dir():  # the command runs in another folder than the project's
    BUNDLED_DATA = PROJECT / BUNDLED_DATA
PARTS = ("train", "dev", "test")
FEW = 2  # cells with a state in train that look like a slip


@dataclass
class Reviews:
    """A labelled file: its reviews, the state of each aspect in each, and what was odd about it, in sentences.

    Attributes:
        items: the reviews.
        states: (reviews, aspects) ids of states, IGNORED where the cell is empty.
        aspects: names of the aspects, in the order of the columns of `states`.
        labels: names of the states, in the order of their ids.
    """

    items: list[str]
    states: np.ndarray
    aspects: list[str]
    labels: list[str]
    warnings: list[str] = field(default_factory=list)
    path: Path | None = None

    def __len__(self) -> int:
        """Reviews of the file."""
        return len(self.items)

    def of(self, aspects: Sequence[str]) -> "Reviews":
        """The same with the columns in the order of a model's aspects, and named as there.

        Raises:
            UserError: they are others.
        """
        own, wanted = list(map(name_key, self.aspects)), list(map(name_key, aspects))
        if set(wanted) != set(own):
            lacking = [name for name in aspects if name_key(name) not in own]
            more = [name for name in self.aspects if name_key(name) not in wanted]
            told = "; ".join(
                f"{what} {', '.join(names[:20])}" for what, names in (("it lacks", lacking), ("it adds", more)) if names
            )
            raise UserError(
                f"{self.path} has other aspects than the model ({told}): take data with the model's own, or name its "
                "columns in aspects.txt, one a line"
            )
        order = [own.index(key) for key in wanted]
        return Reviews(self.items, self.states[:, order], list(aspects), self.labels, self.warnings, self.path)


def find_file(folder: Path, split: str) -> Path | None:
    """The labelled file of a split; None where there is none."""
    return next((path for suffix in SUFFIXES if (path := folder / f"{split}{suffix}").is_file()), None)


def read(
    path: Path,
    labels: Sequence[str] | None = None,
    limit: int | None = None,
    aspects: Sequence[str] | None = None,
    sheet: str | None = None,
) -> Reviews:
    """Read and check a labelled file.

    Args:
        path: the file.
        labels: names of the states of a model; None: those of states.txt or of the file.
        limit: keep only the first so many reviews; the states are those of all.
        aspects: names of the columns; None: those of aspects.txt, or all that look like one.
        sheet: of a workbook; None: the first one with such columns, else the first one.

    Raises:
        UserError: the file is missing or damaged, two columns have one name, a cell names no state, or there is no
            review or no aspect; see `find_aspects` too.
    """
    named = aspects or (read_list(list_file) if (list_file := path.parent / "aspects.txt").is_file() else None)
    with open_table(path, wanted=(*REVIEW_NAMES, *(named or ())), sheet=sheet) as table:
        review = find_review(table.columns, table.name, table.warnings)
        rows = [[cell_text(cell) for cell in row] for row in table.rows]
        columns, warnings, first = table.columns, list(table.warnings), table.first_row
    seen = [(number, row) for number, row in enumerate(rows, start=first) if not text_fault(clean(row[review]))]
    empty = len(rows) - len(seen)
    if not seen:
        raise UserError(f"{path} has no review in column {columns[review]!r}: write some, or name the column review")
    places = find_aspects(columns, seen, review, named, table.name)
    found = [columns[place] for place in places]
    warnings += judge_columns(columns, seen, review, places) if named is None else []
    refuse_twins(columns, [columns[review], *found], named, table.name)
    values = {cell: state_in(cell) for cell in dict.fromkeys(row[place] for _, row in seen for place in places)}
    given = labels
    labels, names = names_of(list(filter(None, values.values())), given, path.parent)
    if not 2 <= len(labels) <= MOST_STATES:
        raise UserError(
            f"{path}: the cells of {', '.join(found[:20])} hold {len(labels)} different states "
            f"({', '.join(labels[:8])} …), and 2 to {MOST_STATES} are possible: name the aspects in aspects.txt, one a "
            "line, or the states in states.txt"
        )
    keys = {cell: name_key(value) for cell, value in values.items() if value}
    ids = {cell: labels.index(names[key]) for cell, key in keys.items() if key in names}
    seen = seen[:limit]
    states = np.full((len(seen), len(places)), IGNORED)
    faults = []
    for index, (number, row) in enumerate(seen):
        for column, place in enumerate(places):
            if (cell := row[place]) in ids:
                states[index, column] = ids[cell]
            elif cell in keys:
                faults.append(f"row {number}, {columns[place]}: {shorten(values[cell])}")
    if faults:
        raise UserError(
            f"{path} has {len(faults)} cell(s) with an unknown state; known are {', '.join(labels)}; mend these, or "
            f"name all states in states.txt:{listed(faults)}"
        )
    items = [row[review] for _, row in seen]
    warnings += _oddities(items, states, empty) + ([] if given else judge_absent(labels))
    return Reviews(items, states, found, labels, warnings, path)


def _oddities(items: Sequence[str], states: np.ndarray, empty: int) -> list[str]:
    cleaned = list(map(clean, items))
    counts = {
        "row(s) without a review, skipped": empty,
        "empty cell(s), left out of training and scores": int((states == IGNORED).sum()),
        **{f"review(s) {what}": count for what, count in count_odd(cleaned).items()},
        "repeated review(s), kept": len(cleaned) - len(set(cleaned)),
    }
    return [f"{count:,} {what}" for what, count in counts.items() if count]


def _judge_train(train: Reviews) -> list[str]:
    """What training data cannot teach, in sentences."""
    warnings = []
    for aspect, column in zip(train.aspects, train.states.T, strict=True):
        counts = np.bincount(column[column != IGNORED], minlength=len(train.labels))
        if (counts > 0).sum() < 2:
            only = train.labels[int(counts.argmax())] if counts.any() else "no state"
            warnings.append(f"{aspect} has {only} alone: the model will always say so")
    for state, name in enumerate(train.labels):
        if (count := int((train.states == state).sum())) <= FEW:
            warnings.append(f"{count} cell(s) alone say {name}: is it a slip?")
    return warnings


def read_data(folder: Path, limit: int | None = None) -> dict[str, Reviews]:
    """Read and check a data folder; prints the size and the warnings of each file.

    Args:
        folder: with train, dev and, where there is one, test.
        limit: keep only the first so many reviews of train.

    Returns:
        {"train": …, "dev": …, "test": … where there is one}, all with the aspects and states of train.

    Raises:
        UserError: a file is missing or faulty, or has other aspects or states than train.
    """
    require_data_folder(folder)
    splits: dict[str, Reviews] = {}
    for name in PARTS:
        path = find_file(folder, name)
        if path is None and name == "test":
            continue
        if path is None:
            raise UserError(f"{folder} has no {name}.csv: put labelled reviews there, or give another --data-dir")
        known = {"labels": splits["train"].labels, "aspects": splits["train"].aspects} if splits else {}
        splits[name] = read(path, limit=limit if name == "train" else None, **known)
        if name == "train":
            splits[name].warnings += _judge_train(splits[name])
        print(f"{path}: {len(splits[name]):,} reviews")
        for warning in splits[name].warnings:
            print(f"  warning: {warning}")
    train = splits["train"]
    print(f"{len(train.aspects)} aspects: {', '.join(train.aspects)}; states: {', '.join(train.labels)}")
    return splits


def batches(split: Reviews, tokenizer: Tokenizer, batch_size: int, seed: int | None = None) -> "Batches":
    """Reviews encoded once and served in batches of like length, with their `labels`, (batch, aspects).

    A review that is longer than the model is several rows, each with its labels; see `core`'s `Batches`.
    """
    from core.training.batches import Batches

    rows = encode(split.items, tokenizer)
    labels = [split.states[review] for review in rows.reviews]
    return Batches({"labels": labels, "input_ids": rows.input_ids}, {"input_ids": tokenizer.pad_id}, batch_size, seed)


@dataclass
class CheckConfig:
    """Knobs of the data check."""

    command: Positional[Literal["check"]]
    """check: read a data set as training does, and report on it."""
    data_dir: Positional[Annotated[Path, arg(metavar="DATA_DIR")]] = BUNDLED_DATA
    """Folder with train, dev and, where there is one, test."""
    bert_path: Path = Config.bert_path
    """Folder with the vocab.txt that counts tokens; the default one falls back to the bundled bert-mini-chinese."""
    output: Path = Config.output
    """Folder for the report: aspect_check/ is made in it."""


def main(argv: Sequence[str] | None = None) -> None:
    from aspect_sentiment import importing
    from aspect_sentiment.report import check
    from core.text.tokenizer import read_vocab

    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["import"]:
        importing.import_tables(parse(importing.ImportConfig, argv, importing.__doc__))
        return
    config = parse(CheckConfig, argv or ["--help"], __doc__)
    splits = read_data(config.data_dir)
    vocab = located(config.bert_path) / "vocab.txt"
    if config.bert_path == Config.bert_path and not vocab.is_file():
        vocab = BUNDLED_BERT / "vocab.txt"
    tokenizer = Tokenizer(read_vocab(vocab), sys.maxsize)
    print("\n" + check(splits, tokenizer, config.output / "aspect_check"))


if __name__ == "__main__":
    run(main)
