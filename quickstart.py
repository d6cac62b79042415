"""Set everything up and show it working, on a machine that has nothing but Python 3.11 to 3.13.

python quickstart.py            make .venv, install, run every stage on the bundled data, print a summary
python quickstart.py --serve    start the API and the page, after all that where no model is there yet; Ctrl-C ends both
python quickstart.py test       install what the tests need and run them all
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

if not (3, 11) <= sys.version_info[:2] <= (3, 13):  # at the top, and the whole file in the syntax of Python 3.6
    sys.exit(
        "error: needs Python 3.11 to 3.13, this is {}.{}: install one from python.org (Windows starts it by `py -3.13 "
        "quickstart.py`, others by `python3.13 quickstart.py`)".format(*sys.version_info)
    )
STAGES = [  # a command, and the product that makes a second run of it unnecessary
    ("baseline.py", ""),
    ("train.py --bert-path bert-mini-chinese", "save_models/test_bertclassifer_model.pt"),
    ("evaluate.py --model teacher --against reports/baseline", ""),
    ("hard_label_distillation.py", "models_save/bilstm_hard_distill.onnx"),
    ("soft_label_distillation.py", "models_save/bilstm_soft_distill.onnx"),
    ("soft_label_distillation.py --bert-layers 2", "models_save/bert_soft_distill.onnx"),
    ("bert_model_quantization.py", "save_models/bertclassifer_int8.onnx"),
    ("bert_model_quantization.py --model soft", "models_save/bilstm_soft_distill_int8.onnx"),
    ("bert_model_quantization.py --model soft_bert", "models_save/bert_soft_distill_int8.onnx"),
    ("custom_pruning.py", "models_save/pruned_model.pth"),
    ("predict_fun.py", ""),
    ("benchmark.py", ""),
]
SERVERS = ["api.py --host 127.0.0.1", "-m streamlit run app.py --server.port 8501 --server.headless true"]
PYTHON = str(Path(".venv/Scripts/python.exe" if os.name == "nt" else ".venv/bin/python"))
INDEX = "https://download.pytorch.org/whl/cpu"  # of torch without CUDA
MIRROR = "https://pypi.tuna.tsinghua.edu.cn/simple"
ROOM = 60  # characters of this folder's path; torch's longest below it is about 190, and Windows ends paths at 260


def fingerprint() -> bytes:
    """Fingerprint of .venv's Python and the requirements; empty where .venv is missing, half made or unfit."""
    code = "import importlib.metadata as m, sys; m.version('pip'); assert (3, 11) <= sys.version_info[:2] <= (3, 13)"
    found = shutil.which(PYTHON) and subprocess.run([PYTHON, "-c", code + "; print(sys.version)"], capture_output=True)
    files = [path.read_bytes() for path in sorted(Path().glob("requirements*.txt"))]
    return b"".join([found.stdout, *files]) if found and found.stdout else b""


def cpu_index_helps() -> bool:
    """Whether this is Linux without an NVIDIA GPU, where torch brings gigabytes of CUDA, and the CPU index answers."""
    nvidia = Path("/proc/driver/nvidia").exists() or shutil.which("nvidia-smi")
    probe = [sys.executable, "-c", f"import signal, urllib.request as u; signal.alarm(5); u.urlopen('{INDEX}/torch/')"]
    return sys.platform == "linux" and not nvidia and not subprocess.call(probe, stderr=subprocess.DEVNULL)


def path_too_long() -> bool:
    """Whether this folder leaves torch's files no room on Windows, which was not told to allow long paths."""
    if sys.platform != "win32" or len(os.getcwd()) <= ROOM:
        return False
    import winreg

    key = r"SYSTEM\CurrentControlSet\Control\FileSystem"
    with contextlib.suppress(OSError), winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key) as found:
        return not winreg.QueryValueEx(found, "LongPathsEnabled")[0]
    return True


def install(requirements: str) -> None:
    """Make .venv and fill it, unless its stamp says that this was done."""
    if path_too_long():
        sys.exit(
            f"error: the path {os.getcwd()} is too long for Windows to install PyTorch in: move this folder to a short "
            r"one, such as C:\news, then run this again"
        )
    if not fingerprint() and subprocess.call([sys.executable, "-m", "venv", "--clear", ".venv"]):
        sys.exit("error: no .venv, see above: disk full? Debian: `sudo apt install python3-venv`; then run this again")
    stamp, wanted = Path(".venv/quickstart.stamp"), fingerprint()
    if stamp.exists() and stamp.read_bytes() in (requirements.encode() + wanted, b"requirements-dev.txt" + wanted):
        return
    stamp.unlink(missing_ok=True)  # a run that is killed from here on must not look finished
    pip_install = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check"]
    if cpu_index_helps():  # may fail in silence: the next command takes the usual torch then, and the rest in any case
        lines = Path("requirements.txt").read_text(encoding="utf-8").splitlines()
        torch = next(line.split()[0] for line in lines if line.partition("==")[0] == "torch")
        alone = [torch, "--no-deps", "--index-url", INDEX]
        subprocess.call([*pip_install, *alone, "--timeout", "15", "--retries", "0"], stderr=subprocess.DEVNULL)
    if subprocess.call([*pip_install, "--requirement", requirements]):
        fix = (
            f"check network and disk (3 GB), or set the environment variable PIP_INDEX_URL to a mirror such as {MIRROR}"
        )
        sys.exit(f"error: the installation failed: see the lines above, {fix}, then run this again")
    stamp.write_bytes(requirements.encode() + wanted)


def run_stage(command: str, product: str) -> str:
    """Run a stage, unless its product is there; its row of the summary."""
    script, start = command.split(".")[0], time.monotonic()
    print(f"\n== {script}: {PYTHON} {command}")
    if os.path.exists(product):
        print(f"not run again, since {product} is there; the command above makes it anew")
    elif subprocess.call([PYTHON, *command.split()]):
        sys.exit(f"error: {script} failed: see the lines above; once that is mended, run {PYTHON} {command}")
    row = f"{script:<24}{time.monotonic() - start:>8.1f}"
    with contextlib.suppress(FileNotFoundError):  # not every stage measures
        facts = json.loads(Path("reports", script, "metrics.json").read_text(encoding="utf-8"))
        row += f"{facts['accuracy']:>10.1%}{facts['macro_f1']:>10.1%}{facts['n']:>8}   {facts['model']}"
    return row


def print_summary(rows: list) -> None:
    print("\n== summary\nstage                    seconds  accuracy  macro F1  titles   model", *rows, sep="\n")
    print(f"\nNext, in {Path.cwd()}:\n  one title       {PYTHON} predict_fun.py --text 主队加时绝杀夺冠{answering()}")
    print(f"  API, page       {PYTHON} api.py   {PYTHON} -m streamlit run app.py   (both: quickstart.py --serve)")
    print(f"  your own data   {PYTHON} train.py --data-dir FOLDER   (class.txt, train.txt and dev.txt, as in data/)")


def answering() -> str:
    """Which model answers where none is named, and why."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        default = json.loads(Path("save_models/default.json").read_text(encoding="utf-8"))
        return f"   (--model {default['model']}: {default['why']})"
    return ""


def serve() -> None:
    """Run the API and the page until Ctrl-C, or until one of them ends."""
    os.environ["no_proxy"] = "127.0.0.1"  # for the page too, which asks the API
    children, told = [subprocess.Popen([PYTHON, *command.split()]) for command in SERVERS], False
    try:
        while all(child.poll() is None for child in children):
            time.sleep(0.5)
            with contextlib.suppress(OSError):  # until the API answers
                if not told and urllib.request.urlopen("http://127.0.0.1:8004/health", timeout=2).status == 200:
                    told = True
                    print("\nAPI http://127.0.0.1:8004   page http://127.0.0.1:8501   Ctrl-C ends both")
        ended = next(command for command, child in zip(SERVERS, children, strict=True) if child.poll() is not None)
        sys.exit(f"error: {PYTHON} {ended} ended by itself: see the lines above; the other one is ended too")
    except KeyboardInterrupt:
        print("\nboth ended")
    finally:
        for child in children:
            child.terminate()
            child.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", nargs="?", choices=["test"])
    parser.add_argument("--serve", action="store_true")
    args = parser.parse_args()
    os.chdir(Path(__file__).resolve().parent)
    os.environ.update(PYTHONUTF8="1", PYTHONIOENCODING="utf-8", PYTHONUNBUFFERED="1")
    if os.path.expanduser("~") == "~":  # Streamlit and OpenVINO want a home; a container's nameless user has none
        os.environ["HOME"] = os.getcwd()
    install("requirements-dev.txt" if args.command else "requirements.txt")
    if args.command:
        workers = str(min(4, (os.cpu_count() or 1) + 1))  # one more than cores: some tests wait
        sys.exit(subprocess.call([PYTHON, "-m", "pytest", "-n", workers, "--dist", "worksteal"]))
    if not (args.serve and any(os.path.exists(product) for _, product in STAGES)):
        print_summary([run_stage(*stage) for stage in STAGES])
    if args.serve:
        serve()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what runs for this file ends with it
    sys.stdout.reconfigure(encoding="utf-8", errors="replace", line_buffering=True)
    try:
        main()
    except (KeyboardInterrupt, OSError) as fault:
        sys.exit(f"error: stopped by {str(fault) or 'Ctrl-C'}; run this again to go on")
