"""Checkpoints: one file that says all about its model, written whole, read safely.

    python -m core.model_files.checkpoint save_models/test_bertclassifer_model.pt      # what is this file?

A checkpoint holds tensors and plain values only and is read with `weights_only=True`: opening a stranger's file runs
none of its code. Beside the state dict it holds, as `meta`, the facts of the model (core/model_files/facts).
"""

import argparse
import pickle
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import torch

from core.console import UserError, run
from core.files import atomic_write, sha256
from core.model_files import onnx_model, openvino_model
from core.model_files.facts import REQUIRED, Facts, numbers_of

FORMAT_VERSION = 1


def save(path: Path, state_dict: dict[str, Any], facts: Facts) -> None:
    """Write a checkpoint, atomically.

    Raises:
        UserError: the file could not be written; an earlier one is untouched.
    """
    weights = {
        name: value.detach().cpu().contiguous() if isinstance(value, torch.Tensor) else value  # INT8 weights are packed
        for name, value in state_dict.items()
    }
    write_tensors(path, {"format_version": FORMAT_VERSION, "state_dict": weights, "meta": facts})


def load(path: Path) -> tuple[dict[str, Any], Facts]:
    """Read a checkpoint: its state dict (on the CPU) and its facts.

    Raises:
        UserError: the file is missing, damaged, pickled, foreign, or of another format version.
    """
    content = read_tensors(path)
    if not isinstance(content, dict) or not {"format_version", "state_dict", "meta"} <= content.keys():
        raise UserError(f"{path} is not a checkpoint of this project (a bare state_dict?): train one with its scripts")
    if content["format_version"] != FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {content['format_version']}, this code reads {FORMAT_VERSION}: "
            "make the model again, or use the code that wrote it"
        )
    facts = content["meta"]
    if not isinstance(facts, dict) or any(key not in facts for key in REQUIRED):
        raise UserError(f"{path} lacks facts about its model: make it again")
    return content["state_dict"], facts


def write_tensors(path: Path, content: dict[str, Any]) -> None:
    """Write nested dicts and lists of tensors and plain values, atomically."""

    def write(file: BinaryIO) -> None:
        try:
            torch.save(content, file)
        except RuntimeError as fault:  # its word for a full disk
            raise OSError from fault

    atomic_write(path, write)


def read_tensors(path: Path) -> Any:
    """Read what `write_tensors` wrote; nothing else is accepted.

    Raises:
        UserError: the file is missing, damaged, or holds pickled objects.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}: check the path, or make it with the script that trains it")
    try:
        with path.open("rb") as file:
            pickled = file.read(1) == b"\x80"
        if not pickled:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()  # torch.load itself would not notice a flipped bit
            if damaged is None:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # INT8 tensors make torch warn of its own internals
                    return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        pickled = True
    except (zipfile.BadZipFile, zlib.error, RuntimeError, OSError, EOFError, ValueError, NotImplementedError):
        pickled = False
    if pickled:
        raise UserError(
            f"{path} holds pickled Python objects (a whole model saved with torch.save?), which could run code when "
            "opened: it is refused; use a file written by this project's scripts"
        )
    raise UserError(f"{path} is damaged or not a model file: make it again or copy it again")


def describe(path: Path) -> list[tuple[str, str]]:
    """What a checkpoint, an ONNX or an OpenVINO model says about itself, as (name, value) rows for people.

    Raises:
        UserError: as `load`.
    """
    opened = {".onnx": onnx_model, openvino_model.SUFFIX: openvino_model}.get(path.suffix)
    state_dict, facts = ({}, opened.load(path, "cpu")[0]) if opened else load(path)
    rows = [("file", f"{path}, {openvino_model.size(path) / 1e6:.1f} MB"), ("sha256", sha256(path))]
    packed = [value if isinstance(value, tuple) else (value,) for value in state_dict.values()]
    numbers = sum(part.numel() for parts in packed for part in parts if isinstance(part, torch.Tensor))
    if numbers:
        rows.append(("parameters", f"{numbers:,}"))
    for name, value in facts.items():
        if name == "labels":
            rows.append((name, f"{len(value)}: {' '.join(value)}"))
        elif name == "vocab":
            rows.append((name, f"{len(value):,} tokens"))
        elif name == "metrics":
            for split, scores in value.items():
                found = numbers_of(scores or {}, facts.get("best_by"))
                shown = (
                    f"{name} {number:.4f}" if isinstance(number, float) else f"{name} {number}"
                    for name, number in found.items()
                )
                if found:
                    rows.append((f"metrics, {split}", ", ".join(shown)))
        elif isinstance(value, dict):
            rows += [(f"{name}, {key}", str(item)) for key, item in value.items()]
        else:
            rows.append((name, str(value)))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser("python -m core.model_files.checkpoint", description="Print what a checkpoint is.")
    parser.add_argument("file", type=Path)
    rows = describe(parser.parse_args().file)
    width = max(len(name) for name, _ in rows)
    print("\n".join(f"{name:<{width}}  {value}" for name, value in rows))


if __name__ == "__main__":
    run(main)
