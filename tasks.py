"""The task that a model file belongs to, by the facts in it; the task is imported when it is asked for."""

import importlib
from pathlib import Path

from core.console import UserError
from core.model_files.facts import CLASSIFICATION, Facts
from core.model_files.predictor import Predictor, open_file
from core.task import Task

# By the name of a task, the module that has its TASK.
TASKS = {CLASSIFICATION: "predict_fun"}
TASKS |= {name: f"{name}.predict" for name in ("ner", "aspect_sentiment", "qa")}


def task_of(facts: Facts) -> Task:
    """The task of a model.

    Raises:
        UserError: this version of the project does not know it.
    """
    name = facts.get("task", CLASSIFICATION)
    if name not in TASKS:
        raise UserError(f"there is no task {name} here: this model was made by another version, use that one")
    return importlib.import_module(TASKS[name]).TASK


def own_folder(folder: Path, task: Task) -> Path:
    """What a task has of a folder that all share: of data/, named entities have data/ner, news titles data/ itself."""
    name = task.predictor.task
    return folder if name == CLASSIFICATION else folder / name


def load(path: Path, device: str = "auto", in_server: bool = False, threads: int = 0) -> tuple[Task, Predictor]:
    """Open a model file of any task; see `Predictor.load`.

    Raises:
        UserError: the file is missing, damaged or foreign, or of an unknown task.
    """
    facts, run = open_file(path, device, in_server, lambda facts: task_of(facts).predictor, threads)
    task = task_of(facts)
    return task, task.predictor.around(facts, run, path)
