"""A task: what the scripts that serve every task need to know of a kind of model."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from core.console import UserError
from core.model_files.facts import Facts
from core.model_files.names import Models
from core.model_files.predictor import Predictor
from core.serving.questions import Question
from core.text.tokenizer import Tokenizer
from core.training.units import Units

if TYPE_CHECKING:
    from core.training.batches import Batches


def texts_of(items: Sequence[Any]) -> list[str]:
    """The texts of what a model is asked: a text each, or several."""
    return [text for item in items for text in ([item] if isinstance(item, str) else item)]


class Split(Protocol):
    """A labelled file that has been read.

    Attributes:
        items: those of it that a model can answer, as its predictor takes them.
        warnings: what was odd about the file, in sentences.
    """

    items: Sequence[Any]
    warnings: list[str]

    def __len__(self) -> int:
        """Rows of the file."""


class Task(NamedTuple):
    """One kind of model: how its files are opened, its data read and scored, and its questions answered.

    Attributes:
        predictor: the class that answers; `predictor.task` is the name that the facts of its models carry.
        suffixes: the ends that the names of its labelled files, train, dev and test, may have, the usual one first.
        labels: data folder -> the classes that it names, in order; None where it does not say.
        read: (file, classes, limit) -> the file, at most so many rows of it.
        batches: (split, tokenizer, batch size, seed) -> its rows as the model reads them, with `labels`.
        units: what of logits and labels a loss compares.
        count: how many units a batch has.
        score: (predictor, split, folder) -> metrics; into a folder also pictures and lists of mistakes.
        best_by: the metric that models are selected by.
        question: how the API asks and answers.
        baseline: the module whose `competitors` stand beside the models in a benchmark.
        models: those of the task that have names.
        columns_of: (answer, how many of the likeliest) -> a cell for each column that a table gets; see `cells`.
        fits: (facts, data folder) refuses data that do not fit a model although their classes do.
    """

    predictor: type[Predictor]
    suffixes: tuple[str, ...]
    labels: Callable[[Path], list[str] | None]
    read: Callable[[Path, Sequence[str], int | None], Any]
    batches: Callable[[Any, Tokenizer, int, int | None], "Batches"]
    units: Units
    count: Callable[[dict], int]
    score: Callable[[Predictor, Any, Path | None], dict[str, Any]]
    best_by: str
    question: Question
    baseline: str
    models: Models
    fits: Callable[[Facts, Path], None] = lambda facts, folder: None
    columns_of: Callable[[Any, int], dict[str, Any]] | None = None

    def cells(self, answer: Any, top_k: int) -> dict[str, Any]:
        """What a table says of an answer: a cell for each column, as JSON where the task names no columns."""
        if self.columns_of:
            return self.columns_of(answer, top_k)
        return {"answer": json.dumps(self.question.answer(answer, top_k), ensure_ascii=False)}

    def file(self, folder: Path, split: str) -> Path:
        """A labelled file of a data folder, or where it would be."""
        files = [folder / f"{split}{suffix}" for suffix in self.suffixes]
        return next((file for file in files if file.exists()), files[0])

    def check_labels(self, facts: Facts, folder: Path) -> None:
        """Refuse a data folder that names other classes than a model has.

        Raises:
            UserError: it does.
        """
        labels = self.labels(folder)
        if labels is not None and labels != facts["labels"]:
            raise UserError(
                f"{folder} names other classes than the model ({facts['stage']}): take the data that it was trained "
                "on (--data-dir or --data), or train a model on these with `python train.py`\n"
                f"  model: {' '.join(facts['labels'])}\n  data:  {' '.join(labels)}"
            )
        self.fits(facts, folder)

    def temperature(self, predictor: Predictor, split: Any) -> float:
        """The temperature that suits a model, by the dev data; see `fit_temperature`."""
        from core.measure.calibration import fit_temperature

        batches = self.batches(split, predictor.tokenizer, predictor.batch_size, None)
        return fit_temperature(predictor.logits(batches.columns), batches, self.units)

    def refit(self, predictor: Predictor, split: Any) -> dict[str, Any]:
        """The facts that are fitted on dev data, for a model that was made from another."""
        return {"temperature": self.temperature(predictor, split)}

    def read_splits(self, folder: Path, labels: Sequence[str], limit: int | None = None) -> dict[str, Any]:
        """The labelled files of a data folder, of train the first so many rows; test may be missing.

        Raises:
            UserError: a file is missing or faulty.
        """
        splits = {}
        for name in ("train", "dev", "test"):
            path = self.file(folder, name)
            if name != "test" or path.exists():
                splits[name] = self.read(path, labels, limit if name == "train" else None)
                print(f"{path}: {len(splits[name])} rows")
                for warning in splits[name].warnings:
                    print(f"  warning: {warning}")
        return splits
