"""Files: one is written whole or not at all."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT

from core.console import UserError
from core.files import atomic_write, write_picture


def test_a_failed_write_leaves_the_earlier_file(tmp_path: Path):
    path = tmp_path / "m.pt"
    atomic_write(path, lambda file: file.write(b"the one before"))

    def half(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="No space left on device.*free some disk space"):
        atomic_write(path, half)
    assert path.read_bytes() == b"the one before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.pt"]


def test_a_fault_of_what_computes_the_content_is_not_told_as_one_of_the_disk(tmp_path: Path):
    def compute(file):
        file.write(b"half")
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        atomic_write(tmp_path / "answers.csv", compute)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="resource limits are POSIX")
def test_a_full_disk_is_told_in_a_sentence(tmp_path: Path):
    code = (
        "import resource, sys, torch; from pathlib import Path\n"
        "from core.model_files import checkpoint; from core.console import run\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "run(lambda: checkpoint.save(Path(sys.argv[1]), {'w': torch.zeros(100, 1000)}, {}))"
    )
    target = tmp_path / "m.pt"
    result = subprocess.run([sys.executable, "-c", code, str(target)], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: cannot write {target}")
    assert not list(tmp_path.iterdir())


def test_a_picture_is_sharp_and_small(tmp_path: Path):
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(4, 3))
    figure.subplots().plot([1, 2], color="red")
    write_picture(tmp_path / "it.png", figure)
    picture = Image.open(tmp_path / "it.png")
    assert picture.size == (800, 600) and picture.mode == "P"
    assert (255, 0, 0) in {color for _, color in picture.convert("RGB").getcolors()}


@pytest.mark.parametrize("task", ["ner", "aspect_sentiment", "qa"])
def test_a_data_folder_that_is_none_is_told_as_that(task: str, tmp_path: Path):
    read_data = importlib.import_module(f"{task}.data").read_data
    with pytest.raises(UserError, match="there is no folder .*nowhere: check the path"):
        read_data(tmp_path / "nowhere")
    (tmp_path / "train.json").touch()
    with pytest.raises(UserError, match="train.json is a file: give the folder that holds it"):
        read_data(tmp_path / "train.json")
