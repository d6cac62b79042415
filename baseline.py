"""The baseline to beat: character 1- to 3-gram TF-IDF and a linear support vector machine, fitted and scored at once.

    python baseline.py
    python baseline.py --data-dir my_data

A neural model that does not beat this has no reason to exist. Of n-grams seen at least once or at least twice, it takes
what is better on dev.txt. Writes reports/baseline/metrics.json, measured on test.txt, else on dev.txt.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from config import BEST_BY, Config
from core.console import UserError, parse, progress, require_one_or_more, run
from core.files import sha256, write_json
from core.measure.folds import part_of
from core.measure.latency import Predict
from core.measure.metrics import classification_metrics, in_words, metrics_table
from core.training.device import measured_on
from utils import Titles, read_data

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

FOLDS = 5


@dataclass
class BaselineConfig:
    """Knobs of the linear model."""

    data_dir: Path = Config.data_dir
    """Folder with class.txt, train.txt, dev.txt and, where there is one, test.txt."""
    output: Path = Config.output
    """Folder for the report: baseline/metrics.json is written in it."""
    limit: int | None = Config.limit
    """Train on the first N rows only."""

    def __post_init__(self) -> None:
        require_one_or_more(self, "limit")


def fit_linear(train: Titles, dev: Titles) -> tuple["Pipeline", int]:
    """The fitted model, `predict(texts) -> label ids`, and how often an n-gram must be seen: what is best on dev.

    Raises:
        UserError: the titles are all of one class.
    """
    if len(set(train.labels)) < 2:
        raise UserError("all titles to fit the linear model on are of one class: give it those of two or more")
    best, model, min_df = -1.0, None, 0
    for candidate in (1, 2):  # n-grams seen once help on few titles and hurt on many
        try:
            pipeline = new_linear(candidate).fit(train.texts, train.labels)
        except ValueError:  # no n-gram is seen that often
            continue
        if (accuracy := pipeline.score(dev.texts, dev.labels)) > best:
            best, model, min_df = accuracy, pipeline, candidate
    return model, min_df


def new_linear(min_df: int) -> "Pipeline":
    """The linear model before it is fitted, of n-grams that stand in so many titles or more."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True, min_df=min_df)
    return make_pipeline(vectorizer, LinearSVC(C=1.0))


def decisions(model: "Pipeline", texts: Sequence[str], classes: int) -> np.ndarray:
    """(texts, classes) decision values of a fitted linear model; below all others for a class that it was not shown."""
    values = model.decision_function(texts)
    if values.ndim == 1:  # of two classes scikit-learn gives the second one's value alone
        values = np.stack([-values, values], axis=1) / 2
    found = np.repeat(values.min(axis=1, keepdims=True) - 1, classes, axis=1)
    found[:, model.classes_] = values
    return found


def out_of_fold(titles: Titles, min_df: int, classes: int) -> np.ndarray:
    """(titles, classes) decision values of each title by a linear model that was fitted on others, four fifths of all.

    A model knows the rows that it was fitted on by heart; what it says of them teaches little (Wolpert 1992, "Stacked
    Generalization").

    Raises:
        UserError: a part of the titles is all of one class.
    """
    found, part = np.empty((len(titles), classes)), part_of(titles.texts, titles.labels, FOLDS, seed=0)
    for number in progress(range(FOLDS), desc="linear", unit="fold"):
        others, left_out = rows_of(titles, part != number), rows_of(titles, part == number)
        if not len(left_out):
            continue
        try:
            model = new_linear(min_df).fit(others.texts, others.labels)
        except ValueError as fault:
            raise UserError("the titles are too few for a linear teacher: leave it out, or add some") from fault
        found[part == number] = decisions(model, left_out.texts, classes)
    return found


def rows_of(titles: Titles, chosen: np.ndarray) -> Titles:
    """Those of some titles that are chosen, by a mask or by their places."""
    places = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
    return Titles([titles.texts[row] for row in places], [titles.labels[row] for row in places])


def competitors(
    splits: dict[str, Titles], held_out: Titles, labels: Sequence[str]
) -> Iterator[tuple[dict[str, Any], dict[str, Any], Predict | None]]:
    """The most frequent class and the linear model as a benchmark compares them: row, metrics, how they predict."""
    majority = Counter(splits["train"].labels).most_common(1)[0][0]
    scores = classification_metrics(held_out.labels, [majority] * len(held_out), labels)
    yield {"name": "majority", "runtime": "none"}, scores, None
    linear, _ = fit_linear(splits["train"], splits["dev"])
    scores = classification_metrics(held_out.labels, linear.predict(held_out.texts).tolist(), labels)
    params = linear[-1].coef_.size + linear[-1].intercept_.size
    row = {"name": "linear", "runtime": "scikit-learn", "params": params}
    yield row, scores, lambda texts, _: linear.predict(texts)


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(BaselineConfig, argv, __doc__)
    labels, titles = read_data(config.data_dir, config.limit)
    split = "test" if "test" in titles else "dev"
    held_out = titles[split]

    started = time.perf_counter()
    model, min_df = fit_linear(titles["train"], titles["dev"])
    predicted = model.predict(held_out.texts).tolist()
    metrics = classification_metrics(held_out.labels, predicted, labels)
    seconds = time.perf_counter() - started

    facts = {"model": "linear", "split": split, "data_sha256": sha256(config.data_dir / f"{split}.txt")}
    path = config.output / "baseline" / "metrics.json"
    facts |= {"min_df": min_df, "train_rows": len(titles["train"].texts), "seconds": round(seconds, 1), **measured_on()}
    write_json(path, {**metrics, **facts, "predicted": " ".join(map(str, predicted))})
    print(metrics_table(metrics))
    print(f"{split} {in_words(metrics, BEST_BY)}; {seconds:.1f} s; {path}")


if __name__ == "__main__":
    run(main)
