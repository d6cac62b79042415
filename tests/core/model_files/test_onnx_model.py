"""ONNX files: damaged, foreign and strange ones are refused, and a device is one that onnxruntime has."""

import sys
import zlib
from pathlib import Path

import pytest

from core.compression import export
from core.console import UserError
from core.model_files import checkpoint, onnx_model
from predict_fun import NewsClassifier


@pytest.fixture(scope="module")
def facts(teacher: Path) -> dict:
    return checkpoint.load(teacher)[1]


@pytest.fixture(scope="module")
def fp32(graph: bytes, facts: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The teacher as an ONNX file; do not write to it."""
    path = tmp_path_factory.mktemp("onnx") / "teacher.onnx"
    export.write(path, graph, facts)
    return path


def test_damaged_and_foreign_onnx_files(fp32: Path, graph: bytes, facts: dict, tmp_path: Path):
    path = tmp_path / "m.onnx"
    content = fp32.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for damaged in (b"", content[:-1], content[: len(content) // 2], bytes(flipped), graph):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="is damaged or not an ONNX model of this project"):
            NewsClassifier.load(path)
    path.unlink()
    with pytest.raises(UserError, match="there is no file"):
        NewsClassifier.load(path)

    path.write_bytes(graph + onnx_model.seal(zlib.crc32(graph)))
    with pytest.raises(UserError, match="lacks facts about its model"):
        NewsClassifier.load(path)
    for wrong in ({"labels": ["甲", "乙"]}, {"labels": 3}):
        export.write(path, graph, {**facts, **wrong})
        with pytest.raises(UserError, match="lacks facts about its model, or they do not fit it"):
            NewsClassifier.load(path)
    export.write(path, graph, {**facts, "format_version": 2})
    with pytest.raises(UserError, match="format version 2, this code reads 1"):
        NewsClassifier.load(path)
    export.write(path, graph, {**facts, "vocab": []})
    with pytest.raises(UserError, match="damaged vocabulary"):
        NewsClassifier.load(path)


def test_an_onnx_graph_with_other_inputs(graph: bytes, facts: dict, tmp_path: Path):
    export.write(tmp_path / "m.onnx", graph.replace(b"attention_mask", b"attention_musk"), facts)
    with pytest.raises(UserError, match="do not fit it"):
        NewsClassifier.load(tmp_path / "m.onnx")


def test_devices_of_onnx_models(fp32: Path, monkeypatch: pytest.MonkeyPatch):
    import onnxruntime

    for device in ("mps", "cuda:x", "cuda"):
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
        with pytest.raises(UserError, match=f"--device {device} cannot run an ONNX model"):
            onnx_model.load(fp32, device)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [onnx_model.CUDA, onnx_model.CPU])
    assert onnx_model.providers("cuda:1") == [(onnx_model.CUDA, {"device_id": "1"}), onnx_model.CPU]
    assert onnx_model.providers("auto")[0][0] == onnx_model.CUDA and onnx_model.providers("cpu") == [onnx_model.CPU]
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match="need onnxruntime: run `pip install -r requirements-serve.txt`"):
        NewsClassifier.load(fp32)
