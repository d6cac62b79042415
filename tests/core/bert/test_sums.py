"""SHA256SUMS: any change of an encoder's files is told before training, in one sentence."""

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, train_args

import download
import train
from core.bert.folder import find_bert
from core.bert.sums import SUMS, check_sums, write_sums
from core.console import UserError


@pytest.fixture
def sealed(bert: Path, tmp_path: Path) -> Path:
    folder = shutil.copytree(bert, tmp_path / "sealed")
    write_sums(folder)
    return folder


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "vocab.txt"])
def test_any_flipped_bit_is_refused(sealed: Path, name: str):
    path, rng = sealed / name, random.Random(0)
    find_bert(sealed, Path("default"), Path("bundled"))
    for bit in rng.sample(range(8 * path.stat().st_size), 70):
        flip(path, bit)
        with pytest.raises(UserError, match=f"{name} is not the file that {SUMS} tells of") as told:
            check_sums(sealed)
        assert "\n" not in str(told.value)
        flip(path, bit)
    assert check_sums(sealed)


def test_training_and_check_refuse_changed_weights(sealed: Path, data: Path, tmp_path: Path):
    download.main(["--check", str(sealed)])
    flip(sealed / "model.safetensors", 8 * 5000)
    for start in (
        lambda: download.main(["--check", str(sealed)]),
        lambda: train.main(train_args(sealed, data, tmp_path)),
        lambda: find_bert(Path("default"), Path("default"), sealed),
    ):
        with pytest.raises(UserError, match="damaged, or changed"):
            start()
    write_sums(sealed)
    download.main(["--check", str(sealed)])


def test_what_people_may_change_add_or_leave_out_is_not_compared(sealed: Path, bert: Path, capsys):
    (sealed / "finetune.json").write_text("{}", encoding="utf-8")
    (sealed / "README.md").write_text("mine", encoding="utf-8")
    shutil.move(sealed / "vocab.txt", sealed / "notes.txt")
    assert check_sums(sealed)
    assert not check_sums(bert)
    download.main(["--check", str(bert)])
    assert f"there is no {SUMS}" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"0123  model.safetensors\n", b"%s  ../x\n" % (b"0" * 64)])
def test_damaged_sums_are_refused(sealed: Path, content: bytes):
    (sealed / SUMS).write_bytes(content)
    with pytest.raises(UserError, match=f"{SUMS} is damaged: .*python -m core.bert.sums"):
        check_sums(sealed)


def test_the_command_writes_them_anew_in_the_format_of_sha256sum(sealed: Path, tmp_path: Path):
    flip(sealed / "model.safetensors", 8 * 5000)
    (sealed / SUMS).write_bytes((sealed / SUMS).read_bytes().replace(b"\n", b"\r\n"))  # as git on Windows may
    with pytest.raises(UserError, match="is not the file"):
        check_sums(sealed)
    command = [sys.executable, "-m", "core.bert.sums"]
    subprocess.run([*command, sealed], cwd=ROOT, check=True, capture_output=True)
    assert check_sums(sealed)
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--check", SUMS], cwd=sealed, check=True, capture_output=True)
    done = subprocess.run([*command, tmp_path / "none"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "holds no file of an encoder" in done.stderr


def test_the_bundled_encoder_is_what_its_sums_tell_of():
    assert check_sums(ROOT / "bert-mini-chinese")
