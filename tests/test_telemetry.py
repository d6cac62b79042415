"""What the libraries tell their makers: nothing, with a fresh home and a network where every question is noted."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from conftest import ROOT
from test_imports import FILES, SCRIPTS, imported, module_of

from core import TELEMETRY_OFF

PATH_OF = {module_of(path): path for path in FILES}
# Runs before a script: whatever Python asks of the network is refused, and noted.
WATCH = """
import sys
def watch(event, args):
    if event in ("socket.getaddrinfo", "socket.connect", "socket.gethostbyname"):
        place = args[1][0] if event == "socket.connect" and isinstance(args[1], tuple) else args[0]
        if place not in ("127.0.0.1", "localhost", "::1", None, ""):
            print("ASKED", event, place, file=sys.stderr, flush=True)
            raise OSError("the network is blocked")
sys.addaudithook(watch)
"""


@cache
def reaches_core(module: str) -> bool:
    """Whether importing a module runs core/__init__.py."""
    found = imported(PATH_OF[module])
    return any(name.startswith("core") for name in found) or any(
        reaches_core(name) for name in found if name in PATH_OF and name != module
    )


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_runs_the_one_place_that_switches_it_off(script: str):
    """Or imports no library that reports, as app.py: Streamlit has its .streamlit/config.toml."""
    used = {name.partition(".")[0] for name in imported(PATH_OF[script])}
    assert reaches_core(script) or not used & {"onnxruntime", "transformers", "huggingface_hub", "openvino"}


def run_watched(tmp_path: Path, code: str) -> str:
    """Run code with a home of its own: what it printed. It must ask nobody, and leave nothing in the home."""
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "sitecustomize.py").write_text(WATCH, encoding="utf-8")
    known = {name: value for name, value in os.environ.items() if name not in TELEMETRY_OFF}
    places = dict.fromkeys(("HOME", "USERPROFILE", "LOCALAPPDATA", "APPDATA", "XDG_CACHE_HOME"), str(home))
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**known, **places, "PYTHONPATH": os.pathsep.join(map(str, (tmp_path, ROOT, ROOT / "tests")))},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert result.returncode == 0, result.stderr
    assert "ASKED" not in result.stderr
    left = [path for path in home.rglob("*") if path.is_file() and "matplotlib" not in path.parts]
    assert not left
    return result.stdout


def test_all_scripts_and_their_libraries_report_nothing(tmp_path: Path):
    """Each script is imported before onnxruntime; the watch itself is shown to work."""
    scripts = ", ".join(SCRIPTS)
    run_watched(tmp_path, f"import {scripts}; import onnxruntime, transformers")
    with pytest.raises(AssertionError, match="ASKED"):
        (tmp_path / "other").mkdir()
        run_watched(
            tmp_path / "other",
            "import socket, contextlib\nwith contextlib.suppress(OSError): "
            "socket.getaddrinfo('collector.example', 443)",
        )


def test_a_light_script_reports_nothing_on_its_own(tmp_path: Path, graph: bytes):
    """Prediction with onnxruntime as a user runs it: without what other scripts import."""
    model = tmp_path / "model.onnx"
    model.write_bytes(graph)
    code = (
        f"import predict_quantization; from core.model_files import onnx_model; from pathlib import Path\n"
        f"onnx_model.open_session(Path({str(model)!r}), ['CPUExecutionProvider'])"
    )
    run_watched(tmp_path, code)
