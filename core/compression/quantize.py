"""Quantization to INT8: by onnxruntime, in the variant that suits this CPU, and by OpenVINO.

onnxruntime keeps the weights as 8-bit integers and quantizes activations as they come, so that no calibration data is
needed, and so does PyTorch (core/model_files/int8); the operators are integer ones of the CPU.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.compression.export import import_onnx, quietly
from core.measure.latency import compare_speed, spread_sample
from core.model_files import onnx_model, openvino_model
from core.model_files.predictor import Predictor
from core.training.device import cpu_flags

# Integer arithmetic differs between CPUs: those without VNNI saturate in 8 bits (hence the reduced range) or do better
# with unsigned weights. Which is the fastest that is right can only be found by trying.
VARIANTS: dict[str, dict[str, Any]] = {
    "signed": {"weight_type": "QInt8"},
    "signed, per channel": {"weight_type": "QInt8", "per_channel": True},
    "signed, 7 bits": {"weight_type": "QInt8", "reduce_range": True},
    "unsigned": {"weight_type": "QUInt8"},
}


MIN_AGREEMENT = 0.98  # of the classes that INT8 and FP32 predict
SAMPLE = 256  # items that the variants are compared on
TIMED = 20  # items that are timed
TIE = 1.1  # a ratio of times that is not worth an answer otherwise


def has_vnni() -> bool:
    """Whether the CPU multiplies 8-bit integers in one instruction of its own (VNNI)."""
    return not {"avx512_vnni", "avx_vnni"}.isdisjoint(cpu_flags())


def run_graph(content: bytes) -> onnx_model.Run:
    """An ONNX graph that has not been written yet as a function of arrays, on the CPU."""
    return onnx_model.run_session(onnx_model.open_session(content, [onnx_model.CPU]))


def choose_variant(
    content: bytes, predictor: Predictor, items: Sequence[Any]
) -> tuple[str, bytes, dict[str, dict[str, float]]]:
    """Quantize an ONNX graph in several ways and keep the fastest one that predicts what FP32 predicts.

    Args:
        content: the FP32 graph.
        predictor: the model in FP32.
        items: what it can answer.

    Returns:
        The name among `VARIANTS`, the INT8 graph, and of each its speed (`compare_speed`) and `agreement`.
    """
    columns = predictor.encode(spread_sample(items, SAMPLE)).columns
    expected = _classes(predictor, columns)
    graphs = {name: quantize_onnx(content, options) for name, options in VARIANTS.items()}
    predictors = {name: type(predictor)(predictor.facts, run_graph(graph)) for name, graph in graphs.items()}
    speeds = compare_speed([each.predict for each in predictors.values()], spread_sample(items, TIMED))
    measured = dict(zip(predictors, speeds, strict=True))
    for name, each in predictors.items():
        measured[name]["agreement"] = float((_classes(each, columns) == expected).mean())
    enough = min(MIN_AGREEMENT, max(row["agreement"] for row in measured.values()))
    right = {name: row for name, row in measured.items() if row["agreement"] >= enough}
    fastest = min(row["p50_ms"] for row in right.values())
    near = [name for name, row in right.items() if row["p50_ms"] <= fastest * TIE]
    best = max(near, key=lambda name: measured[name]["agreement"])
    return best, graphs[best], measured


def _classes(predictor: Predictor, columns: Mapping[str, Sequence]) -> np.ndarray:
    """What is chosen for each unit of some rows, the likeliest class as a rule."""
    return np.concatenate([predictor.choices(logits) for logits in predictor.logits(columns)])


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


def quantize_openvino(content: bytes, rows: Sequence[dict[str, np.ndarray]]) -> Any:
    """A serialised FP32 ONNX graph of a BERT as an OpenVINO model in INT8, by post-training quantization (NNCF).

    Here the scales of activations are fixed beforehand, from what they are on some rows.

    Args:
        content: the graph.
        rows: the model's inputs, (1, seq), of each.

    Raises:
        UserError: openvino is not installed.
    """
    openvino = openvino_model.import_openvino()
    import nncf

    data = nncf.Dataset(list(rows))
    model = openvino.Core().read_model(content)
    with quietly():
        return nncf.quantize(model, data, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(rows))
