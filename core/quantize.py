"""FP32 -> INT8, in the two forms that this project makes: PyTorch's dynamic quantization and onnxruntime's.

In both the weights are kept as 8-bit integers and the activations are quantized as they come, so that no calibration
data is needed; the operators are integer ones of the CPU.
"""

import tempfile
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.export import import_onnx, quietly

SCHEME = "dynamic_int8"  # `architecture["quantization"]` of what is made here
# Integer arithmetic differs between CPUs: those without VNNI saturate in 8 bits (hence the reduced range) or do better
# with unsigned weights. Which is the fastest that is right can only be found by trying.
VARIANTS = {
    "signed": {"weight_type": "QInt8"},
    "signed, per channel": {"weight_type": "QInt8", "per_channel": True},
    "signed, 7 bits": {"weight_type": "QInt8", "reduce_range": True},
    "unsigned": {"weight_type": "QUInt8"},
}


def quantize(model: nn.Module) -> nn.Module:
    """A copy of a model on the CPU whose linear layers compute in INT8; this call makes such models and loads them.

    A quantized state dict fits only a module built so: build -> `quantize` -> `load_quantized`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao.quantization is announced as leaving
        return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)


def load_quantized(model: nn.Module, state_dict: dict[str, Any]) -> None:
    """Load the state dict of a quantized module into another one.

    Raises:
        KeyError, RuntimeError: they do not fit each other.
    """
    versioned = OrderedDict(state_dict)
    versioned._metadata = model.state_dict()._metadata  # says that weights are packed, which a plain dict cannot
    model.load_state_dict(versioned)


def quantize_onnx(content: bytes, options: dict[str, Any]) -> bytes:
    """A serialised FP32 ONNX graph with INT8 weights: its MatMul, Gather and LSTM.

    Args:
        content: the graph.
        options: of onnxruntime's `quantize_dynamic`; one of `VARIANTS`.
    """
    onnx = import_onnx()
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load_from_string(content)
    model.graph.ClearField("value_info")  # the exporter's shapes would contradict those of transposed weights
    options = {**options, "weight_type": QuantType[options["weight_type"]]}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "int8.onnx"
        with quietly():  # it advises steps that were measured to be slower
            # The type of what com.microsoft operators give is not inferred, so it is told.
            quantize_dynamic(model, file, extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT}, **options)
        return file.read_bytes()
