"""Facts: what a model file says of itself, the same in a checkpoint, an ONNX and an OpenVINO file.

They are enough to rebuild the model and its tokenizer on a machine that has neither the BERT folder nor the data.
"""

import json
import math
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypedDict, cast

from core import __version__
from core.console import UserError
from core.model_files.kinds import misfit, wrong_kind
from core.text.tokenizer import Tokenizer

UNKNOWN = "unknown"  # the licence of what does not name one
CLASSIFICATION = "classification"  # the task of files that name none: those of the first versions are news classifiers
INPUTS = ("input_ids", "attention_mask")  # of a module that names none
REQUIRED = ("stage", "architecture", "labels", "vocab", "max_length")
PACKAGES = ("torch", "transformers", "tokenizers", "numpy")
FORMAT_VERSION = 1  # of model files of any kind


class Facts(TypedDict, total=False):
    """What is known of a model; plain values alone."""

    task: str  # "classification" where it is absent
    stage: str  # what made it: "teacher", "soft", "pruned_int8", …
    architecture: dict[str, Any]  # {"type": "bert", …}: what the module's class needs to build itself
    labels: list[str]  # names of the classes in the order of their ids
    inputs: list[str]  # names of the arrays that it computes from; INPUTS where it is absent
    per_token: bool  # whether its logits are (batch, seq, …), token by token; False where it is absent
    vocab: list[str]  # tokens in the order of their ids
    temperature: float  # that logits are divided by to give probabilities; 1 where it is absent
    precision: str  # arithmetic of what is not INT8, in an OpenVINO file: f32, bf16
    weights: str  # of an INT8 ONNX file: the variant of quantization
    max_length: int  # tokens kept of a text, [CLS] and [SEP] included
    truncation: str  # what is cut: "end", or the middle ("head_tail")
    config: dict[str, Any]  # the resolved knobs of the run
    best_by: str  # the metric that the state was selected by
    metrics: dict[str, Any]  # {"dev": {…}, "test": {…} or None}
    training: dict[str, Any] | None  # rows, step, seconds
    data_sha256: str  # fingerprint of the class names and training rows
    lineage: str | None  # fingerprint of the training that it comes from; see core/model_files/lineage
    parent_sha256: str  # hash of the weights it started from
    teachers: dict[str, float]  # of a student: what each of its teachers counted for, by name
    licence: str  # of the encoder that it was made from; UNKNOWN where it is absent
    seed: int
    project: str  # version of this project
    versions: dict[str, str]  # of libraries
    git_commit: str | None


def new_facts(
    stage: str,
    model: Any,
    labels: Sequence[str],
    tokenizer: Tokenizer,
    config: dict[str, Any],
    metrics: dict[str, Any],
    training: dict[str, Any] | None,
    parent_sha256: str,
    best_by: str,
    task: str = CLASSIFICATION,
) -> Facts:
    """The facts of a module that a stage has made.

    Args:
        stage: see `Facts`, as for what follows.
        model: the module; its `architecture`, `inputs` and `per_token` are taken.
        labels: names of the classes.
        tokenizer: of the model.
        config: the knobs, as plain values; `seed` among them.
        metrics: by split.
        training: how it went.
        parent_sha256: hash of what it started from.
        best_by: the metric that the state was selected by.
        task: what the model does.
    """
    return {
        "task": task,
        "stage": stage,
        "architecture": model.architecture,
        "labels": list(labels),
        "inputs": list(inputs_of(model)),
        "per_token": is_per_token(model),
        "vocab": tokenizer.vocab,
        "max_length": tokenizer.max_length,
        "truncation": tokenizer.truncation,
        "config": config,
        "best_by": best_by,
        "metrics": metrics,
        "training": training,
        "parent_sha256": parent_sha256,
        "seed": config["seed"],
        **provenance(),
    }


def licence_of(facts: Facts) -> str:
    """The licence of a model's weights; files of earlier versions do not say."""
    return facts.get("licence", UNKNOWN)


def inputs_of(model: Any) -> Sequence[str]:
    """The names of the arrays that a module takes, in order; also of one that is wrapped for several processes."""
    return getattr(getattr(model, "module", model), "inputs", INPUTS)


def is_per_token(model: Any) -> bool:
    """Whether a module's logits are token by token."""
    return getattr(getattr(model, "module", model), "per_token", False)


def provenance() -> Facts:
    """Versions of project and libraries, and the git commit (None outside a clone), that a model is made with."""
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        commit = None
    return {
        "project": __version__,
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "git_commit": commit,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def numbers_of(metrics: dict[str, Any], best_by: str | None) -> dict[str, float]:
    """The finite numbers among the metrics of a split, the one that the state was selected by first."""
    numbers = {name: value for name, value in metrics.items() if isinstance(value, int | float) and is_finite(value)}
    return {name: numbers[name] for name in (best_by, *numbers) if name in numbers}


def not_finite_metric(metrics: dict[str, Any]) -> str:
    """The first metric that is not finite, as the loss of logits that are not; "" where all are."""
    for split, found in metrics.items():
        for name, value in (found or {}).items():
            if isinstance(value, int | float) and not is_finite(value):
                return f"the {name} on {split}"
    return ""


def is_finite(number: float) -> bool:
    """Whether a number is neither NaN nor infinite."""
    return isinstance(number, int) or math.isfinite(number)


def parse(text: str | bytes, path: Path) -> Facts:
    """Read the facts of a model file from the JSON in it.

    Raises:
        UserError: see `check_version` and `check`.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if isinstance(content, dict) and "format_version" in content:
        check_version(content["format_version"], path)
        return check(content, path)
    raise UserError(f"{path} lacks facts about its model, or they do not fit it: make the model again")


def check_version(found: Any, path: Path) -> None:
    """Refuse a model file of another format version.

    Raises:
        UserError: it is one.
    """
    if type(found) is not int or found != FORMAT_VERSION:
        shown = found if type(found) is int and abs(found) < 1e9 else "?"
        raise UserError(
            f"{path} has format version {shown}, this code reads {FORMAT_VERSION}: "
            "make the model again, or use the code that wrote it"
        )


def check(content: Any, path: Path) -> Facts:
    """Refuse facts that are none: each of its kind, and fitting the others. What else a file says is kept.

    Raises:
        UserError: a fact is missing, or is not what it should be.
    """
    if not isinstance(content, dict) or any(name not in content for name in REQUIRED):
        raise UserError(f"{path} lacks facts about its model, or they do not fit it: make the model again")
    if fault := wrong_kind(content) or misfit(content):
        raise UserError(f"{path} has damaged facts ({fault}): make the model again, or copy it again")
    return cast(Facts, content)


def one_line(fault: Exception) -> str:
    """What an exception of a library says, as a part of a sentence: short, on one line, nothing unseen in it."""
    return "".join(each if each.isprintable() else " " for each in " ".join(str(fault).split())[:300])
