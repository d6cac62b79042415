"""Comparison of taggers: CRF, dictionary, an encoder of characters, words or both, students with and without teacher.

    python -m experiments.ner                                               # the bundled sentences, 3 seeds
    python -m experiments.ner --data-dir cluener --rows 1000 5000 --output results/cluener
    python -m experiments.ner --data-dir msra --models crf words --rows 1000 5000 --output results/msra

Each number of rows takes the first ones of train, and all of it comes last, with which the students are trained too:
of half of the teacher's layers, from three starts, each once taught and once alone, with the same updates. "again" is
the teacher once more, taught by those of all seeds (Furlanello et al. 2018, "Born Again Neural Networks"). All are
selected on dev and scored on test. Finished trainings are kept: a run that was stopped goes on where it was. Writes
ner.json, ner.md and ner.png to the output folder; differences are tested by paired bootstrap over the sentences.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from config import BUNDLED_BERT, Config
from core.bert.folder import find_bert, find_weights, read_bert_config, read_finetune, read_tokenizer
from core.console import UserError, parse, run
from core.files import sha256, write_picture
from core.measure.stats import interval, paired_bootstrap_counts
from core.model_files.checkpoint import load
from experiments.readme_words import ENGLISH, Words, each_seed, markdown, percent
from experiments.trials import Trials, knobs_of, write_views
from ner.baseline import Crf, Dictionary
from ner.data import BUNDLED_DATA, Sentences, find_file, read_data
from ner.distillation import STARTS, DistillConfig, distil
from ner.metrics import entity_metrics, found_in, row_counts, strings
from ner.names import STUDENT, TEACHER
from ner.predict import NerPredictor
from ner.tags import Entity, types_of
from ner.train import TrainConfig, choose_reads, fine_tune

BASELINES = {"dictionary": Dictionary, "crf": Crf}
READS = ("characters", "words", "both")
AGAIN = "again"
STUDENTS = {f"{start}, {how}": (start, alpha) for start in STARTS for how, alpha in (("alone", 0.0), ("taught", 0.7))}


@dataclass
class NerConfig:
    """Knobs of the comparison."""

    data_dir: Path = BUNDLED_DATA
    """Folder with train, dev and test; see ner/data.py."""
    bert_path: Path = Config.bert_path
    """Folder of the BERT; while the default one holds none, the bundled bert-mini-chinese is used."""
    models: tuple[str, ...] = ("dictionary", "crf", *READS, AGAIN, "students")
    """What is compared; characters, words and both are what the encoder reads."""
    rows: tuple[int, ...] = ()
    """Numbers of training sentences; all of them are added."""
    seeds: int = 3
    """Trainings of each model."""
    num_epochs: int | None = None
    """Passes over the training data. None: as ner.train."""
    output: Path = Config.output
    """Folder for the table and the picture."""
    device: str = Config.device
    """auto (a GPU where there is one), cpu, cuda, cuda:1, mps."""

    def __post_init__(self) -> None:
        if min(self.seeds, *self.rows, 1) < 1:
            raise UserError("--seeds and --rows must be 1 or more")
        known = (*BASELINES, *READS, AGAIN, "students")
        if unknown := set(self.models) - set(known):
            raise UserError(f"--models {min(unknown)} is none of {', '.join(known)}")


def first_of(split: Sentences, rows: int) -> Sentences:
    """The first so many sentences of a file."""
    return Sentences(split.items[:rows], split.entities[:rows], split.labels, [], split.path)


def scores(found: list[list[Entity]], test: Sentences, types: Sequence[str], known: set[str]) -> dict[str, Any]:
    """What is kept of a model's answers on test."""
    metrics = entity_metrics(test.items, test.entities, found, types, known)
    kept = {name: metrics[name] for name in ("f1", "partial_f1", "unseen_f1", "macro_f1")}
    counts = row_counts(test.entities, found)
    return {**kept, "counts": " ".join(",".join(map(str, row)) for row in counts)}


def measure(
    name: str,
    rows: int,
    seed: int | None,
    splits: dict[str, Sentences],
    config: NerConfig,
    trials: Trials,
    folder: Path,
) -> dict[str, Any]:
    """Train and score one model."""
    train, test = first_of(splits["train"], rows), splits["test"]
    types, known = types_of(train.labels), strings(train)
    if name in BASELINES:
        return scores(BASELINES[name](train).predict(test.items), test, types, known)
    knobs = knobs_of(config, "data_dir num_epochs device", folder, seed) | {"limit": rows}
    if name in READS:
        fine_tune(TrainConfig(**knobs, bert_path=config.bert_path, reads=name), score_test=False)
        model = folder / TEACHER.name
    else:
        seeds = [seed]
        if name == AGAIN:  # starts from its own seed's teacher
            seeds += [each for each in range(1, config.seeds + 1) if each != seed]
            layers = read_bert_config(config.bert_path)["num_hidden_layers"]
            own = {"bert_layers": layers, "reads": best_reads(config)}
        else:
            own = dict(zip(("start", "alpha"), STUDENTS[name], strict=True))
        teachers = tuple(str(teacher(rows, each, splits, config, trials)) for each in seeds)
        distil(DistillConfig(**knobs, **own, model=teachers), deploy=False)
        model = folder / STUDENT.name
    facts = load(model)[1]
    found = found_in(NerPredictor.load(model, config.device), test.items)
    if name != best_reads(config):  # which teaches the students
        model.unlink()
    made = {"dev_f1": facts["metrics"]["dev"]["f1"], "seconds": facts["training"]["seconds"]}
    return {**scores(found, test, types, known), **made}


def teacher(rows: int, seed: int | None, splits: dict[str, Sentences], config: NerConfig, trials: Trials) -> Path:
    """The teacher of a seed, trained unless it is there."""
    key = {"model": best_reads(config), "rows": rows, "seed": seed}
    make = partial(measure, key["model"], rows, seed, splits, config, trials)
    trials.once("cells", key, make, need_model=True)
    return trials.model(key)


def best_reads(config: NerConfig) -> str:
    """What the teacher of the students reads: what ner.train would choose."""
    return choose_reads(read_tokenizer(config.bert_path, TrainConfig.max_length), "auto")


def as_counts(cells: Sequence[dict[str, Any]]) -> np.ndarray:
    """(seeds, sentences, 3) right, found and true entities."""
    return np.array([[row.split(",") for row in cell["counts"].split()] for cell in cells], dtype=int)


def summarise(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A line for each model and number of rows; what it is held against: the CRF, or the same student alone."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for cell in cells:
        groups.setdefault((cell["model"], cell["rows"]), []).append(cell)
    summary = []
    for (name, rows), runs in sorted(groups.items(), key=lambda item: item[0][1]):
        entry = {"model": name, "rows": rows, "f1": [run["f1"] for run in runs]}
        entry |= {each: float(np.mean([run[each] for run in runs])) for each in ("unseen_f1", "partial_f1")}
        entry["seconds"] = float(np.mean([run["seconds"] for run in runs])) if "seconds" in runs[0] else None
        against = name.replace("taught", "alone") if name.endswith("taught") else "crf"
        if name != against and (others := groups.get((against, rows))):
            entry |= {"against": against, **asdict(paired_bootstrap_counts(as_counts(runs), as_counts(others)))}
        summary.append(entry)
    return summary


def table(report: dict[str, Any], words: Words) -> str:
    """The summary as a table."""
    lines = []
    for entry in report["summary"]:
        cells = [words.get(entry["model"], entry["model"]), f"{entry['rows']:,}", percent(np.mean(entry["f1"]))]
        cells += [each_seed(entry["f1"]) if entry["f1"][1:] else "–", percent(entry["unseen_f1"])]
        told = ["–"] * 3
        if "against" in entry:
            told = [words.get(entry["against"], entry["against"]), interval(entry, words["an interval"], 2)]
            told.append(f"{entry['p']:.4f}")
        lines.append([*cells, *told, f"{entry['seconds']:.0f}" if entry["seconds"] else "–"])
    return markdown(words["table ner"], lines)


def draw(report: dict[str, Any], path: Path, words: Words = ENGLISH) -> None:
    """F1 of the models trained on all sentences as a PNG, a dot for each seed and a line at the CRF."""
    from matplotlib.figure import Figure

    most = max(entry["rows"] for entry in report["summary"])
    entries = [entry for entry in report["summary"] if entry["rows"] == most][::-1]
    figure = Figure(figsize=(8, 1 + 0.4 * len(entries)), layout="constrained")
    axes = figure.subplots()
    for entry in entries:
        f1, mean = [100 * each for each in entry["f1"]], 100 * float(np.mean(entry["f1"]))
        name = words.get(entry["model"], entry["model"])
        axes.plot(f1, [name] * len(f1), "k.", markersize=4)
        axes.plot(mean, name, "o", color="tab:blue", alpha=0.5, markersize=11)
        axes.annotate(f"{mean:.1f}", (mean, name), (0, 8), textcoords="offset points", ha="center", fontsize=8)
        if entry["model"] == "crf":
            axes.axvline(mean, color="gray", linestyle=":", linewidth=1)
    axes.margins(x=0.1, y=0.2)
    axes.set_xlabel(words["entity F1 on test, % (small dots: each seed; dotted: the CRF)"])
    write_picture(path, figure)


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(NerConfig, argv, __doc__)
    _, splits = read_data(config.data_dir)
    if "test" not in splits:
        raise UserError(f"{config.data_dir} has no test file: the models are scored on it")
    config.bert_path = bert = find_bert(config.bert_path, Config.bert_path, BUNDLED_BERT)
    settings = {"data": {name: sha256(find_file(config.data_dir, name)) for name in splits}}
    settings |= {"bert": sha256(find_weights(bert)), "finetune": read_finetune(bert), "num_epochs": config.num_epochs}
    path = config.output / "ner.json"
    trials = Trials(config.output / "ner_work", settings, ["cells"], path, config.device)
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
