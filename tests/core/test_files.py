"""Files: the encoding of a text is found, and a file is written whole or not at all."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from threading import Barrier

import pytest
import torch
from conftest import ROOT

from core.console import UserError
from core.files import atomic_write, encoding_of, read_lines


def test_standard_input_of_mixed_encodings(tmp_path: Path):
    path = tmp_path / "lines"
    path.write_bytes("央行\r\n".encode() + "降息\n".encode("gb18030") + b"\xff\xff\n")
    with path.open("rb") as file:
        assert list(read_lines(file, None))[:2] == ["央行", "降息"]


class SlowFile(BytesIO):
    """A file whose counting of faults begins only when that of another one has begun."""

    def __init__(self, content: bytes, both: Barrier) -> None:
        super().__init__(content)
        self.both = both

    def seek(self, *args: int) -> int:
        if self.both:
            self.both.wait()
            self.both = None
        return super().seek(*args)


def test_two_threads_do_not_count_each_others_faults():
    both = Barrier(2, timeout=10)
    files = [SlowFile("央行降息\n".encode("gb18030"), both) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(encoding_of, files, ("a", "b"))) == ["gb18030", "gb18030"]


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
