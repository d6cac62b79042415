"""Models by name: which files a name stands for, and which of them is used."""

import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from core.console import UserError

ONNX = ".onnx"
OPENVINO = ".xml"
LIGHT = (ONNX, OPENVINO)  # only predict, and need no PyTorch


class Artefact(NamedTuple):
    """A model that `--model` knows by name: its files, the one to prefer first, and the command that makes them."""

    script: str
    paths: tuple[Path, ...]
    parent: str | None = None  # the model whose checkpoint these files are made from, if they are not named after it

    @property
    def path(self) -> Path:
        """The checkpoint among its files."""
        return next(path for path in self.paths if path.suffix not in LIGHT)


Models = Mapping[str, Artefact]  # the first one present is what predicts when nobody names a model


def made_from(checkpoint: Path, models: Models) -> list[Path]:
    """The files that may have been made from a checkpoint, to predict with; another checkpoint makes them stale."""
    files = [checkpoint.with_suffix(ONNX), *(checkpoint.with_name(f"{checkpoint.stem}_int8{end}") for end in LIGHT)]
    for artefact in models.values():
        if artefact.parent and models[artefact.parent].path.name == checkpoint.name:
            files += [checkpoint.with_name(path.name) for path in artefact.paths]
    return files + [file.with_suffix(".bin") for file in files if file.suffix == OPENVINO]


def model_name(path: Path, models: Models) -> str:
    """What a model file is called: the name that it has among `models`, else that of the file."""
    named = (name for name, artefact in models.items() if path in artefact.paths)
    return next(named, path.stem)


def find_model(model: str | None, models: Models, onnx: bool = True) -> Path:
    """The file of a model; without PyTorch installed names mean files that need none, ONNX ones above all.

    Args:
        model: a name (`teacher`, …) or a path; None: the environment's NEWS_MODEL, else the first model present.
        models: those that have names.
        onnx: whether a file that only predicts will do; False where a stage starts from the weights.

    Raises:
        UserError: there is no such model.
    """
    torch = importlib.util.find_spec("torch") is not None
    model = model or os.environ.get("NEWS_MODEL")
    if model is not None and model not in models:
        if not Path(model).is_file():
            raise UserError(f"there is no model {model}: give the path of a model file or one of {', '.join(models)}")
        if not onnx and Path(model).suffix in LIGHT:
            raise UserError(f"{model} can only predict: give the checkpoint (.pt, .pth) that it was made from")
        return Path(model)
    named = models.values() if model is None else [models[model]]
    usable = [path for artefact in named for path in artefact.paths if (onnx if path.suffix in LIGHT else torch)]
    for path in usable:
        if path.is_file():
            teacher = models["teacher"].path
            if model is None and teacher.is_file() and path.stat().st_mtime < teacher.stat().st_mtime:
                print(f"warning: {path} is older than {teacher}; --model teacher takes that", file=sys.stderr)
            return path
    if not torch:
        raise UserError(
            f"there is no ONNX file of {model or 'any model'} here, and without PyTorch no other can be used: run "
            "`python bert_model_quantization.py` where PyTorch is installed and copy its file to the same folder here"
        )
    if model is None:
        raise UserError("there is no trained model yet: run `python train.py`, or name a file with --model")
    raise UserError(f"{usable[0]} does not exist: run `python {models[model].script}`")
