"""What a student learns from: what its teachers think of reviews, labelled or not, whatever kind each of them is."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from aspect_sentiment.baseline import Linear
from aspect_sentiment.data import Reviews, batches
from aspect_sentiment.decisions import LEAST
from aspect_sentiment.metrics import counts_of, mean_f1
from aspect_sentiment.predict import SentimentPredictor
from aspect_sentiment.tables import read_reviews
from aspect_sentiment.texts import clean, encode
from core.answers import text_fault
from core.compression.losses import NO_LABEL
from core.compression.teacher_cache import RowLogits, cached_logits, logits_of
from core.console import UserError
from core.model_files.facts import Facts
from core.model_files.module import load_module
from core.tables.cells import cell_text
from core.tables.split import unseen
from core.text.tokenizer import Tokenizer
from core.training.batches import Batches
from core.training.device import Devices
from core.training.units import IGNORED

LINEAR = "linear"  # the name of the teacher that is the linear model of baseline.py


def read_unlabeled(path: Path, splits: dict[str, Reviews]) -> list[str]:
    """Reviews without labels, without repeats, near ones too, and those that stand in the labelled files.

    Raises:
        UserError: see `read_reviews`, or there is no review of its own.
    """
    _, rows, place, _ = read_reviews(path, None)
    found = [text for row in rows if not text_fault(text := clean(cell_text(row[place])))]
    kept = unseen(found, (clean(text) for split in splits.values() for text in split.items))
    if not kept:
        raise UserError(f"{path} has no review that the labelled files lack: write others into it")
    left_out = len(found) - len(kept)
    print(f"{path}: {len(kept)} reviews ({left_out} left out: repeated, or in the labelled files, near ones too)")
    return kept


class Judged:
    """Log-probabilities of some teachers, the mean of which is learned: of the texts to learn from, and of dev."""

    def __init__(self) -> None:
        self.texts: list[np.ndarray] = []
        self.dev: list[np.ndarray] = []

    def add(self, texts: np.ndarray, dev: np.ndarray, name: str, labelled: Reviews) -> None:
        """Another teacher; tells how good it is by itself."""
        self.texts.append(np.log(texts + LEAST))
        self.dev.append(np.log(dev + LEAST))
        print(f"teacher: {name}, pooled F1 on dev {_pooled(self.dev[-1], labelled):.4f} by its likeliest states")

    def mean(self, labelled: Reviews) -> np.ndarray:
        """(texts, aspects, states) the mean of the teachers."""
        if len(self.dev) > 1:
            print(f"their mean: pooled F1 on dev {_pooled(np.mean(self.dev, axis=0), labelled):.4f}")
        return np.mean(self.texts, axis=0)


def _pooled(logs: np.ndarray, dev: Reviews) -> float:
    return mean_f1(counts_of(dev.states, logs.argmax(-1), len(dev.labels)).sum(0))


def judge(path: Path, sha: str, texts: Sequence[str], folder: Path, devices: Devices) -> np.ndarray:
    """(texts, aspects, states) the calibrated probabilities of a model, its logits kept in a cache."""
    module, facts = load_module(path, SentimentPredictor.builds)
    predictor = SentimentPredictor(facts, lambda _: None, path)
    rows = encode(texts, predictor.tokenizer)
    source = Batches({"input_ids": rows.input_ids}, {"input_ids": predictor.tokenizer.pad_id}, 32)
    shape = (len(predictor.aspects), len(predictor.labels))
    logits = cached_logits(folder, sha, shape, source, logits_of(module, devices)).values.float().numpy()
    own: list[list[np.ndarray]] = [[] for _ in texts]
    for review, values in zip(rows.reviews, logits, strict=True):
        own[review].append(values)
    return np.stack(list(map(predictor.shares, own)))


def judge_linear(train: Reviews, texts: Sequence[str]) -> np.ndarray:
    """(texts, aspects, states) the probabilities of the linear model.

    Those of the reviews that it is trained on are of models that have not seen them, as a linear model knows its
    training data by heart.
    """
    found = np.zeros((len(texts), *train.states.shape[1:], len(train.labels)))
    found[len(train) :] = Linear(train).shares(texts[len(train) :]) if len(texts) > len(train) else 0
    folds = np.random.default_rng(0).permutation(len(train)) % 3
    for fold in range(3):
        held, rest = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        part = Reviews([train.items[row] for row in rest], train.states[rest], train.aspects, train.labels)
        if len(held) and len(rest):
            found[held] = Linear(part).shares([train.items[row] for row in held])
    return found


def student_rows(
    train: Reviews, more: Sequence[str], logs: np.ndarray, tokenizer: Tokenizer, sizes: tuple[int, int], least: float
) -> tuple[Batches, RowLogits]:
    """The rows that a student learns from, labelled ones first, and its teachers' logits of them.

    Args:
        train: labelled.
        more: texts without labels.
        logs: (texts, aspects, states) log-probabilities of all of them.
        tokenizer: of the student.
        sizes: of a batch, and the seed of the shuffling.
        least: probability of the likeliest state below which a pair of a text without labels is left out.
    """
    states = np.full((len(more), train.states.shape[1]), NO_LABEL)
    states[np.exp(logs[len(train) :]).max(-1) < least] = IGNORED
    every = Reviews([*train.items, *more], np.concatenate((train.states, states)), train.aspects, train.labels)
    if least and len(more):
        print(f"{(states != IGNORED).mean():.1%} of the pairs without labels are learned from")
    reviews = encode(every.items, tokenizer).reviews
    return batches(every, tokenizer, *sizes), RowLogits(torch.from_numpy(logs[reviews]).float())


def check_teacher(facts: Facts, path: Path, train: Reviews) -> None:
    """Refuse a teacher that is of another task or other data, or INT8.

    Raises:
        UserError: it is.
    """
    SentimentPredictor.check_task(facts, path)
    if facts["architecture"].get("quantization"):
        raise UserError(f"{path} is INT8: distil from the FP32 checkpoint that it was made from")
    own = (facts["architecture"]["aspects"], facts["labels"])
    if own != (train.aspects, train.labels):
        raise UserError(
            f"{path} knows other aspects or states than the data, or in another order: {' '.join(own[0])}; "
            f"{' '.join(own[1])}: take the data that it was trained on"
        )
