"""Checkpoints: one file that says all about its model, written whole, read safely.

    python -m core.model_files.checkpoint save_models/test_bertclassifer_model.pt      # what is this file?

A checkpoint holds tensors and plain values only and is read with `weights_only=True`: opening a stranger's file runs
none of its code. Beside the state dict it holds, as `meta`, the facts of the model (core/model_files/facts).
"""

import argparse
import math
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import torch

from core.console import UserError, run
from core.files import atomic_write, sha256
from core.model_files import onnx_model, openvino_model
from core.model_files.facts import FORMAT_VERSION, UNKNOWN, Facts, check, check_version, not_finite_metric, numbers_of
from core.model_files.names import ONNX, OPENVINO, ending


def save(path: Path, state_dict: dict[str, Any], facts: Facts) -> None:
    """Write a checkpoint, atomically.

    Raises:
        UserError: a weight or a metric is not finite, or the file could not be written; an earlier one is untouched.
    """
    if name := not_finite(state_dict) or not_finite_metric(facts.get("metrics") or {}):
        raise UserError(
            f"{path} is not written, as the model is not finite (NaN or infinity in {name}): train again with a lower "
            "--learning-rate; an earlier file there is untouched"
        )
    weights = {
        name: value.detach().cpu().contiguous() if isinstance(value, torch.Tensor) else value  # INT8 weights are packed
        for name, value in state_dict.items()
    }
    write_tensors(path, {"format_version": FORMAT_VERSION, "state_dict": weights, "meta": facts})


def load(path: Path) -> tuple[dict[str, Any], Facts]:
    """Read a checkpoint: its state dict (on the CPU) and its facts.

    Raises:
        UserError: the file is missing, damaged, pickled, foreign, of another format version, or no model: its facts
            are none, or its weights are not finite.
    """
    content = read_tensors(path)
    if not isinstance(content, dict) or not {"format_version", "state_dict", "meta"} <= content.keys():
        raise UserError(f"{path} is not a checkpoint of this project (a bare state_dict?): train one with its scripts")
    check_version(content["format_version"], path)
    facts, state_dict = check(content["meta"], path), content["state_dict"]
    if not isinstance(state_dict, dict) or not set(map(type, state_dict)) <= {str}:
        raise UserError(f"{path} lacks the weights of its model: make the model again, or copy it again")
    if name := not_finite(state_dict):
        raise UserError(
            f"the weights in {path} are not finite (NaN or infinity, in {name[:80]!a}): make the model again, with a "
            "lower --learning-rate"
        )
    return state_dict, facts


def not_finite(state_dict: dict[str, Any]) -> str:
    """The name of the first weights that are not finite; "" where all are."""
    return next((name for name, value in state_dict.items() if not all(map(_is_finite, tensors(value)))), "")


def tensors(value: Any) -> list[torch.Tensor]:
    """The tensors of an entry of a state dict: itself, or those packed in it as INT8 weights are."""
    return [part for part in (value if isinstance(value, tuple) else (value,)) if isinstance(part, torch.Tensor)]


def _is_finite(tensor: torch.Tensor) -> bool:
    if tensor.is_quantized:
        is_whole = tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric)
        return math.isfinite(tensor.q_scale()) if is_whole else bool(tensor.q_per_channel_scales().isfinite().all())
    if not tensor.is_floating_point() or tensor.layout != torch.strided or tensor.is_meta:
        return True  # what is no weight fits no module
    # One pass without a tensor of its own; the sum of finite numbers may overflow, so who fails is looked at again.
    return math.isfinite(tensor.detach().sum()) or bool(tensor.isfinite().all())


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
    except MemoryError:
        raise
    except Exception:  # what is no file of torch's breaks its reader in any way
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
    opened = {ONNX: onnx_model, OPENVINO: openvino_model}.get(ending(path))
    state_dict, facts = ({}, opened.load(path, "cpu")[0]) if opened else load(path)
    rows = [("file", f"{path}, {openvino_model.size(path) / 1e6:.1f} MB"), ("sha256", sha256(path))]
    numbers = sum(tensor.numel() for value in state_dict.values() for tensor in tensors(value))
    if numbers:
        rows.append(("parameters", f"{numbers:,}"))
    for name, value in {"licence": UNKNOWN, **facts}.items():
        if name == "labels":
            rows.append((name, f"{len(value)}: {' '.join(value)}"))
        elif name == "vocab":
            rows.append((name, f"{len(value):,} tokens"))
        elif name == "metrics":
            for split, scores in (value or {}).items():
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
