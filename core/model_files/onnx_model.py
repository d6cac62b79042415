"""ONNX models read and run with onnxruntime and numpy alone: no torch, no transformers.

The file is an ordinary ONNX model with int64 inputs, batch first, as a rule `input_ids` and `attention_mask`, and one
output, `logits`, float32 and batch first too. Its metadata carry the facts of the model (core/model_files/facts) as
JSON, and the last bytes of the file are a check sum of all before them.
"""

import os
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from core.console import UserError
from core.files import CHUNK_BYTES
from core.model_files.facts import INPUTS, Facts, one_line, parse

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
# int64 arrays by the name of the input, batch first -> logits, float32, batch first
Run = Callable[[Mapping[str, np.ndarray]], np.ndarray]


def seal(check_sum: int) -> bytes:
    """The bytes that end a file: the CRC-32 of all before, in the form of one more ONNX metadata entry (field 14)."""
    return b"\x72\x11\x0a\x05crc32\x12\x08%08x" % check_sum


def is_whole(path: Path) -> bool:
    """Whether a file ends with the seal that it was written with."""
    check_sum, left = 0, path.stat().st_size - len(seal(0))
    with path.open("rb") as file:
        while left > 0 and (chunk := file.read(min(left, CHUNK_BYTES))):
            check_sum, left = zlib.crc32(chunk, check_sum), left - len(chunk)
        return file.read() == seal(check_sum)


def load(path: Path, device: str, in_server: bool = False, threads: int = 0) -> tuple[Facts, Run]:
    """Open an ONNX model: its facts and the function that computes logits.

    Args:
        path: the file.
        device: auto (a GPU where onnxruntime can use one), cpu, cuda, cuda:1. INT8 models run on the CPU.
        in_server: whether other threads of the process need the cores too.
        threads: that compute; 0: one for each core.

    Raises:
        UserError: the file is missing, damaged or foreign, onnxruntime is missing, or the device cannot be used.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}: check the path, or export the model again")
    if not is_whole(path):
        raise UserError(
            f"{path} is damaged or not an ONNX model of this project: copy it again, or make it with "
            "`python bert_model_quantization.py`"
        )
    session = open_session(path, providers(device), in_server, threads)
    try:
        text = session.get_modelmeta().custom_metadata_map.get("meta", "")
        inputs, outputs = ([each.name for each in ends] for ends in (session.get_inputs(), session.get_outputs()))
    except UnicodeDecodeError:
        text, inputs, outputs = "", [], []
    facts = parse(text, path)
    if outputs != ["logits"] or inputs != list(facts.get("inputs", INPUTS)):
        raise UserError(f"{path} lacks facts about its model, or they do not fit it: make the model again")
    if facts["architecture"].get("quantization") and CUDA in session.get_providers():
        session = open_session(path, [CPU], in_server, threads)  # a GPU has no integer kernels of this kind
    return facts, run_session(session)


def providers(device: str) -> list[Any]:
    """Execution providers of onnxruntime for a device, best first.

    Raises:
        UserError: onnxruntime is missing, or cannot use the device.
    """
    available = import_onnxruntime().get_available_providers()
    kind, _, number = device.partition(":")
    if kind == "cpu" or (kind == "auto" and CUDA not in available):
        return [CPU]
    if kind not in ("auto", "cuda") or CUDA not in available or not (number or "0").isdigit():
        raise UserError(f"--device {device} cannot run an ONNX model on this machine: try --device cpu")
    return [(CUDA, {"device_id": number or "0"}), CPU]


def import_onnxruntime() -> Any:
    """The module onnxruntime.

    Raises:
        UserError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as fault:
        raise UserError("ONNX models need onnxruntime: run `pip install -r requirements-serve.txt`") from fault
    onnxruntime.set_default_logger_severity(3)  # errors alone
    return onnxruntime


def usable_cores() -> int:
    """Cores that this process may use: fewer than the machine has in a container, or under taskset."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def open_session(model: Path | bytes, on: list[Any], in_server: bool = False, threads: int = 0) -> Any:
    """An onnxruntime session with all cores and all optimisations; a file takes less memory than its content does.

    Args:
        model: the file, or its content.
        on: see `providers`.
        in_server: whether other threads of the process need the cores too. Its own threads, which wait at full speed
            for work, then leave them as soon as an answer is there.
        threads: see `load`.

    Raises:
        UserError: this onnxruntime cannot run the model.
    """
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    pinned = usable_cores()  # onnxruntime starts a thread for each core of the machine, also in a container of one
    options.intra_op_num_threads = threads or (pinned if pinned < (os.cpu_count() or 1) else 0)
    options.add_session_config_entry("session.force_spinning_stop", str(int(in_server)))
    try:
        return onnxruntime.InferenceSession(model, options, providers=on)
    except Exception as fault:  # onnxruntime's errors have no base of their own
        raise UserError(
            f"onnxruntime {onnxruntime.__version__} cannot run this model ({one_line(fault)}): "
            "install the version in requirements.txt"
        ) from fault


def run_session(session: Any) -> Run:
    """The model of a session as a function of arrays."""
    return lambda inputs: session.run(["logits"], inputs)[0]
