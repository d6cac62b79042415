"""Learning curves over labelled titles: BERT and the linear model, trained on more and more of them.

    python -m experiments.rows                                              # the bundled data, 3 seeds
    python -m experiments.rows --data-dir my_data --rows 1000 5000 20000 --output results/my_data

Each size takes the first rows of train.txt, and all of it comes last. BERT is trained by train.py with its defaults,
and selected on dev.txt; both models are scored on test.txt. Finished trainings are kept: a run that was stopped goes on
where it was. Writes rows.json, rows.md and rows.png to the output folder.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from config import BUNDLED_BERT, MODELS, Config
from core.bert.folder import find_bert, find_weights, read_finetune
from core.console import UserError, parse, run
from core.files import sha256, write_picture
from core.measure.metrics import classification_metrics
from core.measure.stats import interval, paired_bootstrap
from core.model_files.checkpoint import load
from experiments.readme_words import ENGLISH, Words, markdown, percent
from experiments.trials import Trials, as_array, as_text, knobs_of, predict_classes, predict_linear, write_views
from train import TrainConfig, fine_tune
from utils import Titles, read_data


@dataclass
class RowsConfig:
    """Knobs of the measurement."""

    data_dir: Path = Config.data_dir
    """Folder with class.txt, train.txt, dev.txt and test.txt."""
    bert_path: Path = Config.bert_path
    """Folder of the BERT; while the default one holds none, the bundled bert-mini-chinese is used."""
    rows: tuple[int, ...] = (200, 500)
    """Numbers of training titles; all of them are added."""
    seeds: int = 3
    """Trainings of BERT for each number."""
    output: Path = Config.output
    """Folder for the table and the picture."""
    device: str = Config.device
    """auto (a GPU where there is one), cpu, cuda, cuda:1, mps."""

    def __post_init__(self) -> None:
        if min(self.seeds, *self.rows) < 1:
            raise UserError("--seeds and --rows must be 1 or more")


def measure(
    rows: int, seed: int | None, labels: Sequence[str], titles: dict[str, Titles], config: RowsConfig, folder: Path
) -> dict[str, Any]:
    """Train and score one model: BERT with a seed, or the linear one (seed None)."""
    train, test = titles["train"], titles["test"]
    if seed is None:
        first = Titles(train.texts[:rows], train.labels[:rows])
        predicted, seconds = predict_linear(first, titles["dev"], test)
    else:
        knobs = knobs_of(config, "data_dir bert_path device", folder, seed)
        fine_tune(TrainConfig(**knobs, limit=rows), score_test=False)
        model = folder / MODELS["teacher"].path.name
        predicted = predict_classes(model, test, Config.batch_size, config.device)
        seconds = load(model)[1]["training"]["seconds"]
        model.unlink()
    scores = classification_metrics(test.labels, predicted, labels)
    kept = {name: scores[name] for name in ("accuracy", "macro_f1")}
    return {**kept, "predicted": as_text(predicted), "seconds": seconds}


def summarise(cells: list[dict[str, Any]], true: list[int]) -> list[dict[str, Any]]:
    """Both accuracies for each number of rows, and how sure their difference is (the mean over the seeds)."""
    summary = []
    for rows in sorted({cell["rows"] for cell in cells}):
        entry: dict[str, Any] = {"rows": rows}
        right = []
        for model in ("bert", "linear"):
            runs = [cell for cell in cells if (cell["rows"], cell["model"]) == (rows, model)]
            right.append((as_array(run["predicted"] for run in runs) == true).mean(axis=0))
            entry[model] = [run["accuracy"] for run in runs]
            entry |= {
                f"{model}_{name}": float(np.mean([run[name] for run in runs])) for name in ("macro_f1", "seconds")
            }
        summary.append(entry | asdict(paired_bootstrap(*right)))
    return summary


def table(report: dict[str, Any], words: Words) -> str:
    """The summary as a table."""
    lines = []
    for entry in report["summary"]:
        scores, seconds = (
            [entry[f"{model}_{name}"] for model in ("linear", "bert")] for name in ("macro_f1", "seconds")
        )
        cells = [f"{entry['rows']:,}", percent(entry["linear"][0]), percent(np.mean(entry["bert"]))]
        cells += [interval(entry, words["an interval"], 2), f"{entry['p']:.4f}", *(f"{score:.3f}" for score in scores)]
        times = (f"{taken:.0f}" if taken >= 1 else "<1" for taken in seconds)
        lines.append(cells + [words["so many seconds"].format(taken) for taken in times])
    return markdown(words["table rows"], lines)


def draw(report: dict[str, Any], path: Path, words: Words = ENGLISH) -> None:
    """Both accuracies over the number of rows as a PNG, a dot for each seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    rows = [entry["rows"] for entry in report["summary"]]
    for model, label, color in (("bert", "BERT", "tab:blue"), ("linear", "linear model", "tab:orange")):
        axes.plot(rows, [100 * np.mean(entry[model]) for entry in report["summary"]], color=color, label=words[label])
        for entry in report["summary"]:
            axes.plot([entry["rows"]] * len(entry[model]), [100 * s for s in entry[model]], ".", color=color)
    axes.set_xscale("log")
    axes.set_xticks(rows, [f"{count:,}" for count in rows])
    axes.minorticks_off()
    axes.set_xlabel(words["training titles"])
    axes.set_ylabel(words["test accuracy, %"])
    axes.grid(alpha=0.3)
    axes.legend()
    write_picture(path, figure)


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(RowsConfig, argv, __doc__)
    labels, titles = read_data(config.data_dir)
    if "test" not in titles:
        raise UserError(f"{config.data_dir} has no test.txt: the models are scored on it")
    bert = find_bert(config.bert_path, Config.bert_path, BUNDLED_BERT)
    settings = {"data": {name: sha256(config.data_dir / f"{name}.txt") for name in ("class", "train", "dev", "test")}}
    settings |= {"bert": sha256(find_weights(bert)), "finetune": read_finetune(bert)}
    path = config.output / "rows.json"
    trials = Trials(config.output / "rows_work", settings, ["cells"], path, config.device)
    most = len(titles["train"])
    for rows in [*(count for count in sorted(config.rows) if count < most), most]:
        for seed in (None, *range(1, config.seeds + 1)):
            cell = {"rows": rows, "model": "linear" if seed is None else "bert", "seed": seed}
            trials.once("cells", cell, partial(measure, rows, seed, labels, titles, config))
    trials.report["summary"] = summarise(trials.report["cells"], titles["test"].labels)
    trials.save()
    write_views(trials.report, path, table, draw)


if __name__ == "__main__":
    run(main)
