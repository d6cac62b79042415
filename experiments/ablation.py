"""Ablation of the recipes: each is trained beside plain fine-tuning, with the same seeds, on the same rows.

    python -m experiments.ablation                                        # every recipe on data/
    python -m experiments.ablation --recipes fgm fgm,class_weights plain@0.5  # these: joined, at half the learning rate
    python -m experiments.ablation --data-dir news tnews --limit 5000 0 --final-rows 0 0     # the best on all rows

A recipe with a + behind it is distilled into one more BERT of the same depth (soft_label_distillation.py): +again from
its training with the same seed, +ensemble from those with all seeds; +linear has the linear model teach too, +transfer
takes the titles of --unlabeled as well, +half makes the student of half the layers; they may be joined, as in
plain+linear+half. Recipes are compared on dev.txt by the mean macro-F1 over the seeds, title by title (paired
bootstrap). Plain fine-tuning is tuned too: it is tried at other learning rates. With --final-rows the best recipes of
each data set and the best plain one are trained on so many rows, and only then is test.txt read, for these alone. What
a training gave is kept when it ends, so that a run that was stopped goes on; so are the models of teachers. Writes
ablation.json, ablation.md and ablation.png to the output folder; what they hold of other data sets, sizes and recipes
stays.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from config import BUNDLED_BERT, Config
from core.bert.folder import find_bert, find_weights, finetune_defaults, read_finetune
from core.console import UserError, parse, run
from core.files import sha256, write_json
from core.model_files.checkpoint import load
from core.model_files.module import pick_device
from core.training.device import measured_on
from core.training.recipes import PLAIN, RECIPES, Recipe
from distillation import read_unlabeled
from experiments.ablation_report import choose, draw, merge, summarise, table
from experiments.trials import Trials, as_text, knobs_of, open_report, predict_classes, write_views
from soft_label_distillation import SoftConfig, distil_soft
from teachers import LINEAR
from train import TrainConfig, fine_tune
from utils import Titles, read_data

PLAIN_RATES = ("plain@0.5", "plain@0.7", "plain@1.4", "plain@2")
AGAIN, ENSEMBLE, TRANSFER, HALF = "again", "ensemble", "transfer", "half"
WAYS = (AGAIN, ENSEMBLE, LINEAR, TRANSFER, HALF)  # to distil a recipe
STUDENTS = (f"{PLAIN}+{AGAIN}", f"{PLAIN}+{ENSEMBLE}")


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
    +again, +ensemble, +linear, +transfer or +half distilled once more."""
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
        if len({folder.resolve().name for folder in self.data_dir}) < len(self.data_dir):
            raise UserError("two --data-dir have the same name, which the table could not tell apart: rename one")
        transfer = any(TRANSFER in split_recipe(recipe)[2] for recipe in self.recipes)
        if len(self.unlabeled) != len(self.data_dir) * transfer:
            raise UserError("--unlabeled goes with recipes that have +transfer, a file for each --data-dir")
        self.recipes = tuple(dict.fromkeys((PLAIN, *self.recipes)))


@dataclass(frozen=True)
class DataSet:
    """A data folder, read and checked, how much of it is trained on, and its trainings with these knobs."""

    folder: Path
    labels: list[str]
    titles: dict[str, Titles]
    rows: int
    final_rows: int | None
    unlabeled: Path | None
    trials: Trials
    config: AblationConfig

    def key(self, rows: int, recipe: str, seed: int) -> dict[str, Any]:
        """The key of a training among all others."""
        key: dict[str, Any] = {"rows": rows, "recipe": recipe, "seed": seed}
        ways = split_recipe(recipe)[2]
        if ENSEMBLE in ways:
            key["teachers"] = self.config.seeds
        if TRANSFER in ways:
            key["unlabeled"] = sha256(self.unlabeled)[:12]
        return key

    def predict(self, key: dict[str, Any], split: str) -> str:
        """The class ids that the model of a training predicts for a split."""
        config = self.config
        return as_text(predict_classes(self.trials.model(key), self.titles[split], config.batch_size, config.device))

    def train(self, rows: int, recipe: str, seed: int, need_model: bool) -> dict[str, Any]:
        """One training and what it predicts for dev.txt; `need_model`: its model must be there too."""
        make = partial(self.distil if "+" in recipe else self.fine_tune, rows, recipe, seed)
        return self.trials.once("cells", self.key(rows, recipe, seed), make, need_model)

    def fine_tune(self, rows: int, recipe: str, seed: int, folder: Path) -> dict[str, Any]:
        """Train a recipe."""
        name, factor, _ = split_recipe(recipe)
        knobs = knobs_of(self.config, "bert_path batch_size max_length device", folder, seed)
        knobs["learning_rate"] = factor * finetune_defaults(self.config.bert_path, rows)[1]
        fine_tune(TrainConfig(**knobs, data_dir=self.folder, limit=rows, recipe=name), score_test=False)
        return self.describe(self.key(rows, recipe, seed))

    def distil(self, rows: int, recipe: str, seed: int, folder: Path) -> dict[str, Any]:
        """Distil trainings of a recipe into one more model; its seconds are the teachers' too."""
        taught, ways = recipe.partition("+")[0], split_recipe(recipe)[2]
        others = [other for other in range(1, self.config.seeds + 1) if other != seed and ENSEMBLE in ways]
        teachers = [self.train(rows, taught, teacher, need_model=True) for teacher in (seed, *others)]
        paths = [self.trials.model(self.key(rows, taught, teacher["seed"])) for teacher in teachers]
        knobs = knobs_of(self.config, "batch_size device", folder, seed)
        more = len(read_unlabeled(self.unlabeled, self.labels, self.titles)) if TRANSFER in ways else 0
        knobs["num_epochs"] = finetune_defaults(self.config.bert_path, rows + more)[0]
        knobs["model"] = (*map(str, paths), *([LINEAR] if LINEAR in ways else []))
        layers = load(paths[0])[1]["architecture"]["bert_config"]["num_hidden_layers"]
        knobs["bert_layers"] = max(1, layers // 2) if HALF in ways else layers
        knobs["unlabeled"] = self.unlabeled if TRANSFER in ways else None
        student = SoftConfig(**knobs, data_dir=self.folder, limit=rows)
        student.logits_dir = self.trials.work / "teacher_logits"  # all students share them
        distil_soft(student, deploy=False)
        found = self.describe(self.key(rows, recipe, seed))
        return {**found, "seconds": found["seconds"] + found["preparing"] + sum(cell["seconds"] for cell in teachers)}

    def describe(self, key: dict[str, Any]) -> dict[str, Any]:
        """The record of a training that has ended."""
        facts, data = load(self.trials.model(key))[1], self.folder.resolve().name
        return {"data": data, **facts["training"], "git_commit": facts["git_commit"], "dev": self.predict(key, "dev")}

    def train_all(self, rows: int, recipes: Sequence[str], for_test: bool) -> dict[str, list[dict[str, Any]]]:
        """The trainings of some recipes, one for each seed. Models go, but for those that others learn from."""
        cells: dict[str, list[dict[str, Any]]] = {recipe: [] for recipe in recipes}
        for seed, recipe in itertools.product(range(1, self.config.seeds + 1), recipes):
            known = self.trials.find("cells", self.key(rows, recipe, seed)) or {}
            cells[recipe].append(self.train(rows, recipe, seed, need_model=for_test and "test" not in known))
            if rows != self.final_rows:
                self.drop_model(rows, recipe, seed)
        return cells

    def test_all(self, cells: dict[str, list[dict[str, Any]]]) -> None:
        """Add to the last trainings what their models predict for test.txt; then no more models are needed."""
        for cell in itertools.chain(*cells.values()):
            if "test" not in cell:
                cell["test"] = self.predict(self.key(cell["rows"], cell["recipe"], cell["seed"]), "test")
                self.trials.save()
        for seed, recipe in itertools.product(range(1, self.config.seeds + 1), self.config.recipes):
            self.drop_model(self.final_rows, recipe, seed)

    def drop_model(self, rows: int, recipe: str, seed: int) -> None:
        """Remove the model of a training that nothing else learns from."""
        model = self.trials.model(self.key(rows, recipe, seed))
        teaches = "+" not in recipe and any(other.startswith(f"{recipe}+") for other in self.config.recipes)
        if model and not teaches:
            model.unlink()


def split_recipe(text: str) -> tuple[str, float, list[str]]:
    """`fgm@0.5+again` -> the recipe, what its learning rate is multiplied by, and the `WAYS` that it is distilled in.

    Raises:
        UserError: no such recipe, no such factor, or something else behind the +.
    """
    head, *ways = text.split("+")
    found = re.fullmatch(r"([^@]*)(?:@(\d+(?:\.\d+)?))?", head)
    if not found or not float(found[2] or 1) or not set(ways) <= set(WAYS):
        must = f"what follows @ must be a number above 0, and what follows + {', '.join(WAYS[:-1])} or {WAYS[-1]}"
        raise UserError(f"--recipes has {text}: {must}")
    Recipe.read(found[1])
    return found[1], float(found[2] or 1), ways


def read_data_sets(config: AblationConfig, settings: dict[str, Any]) -> Iterator[DataSet]:
    """Read the data folders; the trainings of each go to a folder of their own for these data and settings.

    Raises:
        UserError: a folder or file is missing or faulty, or there is no test.txt for --final-rows.
    """
    for index, folder in enumerate(config.data_dir):
        labels, titles = read_data(folder)
        if config.final_rows and "test" not in titles:
            raise UserError(f"{folder} has no test.txt, which --final-rows needs: add one, or leave --final-rows out")
        present = len(titles["train"])
        rows = min((config.limit[index] if config.limit else 0) or present, present)
        final = min(config.final_rows[index] or present, present) if config.final_rows else None
        own = {**settings, **{name: sha256(folder / f"{name}.txt") for name in ("class", *titles)}}
        trials = Trials(config.save_dir / "ablation" / folder.resolve().name, own, ["cells"], device=config.device)
        unlabeled = config.unlabeled[index] if config.unlabeled else None
        yield DataSet(folder, labels, titles, rows, final, unlabeled, trials, config)


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(AblationConfig, argv, __doc__)
    config.bert_path = find_bert(config.bert_path, Config.bert_path, BUNDLED_BERT)
    settings = {"bert": sha256(find_weights(config.bert_path)), "finetune": read_finetune(config.bert_path)}
    settings |= {"batch_size": config.batch_size, "max_length": config.max_length}
    path = config.output / "ablation.json"
    report = open_report(path, settings, ["rows"])

    def add(data: DataSet, cells: dict[str, list[dict[str, Any]]], split: str, against: str) -> list[dict[str, Any]]:
        rows = summarise(cells, split, data.titles[split].labels, len(data.labels), PLAIN, against)
        report.update(measured_on(pick_device(config.device)))
        report["rows"] = merge(report["rows"], rows)
        write_json(path, report)
        return rows

    finals = []
    for data in list(read_data_sets(config, settings)):
        cells = data.train_all(data.rows, config.recipes, for_test=False)
        finals.append((data, *choose(add(data, cells, "dev", PLAIN))))
    finals = finals if config.final_rows else []
    last = [data.train_all(data.final_rows, recipes, for_test=True) for data, _, recipes in finals]
    for (data, plain, _), cells in zip(finals, last, strict=True):
        data.test_all(cells)
        add(data, cells, "test", plain)
    write_views(report, path, table, draw)


if __name__ == "__main__":
    run(main)
