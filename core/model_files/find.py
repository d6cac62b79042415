"""The file of a model that is named, or of the one that answers when none is."""

import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from core.console import UserError
from core.model_files.lineage import TEACHER, default_file, read_default
from core.model_files.names import LIGHT, Models, canonical, children, ending, present

NO_LIGHT = (
    "there is no ONNX file of {what} here, and without PyTorch no other can be used: run "
    "`python bert_model_quantization.py` where PyTorch is installed and copy its file to the same folder here"
)


def find_model(model: str | None, models: Models, onnx: bool = True) -> Path:
    """The file of a model; without PyTorch installed names mean files that need none.

    Args:
        model: a name (`teacher`, …), an alias, or a path; None: the environment's NEWS_MODEL, else what `default.json`
            names, else the first model present.
        models: those that have names.
        onnx: whether a file that only predicts will do; False where a stage starts from the weights.

    Raises:
        UserError: there is no such model.
    """
    model = model or os.environ.get("NEWS_MODEL") or None
    if model is None:
        return _find_default(models)
    if model not in models and Path(model).is_file():
        if not onnx and ending(Path(model)) in LIGHT:
            raise UserError(f"{model} can only predict: give the checkpoint (.pt, .pth) that it was made from")
        return Path(model)
    name = canonical(model, models)
    if name is None and Path(model).parent != Path():
        raise UserError(f"{model} does not exist: check the path, or run the command that makes it first")
    if name is None:
        raise UserError(f"there is no model {model}: give the path of a model file or a name; here: {_here(models)}")
    if path := _usable(name, models, onnx):
        return path
    for other in (*children(name, models), *models[name].instead) if onnx else models[name].instead:
        if path := _usable(other, models, onnx):
            print(f"there is no {name} here: {other} ({path}) is taken in its place", file=sys.stderr)
            return path
    if not onnx and models[name].parent:
        raise UserError(f"{name} is INT8, which can only predict: give the model that it was made from")
    if _has_torch():
        raise UserError(f"{models[name].paths[0]} does not exist: run `python {models[name].script}`")
    raise UserError(NO_LIGHT.format(what=name))


def _find_default(models: Models) -> Path:
    """The file of the model that answers when none is named; says what it passes over."""
    default = read_default(models)
    order: Iterable[str] = models if default is None else dict.fromkeys([default.model, *default.made, TEACHER])
    found = next(((name, path) for name in order if (path := _usable(name, models, onnx=True))), None)
    if found and default and found[0] == default.model:
        advised = [models.base / path for path in models[default.model].paths if path.as_posix() == default.file]
        found = default.model, next(filter(_fits, advised), found[1])
    if found is None:
        if default is None:
            raise UserError(
                f"there is no trained model yet: run `{_train(models)}`, or name a file with --model"
                if _has_torch()
                else NO_LIGHT.format(what="any model")
            )
        raise UserError(
            f"{default_file(models)} names {default.model}, which is gone or cannot be used here, as are all others of "
            f"that training: run `{_train(models)}`, or name a model with --model; here: {_here(models)}"
        )
    name, path = found
    if default is not None:
        if name != default.model:
            print(f"warning: {default.model} is gone or cannot be used here: {name} answers instead", file=sys.stderr)
        others = [each for each in present(models) if each not in default.made]
        before = [each for each in others if list(models).index(each) < list(models).index(name)]
        for each in before[:1]:
            again = f"`python {models[each].script}` makes a new one"
            print(f"{each} is of another training and does not answer by default: {again}", file=sys.stderr)
    return path


def _usable(name: str, models: Models, onnx: bool) -> Path | None:
    """The file of a model that can be used here, the one to prefer."""
    paths = (models.base / path for path in models[name].paths)
    return next((path for path in paths if _fits(path, onnx)), None)


def _fits(path: Path, onnx: bool = True) -> bool:
    """Whether a file is there, and can be used here."""
    return path.is_file() and (onnx if ending(path) in LIGHT else _has_torch())


def _has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


def _here(models: Models) -> str:
    return ", ".join(present(models)) or f"none yet, run `{_train(models)}`"


def _train(models: Models) -> str:
    """The command that makes the first of the models."""
    return f"python {models[TEACHER].script}"
