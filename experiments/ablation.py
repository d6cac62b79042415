"""Which recipes are worth their time: each is trained beside plain fine-tuning, with the same seeds, on the same rows.

    python -m experiments.ablation                                        # every recipe on data/
    python -m experiments.ablation --recipes fgm fgm,class_weights plain@0.5  # these: joined, at half the learning rate
    python -m experiments.ablation --data-dir news tnews --limit 5000 0 --final-rows 0 0     # the best on all rows

A recipe with +again behind it is distilled into one more BERT of the same depth (soft_label_distillation.py), from its
training with the same seed; with +ensemble from those with all seeds; with +transfer too, and on the titles of
--unlabeled as well. Recipes are compared on dev.txt by the mean macro-F1 over the seeds, title by title (paired
bootstrap). Plain fine-tuning is tuned too: it is tried at other learning rates. With --final-rows the best recipes of
each data set and the best plain one are trained on so many rows, and only then is test.txt read, for these alone. What
a training gave is kept when it ends, so that a run that was stopped goes on; so are the models of teachers. Writes
ablation.json, ablation.md and ablation.png to the output folder; what they hold of other data sets, sizes and recipes
stays.
"""

import hashlib
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bert_classifer_model import find_bert, find_weights, finetune_defaults, read_finetune
from config import MODELS, Config, parse
from core.console import UserError, run
from core.files import sha256, write_json
from core.model_files.checkpoint import load
from core.training.device import Devices, measured_on
from core.training.recipes import PLAIN, RECIPES, Recipe
from experiments.ablation_report import as_markdown, choose, draw, merge, summarise
from experiments.report import open_report, predict_classes, write_views
from soft_label_distillation import SoftConfig, distil_soft
from train import TrainConfig, fine_tune
from utils import Titles, read_data

PLAIN_RATES = ("plain@0.5", "plain@0.7", "plain@1.4", "plain@2")
AGAIN, ENSEMBLE, TRANSFER = "again", "ensemble", "transfer"
STUDENTS = (f"{PLAIN}+{AGAIN}", f"{PLAIN}+{ENSEMBLE}")
RESULT, MODEL = "result.json", MODELS["teacher"].path.name


@dataclass
class AblationConfig:
    """Knobs of the comparison."""

    data_dir: tuple[Path, ...] = (Config.data_dir,)
    """Folders with class.txt, train.txt, dev.txt and, for --final-rows, test.txt."""
    limit: tuple[int, ...] = ()
    """Training rows to choose on, a number for each folder; 0: all. Left out: all of each."""
    final_rows: tuple[int, ...] = ()
    """Training rows of the best recipes, given in the same way; test.txt is then read for them. Left out: none are."""
    recipes: tuple[str, ...] = (*RECIPES, *PLAIN_RATES, *STUDENTS)
    """Recipes to try beside plain: names as for train.py --recipe, with @0.5 at half the usual learning rate, with
    +again, +ensemble or +transfer distilled once more."""
    unlabeled: tuple[Path, ...] = ()
    """Further titles without labels for +transfer, one a line: a file for each folder."""
    seeds: int = 3
    """Trainings of each recipe."""
    bert_path: Path = Config.bert_path
    """Folder of the encoder, as for train.py."""
    output: Path = Config.output
    """Folder for the table and the picture."""
    save_dir: Path = Config.save_dir
    """Folder for what the trainings leave: ablation/ is made in it."""
    batch_size: int = Config.batch_size
    """Titles in a step."""
    max_length: int = Config.max_length
    """Tokens kept of a title, [CLS] and [SEP] included."""
    device: str = Config.device
    """auto (a GPU where there is one), cpu, cuda, cuda:1, mps."""

    def __post_init__(self) -> None:
        Config(batch_size=self.batch_size, max_length=self.max_length)  # refuses what training refuses
        if self.seeds < 1 or min(self.limit + self.final_rows, default=0) < 0:
            raise UserError("--seeds must be 1 or more, --limit and --final-rows 0 (all rows) or more")
        for flag, rows in (("--limit", self.limit), ("--final-rows", self.final_rows)):
            if rows and len(rows) != len(self.data_dir):
                raise UserError(f"{flag} has {len(rows)} number(s) for {len(self.data_dir)} --data-dir: give one each")
        transfer = any(recipe.endswith(f"+{TRANSFER}") for recipe in self.recipes)
        if len(self.unlabeled) != len(self.data_dir) * transfer:
            raise UserError("--unlabeled goes with recipes that end in +transfer, a file for each --data-dir")
        if len({folder.resolve().name for folder in self.data_dir}) < len(self.data_dir):
            raise UserError("two --data-dir have the same name, which the table could not tell apart: rename one")
        for recipe in self.recipes:
            split_recipe(recipe)
        self.recipes = tuple(dict.fromkeys((PLAIN, *self.recipes)))


@dataclass(frozen=True)
class DataSet:
    """A data folder, read and checked, and how much of it is trained on."""

    folder: Path
    labels: list[str]
    titles: dict[str, Titles]
    rows: int
    final_rows: int | None
    work: Path  # where its trainings go
    unlabeled: Path | None = None

    @property
    def name(self) -> str:
        return self.folder.resolve().name


def split_recipe(text: str) -> tuple[str, float]:
    """`fgm@0.5+again` -> the recipe, and what its learning rate is multiplied by.

    Raises:
        UserError: no such recipe, no such factor, or something else behind the +.
    """
    teacher, plus, students = text.partition("+")
    if plus and students not in (AGAIN, ENSEMBLE, TRANSFER):
        raise UserError(f"--recipes has {text}: what follows + must be {AGAIN}, {ENSEMBLE} or {TRANSFER}")
    recipe, at, factor = teacher.partition("@")
    Recipe.read(recipe)
    try:
        number = float(factor) if at else 1.0
        if not 0 < number < float("inf"):
            raise ValueError
    except ValueError:
        raise UserError(f"--recipes has {text}: what follows @ must be a number above 0") from None
    return recipe, number


def read_data_sets(config: AblationConfig, settings: dict[str, Any]) -> Iterator[DataSet]:
    """Read the data folders; the trainings of each go to a folder of their own for these data and settings.

    Raises:
        UserError: a folder or file is missing or faulty, or there is no test.txt for --final-rows.
    """
    for index, folder in enumerate(config.data_dir):
        labels, titles = read_data(folder)
        if config.final_rows and "test" not in titles:
            raise UserError(f"{folder} has no test.txt, which --final-rows needs: add one, or leave --final-rows out")
        present = len(titles["train"].texts)
        rows = min((config.limit[index] if config.limit else 0) or present, present)
        final = min(config.final_rows[index] or present, present) if config.final_rows else None
        files = {**settings, **{name: sha256(folder / f"{name}.txt") for name in ("class", *titles)}}
        key = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
        work = config.save_dir / "ablation" / f"{folder.resolve().name}-{key[:12]}"
        yield DataSet(folder, labels, titles, rows, final, work, config.unlabeled[index] if config.unlabeled else None)


def cell_folder(data: DataSet, rows: int, recipe: str, seed: int) -> Path:
    """Where a training is kept."""
    titles = f"-{sha256(data.unlabeled)[:12]}" if recipe.endswith(f"+{TRANSFER}") else ""
    return data.work / f"{rows}-{recipe}{titles}-seed{seed}"


def predict_split(model: Path, titles: Titles, config: AblationConfig) -> str:
    """The class ids that a model predicts for some titles, separated by spaces."""
    return " ".join(map(str, predict_classes(model, titles, config.batch_size, config.device)))


def distil_cell(data: DataSet, rows: int, recipe: str, seed: int, config: AblationConfig) -> dict[str, Any]:
    """Distil trainings of a recipe into one more model; returns what is said of that, the teachers' time included."""
    taught, _, students = recipe.partition("+")
    others = [other for other in range(1, config.seeds + 1) if other != seed and students != AGAIN]
    teachers = [train_cell(data, rows, taught, teacher, config, need_model=True) for teacher in (seed, *others)]
    paths = [cell_folder(data, rows, taught, teacher["seed"]) / MODEL for teacher in teachers]
    facts = load(paths[0])[1]
    save_dir = cell_folder(data, rows, recipe, seed)
    knobs = {name: getattr(config, name) for name in ("batch_size", "device")}
    knobs |= {"data_dir": data.folder, "save_dir": save_dir, "output": save_dir / "reports", "limit": rows}
    knobs |= {"model": tuple(map(str, paths)), "num_epochs": finetune_defaults(config.bert_path, rows)[0]}
    knobs |= {"bert_layers": facts["architecture"]["bert_config"]["num_hidden_layers"], "seed": seed}
    knobs["unlabeled"] = data.unlabeled if students == TRANSFER else None
    student = SoftConfig(**knobs, resume=True)
    student.logits_dir = data.work / "teacher_logits"  # all students share them
    distil_soft(student, deploy=False)
    os.replace(save_dir / "bert_soft_distill.pth", save_dir / MODEL)
    meta = load(save_dir / MODEL)[1]
    seconds = meta["training"]["seconds"] + meta["training"]["preparing"] + sum(cell["seconds"] for cell in teachers)
    found = {"rows": rows, "seconds": seconds, "git_commit": meta["git_commit"], "teachers": len(paths)}
    return {**meta["training"], **found}


def train_cell(
    data: DataSet, rows: int, recipe: str, seed: int, config: AblationConfig, need_model: bool
) -> dict[str, Any]:
    """One training and what it predicts for dev.txt, unless it is there already.

    Args:
        data: what to train on.
        rows: how many of its rows.
        recipe: as in `--recipes`.
        seed: of the training.
        config: the knobs.
        need_model: whether its model must be there too.
    """
    folder = cell_folder(data, rows, recipe, seed)
    result, model = folder / RESULT, folder / MODEL
    found = json.loads(result.read_text(encoding="utf-8")) if result.is_file() else {}
    if found.get("teachers", 1) not in (1, config.seeds):
        found = {}  # the ensemble of a run with another number of seeds
    if found and (model.is_file() or not need_model):
        return found
    print(f"\n== {data.name}, {rows} rows, {recipe}, seed {seed}")
    if "+" in recipe:
        training = distil_cell(data, rows, recipe, seed, config)
    else:
        name, factor = split_recipe(recipe)
        knobs = {knob: getattr(config, knob) for knob in ("bert_path", "batch_size", "max_length", "device")}
        knobs |= {"data_dir": data.folder, "save_dir": folder, "output": folder / "reports", "limit": rows}
        knobs |= {"learning_rate": factor * finetune_defaults(config.bert_path, rows)[1], "recipe": name, "seed": seed}
        fine_tune(TrainConfig(**knobs, resume=True), score_test=False)
        meta = load(model)[1]
        training = {**meta["training"], "git_commit": meta["git_commit"]}
    dev = predict_split(model, data.titles["dev"], config)
    found = {**found, "data": data.name, "recipe": recipe, "seed": seed, **training, "dev": dev}
    write_json(result, found)
    return found


def train_cells(
    data: DataSet, rows: int, recipes: Sequence[str], config: AblationConfig, for_test: bool
) -> dict[str, list[dict[str, Any]]]:
    """The trainings of some recipes, one for each seed. Models are removed, but for those that others learn from."""
    cells: dict[str, list[dict[str, Any]]] = {recipe: [] for recipe in recipes}
    for seed, recipe in itertools.product(range(1, config.seeds + 1), recipes):
        result = cell_folder(data, rows, recipe, seed) / RESULT
        tested = result.is_file() and "test" in json.loads(result.read_text(encoding="utf-8"))
        cells[recipe].append(train_cell(data, rows, recipe, seed, config, for_test and not tested))
        if rows != data.final_rows:
            drop_model(data, rows, recipe, seed, config)
    return cells


def drop_model(data: DataSet, rows: int, recipe: str, seed: int, config: AblationConfig) -> None:
    """Remove the model of a training that nothing else learns from."""
    if not any(other.startswith(f"{recipe}+") for other in config.recipes):
        (cell_folder(data, rows, recipe, seed) / MODEL).unlink(missing_ok=True)


def read_test(data: DataSet, cell: dict[str, Any], config: AblationConfig) -> None:
    """Add to a training what its model predicts for test.txt."""
    if "test" not in cell:
        folder = cell_folder(data, cell["rows"], cell["recipe"], cell["seed"])
        cell["test"] = predict_split(folder / MODEL, data.titles["test"], config)
        write_json(folder / RESULT, cell)


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(AblationConfig, argv, __doc__)
    config.bert_path = find_bert(config.bert_path)
    settings = {"bert": sha256(find_weights(config.bert_path)), "finetune": read_finetune(config.bert_path)}
    settings |= {"batch_size": config.batch_size, "max_length": config.max_length}
    path = config.output / "ablation.json"
    report = open_report(path, settings, ["rows"])
    data_sets = list(read_data_sets(config, settings))

    def add(rows: list[dict[str, Any]]) -> None:
        report.update(measured_on(Devices.find(config.device, "auto").device))
        report["rows"] = merge(report["rows"], rows)
        write_json(path, report)

    finals = []
    for data in data_sets:
        cells = train_cells(data, data.rows, config.recipes, config, for_test=False)
        rows = summarise(cells, "dev", data.titles["dev"].labels, len(data.labels), PLAIN, PLAIN)
        add(rows)
        finals.append((data, *choose(rows)))
    finals = finals if config.final_rows else []
    last = [train_cells(data, data.final_rows, recipes, config, for_test=True) for data, _, recipes in finals]
    for (data, plain, _), cells in zip(finals, last, strict=True):
        for cell in itertools.chain(*cells.values()):
            read_test(data, cell, config)
        add(summarise(cells, "test", data.titles["test"].labels, len(data.labels), PLAIN, plain))
        for seed, recipe in itertools.product(range(1, config.seeds + 1), config.recipes):
            drop_model(data, data.final_rows, recipe, seed, config)
    write_views(report, path, as_markdown, draw)


if __name__ == "__main__":
    run(main)
