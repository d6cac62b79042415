"""Lineage: the models that come from one training, and which of them answers when nobody names one.

`default.json` beside the teacher says it: {"lineage", "model", "why", "made"}. Training begins a lineage, and what is
made of its teacher (students, INT8, pruned ones) carries its fingerprint in the facts. A model of another lineage never
answers by default, whatever the times of the files are: copies and checkouts change those.
"""

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from core.files import write_json
from core.model_files.facts import Facts
from core.model_files.names import Models, children, name_of, present

FILE = "default.json"
TEACHER = "teacher"  # the name of the model that training makes, in any task
TRAINING, BENCHMARK = "the newest training", "the advice of benchmark.py"


def data_fingerprint(labels: Sequence[str], rows_sha256: str) -> str:
    """The fingerprint of a data set: its class names and its training rows."""
    return _hash([list(labels), rows_sha256])


def new_lineage(data_sha256: str, parent_sha256: str, knobs: dict[str, Any]) -> str:
    """The fingerprint of a training: of its data, the weights that it starts from, and its knobs."""
    return _hash([data_sha256, parent_sha256, knobs])[:16]


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False, sort_keys=True).encode("utf-8", "replace")).hexdigest()


@dataclass
class Default:
    """What answers when nobody names a model.

    Attributes:
        lineage: of the newest training.
        model: the name of the model.
        why: it is this one.
        made: the names of all models that have been made in this lineage.
        file: the one of its files that a benchmark has advised; "": the one that is preferred.
    """

    lineage: str
    model: str
    why: str
    made: list[str] = field(default_factory=list)
    file: str = ""


def default_file(models: Models) -> Path:
    """Where the default is written down: beside the teacher."""
    return models.base / models[TEACHER].path.with_name(FILE)


def read_default(models: Models) -> Default | None:
    """What `default.json` says; None where it is missing, or damaged, which is told."""
    path = default_file(models)
    try:
        found = Default(**json.loads(path.read_text(encoding="utf-8")))
        names = [found.model, *found.made] if isinstance(found.made, list) else [None]
        if all(name in models for name in names) and all(
            isinstance(word, str) for word in (found.lineage, found.why, found.file)
        ):
            return found
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, RecursionError):
        pass
    again = f"run `python {models[TEACHER].script}` again"
    print(f"warning: {path} is damaged and not followed: {again}, or delete it", file=sys.stderr)
    return None


def begin(models: Models, teacher: Path, facts: Facts) -> None:
    """Write down that the teacher of a new training answers; nothing for a teacher in a place of its own."""
    if name_of(teacher, models) == TEACHER:
        lineage = facts["lineage"]
        assert lineage is not None  # a training has one
        _write(models, Default(lineage, TEACHER, TRAINING, [TEACHER]))


def descend(models: Models, artefact: Path, facts: Facts) -> None:
    """Write down that a model has been made: it answers from now on, if it comes before the one that did.

    What a benchmark has advised stands, until another training or advice. A model of another lineage in the place of
    one of this lineage takes its claim away.
    """
    default, name = read_default(models), name_of(artefact, models)
    if default is None or name is None:
        return
    made = set(default.made) - {name, *children(name, models)}
    if facts.get("lineage") == default.lineage:
        made.add(name)
    default.made = [each for each in models if each in made]
    if default.why != BENCHMARK or default.model not in made:
        here = present(models)
        best = next((each for each in default.made if each in here), TEACHER)
        if best != default.model:
            default.model, default.file = best, ""
            default.why = TRAINING if best == TEACHER else f"made from {TRAINING} by `python {models[best].script}`"
    _write(models, default)


def advise(models: Models, path: Path, facts: Facts) -> None:
    """Write down the advice of a benchmark, if the model has a name and is of the newest training."""
    default, name = read_default(models), name_of(path, models)
    if default is None or name is None or facts.get("lineage") != default.lineage:
        return
    default.model, default.why, default.file = name, BENCHMARK, path.as_posix()
    default.made = [each for each in models if each in {*default.made, name}]
    _write(models, default)


def _write(models: Models, default: Default) -> None:
    path, before = default_file(models), read_default(models)
    write_json(path, asdict(default))
    if before is None or (before.model, before.why) != (default.model, default.why):
        print(f"{path}: {default.model} answers by default ({default.why})")
