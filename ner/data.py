"""Labelled sentences: files read and checked, encoded once for training.

    python -m ner.data check my_data        # look a data set over before training on it; writes reports/ner_check/

A data folder holds train, dev and, where there is one, test: CoNLL files or JSON (see ner/formats.py), named
train.jsonl, train.json, train.txt, train.conll, train.bio or train.tsv. A labels.txt, tags or types one a line, names
types that train may lack. Training uses the same reader: what is told here, training will meet.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from config import BUNDLED_BERT, PROJECT, Config
from core.bert.hub import located
from core.console import UserError, parse, run
from core.files import require_data_folder
from core.text.decode import open_text
from core.text.tokenizer import Tokenizer
from core.text.words import NO_WORD
from core.training.units import IGNORED
from ner.formats import read_labelled
from ner.tags import OUTSIDE, TAG, Entity, bio, count_types, tags_of, types_of
from ner.units import encode, entities_in_units

if TYPE_CHECKING:
    from core.training.batches import Batches

SUFFIXES = (".jsonl", ".json", ".txt", ".conll", ".bio", ".tsv")
BUNDLED_DATA = Path("data/ner")
if not BUNDLED_DATA.is_dir():  # the command runs in another folder than the project's
    BUNDLED_DATA = PROJECT / BUNDLED_DATA
MAX_LISTED = 20


@dataclass
class Sentences:
    """A labelled file: its texts, the entities of each, and what was odd about it, in sentences."""

    items: list[str]
    entities: list[list[Entity]]
    labels: Sequence[str]  # the tags of the model that they are for, in the order of their ids
    warnings: list[str] = field(default_factory=list)
    path: Path | None = None

    def __len__(self) -> int:
        """Sentences of the file."""
        return len(self.items)

    def known(self) -> set[str] | None:
        """The strings of the entities in the training data of the same folder; None where there is none."""
        from ner.metrics import strings

        path = find_file(self.path.parent, "train") if self.path else None
        return strings(read(path)) if path else None


def find_file(folder: Path, split: str) -> Path | None:
    """The labelled file of a split; None where there is none."""
    return next((path for suffix in SUFFIXES if (path := folder / f"{split}{suffix}").is_file()), None)


def read(path: Path, labels: Sequence[str] | None = None, limit: int | None = None) -> Sentences:
    """Read and check a labelled file.

    Args:
        path: the file.
        labels: the tags of a model; None: any type will do.
        limit: read only the first so many sentences.

    Raises:
        UserError: the file is missing, faulty, or has entities of types that are none of the model's.
    """
    found = read_labelled(path, limit)
    types = count_types(found.entities)
    if labels is not None and (strange := types.keys() - set(types_of(labels))):
        told = ", ".join(f"{name} ({types[name]})" for name in sorted(strange)[:MAX_LISTED])
        raise UserError(
            f"{path} has entities of types that train and labels.txt, or the model, do not have: {told}; known are "
            f"{' '.join(types_of(labels)) or 'none'}: label some of them in the training data, rename "
            "them, or give other data (--data-dir or --data)"
        )
    counts = {f"{count} {what}": count for what, count in found.counts.items()}
    counts |= {f"{count} {what}": count for what, count in _oddities(found.texts).items()}
    warnings = [*found.warnings, *(sentence for sentence, count in counts.items() if count)]
    if not types:
        warnings.append("not one entity")
    return Sentences(found.texts, found.entities, labels or tags_of(sorted(types)), warnings, path)


def _oddities(texts: Sequence[str]) -> dict[str, int]:
    return {
        "sentence(s) with U+FFFD, a character lost in an earlier conversion": sum("\ufffd" in text for text in texts),
        "repeated sentence(s), kept": len(texts) - len(set(texts)),
    }


def read_types(folder: Path, train: Sentences) -> list[str]:
    """The types that a model learns: those of labels.txt, in its order, and the others of the training data.

    Raises:
        UserError: there is none.
    """
    path, named = folder / "labels.txt", []
    if path.is_file():
        with open_text(path) as file:
            lines = [line.strip() for line in file.lines() if line.strip()]
        tags = [line for line in lines if line != OUTSIDE]
        named = [line[2:] if TAG.fullmatch(line) else line for line in tags]
    types = list(dict.fromkeys([*named, *sorted(count_types(train.entities))]))
    if not types:
        raise UserError(f"{train.path} has not one entity: there is nothing to learn; label some")
    return types


def read_data(folder: Path, limit: int | None = None) -> tuple[list[str], dict[str, Sentences]]:
    """Read and check a data folder; prints the size and the warnings of each file.

    Args:
        folder: with train, dev and, where there is one, test.
        limit: keep only the first so many sentences of train; the types are those of all of it.

    Returns:
        The types, and {"train": …, "dev": …, "test": … where there is one}.

    Raises:
        UserError: a file is missing or faulty, or has types that train lacks.
    """
    require_data_folder(folder)
    types: list[str] = []
    splits: dict[str, Sentences] = {}
    for name in ("train", "dev", "test"):
        path = find_file(folder, name)
        if path is None and name == "test":
            continue
        if path is None:
            names = " or ".join(f"{name}{suffix}" for suffix in SUFFIXES[:3])
            raise UserError(f"{folder} has no {names}: put labelled sentences there, or give another --data-dir")
        splits[name] = split = read(path, tags_of(types) if types else None)
        types = types or read_types(folder, split)
        split.labels = tags_of(types)
        if name == "train":
            split.items, split.entities = split.items[:limit], split.entities[:limit]
        print(f"{path}: {len(split)} sentences, {sum(map(len, split.entities))} entities")
        for warning in split.warnings:
            print(f"  warning: {warning}")
    return types, splits


def batches(split: Sentences, tokenizer: Tokenizer, batch_size: int, seed: int | None = None) -> "Batches":
    """Sentences encoded once and served in batches of like length, with their `labels`; see `core`'s `Batches`.

    The first piece of each unit carries the id of its tag, everything else IGNORED.

    Args:
        split: labelled.
        tokenizer: of the model.
        batch_size: windows in a batch.
        seed: of the shuffling; None: one fixed order.
    """
    from core.training.batches import Batches

    rows = encode(split.items, tokenizer)
    ids = {tag: index for index, tag in enumerate(split.labels)}
    tags: list[list[int]] = []
    for entities, units in zip(split.entities, rows.units, strict=True):
        tags.append([ids[tag] for tag in bio(entities_in_units(entities, units)[0], len(units))])
    columns = {"labels": [], **rows.columns}
    for sentence, words in zip(rows.sentences, rows.words, strict=True):
        columns["labels"].append(first_pieces(words, tags[sentence]))
    return Batches(columns, {"labels": IGNORED, "input_ids": tokenizer.pad_id}, batch_size, seed)


def first_pieces(words: Sequence[int], values: Sequence[int]) -> list[int]:
    """Of the tokens of a row, given the unit that each is a piece of, the values of their units; else IGNORED."""
    before = [NO_WORD, *words]
    return [IGNORED if word in (NO_WORD, other) else values[word] for word, other in zip(words, before, strict=False)]


@dataclass
class CheckConfig:
    """Knobs of the data check."""

    command: Positional[Literal["check"]]
    """check: read a data set as training does, and report on it."""
    data_dir: Positional[Annotated[Path, arg(metavar="DATA_DIR")]] = BUNDLED_DATA
    """Folder with train, dev and, where there is one, test."""
    bert_path: Path = Config.bert_path
    """Folder with the vocab.txt that counts tokens; the default one falls back to the bundled bert-mini-chinese."""
    max_length: int = 128
    """Tokens of a window, [CLS] and [SEP] included."""
    output: Path = Config.output
    """Folder for the report: ner_check/ is made in it."""

    def __post_init__(self) -> None:
        if self.max_length < 3:
            raise UserError(f"--max-length is {self.max_length}: it must be 3 or more ([CLS], a token, [SEP])")


def main(argv: Sequence[str] | None = None) -> None:
    from core.text.tokenizer import read_vocab
    from ner.report import check

    argv = sys.argv[1:] if argv is None else argv
    config = parse(CheckConfig, argv or ["--help"], __doc__)
    types, splits = read_data(config.data_dir)
    vocab = located(config.bert_path) / "vocab.txt"
    if config.bert_path == Config.bert_path and not vocab.is_file():
        vocab = BUNDLED_BERT / "vocab.txt"
    tokenizer = Tokenizer(read_vocab(vocab), config.max_length)
    print("\n" + check(types, splits, tokenizer, config.output / "ner_check"))


if __name__ == "__main__":
    run(main)
