"""ONNX files: damaged, foreign and strange ones are refused, and a device is one that onnxruntime has."""

import shutil
import sys
import zlib
from pathlib import Path

import pytest

from config import MODELS
from core.compression import export
from core.console import UserError
from core.model_files import checkpoint, onnx_model, openvino_model
from core.model_files.find import find_model
from core.model_files.finite import NotFinite
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
    fewer = {"labels": ["甲", "乙"], "architecture": {**facts["architecture"], "num_labels": 2}}
    for wrong in (fewer, {"per_token": True}, {"inputs": ["input_ids"]}):
        export.write(path, graph, {**facts, **wrong})
        with pytest.raises(UserError, match="lacks facts about its model, or they do not fit it"):
            NewsClassifier.load(path)
    export.write(path, graph, {**facts, "format_version": 2})
    with pytest.raises(UserError, match="format version 2, this code reads 1"):
        NewsClassifier.load(path)
    export.write(path, graph, {**facts, "vocab": []})
    with pytest.raises(UserError, match="damaged facts .vocab is not"):
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


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_graph_whose_logits_are_not_finite(graph: bytes, facts: dict, value: float, tmp_path: Path):
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(graph)
    bias = next(each for each in model.graph.initializer if each.name == "classifier.bias")
    values = numpy_helper.to_array(bias).copy()
    values[1] = value
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    export.write(tmp_path / "m.onnx", model.SerializeToString(), facts)
    with pytest.raises(NotFinite, match="m.onnx gives logits that are not finite .*: make the model again"):
        NewsClassifier.load(tmp_path / "m.onnx")


def test_an_ending_in_capitals(fp32: Path, teacher: Path, tmp_path: Path):
    for source, name in ((fp32, "MODEL.ONNX"), (fp32, "m.Onnx"), (teacher, "MODEL.PT"), (teacher, "M.Pth")):
        shutil.copy(source, tmp_path / name)
        path = find_model(str(tmp_path / name), MODELS)
        assert NewsClassifier.load(path).predict(["球队夺冠"]) == NewsClassifier.load(source).predict(["球队夺冠"])
        assert dict(checkpoint.describe(path))["stage"] == "teacher"
    with pytest.raises(UserError, match="MODEL.ONNX can only predict"):
        find_model(str(tmp_path / "MODEL.ONNX"), MODELS, onnx=False)
    assert tmp_path / "M.BIN" == openvino_model.weights_of(_touch(tmp_path / "M.BIN").with_name("M.XML"))
    assert tmp_path / "n.bin" == openvino_model.weights_of(_touch(tmp_path / "n.bin").with_name("n.XML"))


def _touch(path: Path) -> Path:
    path.touch()
    return path
