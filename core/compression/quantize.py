"""FP32 -> INT8, in the forms that this project makes: PyTorch's dynamic quantization, onnxruntime's, and OpenVINO's.

In the first two the weights are kept as 8-bit integers and the activations are quantized as they come, so that no
calibration data is needed; the operators are integer ones of the CPU.
"""

import tempfile
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from core.compression.export import import_onnx, quietly
from core.console import UserError
from core.model_files import onnx_model, openvino_model

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
        with quietly():  # it advises steps that this export does not need
            # The type of what com.microsoft operators give is not inferred, so it is told.
            quantize_dynamic(model, file, extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT}, **options)
        return file.read_bytes()


def quantize_openvino(content: bytes, titles: Sequence[Sequence[np.ndarray]]) -> Any:
    """A serialised FP32 ONNX graph of a BERT as an OpenVINO model in INT8, by post-training quantization (NNCF).

    Here the scales of activations are fixed beforehand, from what they are on some titles.

    Args:
        content: the graph.
        titles: `input_ids` and `attention_mask`, (1, seq), of each.

    Raises:
        UserError: openvino is not installed.
    """
    openvino = openvino_model.import_openvino()
    import nncf

    data = nncf.Dataset([dict(zip(onnx_model.INPUTS, title, strict=True)) for title in titles])
    model = openvino.Core().read_model(content)
    with quietly():
        return nncf.quantize(model, data, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(titles))
