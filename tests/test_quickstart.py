"""quickstart.py without a network and without a real .venv: what it decides, runs, skips and says."""

import ast
import contextlib
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import quickstart

SCRIPT = Path(quickstart.__file__)


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """An empty project folder, and a list of the commands that would have been run, all of them with success."""
    monkeypatch.chdir(tmp_path)
    Path("requirements.txt").write_text("torch==9.8.7  # a comment\nnumpy==1.2.3\n")
    Path("requirements-dev.txt").write_text("-r requirements.txt\n")
    Path(".venv").mkdir()
    recorded = []
    monkeypatch.setattr(subprocess, "call", lambda command, **_: recorded.append(command) or 0)
    monkeypatch.setattr(quickstart, "fingerprint", lambda: Path("requirements.txt").read_bytes())
    monkeypatch.setattr(quickstart, "cpu_index_helps", lambda: False)
    return recorded


def fail(monkeypatch, word: str) -> None:
    """Let each command that contains the word fail."""
    monkeypatch.setattr(subprocess, "call", lambda command, **_: int(word in command))


def test_standard_library_only_in_syntax_that_an_old_python_reads():
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 7))
    nodes = list(ast.walk(tree))
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names


@pytest.mark.parametrize("version", [(3, 6, 15), (3, 10, 13), (3, 14, 0), (4, 0, 0)])
def test_an_unfit_python_is_told_in_one_sentence(monkeypatch, version):
    monkeypatch.setattr(sys, "version_info", version)
    with pytest.raises(SystemExit, match=rf"^error: needs Python 3.11 to 3.13, this is {version[0]}.{version[1]}: .*$"):
        runpy.run_path(str(SCRIPT))


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 13, 9)])
def test_a_fit_python_is_taken(monkeypatch, version):
    monkeypatch.setattr(sys, "version_info", version)
    runpy.run_path(str(SCRIPT))


def test_help_starts_nothing(tmp_path):
    done = subprocess.run([sys.executable, str(SCRIPT), "--help"], capture_output=True, cwd=tmp_path, check=True)
    assert b"--serve" in done.stdout
    assert not list(tmp_path.iterdir())


def test_a_second_install_has_nothing_to_do(calls):
    quickstart.install("requirements.txt")
    assert [command[-2:] for command in calls] == [["--requirement", "requirements.txt"]]
    quickstart.install("requirements.txt")
    assert len(calls) == 1


def test_the_tests_need_an_install_of_their_own_which_covers_the_other(calls):
    quickstart.install("requirements.txt")
    quickstart.install("requirements-dev.txt")
    quickstart.install("requirements.txt")
    assert [command[-1] for command in calls] == ["requirements.txt", "requirements-dev.txt"]


def test_changed_requirements_are_installed(calls):
    quickstart.install("requirements.txt")
    Path("requirements.txt").write_text("torch==9.8.8\n")
    quickstart.install("requirements.txt")
    assert len(calls) == 2


def test_a_failed_install_says_what_to_do_and_leaves_no_stamp(calls, monkeypatch):
    quickstart.install("requirements.txt")
    Path("requirements.txt").write_text("torch==9.8.8\n")
    fail(monkeypatch, "pip")
    with pytest.raises(
        SystemExit, match="installation failed.*PIP_INDEX_URL to a mirror such as https://.*run this again"
    ):
        quickstart.install("requirements.txt")
    assert not list(Path(".venv").iterdir())


def test_a_missing_venv_is_made_and_a_python_that_cannot_is_told(calls, monkeypatch):
    monkeypatch.setattr(quickstart, "fingerprint", lambda: b"")
    quickstart.install("requirements.txt")
    assert calls[0] == [sys.executable, "-m", "venv", "--clear", ".venv"]
    fail(monkeypatch, "venv")
    with pytest.raises(SystemExit, match="sudo apt install python3-venv"):
        quickstart.install("requirements.txt")


def test_the_fingerprint_of_what_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert quickstart.fingerprint() == b"", "no .venv"
    monkeypatch.setattr(quickstart, "PYTHON", sys.executable)
    first = quickstart.fingerprint()
    assert first
    Path("requirements.txt").write_text("torch==9.8.7\n")
    assert quickstart.fingerprint() != first
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", ".venv"], check=True)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert quickstart.fingerprint() == b"", "killed before pip was in it"


@pytest.mark.parametrize(
    ("platform", "folder", "allowed", "too_long"),
    [
        ("win32", "short", None, False),
        ("win32", "d" * 60, None, True),
        ("win32", "d" * 60, 0, True),
        ("win32", "d" * 60, 1, False),
        ("linux", "d" * 60, None, False),
    ],
)
def test_a_path_too_long_for_windows_is_told_before_anything_is_made(
    calls, tmp_path_factory, monkeypatch, platform, folder, allowed, too_long
):
    def query(key, name):
        if allowed is None:
            raise FileNotFoundError(name)
        return allowed, 4

    winreg = SimpleNamespace(HKEY_LOCAL_MACHINE=0, OpenKey=lambda *_: contextlib.nullcontext(), QueryValueEx=query)
    monkeypatch.setitem(sys.modules, "winreg", winreg)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(quickstart.os, "getcwd", lambda: rf"C:\{folder}")
    if too_long:
        with pytest.raises(
            SystemExit, match=r"^error: the path C:.* is too long .* such as C:\\news, then run this again$"
        ):
            quickstart.install("requirements.txt")
    else:
        quickstart.install("requirements.txt")
    assert bool(calls) is not too_long


@pytest.mark.parametrize(
    ("platform", "nvidia_smi", "answers", "expected"),
    [
        ("linux", None, True, True),
        ("linux", None, False, False),
        ("linux", "/usr/bin/nvidia-smi", True, False),
        ("win32", None, True, False),
        ("darwin", None, True, False),
    ],
)
def test_when_torch_comes_from_the_cpu_index(monkeypatch, platform, nvidia_smi, answers, expected):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(quickstart.shutil, "which", lambda name: nvidia_smi)
    monkeypatch.setattr(quickstart.Path, "exists", lambda path: False)  # /proc/driver/nvidia, on a machine with a GPU
    monkeypatch.setattr(subprocess, "call", lambda command, **_: int(not answers))
    assert quickstart.cpu_index_helps() is expected


def test_the_version_of_torch_is_that_of_the_requirements(calls, monkeypatch):
    monkeypatch.setattr(quickstart, "cpu_index_helps", lambda: True)
    quickstart.install("requirements-dev.txt")
    torch, rest = (" ".join(command) for command in calls)
    assert "install --disable-pip-version-check torch==9.8.7 --no-deps" in torch
    assert f"--index-url {quickstart.INDEX}" in torch
    assert rest.endswith("--requirement requirements-dev.txt")
    assert "torch==" not in SCRIPT.read_text(encoding="utf-8")


def test_a_stage_is_run_with_the_python_of_the_venv(calls):
    assert quickstart.run_stage("evaluate.py --model teacher", "").startswith("evaluate ")
    assert calls == [[quickstart.PYTHON, "evaluate.py", "--model", "teacher"]]


def test_a_failing_stage_names_the_command(calls, monkeypatch):
    fail(monkeypatch, "evaluate.py")
    with pytest.raises(SystemExit, match=r"^error: evaluate failed: .*python\S* evaluate.py --model teacher$"):
        quickstart.run_stage("evaluate.py --model teacher", "")


def test_a_stage_whose_product_is_there_is_not_run(calls, capsys):
    Path("model.pt").touch()
    quickstart.run_stage("train.py --seed 1", "model.pt")
    assert not calls
    assert f"{quickstart.PYTHON} train.py --seed 1\nnot run again, since model.pt is there" in capsys.readouterr().out


def test_the_summary_shows_what_each_stage_measured(calls, capsys):
    for script, accuracy in (("baseline", 0.8012), ("evaluate", 0.8768)):
        facts = {"accuracy": accuracy, "macro_f1": 0.75, "n": 400, "model": f"the {script} model"}
        Path("reports", script).mkdir(parents=True)
        Path("reports", script, "metrics.json").write_text(json.dumps(facts), encoding="utf-8")
    quickstart.print_summary([quickstart.run_stage(*stage) for stage in quickstart.STAGES])
    table = capsys.readouterr().out.split("== summary\n")[1]
    rows = [line.split() for line in table.splitlines()[: 1 + len(quickstart.STAGES)]]
    assert [row[0] for row in rows] == ["stage", *(command.split(".")[0] for command, _ in quickstart.STAGES)]
    assert rows[1][2:] == ["80.1%", "75.0%", "400", "the", "baseline", "model"]
    assert rows[3][2:] == ["87.7%", "75.0%", "400", "the", "evaluate", "model"]
    assert len(rows[2]) == len(rows[4]) == 2, "those that measure nothing show their seconds"
    assert "predict_fun.py --text" in table and "--data-dir FOLDER" in table


@pytest.mark.parametrize(
    ("flags", "product", "run"),
    [(["--serve"], "", True), (["--serve"], "models_save/bilstm_soft_distill.onnx", False), ([], "x.onnx", True)],
)
def test_serve_goes_straight_to_serving_where_there_is_a_model(calls, monkeypatch, flags, product, run):
    done = []
    monkeypatch.setattr(quickstart, "__file__", str(Path("quickstart.py").resolve()))
    monkeypatch.setattr(quickstart, "install", done.append)
    monkeypatch.setattr(quickstart, "serve", lambda: done.append("serve"))
    monkeypatch.setattr(quickstart, "STAGES", [("baseline.py", ""), ("soft_label_distillation.py", product)])
    monkeypatch.setattr(sys, "argv", ["quickstart.py", *flags])
    for name in ("PYTHONUTF8", "PYTHONIOENCODING", "PYTHONUNBUFFERED"):
        monkeypatch.setenv(name, "")  # so that what main() sets is gone after the test
    if product:
        Path(product).parent.mkdir(exist_ok=True)
        Path(product).touch()
    quickstart.main()
    assert done == (["requirements.txt", "serve"] if flags else ["requirements.txt"])
    assert ([quickstart.PYTHON, "baseline.py"] in calls) is run


@pytest.fixture
def servers(tmp_path, monkeypatch):
    """A project folder in which two programs of the test's own stand for the API and the page."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(quickstart, "PYTHON", sys.executable)
    monkeypatch.setattr(quickstart, "SERVERS", ["lasting.py", "short.py"])
    monkeypatch.setenv("no_proxy", "")  # so that what serve() sets is gone after the test
    Path("lasting.py").write_text("import time; time.sleep(60)")
    Path("short.py").write_text("raise SystemExit(3)")
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda command: started.append(popen(command)) or started[-1])
    return started


def test_a_user_without_a_home_gets_one(calls, tmp_path, monkeypatch):
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(os, "chdir", lambda path: None)
    monkeypatch.setattr(sys, "argv", ["quickstart.py", "test"])
    with pytest.raises(SystemExit):
        quickstart.main()
    assert os.environ["HOME"] == str(tmp_path)


def test_when_one_server_ends_so_does_the_other(servers):
    with pytest.raises(SystemExit, match="short.py ended by itself"):
        quickstart.serve()
    assert all(child.returncode is not None for child in servers)


def test_ctrl_c_ends_both_servers(servers, monkeypatch):
    def ctrl_c(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(quickstart, "SERVERS", ["lasting.py", "lasting.py"])
    monkeypatch.setattr(quickstart.time, "sleep", ctrl_c)
    quickstart.serve()
    assert len(servers) == 2 and all(child.returncode is not None for child in servers)
