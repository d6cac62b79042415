"""A checkpoint as a PyTorch module, and a module as a function of arrays."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from core.console import UserError
from core.model_files import checkpoint
from core.model_files.facts import CLASSIFICATION, INPUTS, Facts, inputs_of, is_per_token, one_line
from core.model_files.int8 import load_quantized, quantize
from core.model_files.onnx_model import Run

CPU = torch.device("cpu")
Build = Callable[[dict[str, Any]], nn.Module]  # architecture -> module, weights at random


def load_module(path: Path, builds: Mapping[str, Build]) -> tuple[nn.Module, Facts]:
    """The module of a checkpoint, on the CPU and ready to predict, and the checkpoint's facts.

    Args:
        path: the file.
        builds: by type of architecture, the function that builds its module.

    Raises:
        UserError: the file is missing, damaged, foreign, of another task, or its weights do not fit the model it
            describes.
    """
    state_dict, facts = checkpoint.load(path)
    if (kind := facts["architecture"].get("type")) not in list(builds):
        task = facts.get("task", CLASSIFICATION)
        raise UserError(f"{path} is a model for {task}, of type {kind}, not one of {', '.join(builds)}: give another")
    return restore_module(path, state_dict, facts, builds), facts


def restore_module(path: Path, state_dict: dict[str, Any], facts: Facts, builds: Mapping[str, Build]) -> nn.Module:
    """The module of a checkpoint that has been read; see `load_module`."""
    architecture = facts["architecture"]
    try:
        model = build_module(architecture, builds)
        if architecture.get("quantization"):
            model = quantize(model)
            load_quantized(model, state_dict)
        elif any("_packed_params" in name for name in state_dict):
            raise ValueError("INT8 weights, but no word of quantization in its facts")
        else:
            model.load_state_dict(state_dict)
        own = (list(inputs_of(model)), is_per_token(model))
        if own != (list(facts.get("inputs", INPUTS)), facts.get("per_token", False)):
            raise ValueError(f"its inputs are {', '.join(own[0])}")
    except MemoryError:
        raise
    except Exception as fault:  # an architecture that is none breaks what builds it in any way
        raise UserError(
            f"the weights in {path} do not fit the model it describes: make it again ({one_line(fault)})"
        ) from fault
    return model.eval()


def build_module(architecture: dict[str, Any], builds: Mapping[str, Build]) -> nn.Module:
    """The FP32 module that an architecture describes, weights at random.

    Raises:
        KeyError, TypeError, ValueError: it describes none.
    """
    if architecture["type"] not in builds:
        raise ValueError(f"an unknown type of model, {architecture['type']}")
    return builds[architecture["type"]](architecture)


def call(model: nn.Module, batch: Mapping[str, torch.Tensor], device: torch.device | None = None) -> torch.Tensor:
    """The logits of a batch, moved to a device first: a module is given its inputs, whatever else the batch holds."""
    inputs = (batch[name] for name in inputs_of(model))
    return model(*(inputs if device is None else (tensor.to(device) for tensor in inputs)))


def run_module(model: nn.Module, device: torch.device) -> Run:
    """A module, moved to a device and set to predict, as a function of arrays."""
    model.to(device).eval()

    def run(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        with torch.inference_mode():
            batch = {name: torch.from_numpy(array) for name, array in inputs.items()}
            return call(model, batch, device).float().cpu().numpy()

    return run


def pick_device(device: str) -> torch.device:
    """`auto` -> a GPU where there is one, else the CPU; any other name as torch knows it.

    Raises:
        UserError: the device is unknown or not present.
    """
    if device == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or CPU
    try:
        torch.empty(1, device=device)
        return torch.device(device)
    except (RuntimeError, AssertionError) as fault:
        raise UserError(f"--device {device} cannot be used on this machine: try --device cpu") from fault
