"""Labelled questions: files read and checked, encoded once for training.

    python -m qa.data check my_data        # look a data set over before training on it; writes reports/qa_check/

A data folder holds train.json, dev.json and, where there is one, test.json, in the JSON of SQuAD (see qa/formats.py).
Training uses the same reader: what is told here, training will meet.
"""

import math
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
from core.text.pairs import EncodedPairs, encode_pairs, visible_units
from core.text.tokenizer import Tokenizer
from core.text.units import Units
from core.text.words import NO_WORD
from core.training.units import Batch
from qa.formats import Pair, read_labelled

if TYPE_CHECKING:
    from torch import Tensor

    from core.training.batches import Batches
    from qa.model import Reads

SUFFIXES = (".json",)
BUNDLED_DATA = Path("data/qa")
if not BUNDLED_DATA.is_dir():  # the command runs in another folder than the project's
    BUNDLED_DATA = PROJECT / BUNDLED_DATA
NEVER = -1e4  # the score of a token that is no unit, within FP16
NOWHERE = 0  # the token that both ends of an answer point to where a window has none: [CLS]
EVERY = 2
MIN_LENGTH = 16  # of a window
LONGEST_SHARE = 0.99  # of the training answers are no longer than the longest answer that a model gives


@dataclass
class Questions:
    """A labelled file.

    Attributes:
        items: the questions and their passages.
        answers: the references of each; none where its passage has no answer.
        spans: of each, where the references begin and end that its passage has.
        ids: of the questions.
        warnings: what was odd about the file, in sentences.
        notes: answers that stand nowhere, in words.
        path: of the file.
    """

    items: list[Pair]
    answers: list[list[str]]
    spans: list[list[tuple[int, int]]]
    ids: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    path: Path | None = None

    def __len__(self) -> int:
        """Questions of the file."""
        return len(self.items)

    @property
    def has_null(self) -> bool:
        """Whether some question has no answer."""
        return not all(self.answers)


def read(path: Path, labels: Sequence[str] | None = None, limit: int | None = None) -> Questions:
    """Read and check a labelled file.

    Args:
        path: the file.
        labels: of a model; all models have the same.
        limit: read only the first so many questions.

    Raises:
        UserError: the file is missing or faulty.
    """
    found = read_labelled(path, limit)
    ids, items, answers, spans, notes = map(list, zip(*found.rows, strict=True))
    counts = [f"{count} {what}" for what, count in found.counts.items() if count]
    return Questions(items, answers, spans, ids, [*found.warnings, *counts], list(filter(None, notes)), path)


def read_data(folder: Path, limit: int | None = None) -> dict[str, Questions]:
    """Read and check a data folder; prints the size and the warnings of each file.

    Args:
        folder: with train.json, dev.json and, where there is one, test.json.
        limit: keep only the first so many questions of train.

    Raises:
        UserError: a file is missing or faulty; train has no answer that its passage has; or dev has neither one nor a
            question without an answer.
    """
    require_data_folder(folder)
    splits: dict[str, Questions] = {}
    for name in ("train", "dev", "test"):
        path = folder / f"{name}.json"
        if not path.is_file():
            if name == "test":
                continue
            raise UserError(f"{folder} has no {name}.json: put labelled questions there, or give another --data-dir")
        splits[name] = split = read(path, None, limit if name == "train" else None)
        print(f"{path}: {len(split)} questions on {len({item.context for item in split.items})} passages")
        for warning in split.warnings:
            print(f"  warning: {warning}")
    for name in ("train", "dev"):
        if not any(splits[name].spans) and (name == "train" or not splits[name].has_null):
            raise UserError(f"{splits[name].path} has no answer that its passage has: copy answers from the passages")
    return splits


def require_length(max_length: int) -> None:
    """Refuse windows that are too short for a question and a part of its passage.

    Raises:
        UserError: they are.
    """
    if max_length < MIN_LENGTH:
        raise UserError(f"--max-length is {max_length}: it must be {MIN_LENGTH} or more")


def what_it_reads(tokenizer: Tokenizer) -> "Reads":
    """What an encoder with this vocabulary reads: words, where they are words of Chinese, which are fewer."""
    return "words" if tokenizer.reads_words else "characters"


def encode(items: Sequence[Pair], tokenizer: Tokenizer) -> EncodedPairs:
    """Questions and passages as a model reads them."""
    questions, contexts = ([pair[side] for pair in items] for side in range(2))
    return encode_pairs(tokenizer, questions, contexts, what_it_reads(tokenizer) == "words")


def span_in_units(span: tuple[int, int], units: Units) -> tuple[int, int] | None:
    """The first and the last unit of a stretch of a text, which takes all of those that it ends within."""
    touched = [index for index, (start, end) in enumerate(units) if start < span[1] and end > span[0]]
    return (touched[0], touched[-1]) if touched else None


def longest_answer(split: Questions) -> int:
    """How many units an answer has at most, by those of a file: what 99 of 100 have.

    Args:
        split: the training data.
    """
    known = [(item.context, spans[0]) for item, spans in zip(split.items, split.spans, strict=True) if spans]
    lengths = sorted(len(visible_units(context[start:end])) for context, (start, end) in known)
    return lengths[math.ceil(LONGEST_SHARE * len(lengths)) - 1] if lengths else 1


def batches(split: Questions, tokenizer: Tokenizer, batch_size: int, seed: int | None = None) -> "Batches":
    """Questions encoded once and served in batches of like length; see `core`'s `Batches`.

    A row is a window. Its `labels` are the tokens that the answer begins and ends at, where the window has all of it,
    else `NOWHERE` twice; `allowed` is 1 at the tokens that they can be. A question whose answer stands nowhere in its
    passage has no row. To train on, of several windows with the answer there is the one that is asked for it (see
    `EncodedPairs.told`), and of those without it, where another has it, every second: the others cost more than they
    teach.

    Args:
        split: labelled.
        tokenizer: of the model.
        batch_size: windows in a batch.
        seed: of the shuffling; None: one fixed order.
    """
    from core.training.batches import Batches

    known = [index for index in range(len(split)) if split.spans[index] or not split.answers[index]]
    rows = encode([split.items[index] for index in known], tokenizer)
    spans = [split.spans[index][0] if split.spans[index] else None for index in known]
    ends = [span and span_in_units(span, places) for span, places in zip(spans, rows.places, strict=True)]
    columns = {name: [] for name in ("labels", "allowed", *rows.columns)}
    elsewhere = 0
    for at, (units, pair) in enumerate(zip(rows.units, rows.pairs, strict=True)):
        token_of = {unit: token for token, unit in enumerate(units) if unit != NO_WORD}
        labels = [token_of.get(unit, NOWHERE) for unit in ends[pair] or ()]
        has_answer = bool(labels) and NOWHERE not in labels
        if seed is not None and labels:
            first, last = rows.told[at]
            elsewhere += not has_answer
            if not (first <= sum(ends[pair]) // 2 < last if has_answer else elsewhere % EVERY == 0):
                continue
        columns["labels"].append(labels if has_answer else [NOWHERE, NOWHERE])
        columns["allowed"].append([1, *(int(unit != NO_WORD) for unit in units[1:])])
        for name, column in rows.columns.items():
            columns[name].append(column[at])
    return Batches(columns, {"input_ids": tokenizer.pad_id, "word_ids": tokenizer.pad_id}, batch_size, seed)


def span_units(logits: "Tensor", batch: Batch) -> "tuple[Tensor, Tensor]":
    """A unit is an end of the answer in a window, its classes the tokens: (2 x batch, seq) and the labels.

    What is no unit of the passage, padding among it, is never chosen, by a finite score: with -inf a KL divergence
    would be NaN.
    """
    scores = logits.transpose(1, 2).masked_fill(batch["allowed"].unsqueeze(1) == 0, NEVER)
    return scores.flatten(0, 1), batch["labels"].flatten()


@dataclass
class CheckConfig:
    """Knobs of the data check."""

    command: Positional[Literal["check"]]
    """check: read a data set as training does, and report on it."""
    data_dir: Positional[Annotated[Path, arg(metavar="DATA_DIR")]] = BUNDLED_DATA
    """Folder with train.json, dev.json and, where there is one, test.json."""
    bert_path: Path = Config.bert_path
    """Folder with the vocab.txt that counts tokens; the default one falls back to the bundled bert-mini-chinese."""
    max_length: int = 256
    """Tokens of a window, question, [CLS] and twice [SEP] included."""
    output: Path = Config.output
    """Folder for the report: qa_check/ is made in it."""

    def __post_init__(self) -> None:
        require_length(self.max_length)


def main(argv: Sequence[str] | None = None) -> None:
    from core.text.tokenizer import read_vocab
    from qa.report import check

    argv = sys.argv[1:] if argv is None else argv
    config = parse(CheckConfig, argv or ["--help"], __doc__)
    splits = read_data(config.data_dir)
    vocab = located(config.bert_path) / "vocab.txt"
    if config.bert_path == Config.bert_path and not vocab.is_file():
        vocab = BUNDLED_BERT / "vocab.txt"
    tokenizer = Tokenizer(read_vocab(vocab), config.max_length)
    print("\n" + check(splits, tokenizer, config.output / "qa_check"))


if __name__ == "__main__":
    run(main)
