"""PyTorch's dynamic quantization: a module in INT8, which opening such a checkpoint needs too."""

import warnings
from collections import OrderedDict
from typing import Any

import torch
from torch import nn

from core.console import UserError

SCHEME = "dynamic_int8"  # `architecture["quantization"]` of what is made here


def quantize(model: nn.Module) -> nn.Module:
    """A copy of a model on the CPU whose linear layers compute in INT8; this call makes such models and loads them.

    A quantized state dict fits only a module built so: build -> `quantize` -> `load_quantized`.

    Raises:
        UserError: PyTorch was built without integer kernels for this CPU.
    """
    engines = torch.backends.quantized
    if engines.engine == "none":  # as on some Macs, although there is one to choose
        usable = [engine for engine in engines.supported_engines if engine != "none"]
        if not usable:
            raise UserError("PyTorch cannot compute in INT8 on this machine: use the INT8 model in the ONNX format")
        engines.engine = usable[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao.quantization is announced as leaving
        return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)


def load_quantized(model: nn.Module, state_dict: dict[str, Any]) -> None:
    """Load the state dict of a quantized module into another one.

    Raises:
        KeyError, RuntimeError: they do not fit each other.
    """
    versioned: Any = OrderedDict(state_dict)
    versioned._metadata = model.state_dict()._metadata  # says that weights are packed, which a plain dict cannot
    model.load_state_dict(versioned)
