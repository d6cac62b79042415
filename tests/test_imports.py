"""The rules of the house: who may import whom, how long a file may be, and what importing costs."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from conftest import ROOT

SIBLINGS = ("ner", "aspect_sentiment", "qa")  # tasks of their own, in folders
# Floor by floor; what stands in one must not import what stands in the same floor or above, rooms of core apart.
FLOORS = {
    0: ("core", "core.console", "core.files", "core.answers", "core.fetch"),
    1: ("core.text", "core.tables", "core.model_files"),
    2: ("core.bert", "core.training", "core.measure", "core.serving"),
    3: ("core.compression", "core.pretraining", "core.task"),
    4: ("config", "page"),
    5: ("utils", "bert_classifer_model", "bilstm_classifier", *SIBLINGS),
    6: ("predict_fun", "train", "baseline", "public_data"),
    7: ("tasks", "teachers", "download"),
    8: ("evaluate", "distillation", "pretrain_mlm", "custom_pruning", "predict_quantization", "api")
    + ("label_errors", "export", "bulk_predict"),
    9: ("hard_label_distillation", "soft_label_distillation", "bert_model_quantization", "benchmark", "tune_study"),
    10: ("tune",),
    11: ("experiments",),
}
FLOOR_OF = {name: floor for floor, names in FLOORS.items() for name in names}
APART = {"app": {"page"}, "api_test": set(), "quickstart": set()}  # what they import of ours
# What is written for the path without torch loads neither torch nor transformers when it is imported.
LIGHT = ["config", "core.task", "core.training.knobs", "core.training.units", "core.measure.alone", "tasks"]
LIGHT += [f"core.model_files.{name}" for name in ("find", "facts", "predictor", "onnx_model", "openvino_model")]
LIGHT += [f"core.bert.{name}" for name in ("ask", "folder", "hub", "shape", "sums")]
LIGHT += [f"ner.{name}" for name in ("data", "decode", "formats", "metrics", "names", "predict", "tags", "units")]
LIGHT += [f"qa.{name}" for name in ("data", "fitting", "formats", "metrics", "names", "predict", "question", "spans")]
LIGHT += ["qa.tables"]
LIGHT += [f"aspect_sentiment.{name}" for name in ("columns", "data", "decisions", "metrics", "names", "predict")]
LIGHT += [f"aspect_sentiment.{name}" for name in ("report", "states", "tables", "texts")]
LIGHT += ["predict_fun", "predict_quantization", "api", "api_test", "app", "download", "public_data", "quickstart"]
WHOLE_ROOMS = ("core/text", "core/tables", "core/serving", "page")  # all of whose files are light
MAX_LINES = 270
LIGHT += [
    str(path.relative_to(ROOT).with_suffix("")).replace("/", ".").replace("\\", ".")
    for room in WHOLE_ROOMS
    for path in sorted((ROOT / room).rglob("*.py"))
    if path.name != "__init__.py"
]
SCRIPTS = sorted(path.stem for path in ROOT.glob("*.py"))
OURS = {*SCRIPTS, "core", "page", "experiments", *SIBLINGS}
FILES = sorted(
    path
    for folder in (".", "core", "page", "experiments", *SIBLINGS)
    for path in (ROOT / folder).glob("**/*.py" if folder != "." else "*.py")
)


def test_commands_that_are_told_quote_their_paths():
    told = re.compile(r"python .*?(--[\w-]+|\bcheck|\bimport|\.sums) \{(?!quoted|to\}|files\})")
    lines = [(path, line) for path in FILES for line in path.read_text(encoding="utf-8").splitlines()]
    assert not [(path.name, line) for path, line in lines if told.search(line)]


def module_of(path: Path) -> str:
    """The dotted name of a file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def place_of(module: str) -> str:
    """What of `FLOORS` or `APART` a module belongs to: itself, its room, or its folder."""
    parts = module.split(".")
    names = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return next((name for name in names if name in FLOOR_OF or name in APART), module)


@cache
def imported(path: Path) -> frozenset[str]:
    """The modules that a file imports anywhere in it, dotted; of `from core import files` both core.files."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            folder = ROOT.joinpath(*node.module.split("."))
            names |= {name for name in inside if ROOT.joinpath(*name.split(".")).with_suffix(".py").is_file()}
            names |= set() if folder.is_dir() and not names.isdisjoint(inside) else {node.module}
    return frozenset(names)


def ours(path: Path) -> set[str]:
    """The modules of this project that a file imports."""
    return {name for name in imported(path) if name.partition(".")[0] in OURS}


def test_every_file_has_its_floor():
    strays = [path for path in FILES if place_of(module_of(path)) not in FLOOR_OF.keys() | APART.keys()]
    assert not strays
    assert set(SCRIPTS) <= FLOOR_OF.keys() | APART.keys()


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_point_down(path: Path):
    """Rooms of core on one floor may use each other, but not in a circle (below); experiments use each other."""
    own = place_of(module_of(path))
    if own in APART:
        assert {place_of(name) for name in ours(path)} <= APART[own]
        return
    for name in ours(path):
        other = place_of(name)
        assert other not in APART, name
        below = FLOOR_OF[other] < FLOOR_OF[own]
        assert below or other == own or (own.startswith("core.") and FLOOR_OF[other] == FLOOR_OF[own]), name
    if own in SIBLINGS:  # which bear the names of the root's scripts
        assert {place_of(name).partition(".")[0] for name in ours(path)} <= {"config", "core", own}
    if own == "page":
        assert {place_of(name) for name in ours(path)} <= {
            "page",
            *FLOORS[0],
            "core.text",
            "core.tables",
            "core.measure",
        }


def test_no_circle_among_the_rooms():
    uses = {place_of(module_of(path)): set() for path in FILES}
    for path in FILES:
        own = place_of(module_of(path))
        uses[own] |= {place_of(name) for name in ours(path)} - {own}
    left = dict(uses)
    while leaves := [place for place, others in left.items() if not others & left.keys()]:
        for place in leaves:
            del left[place]
    assert not left


def test_core_has_five_files_of_its_own_and_rooms_with_a_docstring():
    assert {path.stem for path in (ROOT / "core").glob("*.py")} == {
        "__init__",
        "console",
        "files",
        "fetch",
        "answers",
        "task",
    }
    for path in (ROOT / "core").glob("*/__init__.py"):
        [docstring] = ast.parse(path.read_text(encoding="utf-8")).body
        assert isinstance(docstring, ast.Expr), path


def test_no_task_is_named_in_core():
    """An `if task == …` there would mean that the design has failed."""
    for path in (ROOT / "core").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
                words = {each.value for each in ast.walk(node) if isinstance(each, ast.Constant)}
                assert not words & {"teacher", "soft", "hard", "classification", "ner", "aspect_sentiment", "qa"}, path


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_a_file_is_read_in_one_sitting(path: Path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def test_fit_is_read_at_one_glance():
    tree = ast.parse((ROOT / "core/training/loop.py").read_text(encoding="utf-8"))
    [fit] = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "fit"]
    assert fit.end_lineno - fit.lineno < 80


def test_the_page_is_not_in_pages():
    """Streamlit runs what is in a folder pages/ without app.py, where it is opened first."""
    assert not (ROOT / "pages").exists()


@pytest.mark.parametrize("script", ["quickstart", "api_test"])
def test_what_stands_alone_needs_the_standard_library(script: str):
    top = {name.partition(".")[0] for name in imported(ROOT / f"{script}.py")}
    assert top <= {*sys.stdlib_module_names, *({"requests"} if script == "api_test" else ())}


def test_light_modules_load_neither_torch_nor_transformers():
    """In one process, one after the other: the first one that loads them is told."""
    code = (
        "import importlib, sys\n"
        "for module in sys.argv[1:]:\n"
        "    importlib.import_module(module)\n"
        "    heavy = {'torch', 'transformers', 'sklearn', 'matplotlib', 'scipy', 'openpyxl'} & sys.modules.keys()\n"
        "    if not module.startswith('page.'):\n"  # whose charts are made of them
        "        heavy |= {'pandas', 'pyarrow'} & sys.modules.keys()\n"
        "    assert not heavy, (module, heavy)\n"
    )
    result = subprocess.run([sys.executable, "-c", code, *LIGHT], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_importing_every_script_writes_and_loads_nothing(tmp_path: Path):
    """Neither files nor the libraries that --help can do without: their seconds would be each script's."""
    experiments = [f"experiments.{path.stem}" for path in (ROOT / "experiments").glob("*.py")]
    siblings = [module_of(path) for name in SIBLINGS for path in (ROOT / name).glob("*.py")]
    scripts = ", ".join([*SCRIPTS, *experiments, *siblings])
    slow = {"transformers", "sklearn", "matplotlib", "onnx", "huggingface_hub"}
    code = f"import sys; sys.path.insert(0, sys.argv[1]); import {scripts}; print(sorted({slow} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code, str(ROOT)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("script", sorted(set(LIGHT) & set(SCRIPTS) - {"app", "config", "public_data", "tasks"}))
def test_help_of_a_light_script_takes_less_than_a_second(script: str):
    code = (
        "import atexit, runpy, sys, time; sys.argv = [sys.argv[1], '--help']; "
        "atexit.register(lambda: print(time.process_time())); runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    result = subprocess.run([sys.executable, "-c", code, f"{script}.py"], cwd=ROOT, capture_output=True, check=True)
    *shown, seconds = result.stdout.splitlines()
    assert b"--help" in b"".join(shown)
    assert float(seconds) < 1  # of the processor: the clock's depend on what else runs
