"""OpenVINO, which is optional: INT8 made, served without torch, and measured; and what is said where it is missing."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import ROOT

from core.console import UserError
from core.model_files import openvino_model
from predict_fun import NewsClassifier


def test_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert not openvino_model.is_installed()
    with pytest.raises(UserError, match="run `pip install -r requirements-openvino.txt`, or use an ONNX"):
        NewsClassifier.load(tmp_path / "model.xml")


@pytest.mark.skipif(not find_spec("nncf"), reason="needs `pip install -r requirements-openvino.txt`")
def test_where_it_is_installed():
    """In a process of its own: once OpenVINO has compiled a model, a raised Ctrl-C is a segmentation fault."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        str(ROOT / "tests" / "openvino_checks.py"),
    ]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert result.returncode == 0, result.stdout
