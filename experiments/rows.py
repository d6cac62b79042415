"""Learning curves over labelled titles: BERT and the linear model, trained on more and more of them.

    python -m experiments.rows                                              # the bundled data, 3 seeds
    python -m experiments.rows --data-dir my_data --rows 1000 5000 20000 --output results/my_data

    python -m experiments.rows --data-dir my_data --adapt-minutes 10 --unlabeled titles.txt --output results/adapted

Each size takes the first rows of train.txt, and all of it comes last. BERT is trained by train.py with its defaults,
and selected on dev.txt; with --adapt-minutes once more, after it has read those rows and the further titles. All are
scored on test.txt. Finished trainings are kept: a run that was stopped goes on where it was. Writes rows.json, rows.md
and rows.png to the output folder.
"""

import shutil
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
from experiments.readme_words import ENGLISH, Words, each_seed, markdown, percent
from experiments.trials import Trials, as_array, as_text, knobs_of, predict_classes, predict_linear, write_views
from train import TrainConfig, fine_tune
from utils import Titles, read_data

BERT, LINEAR, ADAPTED = "bert", "linear", "adapted"
CURVES = (
    (BERT, "BERT", "tab:blue"),
    (LINEAR, "linear model", "tab:orange"),
    (ADAPTED, "BERT, adapted first", "tab:green"),
)


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
    adapt_minutes: float | None = None
    """Compare with a BERT that was pretrained so many minutes further on the titles first, as by train.py."""
    unlabeled: Path | None = None
    """With --adapt-minutes: further titles without labels, one a line."""
    output: Path = Config.output
    """Folder for the table and the picture."""
    device: str = Config.device
    """auto (a GPU where there is one), cpu, cuda, cuda:1, mps."""

    def __post_init__(self) -> None:
        if min(self.seeds, *self.rows) < 1:
            raise UserError("--seeds and --rows must be 1 or more")
        TrainConfig(adapt_minutes=self.adapt_minutes, unlabeled=self.unlabeled)  # refuses what training refuses


def measure(
    key: dict[str, Any], labels: Sequence[str], titles: dict[str, Titles], config: RowsConfig, folder: Path
) -> dict[str, Any]:
    """Train and score the model of a key."""
    train, test = titles["train"], titles["test"]
    rows, model, seed = key["rows"], key["model"], key["seed"]
    if model == LINEAR:
        first = Titles(train.texts[:rows], train.labels[:rows])
        predicted, seconds = predict_linear(first, titles["dev"], test)
    else:
        names = "data_dir bert_path device"
        knobs = knobs_of(config, f"{names} adapt_minutes unlabeled" if model == ADAPTED else names, folder, seed)
        fine_tune(TrainConfig(**knobs, limit=rows), score_test=False)
        path = folder / MODELS["teacher"].path.name
        predicted = predict_classes(path, test, Config.batch_size, config.device)
        seconds = load(path)[1]["training"]["seconds"]
        path.unlink()
        shutil.rmtree(folder / "adapted_bert", ignore_errors=True)
    scores = classification_metrics(test.labels, predicted, labels)
    kept = {name: scores[name] for name in ("accuracy", "macro_f1")}
    return {**kept, "predicted": as_text(predicted), "seconds": seconds}


def summarise(cells: list[dict[str, Any]], true: list[int]) -> list[dict[str, Any]]:
    """The accuracies for each number of rows, and how sure their differences are (means over the seeds)."""
    summary = []
    for rows in sorted({cell["rows"] for cell in cells}):
        entry: dict[str, Any] = {"rows": rows}
        right = {}
        for model in (BERT, LINEAR, ADAPTED):
            if not (runs := [cell for cell in cells if (cell["rows"], cell["model"]) == (rows, model)]):
                continue
            right[model] = (as_array(run["predicted"] for run in runs) == true).mean(axis=0)
            entry[model] = [run["accuracy"] for run in runs]
            entry |= {
                f"{model}_{name}": float(np.mean([run[name] for run in runs])) for name in ("macro_f1", "seconds")
            }
        entry |= asdict(paired_bootstrap(right[BERT], right[LINEAR]))
        if ADAPTED in right:
            entry["gain"] = asdict(paired_bootstrap(right[ADAPTED], right[BERT]))
        summary.append(entry)
    return summary


def table(report: dict[str, Any], words: Words) -> str:
    """The summary as a table; what adapting gains is one of its own, below it."""
    lines, gains = [], []
    for entry in report["summary"]:
        if ADAPTED in entry:
            cells = [f"{entry['rows']:,}", *(percent(np.mean(entry[model])) for model in (LINEAR, BERT, ADAPTED))]
            gained = [interval(entry["gain"], words["an interval"], 2), f"{entry['gain']['p']:.4f}"]
            gains.append([*cells, each_seed(entry[ADAPTED]), *gained, f"{entry['adapted_macro_f1']:.3f}"])
        scores, seconds = ([entry[f"{model}_{name}"] for model in (LINEAR, BERT)] for name in ("macro_f1", "seconds"))
        cells = [f"{entry['rows']:,}", percent(entry[LINEAR][0]), percent(np.mean(entry[BERT]))]
        cells += [interval(entry, words["an interval"], 2), f"{entry['p']:.4f}", *(f"{score:.3f}" for score in scores)]
        times = (f"{taken:.0f}" if taken >= 1 else "<1" for taken in seconds)
        lines.append(cells + [words["so many seconds"].format(taken) for taken in times])
    tables = [markdown(words["table rows"], lines)] + [markdown(words["table adapted"], gains)] * bool(gains)
    return "\n\n".join(tables)


def draw(report: dict[str, Any], path: Path, words: Words = ENGLISH) -> None:
    """The accuracies over the number of rows as a PNG, a dot for each seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    rows = [entry["rows"] for entry in report["summary"]]
    for model, label, color in CURVES:
        if not (entries := [entry for entry in report["summary"] if model in entry]):
            continue
        counts = [entry["rows"] for entry in entries]
        axes.plot(counts, [100 * np.mean(entry[model]) for entry in entries], color=color, label=words[label])
        for entry in entries:
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
    models = [BERT]
    if config.adapt_minutes:
        models.append(ADAPTED)
        more = sha256(config.unlabeled) if config.unlabeled else None
        settings["adapt"] = {"minutes": config.adapt_minutes, "unlabeled": more}
    path = config.output / "rows.json"
    trials = Trials(config.output / "rows_work", settings, ["cells"], path, config.device)
    most = len(titles["train"])
    for rows in [*(count for count in sorted(config.rows) if count < most), most]:
        keys = [(model, seed) for seed in range(1, config.seeds + 1) for model in models]
        for model, seed in [(LINEAR, None), *keys]:
            key = {"rows": rows, "model": model, "seed": seed}
            trials.once("cells", key, partial(measure, key, labels, titles, config))
    trials.report["summary"] = summarise(trials.report["cells"], titles["test"].labels)
    trials.save()
    write_views(trials.report, path, table, draw)


if __name__ == "__main__":
    run(main)
