"""The baselines to beat: the commonest state of each aspect, and a linear model of n-grams for each aspect.

    python -m aspect_sentiment.baseline
    python -m aspect_sentiment.baseline --data-dir my_data

For each aspect the 500 character n-grams, one to three long, that chi-squared ties most to its states, and a logistic
regression in which rare states weigh more. With the decision offsets that suit it on dev it is named linear_offsets: a
neural model that does not beat that has no reason to exist. Writes reports/aspect_baseline/metrics.json, measured on
test, else on dev; `python evaluate.py --against reports/aspect_baseline` tells how sure a difference is.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aspect_sentiment.data import BUNDLED_DATA, Reviews, read_data
from aspect_sentiment.decisions import choose_offsets, decide
from aspect_sentiment.metrics import BEST_BY, MEANS, aspect_metrics, row_counts
from aspect_sentiment.texts import clean
from config import Config
from core.console import parse, progress, require_one_or_more, run
from core.files import sha256, write_json
from core.measure.latency import Predict
from core.measure.metrics import metrics_table, readable
from core.training.device import measured_on
from core.training.units import IGNORED

BEST_NGRAMS = 500  # of an aspect
STRENGTH = 10.0  # C of the logistic regression: chosen, as the number before, on the dev data of a public set
NAMES = ("majority", "linear", "linear_offsets")


@dataclass
class BaselineConfig:
    """Knobs of the baselines."""

    data_dir: Path = BUNDLED_DATA
    """Folder with train, dev and, where there is one, test."""
    output: Path = Config.output
    """Folder for the report: aspect_baseline/metrics.json is written in it."""
    limit: int | None = None
    """Train on the first N reviews only."""

    def __post_init__(self) -> None:
        require_one_or_more(self, "limit")


class Linear:
    """The linear model of each aspect.

    Args:
        train: labelled reviews.
        dev: those that its decision offsets are fitted on; None: it has none.
    """

    def __init__(self, train: Reviews, dev: Reviews | None = None) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.feature_selection import SelectKBest, chi2
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        least = 2 if len(train) > 50 else 1  # reviews that an n-gram is in
        self._vectors = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True, min_df=least)
        rows = self._vectors.fit_transform(map(clean, train.items))
        self._states, self._models, self.params = len(train.labels), [], 0
        for column in progress(train.states.T, desc="linear", unit="aspect", delay=1.0, leave=False):
            known = column != IGNORED
            if len(seen := np.unique(column[known])) < 2:
                self._models.append(int(seen[0]) if len(seen) else 0)
                continue
            model = make_pipeline(
                SelectKBest(chi2, k=min(BEST_NGRAMS, rows.shape[1])),
                LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=500),
            )
            self._models.append(model.fit(rows[known], column[known]))
            self.params += model[-1].coef_.size
        self.offsets = None if dev is None else choose_offsets(self.shares(dev.items), dev.states)[0]

    def shares(self, texts: Sequence[str]) -> np.ndarray:
        """(reviews, aspects, states) the probabilities."""
        rows = self._vectors.transform(map(clean, texts))
        found = np.zeros((len(texts), len(self._models), self._states))
        for aspect, model in enumerate(self._models):
            if isinstance(model, int):
                found[:, aspect, model] = 1
            else:
                found[:, aspect, model.classes_] = model.predict_proba(rows)
        return found

    def predict(self, texts: Sequence[str], _: int = 1) -> np.ndarray:
        """(reviews, aspects) ids of the states."""
        return decide(self.shares(texts), self.offsets)


class Majority:
    """The commonest state of each aspect, whatever a review says."""

    params = 0

    def __init__(self, train: Reviews) -> None:
        counts = [np.bincount(column[column != IGNORED], minlength=1) for column in train.states.T]
        self._states = np.array([int(count.argmax()) for count in counts])

    def predict(self, texts: Sequence[str], _: int = 1) -> np.ndarray:
        """(reviews, aspects) ids of the states."""
        return np.tile(self._states, (len(texts), 1))


def build(name: str, splits: dict[str, Reviews]) -> Linear | Majority:
    """A baseline of NAMES, trained."""
    if name == "majority":
        return Majority(splits["train"])
    return Linear(splits["train"], splits["dev"] if name == "linear_offsets" else None)


def competitors(
    splits: dict[str, Reviews], held_out: Reviews, labels: Sequence[str]
) -> Iterator[tuple[dict[str, Any], dict[str, Any], Predict | None]]:
    """The linear model as a benchmark compares it; see `core.task.Task`."""
    for name in ("majority", "linear_offsets"):
        model = build(name, splits)
        scores = aspect_metrics(held_out.states, model.predict(held_out.items), labels, held_out.aspects)
        predict = None if name == "majority" else model.predict
        yield {"name": name, "runtime": "scikit-learn", "params": model.params}, scores, predict


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(BaselineConfig, argv, __doc__)
    splits = read_data(config.data_dir, config.limit)
    split = "test" if "test" in splits else "dev"
    held_out, report = splits[split], {}
    for name in NAMES:
        started = time.perf_counter()
        found = build(name, splits).predict(held_out.items)
        scores = aspect_metrics(held_out.states, found, held_out.labels, held_out.aspects)
        seconds = round(time.perf_counter() - started, 1)
        rows = row_counts(held_out.states, found, len(held_out.labels))
        report[name] = {**scores, "model": name, "rows": rows, "seconds": seconds}
        shown = ", ".join(f"{readable(each)} {scores[each]:.4f}" for each in MEANS if each in scores)
        print(f"\n{metrics_table(scores)}\n{name}: {split} {shown}; {seconds} s")
    best = max(report.values(), key=lambda scores: scores[BEST_BY])
    facts = {"split": split, "data_sha256": sha256(held_out.path), "train_rows": len(splits["train"]), **measured_on()}
    path = config.output / "aspect_baseline" / "metrics.json"
    write_json(path, {**best, **facts, "all": {name: scores[BEST_BY] for name, scores in report.items()}})
    print(f"wrote {path} ({best['model']})")


if __name__ == "__main__":
    run(main)
