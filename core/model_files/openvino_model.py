"""OpenVINO models read and run with openvino and numpy alone; optional: `pip install -r requirements-openvino.txt`.

A model is two files, the graph (.xml) and its weights (.bin) beside it. The graph holds the facts of the model
(core/model_files/facts) as JSON in its runtime information, and ends with a check sum of both files. Inputs and output
are those of core/model_files/onnx_model. A fact `precision` (f32, bf16) fixes the arithmetic of what is not INT8;
without it OpenVINO takes what is fastest on the machine.
"""

import importlib.util
import json
import sys
import tempfile
import threading
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from core.console import UserError
from core.files import atomic_write
from core.model_files.facts import FORMAT_VERSION, Facts, one_line, parse
from core.model_files.names import OPENVINO as SUFFIX
from core.model_files.names import ending
from core.model_files.onnx_model import Run

FACTS = ["news_classifier", "meta"]


def load(path: Path, device: str) -> tuple[Facts, Run]:
    """Open an OpenVINO model: its facts and the function that computes logits on the CPU.

    Raises:
        UserError: a file is missing, damaged or foreign, openvino is missing, or another device is asked for.
    """
    if device not in ("auto", "cpu"):
        raise UserError(f"--device {device}: OpenVINO models of this project run on the CPU: try --device cpu")
    openvino = import_openvino()
    weights = weights_of(path)
    for file in (path, weights):
        if not file.is_file():
            raise UserError(f"there is no file {file}: an OpenVINO model is two files, copy both or make them again")
    graph = path.read_bytes()
    start = len(graph) - len(_seal(b"", b""))
    if start < 0 or graph[start:] != _seal(weights.read_bytes(), graph[:start]):
        raise UserError(
            f"{path} or {weights.name} is damaged or not a model of this project: copy both again, or make them with "
            "`python bert_model_quantization.py`"
        )
    try:
        model = openvino.Core().read_model(path, weights)
        text = model.get_rt_info(FACTS).astype(str) if model.has_rt_info(FACTS) else ""
        facts = parse(text, path)
        run = run_model(model, facts)
    except UserError:
        raise
    except Exception as fault:  # openvino's errors have no base of their own
        raise UserError(
            f"{path} cannot be run by the openvino installed here ({one_line(fault)}): make the "
            "model again, or install the version in requirements-openvino.txt"
        ) from fault
    return facts, run


def weights_of(path: Path) -> Path:
    """The file with the weights of a graph: beside it, its name ending in .bin or, like that of MODEL.XML, in .BIN."""
    found, capitals = path.with_suffix(".bin"), path.with_suffix(".BIN")
    return capitals if capitals.is_file() and not found.is_file() else found


def write(path: Path, model: Any, facts: Facts) -> None:
    """Write an OpenVINO model with its facts, both files whole; of an INT8 one the rest in half precision."""
    model.set_rt_info(json.dumps({"format_version": FORMAT_VERSION, **facts}), FACTS)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"model{SUFFIX}"
        import_openvino().save_model(model, file, compress_to_fp16="quantization" in facts["architecture"])
        graph, weights = file.read_bytes(), file.with_suffix(".bin").read_bytes()
    atomic_write(path.with_suffix(".bin"), lambda out: out.write(weights))
    atomic_write(path, lambda out: out.write(graph + _seal(weights, graph)))


def run_model(model: Any, facts: Facts) -> Run:
    """A model as a function of arrays, which several threads may call."""
    hints = {"PERFORMANCE_HINT": "LATENCY"}
    if "precision" in facts:
        hints["INFERENCE_PRECISION_HINT"] = facts["precision"]
    compiled = import_openvino().compile_model(model, "CPU", hints)
    own = threading.local()

    def run(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        return own.request.infer(dict(inputs))[0]

    return run


def size(path: Path) -> int:
    """The bytes of a model file of any kind, its weights beside it included."""
    return sum(file.stat().st_size for file in {path, weights_of(path) if ending(path) == SUFFIX else path})


def is_installed() -> bool:
    """Whether models can be made, and not only run."""
    return all(importlib.util.find_spec(name) for name in ("openvino", "nncf"))


def import_openvino() -> Any:
    """The module openvino.

    Raises:
        UserError: it is not installed.
    """
    # Nothing is reported to anybody: None in place of a module is one that cannot be imported.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as fault:
        raise UserError(
            "OpenVINO models need openvino: run `pip install -r requirements-openvino.txt`, or use an ONNX model"
        ) from fault
    return openvino


def _seal(weights: bytes, graph: bytes) -> bytes:
    """The comment that ends the graph: the CRC-32 of the weights and of all before."""
    return b"<!-- crc32 %08x -->" % zlib.crc32(graph, zlib.crc32(weights))
