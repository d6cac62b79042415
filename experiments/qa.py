"""Comparison of readers: rules, a learning curve over questions, made questions first, students taught and alone.

    python -m experiments.qa                                                # the bundled questions, 3 seeds
    python -m experiments.qa --data-dir cmrc2018 --rows 1000 3000 --output results/cmrc2018

Each number of rows takes the first questions of train, and all of them come last, with which the students are trained
too: of half of the layers of the reader that had made questions first, each once taught and once alone, with the same
updates. "again" is that reader once more, taught by those of all seeds (Furlanello et al. 2018, "Born Again Neural
Networks"). All are selected on dev and scored on test. Finished trainings are kept: a run that was stopped goes on
where it was. Writes qa.json, qa.md and qa.png to the output folder; differences are tested by paired bootstrap over the
questions.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from config import BUNDLED_BERT, Config
from core.bert.folder import find_bert, find_weights, read_bert_config, read_finetune
from core.console import UserError, parse, run
from core.files import sha256, write_picture
from core.measure.stats import interval, paired_bootstrap
from core.model_files.checkpoint import load
from core.model_files.predictor import predict_all
from experiments.readme_words import ENGLISH, Words, each_seed, markdown, percent
from experiments.trials import Trials, knobs_of, write_views
from qa.baseline import MODELS as BASELINES
from qa.baseline import Clauses
from qa.data import BUNDLED_DATA, Questions, read_data
from qa.distillation import DistillConfig, distil
from qa.metrics import answer_scores
from qa.names import STUDENT, TEACHER
from qa.predict import QaPredictor
from qa.train import MADE, TrainConfig, fine_tune

READER, LINE, AGAIN = "reader", "clause, rules", "again"
FIRST, ALONE = "reader, cloze first", "reader, cloze alone"  # made questions before the labelled ones, or nothing else
READERS = {READER: 0, FIRST: MADE}  # made questions for each passage
STUDENTS = {"spread, alone": 0.0, "spread, taught": 0.7}  # by name, the weight of the soft loss


@dataclass
class QaConfig:
    """Knobs of the comparison."""

    data_dir: Path = BUNDLED_DATA
    """Folder with train.json, dev.json and test.json; see qa/formats.py."""
    bert_path: Path = Config.bert_path
    """Folder of the BERT; while the default one holds none, the bundled bert-mini-chinese is used."""
    models: tuple[str, ...] = (*BASELINES, *READERS, ALONE, AGAIN, "students")
    """What is compared."""
    rows: tuple[int, ...] = ()
    """Numbers of training questions; all of them are added."""
    seeds: int = 3
    """Trainings of each model."""
    num_epochs: int | None = None
    """Passes over the training data. None: as qa.train."""
    max_length: int = TrainConfig.max_length
    """Tokens of a window."""
    output: Path = Config.output
    """Folder for the table and the picture."""
    device: str = Config.device
    """auto (a GPU where there is one), cpu, cuda, cuda:1, mps."""

    def __post_init__(self) -> None:
        if min(self.seeds, *self.rows, 1) < 1:
            raise UserError("--seeds and --rows must be 1 or more")
        known = (*BASELINES, *READERS, ALONE, AGAIN, "students")
        if unknown := set(self.models) - set(known):
            raise UserError(f"--models {min(unknown)} is none of {'; '.join(known)}")


def scores(given: Sequence[str], test: Questions) -> dict[str, Any]:
    """What is kept of a model's answers on test."""
    found = answer_scores(given, test)
    kept = {name: found.metrics[name] for name in ("em", "f1", "measure")}
    rows = {name: " ".join(f"{each:.6g}" for each in getattr(found, name)) for name in ("f1", "exact")}
    return {**kept, "row_scores": rows["f1"], "exact": rows["exact"]}


def measure(
    name: str, rows: int, seed: int | None, splits: dict[str, Questions], config: QaConfig, trials: Trials, folder: Path
) -> dict[str, Any]:
    """Train and score one model."""
    train, test = splits["train"], splits["test"]
    if name in BASELINES:
        first = Questions(train.items[:rows], train.answers[:rows], train.spans[:rows])
        return scores(Clauses(first, BASELINES[name]).predict(test.items), test)
    knobs = knobs_of(config, "data_dir num_epochs device", folder, seed) | {"limit": rows}
    if name in READERS:
        knobs |= {"bert_path": config.bert_path, "max_length": config.max_length, "cloze": READERS[name]}
        fine_tune(TrainConfig(**knobs), score_test=False)
        model = folder / TEACHER.name
    elif name == ALONE:
        key = {"model": FIRST, "rows": rows, "seed": seed}
        trials.once("cells", key, partial(measure, FIRST, rows, seed, splits, config, trials))
        model = trials.folder(key) / "cloze" / TEACHER.name
    else:
        others = (each for each in range(1, config.seeds + 1) if each != seed)
        teachers = []
        for each in [seed, *(others if name == AGAIN else ())]:  # starts from its own seed's
            key = {"model": FIRST, "rows": rows, "seed": each}
            teacher = partial(measure, FIRST, rows, each, splits, config, trials)
            trials.once("cells", key, teacher, need_model=True)
            teachers.append(str(trials.model(key)))
        layers = read_bert_config(config.bert_path)["num_hidden_layers"]
        own = {"bert_layers": layers} if name == AGAIN else {"alpha": STUDENTS[name]}
        distil(DistillConfig(**knobs, model=tuple(teachers), **own), deploy=False)
        model = folder / STUDENT.name
    facts = load(model)[1]
    found = predict_all(QaPredictor.load(model, config.device), test.items, name)
    if name != FIRST:  # which teaches the students
        model.unlink()
    made = {"dev_f1": facts["metrics"]["dev"]["f1"], "seconds": facts["training"]["seconds"]}
    return {**scores([each["answer"] for each in found], test), **made}


def mean_rows(runs: Sequence[dict[str, Any]]) -> np.ndarray:
    """(questions,) the F1 of each, the mean over some trainings."""
    return np.mean([np.array(run["row_scores"].split(), float) for run in runs], axis=0)


def summarise(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A line for each model and number of rows; held against the rules, or what it differs from in one thing."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for cell in cells:
        groups.setdefault((cell["model"], cell["rows"]), []).append(cell)
    summary = []
    for (name, rows), runs in sorted(groups.items(), key=lambda item: item[0][1]):
        entry = {"model": name, "rows": rows, "f1": [run["f1"] for run in runs], "em": [run["em"] for run in runs]}
        entry["seconds"] = float(np.mean([run["seconds"] for run in runs])) if "seconds" in runs[0] else None
        usual = {FIRST: READER, AGAIN: FIRST, "spread, taught": "spread, alone"}.get(name, LINE)
        against = usual if (usual, rows) in groups else LINE
        if name != against and (others := groups.get((against, rows))):
            entry |= {"against": against, **asdict(paired_bootstrap(mean_rows(runs), mean_rows(others)))}
        summary.append(entry)
    return summary


def table(report: dict[str, Any], words: Words) -> str:
    """The summary as a table."""
    lines = []
    for entry in report["summary"]:
        cells = [words.get(entry["model"], entry["model"]), f"{entry['rows']:,}", percent(np.mean(entry["em"]))]
        cells += [percent(np.mean(entry["f1"])), each_seed(entry["f1"]) if entry["f1"][1:] else "–"]
        told = ["–"] * 3
        if "against" in entry:
            told = [words.get(entry["against"], entry["against"]), interval(entry, words["an interval"], 2)]
            told.append(f"{entry['p']:.4f}")
        lines.append([*cells, *told, f"{entry['seconds']:.0f}" if entry["seconds"] else "–"])
    return markdown(words["table qa"], lines)


def draw(report: dict[str, Any], path: Path, words: Words = ENGLISH) -> None:
    """F1 by the number of training questions as a PNG, a dot for each seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name in dict.fromkeys(entry["model"] for entry in report["summary"]):
        entries = [entry for entry in report["summary"] if entry["model"] == name]
        counts, means = zip(*((entry["rows"], 100 * np.mean(entry["f1"])) for entry in entries), strict=True)
        line = axes.plot(counts, means, "o-", label=words.get(name, name))
        for entry in entries:
            dots = [100 * each for each in entry["f1"]]
            axes.plot([entry["rows"]] * len(dots), dots, ".", color=line[0].get_color(), markersize=4)
    axes.set_xlabel(words["training questions"])
    axes.set_ylabel(words["F1 on test, % (small dots: each seed)"])
    axes.legend()
    write_picture(path, figure)


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(QaConfig, argv, __doc__)
    splits = read_data(config.data_dir)
    if "test" not in splits:
        raise UserError(f"{config.data_dir} has no test.json: the models are scored on it")
    config.bert_path = bert = find_bert(config.bert_path, Config.bert_path, BUNDLED_BERT)
    settings = {"data": {name: sha256(split.path) for name, split in splits.items()}, "max_length": config.max_length}
    settings |= {"bert": sha256(find_weights(bert)), "finetune": read_finetune(bert), "num_epochs": config.num_epochs}
    path = config.output / "qa.json"
    trials = Trials(config.output / "qa_work", settings, ["cells"], path, config.device)
    most = len(splits["train"])
    for rows in [*(count for count in sorted(config.rows) if count < most), most]:
        students = STUDENTS if "students" in config.models and rows == most else ()
        for name in [*(name for name in config.models if name != "students"), *students]:
            for seed in (None,) if name in BASELINES else range(1, config.seeds + 1):
                make = partial(measure, name, rows, seed, splits, config, trials)
                trials.once("cells", {"model": name, "rows": rows, "seed": seed}, make)
    trials.report["summary"] = summarise(trials.report["cells"])
    trials.save()
    write_views(trials.report, path, table, draw)


if __name__ == "__main__":
    run(main)
