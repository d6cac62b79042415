"""Comparison of ways to read the sentiment of many aspects, chosen on dev; the best of them on test, once.

    python -m experiments.aspects                                                # the bundled reviews, 3 seeds
    python -m experiments.aspects --data-dir my_data --output results/my_data
    python -m experiments.aspects --data-dir my_data --models linear attention mean --seeds 1 --output results/my_data

Models: linear (with the offsets that suit it on dev); original (128 tokens of head and tail, the plain mean);
attention, mean (whole reviews); head_tail (as many tokens as the encoder has positions); class_weights, focal, r_drop
(losses, with attention); oversample, undersample, eda (training rows, see aspect_rows.py, with attention); alone,
taught (students of two layers), matched (inside too, see aspect_matching.py), taught_linear (by the linear model too),
ensemble (by all seeds), unlabeled (with the reviews of unlabeled.csv in the data folder, where the teachers are sure);
again (of as many layers as attention, taught by all seeds: Furlanello et al. 2018, "Born Again Neural Networks").
Finished trainings are kept: a run that was stopped goes on where it was. Writes aspects.json and aspects.md to the
output folder; differences in pooled F1 are tested by paired bootstrap over the reviews: on dev to attention (students
to alone), on test, which the linear model, the best and the students of the list are scored on, to linear.
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from aspect_sentiment.baseline import Linear
from aspect_sentiment.data import BUNDLED_DATA, Reviews, find_file, read_data
from aspect_sentiment.distillation import DistillConfig, distil
from aspect_sentiment.metrics import aspect_metrics, row_counts
from aspect_sentiment.names import STUDENT, TEACHER
from aspect_sentiment.predict import SentimentPredictor
from aspect_sentiment.report import answered
from aspect_sentiment.train import TrainConfig, fine_tune
from config import BUNDLED_BERT, Config
from core.bert.folder import find_bert, find_weights, read_bert_config, read_finetune
from core.console import UserError, parse, run
from core.files import sha256
from core.measure.stats import interval, paired_bootstrap_counts
from core.model_files.checkpoint import load
from core.model_files.module import load_module
from experiments.aspect_matching import matching
from experiments.aspect_rows import WAYS, make_folder
from experiments.readme_words import Words, each_seed, markdown, percent
from experiments.trials import Trials, knobs_of, write_views

LINEAR, REFERENCE, ALONE = "linear", "attention", "alone"
TEACHERS: dict[str, dict[str, Any]] = {
    "original": {"pooling": "mean", "long_texts": "head_tail", "max_length": 128},
    REFERENCE: {},
    "mean": {"pooling": "mean"},
    "head_tail": {"long_texts": "head_tail"},
    **{name: {"loss": name} for name in ("class_weights", "focal", "r_drop")},
    **{name: {} for name in WAYS},
}
STUDENTS: dict[str, dict[str, Any]] = {
    ALONE: {"alpha": 0.0},
    "taught": {},
    "matched": {},
    "taught_linear": {},
    "ensemble": {},
    "unlabeled": {"min_confidence": 0.8},
    "again": {},
}
KEPT = ("pooled_f1", "aspect_f1", "merged_f1", "detect_f1", "mean_accuracy", "strict_accuracy")


@dataclass
class AspectsConfig:
    """Knobs of the comparison."""

    data_dir: Path = BUNDLED_DATA
    """Folder with train, dev and test; see aspect_sentiment/data.py."""
    bert_path: Path = Config.bert_path
    """Folder of the BERT; while the default one holds none, the bundled bert-mini-chinese is used."""
    models: tuple[str, ...] = (LINEAR, *TEACHERS, *(name for name in STUDENTS if name != "unlabeled"))
    """What is compared."""
    seeds: int = 3
    """Trainings of each model."""
    limit: int | None = None
    """Train on the first N reviews only."""
    num_epochs: int | None = None
    """Passes over the training data. None: as aspect_sentiment.train."""
    convert: bool = False
    """Read traditional characters as simplified ones."""
    output: Path = Config.output
    """Folder for the table."""
    device: str = Config.device
    """auto (a GPU where there is one), cpu, cuda, cuda:1, mps."""

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise UserError("--seeds must be 1 or more")
        known = [LINEAR, *TEACHERS, *STUDENTS]
        if unknown := set(self.models) - set(known):
            raise UserError(f"--models {min(unknown)} is none of {', '.join(known)}")


def scores(found: np.ndarray, split: Reviews) -> dict[str, Any]:
    """What is kept of a model's answers."""
    metrics = aspect_metrics(split.states, found, split.labels, split.aspects)
    counts = row_counts(split.states, found, len(split.labels))
    return {**{name: metrics[name] for name in KEPT if name in metrics}, "counts": json.dumps(counts)}


def answers(path: Path, split: Reviews, device: str) -> np.ndarray:
    """(reviews, aspects) the states that a model file answers."""
    return answered(SentimentPredictor.load(path, device), split.items)[0]


def teachers_of(name: str, seed: int, config: AspectsConfig, splits: dict[str, Reviews], trials: Trials) -> list[str]:
    """What a student learns from: the model with attention of its seed, and others for some."""
    paths = []
    for each in [seed, *(other for other in range(1, config.seeds + 1) if other != seed)]:
        key = {"model": REFERENCE, "seed": each}
        trials.once("cells", key, partial(measure, REFERENCE, each, config, splits, trials), need_model=True)
        paths.append(str(trials.model(key)))
        if name not in ("ensemble", "unlabeled", "again"):
            break
    return [*paths, LINEAR] if name in ("taught_linear", "unlabeled") else paths


def measure(
    name: str, seed: int | None, config: AspectsConfig, splits: dict[str, Reviews], trials: Trials, folder: Path
) -> dict[str, Any]:
    """Train a model and score it on dev."""
    dev = splits["dev"]
    if name == LINEAR:
        return scores(Linear(splits["train"], dev).predict(dev.items), dev)
    knobs = knobs_of(config, "data_dir num_epochs device limit", folder, seed)
    if name in TEACHERS:
        own = {"bert_path": config.bert_path, "convert": config.convert, **TEACHERS[name]}
        if name in WAYS:
            knobs["data_dir"] = make_folder(name, splits, folder / "data", seed)
        fine_tune(TrainConfig(**knobs, **own), score_test=False)
        model = folder / TEACHER.name
    else:
        own = {"model": tuple(teachers_of(name, seed, config, splits, trials)), "bert_layers": 2, **STUDENTS[name]}
        if name == "again":
            own["bert_layers"] = read_bert_config(config.bert_path)["num_hidden_layers"]
        if name == "unlabeled":
            own["unlabeled"] = config.data_dir / "unlabeled.csv"
        with ExitStack() as stack:
            if name == "matched":
                stack.enter_context(matching(load_module(Path(own["model"][0]), SentimentPredictor.builds)[0]))
            distil(DistillConfig(**knobs, **own), deploy=False)
        model = folder / STUDENT.name
    return {**scores(answers(model, dev, config.device), dev), "seconds": load(model)[1]["training"]["seconds"]}


def judge(
    name: str, seed: int | None, config: AspectsConfig, splits: dict[str, Reviews], trials: Trials, _: Path
) -> dict[str, Any]:
    """Score a trained model on test."""
    test = splits["test"]
    if name == LINEAR:
        return scores(Linear(splits["train"], splits["dev"]).predict(test.items), test)
    key = {"model": name, "seed": seed}
    trials.once("cells", key, partial(measure, name, seed, config, splits, trials), need_model=True)
    return scores(answers(trials.model(key), test, config.device), test)


def groups_of(cells: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The cells of each model."""
    return {
        name: [cell for cell in cells if cell["model"] == name] for name in dict.fromkeys(c["model"] for c in cells)
    }


def compared(runs: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]] | None) -> dict[str, Any]:
    """The difference in pooled F1 between the trainings of two models; {} where there is no other."""
    if not others:
        return {}
    counts = [np.array([json.loads(cell["counts"]) for cell in each]) for each in (runs, others)]
    return asdict(paired_bootstrap_counts(*counts))


def summarise(report: dict[str, Any]) -> list[dict[str, Any]]:
    """A line for each model, and what it is held against."""
    dev, test = groups_of(report["cells"]), groups_of(report["test"])
    summary = []
    for name, runs in dev.items():
        against = ALONE if name in STUDENTS and name not in (ALONE, "again") else REFERENCE
        entry = {"model": name, "dev": [run["pooled_f1"] for run in runs]}
        entry["dev_aspects"] = float(np.mean([run["aspect_f1"] for run in runs]))
        if name != against and (found := compared(runs, dev.get(against))):
            entry |= {"against": against, **found}
        if name in test:
            judged = test[name]
            entry["test"] = {each: float(np.mean([run[each] for run in judged])) for each in KEPT if each in judged[0]}
            entry["test"]["each"] = [run["pooled_f1"] for run in judged]
            if name != LINEAR:
                entry["test"]["against_linear"] = compared(judged, test.get(LINEAR))
        entry["seconds"] = float(np.mean([run["seconds"] for run in runs])) if "seconds" in runs[0] else None
        summary.append(entry)
    return summary


def table(report: dict[str, Any], words: Words) -> str:
    """The summary as a table, and below it the differences to the linear model on test."""
    lines, tests = [], []
    for entry in report["summary"]:
        cells = [words.get(entry["model"], entry["model"]), percent(np.mean(entry["dev"]))]
        cells += [each_seed(entry["dev"]) if entry["dev"][1:] else "–", percent(entry["dev_aspects"])]
        told = ["–"] * 3
        if "against" in entry:
            told = [
                words.get(entry["against"], entry["against"]),
                interval(entry, words["an interval"], 2),
                f"{entry['p']:.4f}",
            ]
        found = entry.get("test", {})
        shown = [percent(found[name]) if name in found else "–" for name in ("pooled_f1", "aspect_f1", "merged_f1")]
        lines.append([*cells, *told, *shown, f"{entry['seconds']:.0f}" if entry["seconds"] else "–"])
        if found.get("against_linear"):
            own = interval(found["against_linear"], words["an interval"], 2)
            name, p = words.get(entry["model"], entry["model"]), found["against_linear"]["p"]
            tests.append(words["against the linear model"].format(name, own, p))
    return "\n".join([markdown(words["table aspects"], lines), "", *tests])


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(AspectsConfig, argv, __doc__)
    splits = read_data(config.data_dir, config.limit)
    if "test" not in splits:
        raise UserError(f"{config.data_dir} has no test file: the best model is scored on it")
    config.bert_path = bert = find_bert(config.bert_path, Config.bert_path, BUNDLED_BERT)
    settings = {"data": {name: sha256(find_file(config.data_dir, name)) for name in splits}}
    settings |= {"bert": sha256(find_weights(bert)), "finetune": read_finetune(bert), "num_epochs": config.num_epochs}
    settings |= {"limit": config.limit, "convert": config.convert}
    path = config.output / "aspects.json"
    trials = Trials(config.output / "aspects_work", settings, ["cells", "test"], path, config.device)
    for seed in range(1, config.seeds + 1):
        for name in config.models:
            if name == LINEAR and seed > 1:
                continue
            own = None if name == LINEAR else seed
            trials.once("cells", {"model": name, "seed": own}, partial(measure, name, own, config, splits, trials))
    dev = groups_of(trials.report["cells"])
    best = max(
        (name for name in dev if name in TEACHERS),
        default=None,
        key=lambda name: np.mean([c["pooled_f1"] for c in dev[name]]),
    )
    for name in dev:
        if name in (LINEAR, best) or name in STUDENTS:
            for cell in dev[name]:
                key = {"model": name, "seed": cell["seed"]}
                trials.once("test", key, partial(judge, name, cell["seed"], config, splits, trials))
    trials.report["summary"] = summarise(trials.report)
    trials.save()
    write_views(trials.report, path, table)


if __name__ == "__main__":
    run(main)
