"""OpenVINO, which is optional: INT8 made, served without torch, and measured; and what is said where it is missing."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import ROOT

from config import find_model
from core.console import UserError
from core.model_files import openvino_model
from predict_fun import NewsClassifier

IR = "bertclassifer_int8.xml"
FILES = ("bertclassifer_int8.onnx", "bertclassifer_int8.bin", IR, "quantized_model_bertclassifer_model.pt")


def test_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert not openvino_model.is_installed()
    with pytest.raises(UserError, match="run `pip install -r requirements-openvino.txt`, or use an ONNX"):
        NewsClassifier.load(tmp_path / "model.xml")


def test_a_name_is_the_openvino_file_only_where_there_is_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("save_models").mkdir()
    for name in (IR, "quantized_model_bertclassifer_model.pt", "bertclassifer_int8.onnx"):
        Path("save_models", name).touch()
        assert find_model("int8") == Path("save_models", name)
    with pytest.raises(UserError, match="can only predict: give the checkpoint"):
        find_model(f"save_models/{IR}", onnx=False)


@pytest.mark.skipif(not find_spec("nncf"), reason="needs `pip install -r requirements-openvino.txt`")
def test_where_it_is_installed():
    """In a process of its own: once OpenVINO has compiled a model, a raised Ctrl-C is a segmentation fault."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        str(Path(__file__).with_name("openvino_checks.py")),
    ]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert result.returncode == 0, result.stdout
