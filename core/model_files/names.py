"""Models by name: one name for each model, its files, and what else it may be called."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

ONNX = ".onnx"
OPENVINO = ".xml"
LIGHT = (ONNX, OPENVINO)  # only predict, and need no PyTorch


def ending(path: Path) -> str:
    """The end of a file's name that says what kind of model it is, in small letters however it is written."""
    return path.suffix.lower()


class Artefact(NamedTuple):
    """A model that has a name.

    Attributes:
        script: the command that makes it.
        paths: its files, the one to prefer first.
        parent: the name of the model that it is the INT8 form of.
        aliases: other names that it goes by.
        instead: names of models that stand in where this one has no file, beside its INT8 form.
    """

    script: str
    paths: tuple[Path, ...]
    parent: str | None = None
    aliases: tuple[str, ...] = ()
    instead: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """The checkpoint among its files."""
        return next(path for path in self.paths if ending(path) not in LIGHT)


class Models(dict[str, Artefact]):
    """The models that have a name; who comes first answers before the others.

    Args:
        models: by name.
        root: the folder that their files lie in, where the current one has none of them: that of the project.
    """

    def __init__(self, models: Mapping[str, Artefact], root: Path = Path()) -> None:
        super().__init__(models)
        self.root = root

    @property
    def base(self) -> Path:
        """The folder that all files are looked for in: the current one, or `root` where that has none of them."""
        return Path() if any(path.is_file() for artefact in self.values() for path in artefact.paths) else self.root


def canonical(name: str, models: Models) -> str | None:
    """The name of a model that is called so, by an alias or by the name of one of its files; None: of none."""
    if name in models:
        return name
    for own, artefact in models.items():
        if name in artefact.aliases or name in (path.name for path in artefact.paths):
            return own
    return None


def name_of(path: Path, models: Models) -> str | None:
    """The name of the model that a file is, None for a file in any other place."""
    for name, artefact in models.items():
        if path in artefact.paths or path in [models.root / own for own in artefact.paths]:
            return name
    return None


def called(path: Path, models: Models) -> str:
    """What a model file is called: the name of its model, else its own."""
    return name_of(path, models) or path.stem


def children(name: str, models: Models) -> list[str]:
    """The names of the INT8 forms of a model."""
    return [child for child, artefact in models.items() if artefact.parent == name]


def present(models: Models) -> list[str]:
    """The names of the models that have a file here."""
    base = models.base
    return [name for name, artefact in models.items() if any((base / path).is_file() for path in artefact.paths)]


def made_from(checkpoint: Path, models: Models) -> list[Path]:
    """The files that may have been made from a checkpoint, to predict with; another checkpoint makes them stale."""
    files = [checkpoint.with_suffix(ONNX), *(checkpoint.with_name(f"{checkpoint.stem}_int8{end}") for end in LIGHT)]
    for name, artefact in models.items():
        if checkpoint.name in (path.name for path in artefact.paths):
            forms = [path for child in children(name, models) for path in models[child].paths]
            files += [checkpoint.with_name(path.name) for path in forms]
    files = [file for file in dict.fromkeys(files) if file.name != checkpoint.name]
    return files + [file.with_suffix(".bin") for file in files if ending(file) == OPENVINO]
