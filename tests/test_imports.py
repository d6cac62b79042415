"""Who may import whom, and what importing costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

FLOORS = {
    "config": 1,
    "utils": 2,
    "bert_classifer_model": 2,
    "bilstm_classifier": 2,
    "train": 3,
    "predict_fun": 3,
    "baseline": 3,
    "download": 3,
    "evaluate": 4,
    "pretrain_mlm": 4,
    "api": 4,
    "distillation": 4,
    "hard_label_distillation": 5,
    "soft_label_distillation": 5,
    "custom_pruning": 4,
    "benchmark": 7,
    "predict_quantization": 4,
    "bert_model_quantization": 5,
}
# Scripts that know other parts of the project only by HTTP or by running them.
APART = {"app": {"page"}, "api_test": {"config", "core"}, "quickstart": set()}
VIEWS = sorted(
    path.stem for path in (ROOT / "page" / "views").glob("*.py")
)  # of the page, and held to what it is held to
LIGHT = (
    "config",
    "core.text.tokenizer",
    "core.files",
    "core.model_files.onnx_model",
    "core.model_files.openvino_model",
    "predict_fun",
)
LIGHT += ("predict_quantization", "api", "core.serving.load", "app", "api_test", "download")
LIGHT += ("quickstart", *(f"page.views.{view}" for view in VIEWS))
SCRIPTS = sorted(path.stem for path in ROOT.glob("*.py"))


def imported(path: Path) -> set[str]:
    """The top-level names that a file imports anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_every_script_has_its_floor():
    assert set(SCRIPTS) == FLOORS.keys() | APART.keys()


@pytest.mark.parametrize("script", sorted(FLOORS))
def test_imports_point_down(script: str):
    upward = {name for name in imported(ROOT / f"{script}.py") & set(SCRIPTS) if FLOORS.get(name, 9) >= FLOORS[script]}
    assert not upward


@pytest.mark.parametrize("script", sorted(APART))
def test_scripts_apart_know_no_models(script: str):
    assert imported(ROOT / f"{script}.py") & (set(SCRIPTS) | {"core"}) <= APART[script]


def test_the_page_knows_only_http():
    assert VIEWS
    for path in (ROOT / "page").rglob("*.py"):
        assert not imported(path) & {*SCRIPTS, "experiments"}, path
    assert {script for script in SCRIPTS if "page" in imported(ROOT / f"{script}.py")} == {"app"}


def test_the_views_are_not_in_pages():
    """Streamlit runs what is in a folder pages/ without app.py, where it is opened first."""
    assert not (ROOT / "pages").exists()


def test_core_never_imports_the_root():
    for path in (ROOT / "core").glob("*.py"):
        assert not imported(path) & {*SCRIPTS, "experiments"}, path


def test_experiments_stand_on_all_but_the_benchmark():
    for path in (ROOT / "experiments").glob("*.py"):
        assert not imported(path) & {"benchmark", *APART}, path
    users = {script for script in FLOORS if "experiments" in imported(ROOT / f"{script}.py")}
    assert users == {"benchmark"}


def test_quickstart_needs_only_the_standard_library():
    assert imported(ROOT / "quickstart.py") <= sys.stdlib_module_names


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_load_neither_torch_nor_transformers(module: str):
    code = (
        f"import sys, {module}; print(sorted({{'torch', 'transformers', 'sklearn', 'matplotlib'}} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip().splitlines()[-1] == "[]"


def test_importing_every_script_writes_and_loads_nothing(tmp_path: Path):
    """Neither files nor the libraries that --help can do without: their seconds would be each script's."""
    experiments = [f"experiments.{path.stem}" for path in (ROOT / "experiments").glob("*.py")]
    scripts = ", ".join([*SCRIPTS, *experiments])
    slow = {"transformers", "sklearn", "matplotlib", "onnx", "huggingface_hub"}
    code = f"import sys; sys.path.insert(0, sys.argv[1]); import {scripts}; print(sorted({slow} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code, str(ROOT)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("script", sorted(set(LIGHT) & set(SCRIPTS) - {"app", "config"}))
def test_help_of_a_light_script_takes_less_than_a_second(script: str):
    code = (
        "import atexit, runpy, sys, time; sys.argv = [sys.argv[1], '--help']; "
        "atexit.register(lambda: print(time.process_time())); runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    result = subprocess.run([sys.executable, "-c", code, f"{script}.py"], cwd=ROOT, capture_output=True, check=True)
    *shown, seconds = result.stdout.splitlines()
    assert b"--help" in b"".join(shown)
    assert float(seconds) < 1  # of the processor: the clock's depend on what else runs
