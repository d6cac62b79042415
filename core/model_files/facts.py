"""Facts: what a model file says of itself, the same in a checkpoint, an ONNX and an OpenVINO file.

They are enough to rebuild the model and its tokenizer on a machine that has neither the BERT folder nor the data.
"""

import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypedDict

from core import __version__
from core.text.tokenizer import Tokenizer

CLASSIFICATION = "classification"  # the task of files that name none: those of the first versions are news classifiers
INPUTS = ("input_ids", "attention_mask")  # of a module that names none
REQUIRED = ("stage", "architecture", "labels", "vocab", "max_length")
PACKAGES = ("torch", "transformers", "tokenizers", "numpy")


class Facts(TypedDict, total=False):
    """What is known of a model; plain values alone."""

    task: str  # "classification" where it is absent
    stage: str  # what made it: "teacher", "soft", "pruned_int8", …
    architecture: dict[str, Any]  # {"type": "bert", …}: what the module's class needs to build itself
    labels: list[str]  # names of the classes in the order of their ids
    inputs: list[str]  # names of the arrays that it computes from; INPUTS where it is absent
    per_token: bool  # whether its logits are (batch, seq, …), token by token; False where it is absent
    vocab: list[str]  # tokens in the order of their ids
    max_length: int  # tokens kept of a text, [CLS] and [SEP] included
    truncation: str  # what is cut: "end", or the middle ("head_tail")
    config: dict[str, Any]  # the resolved knobs of the run
    best_by: str  # the metric that the state was selected by
    metrics: dict[str, Any]  # {"dev": {…}, "test": {…} or None}
    training: dict[str, Any] | None  # rows, step, seconds
    data_sha256: str  # fingerprint of the class names and training rows
    lineage: str | None  # fingerprint of the training that it comes from; see core/model_files/lineage
    parent_sha256: str  # hash of the weights it started from
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


def inputs_of(model: Any) -> Sequence[str]:
    """The names of the arrays that a module takes, in order; also of one that is wrapped for several processes."""
    return getattr(getattr(model, "module", model), "inputs", INPUTS)


def is_per_token(model: Any) -> bool:
    """Whether a module's logits are token by token."""
    return getattr(getattr(model, "module", model), "per_token", False)


def provenance() -> dict[str, Any]:
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
    """The numbers among the metrics of a split, the one that the state was selected by first."""
    numbers = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
    return {name: numbers[name] for name in (best_by, *numbers) if name in numbers}
