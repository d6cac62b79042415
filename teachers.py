"""The teachers of a student: BERTs of any kind, and the linear model, alone or together.

What they share is the classes; each reads a title in its own way. Of several, the student learns the sum of their
logits, weighted so that together they know dev.txt best (core/compression/ensemble.py).
"""

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from baseline import decisions, fit_linear, out_of_fold
from config import MODELS
from core.compression.ensemble import fit_weights
from core.compression.losses import NO_LABEL
from core.compression.teacher_cache import RowLogits, cached_logits, logits_of
from core.console import UserError
from core.files import sha256
from core.model_files.facts import Facts, licence_of
from core.model_files.find import find_model
from core.model_files.module import load_module
from core.text.augment import augment
from core.text.tokenizer import Tokenizer, check_coverage
from core.training.batches import Batches
from core.training.device import Devices
from predict_fun import TASK, NewsClassifier
from utils import Titles, title_batches

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

LINEAR = "linear"  # the name of the teacher that is no file
ENCODING = ("vocab", "max_length", "truncation")  # what of a teacher's facts says how it reads a title


@dataclass
class Questions:
    """What the teachers are asked about.

    Attributes:
        titles: the labelled titles, `train` and `dev`; no teacher has learned from dev.
        unlabeled: titles alone.
        copies: augmented ones of each training title, made of the tokens of the first teacher.
        seed: of the copies.
        batch_size: titles in a step.
    """

    titles: dict[str, Titles]
    unlabeled: list[str]
    copies: int
    seed: int
    batch_size: int

    def encode(self, tokenizer: Tokenizer) -> list[Batches]:
        """The titles as a model with this tokenizer reads them: train, unlabelled ones and copies if any, dev."""
        labelled = title_batches(self.titles["train"], tokenizer, self.batch_size)
        parts = [labelled]
        if self.unlabeled:
            without = Titles(self.unlabeled, [NO_LABEL] * len(self.unlabeled))
            parts.append(title_batches(without, tokenizer, self.batch_size))
        if self.copies:
            rows = augment(labelled.columns["input_ids"], self.copies, tokenizer.mask_id, self.seed)
            columns = {"labels": [NO_LABEL] * len(rows), "input_ids": rows}
            parts.append(Batches(columns, labelled.pads, self.batch_size))
        return [*parts, title_batches(self.titles["dev"], tokenizer, self.batch_size)]


class BertTeacher:
    """An FP32 BERT checkpoint.

    Attributes:
        name: as it was asked for.
        module: the classifier.
        facts: its.
        tokenizer: its.
        sha256: of its file.
    """

    def __init__(self, name: str, data_dir: Path) -> None:
        """Open it and check that it suits the data.

        Raises:
            UserError: it is missing, no FP32 BERT, or knows other classes.
        """
        path = find_model(name, MODELS, onnx=False)
        self.name = name
        self.module, self.facts = load_module(path, NewsClassifier.builds)
        if "bert_config" not in self.facts["architecture"]:
            stage = self.facts["stage"]
            raise UserError(f"{path} is a student itself ({stage}): distil from a BERT, such as --model teacher")
        if self.facts["architecture"].get("quantization"):
            raise UserError(f"{path} is INT8: distil from the FP32 checkpoint that it was made from")
        TASK.check_labels(self.facts, data_dir)
        self.tokenizer = Tokenizer.from_facts(self.facts)
        self.sha256 = sha256(path)
        print(f"teacher: {path}")

    def reads_like(self, other: "BertTeacher") -> bool:
        """Whether both make the same tokens of a title."""
        return all(self.facts[key] == other.facts[key] for key in ENCODING)

    def answer(self, parts: Sequence[Batches], cache: Path, devices: Devices) -> list[RowLogits]:
        """Its logits of each part of the questions, as it reads them."""
        shape, logits_fn = (len(self.facts["labels"]),), logits_of(self.module, devices)
        return [cached_logits(cache, self.sha256, shape, part, logits_fn) for part in parts]


class LinearTeacher:
    """The linear model of baseline.py, fitted on train.txt; of these titles it says what it does not know by heart.

    Attributes:
        name: "linear".
        sha256: of the titles and labels that it is fitted on.
    """

    name = LINEAR

    def __init__(self, questions: Questions, classes: int) -> None:
        self.questions, self.classes = questions, classes
        train = questions.titles["train"]
        rows = "\n".join(f"{text}\t{label}" for text, label in zip(train.texts, train.labels, strict=True))
        self.sha256 = hashlib.sha256(f"{LINEAR}\n{rows}".encode("utf-8", "surrogatepass")).hexdigest()
        print("teacher: the linear model, fitted on the training titles")

    @functools.cached_property
    def fitted(self) -> tuple["Pipeline", int]:
        """The model of all training titles, and how often an n-gram must be seen."""
        return fit_linear(self.questions.titles["train"], self.questions.titles["dev"])

    def answer(self, parts: Sequence[Batches], cache: Path) -> list[RowLogits]:
        """Its decision values of each part of the questions, those of the training titles out of fold."""
        titles = self.questions.titles

        def train() -> np.ndarray:
            return out_of_fold(titles["train"], self.fitted[1], self.classes)

        def of(texts: Sequence[str]) -> np.ndarray:
            return decisions(self.fitted[0], texts, self.classes)

        asked = [train, partial(of, self.questions.unlabeled), partial(of, titles["dev"].texts)]
        if not self.questions.unlabeled:
            del asked[1]
        return [self._cached(part, ask, cache) for part, ask in zip(parts, asked, strict=True)]

    def _cached(self, part: Batches, ask: Callable[[], np.ndarray], cache: Path) -> RowLogits:
        """What it says of a part, asked only if the cache lacks some of it."""
        once = functools.cache(lambda: torch.from_numpy(ask()))
        return cached_logits(cache, self.sha256, (self.classes,), part, lambda batch: once()[batch["row"]])


@dataclass
class Teachers:
    """The teachers of a student.

    Attributes:
        berts: those that are BERTs; the student starts from the first.
        linear: the linear one, if it is among them.
    """

    berts: list[BertTeacher]
    linear: LinearTeacher | None

    @property
    def first(self) -> BertTeacher:
        """The one that the student starts from, and reads titles like."""
        return self.berts[0]

    @property
    def all(self) -> list[BertTeacher | LinearTeacher]:
        """Every one, the linear one last."""
        return [*self.berts, self.linear] if self.linear else [*self.berts]

    @property
    def facts(self) -> list[Facts]:
        """Those of the BERTs."""
        return [bert.facts for bert in self.berts]

    @property
    def licence(self) -> str:
        """Of all that the student learns from; the linear model is the user's own."""
        return " and ".join(dict.fromkeys(map(licence_of, self.facts)))

    @property
    def sha256(self) -> tuple[str, ...]:
        """The hash of each."""
        return tuple(each.sha256 for each in self.all)


def open_teachers(names: Sequence[str], data_dir: Path, questions: Questions) -> Teachers:
    """Open the teachers and check that they suit the data, and each other.

    Raises:
        UserError: they do not, one stands there twice, or there is no BERT among them.
    """
    if len(set(names)) < len(names):
        raise UserError(f"--model {' '.join(names)} names one teacher twice: name each once")
    berts = [BertTeacher(name, data_dir) for name in names if name != LINEAR]
    if not berts:
        raise UserError("a student starts from a BERT: name one beside the linear model, as in --model teacher linear")
    labels = berts[0].facts["labels"]
    if any(bert.facts["labels"] != labels for bert in berts):
        raise UserError("the teachers know other classes than each other: take those of one data folder")
    linear = LinearTeacher(questions, len(labels)) if LINEAR in names else None
    if questions.copies and (linear or not all(bert.reads_like(berts[0]) for bert in berts)):
        raise UserError("--augment changes the first teacher's tokens, which the others cannot read: leave it out")
    check_coverage(berts[0].tokenizer, questions.titles["train"].texts + questions.unlabeled, berts[0].name)
    return Teachers(berts, linear)


def ask(
    teachers: Teachers, questions: Questions, cache: Path, devices: Devices
) -> tuple[list[Batches], RowLogits, dict[str, float]]:
    """Have the teachers judge all titles, unless the cache has their answers.

    Returns:
        The titles to learn from, part by part, as the first teacher reads them; what the teachers say of their rows
        together; what each of them counts for, by its name.
    """
    parts = questions.encode(teachers.first.tokenizer)
    answers = [
        bert.answer(parts if bert.reads_like(teachers.first) else questions.encode(bert.tokenizer), cache, devices)
        for bert in teachers.berts
    ]
    if teachers.linear:
        answers.append(teachers.linear.answer(parts, cache))
    weights = [1.0]
    if len(answers) > 1:
        members = [answer[-1].values.float().numpy() for answer in answers]
        weights = fit_weights(members, questions.titles["dev"].labels)
        tell(teachers, weights, members, questions.titles["dev"].labels)
    logits = RowLogits.weighted([RowLogits.join(answer[:-1]) for answer in answers], weights)
    return parts[:-1], logits, {each.name: weight for each, weight in zip(teachers.all, weights, strict=True)}


def tell(teachers: Teachers, weights: Sequence[float], members: Sequence[np.ndarray], labels: Sequence[int]) -> None:
    """Print how good the teachers are on dev, alone and together, and what each counts for."""
    right = [float((member.argmax(1) == labels).mean()) for member in members]
    for each, weight, accuracy in zip(teachers.all, weights, right, strict=True):
        print(f"  {each.name}: dev accuracy {accuracy:.4f}, weight {weight:.4f}")
    together = sum(weight * member for weight, member in zip(weights, members, strict=True))
    print(f"  together: dev accuracy {float((together.argmax(1) == labels).mean()):.4f}")
    if all((member.argmax(1) == members[0].argmax(1)).all() for member in members):
        print("  note: they give the same answer to every dev title, so together they teach no more than one")
