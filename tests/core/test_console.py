"""What a person sees when a script ends."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import ROOT, train_args

from core.console import UserError, parse, quoted, run, split_flags


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (None, None),
        (UserError("mend this"), "error: mend this"),
        (MemoryError(), "error: out of memory: close other programs, or try a smaller --batch-size"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), "error: out of memory: close other"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "error: out of memory: close other"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried"), "error: out of memory: close other"),
        (KeyboardInterrupt(), 130),
        (OSError(28, "No space left on device", "log.jsonl"), "error: [Errno 28] No space left on device: 'log.jsonl'"),
    ],
)
def test_exit_codes_and_sentences(fault: BaseException | None, code: object):
    def main():
        if fault:
            raise fault

    if fault is None:
        run(main)
        return
    with pytest.raises(SystemExit) as ended:
        run(main)
    assert str(ended.value.code).startswith(str(code))


def test_an_unforeseen_fault_keeps_its_trace():
    with pytest.raises(ZeroDivisionError):
        run(lambda: 1 / 0)
    with pytest.raises(RuntimeError, match="another"):
        run(lambda: (_ for _ in ()).throw(RuntimeError("another fault")))


def test_paths_in_commands_are_quoted_where_a_shell_would_part_them():
    for plain in ("data", "my_data/训练.csv", "C:\\Users\\zhang\\data", "--keep-flops=0.5", Path("a") / "b-1.json"):
        assert quoted(plain) == str(plain)
    for odd in ("my data", "C:\\Users\\Zhang San\\data", "标题 (1).xlsx", "a&b", "a;b", "a,b", "a\u3000b", ""):
        assert quoted(odd) == f'"{odd}"'


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe that breaks is POSIX")
def test_a_reader_that_leaves():
    code = "from core.console import run; run(lambda: [print('x' * 1000) for _ in range(100000)])"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.parametrize("encoding", ["cp1252", "cp936", "ascii"])
def test_foreign_consoles_and_folders_with_spaces_and_chinese_names(
    encoding: str, bert: Path, data: Path, light: Path, tmp_path: Path
):
    folder = tmp_path / "我的 文件夹"
    folder.mkdir()
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "OMP_NUM_THREADS": "1"}

    def script(name: str, *args: str) -> str:
        result = subprocess.run(
            [sys.executable, str(ROOT / name), *args], capture_output=True, env=environment, cwd=tmp_path
        )
        assert result.returncode == 0, result.stderr.decode("utf-8")
        return result.stdout.decode("utf-8")

    model = shutil.copy(light, folder)
    if encoding == "ascii":  # the poorest of them
        assert "财经" in script("train.py", *train_args(bert, data, folder, "--num-epochs", "1"))
        model = folder / "save" / "test_bertclassifer_model.pt"
    assert "球队夺冠" in script("predict_fun.py", "--model", str(model), "--text", "球队夺冠")


def test_a_folder_that_cannot_be_written(bert: Path, data: Path, tmp_path: Path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    result = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *train_args(bert, data, tmp_path / "file")],
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1].startswith("error: ")
    assert "Traceback" not in result.stderr


@dataclass
class Flags:
    """Knobs of a script."""

    text: str | None = None
    """A text."""
    names: tuple[str, ...] = ()
    """Some names."""
    count: int | None = None
    """A number."""
    resume: bool = False
    """Go on."""


@pytest.mark.parametrize("text", ["--紧急--通知", "-5度", "--", "—破折号", "a=b", "-"])
def test_a_text_that_begins_with_a_dash_is_one(text: str):
    for argv in (["--text", text], [f"--text={text}"]):
        assert parse(Flags, [*argv, "--count", "3", "--resume"], None) == Flags(text, (), 3, True)
    assert parse(Flags, ["--names", "a", "b", "--text", text], None) == Flags(text, ("a", "b"))


@pytest.mark.parametrize("argv", [["--text"], ["--text", "--count", "3"], ["--count", "--text"], ["--nothing"]])
def test_a_flag_without_its_value_is_told(argv: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        parse(Flags, argv, None)
    assert end.value.code == 2 and "--" in capsys.readouterr().err


@pytest.mark.parametrize("columns", ["1", "2", "10", "0", "not a number"])
def test_help_ends_in_a_terminal_of_any_width(columns: str):
    command = [sys.executable, "-X", "utf8", str(ROOT / "predict_fun.py"), "--help"]
    environment = {**os.environ, "COLUMNS": columns}
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=30, env=environment, check=True)
    assert "--text" in done.stdout


@dataclass
class StageConfig:
    config: Path | None = None
    learning_rate: float | None = None
    num_epochs: int = 2
    model: tuple[str, ...] = ("teacher",)
    resume: bool = False
    name: str = "x"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "knobs.json",
            '\ufeff{"learning_rate": 1e-4, "num_epochs": 3, "model": ["a", "b"], "resume": true, "name": "-n"}',
        ),
        ("knobs.toml", 'learning-rate = 1e-4\nnum-epochs = 3\nmodel = ["a", "b"]\nresume = true\nname = "-n"'),
    ],
)
def test_a_file_of_knobs_in_which_flags_win(name: str, text: str, tmp_path: Path):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    found = parse(StageConfig, ["--config", str(path)], None)
    assert found == StageConfig(path, 1e-4, 3, ("a", "b"), True, "-n")
    found = parse(StageConfig, [f"--config={path}", "--num-epochs", "5", "--model", "c"], None)
    assert found == StageConfig(path, 1e-4, 5, ("c",), True, "-n")
    assert parse(StageConfig, [], None) == StageConfig()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read"),
        ("{", "is neither JSON nor"),
        ("[1]", "must hold knobs by name"),
        ('{"a": {"b": 1}}', "must hold knobs by name"),
        ('{"wheels": 3}', "has a knob wheels, which is none here: take of learning_rate, num_epochs"),
        ('{"config": "other.json"}', "has a knob config, which is none here"),
        ('{"num_epochs": null}', "has no value for num_epochs: give one, or leave it out"),
    ],
)
def test_a_file_of_knobs_that_is_none(text: str | None, words: str, tmp_path: Path):
    path = tmp_path / "knobs.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=words):
        parse(StageConfig, ["--config", str(path)], None)


def test_flags_of_a_config_and_those_of_others():
    argv = ["--a-b", "1", "--num_epochs", "3", "--model", "x", "y", "--c=2", "--name=-n", "-h"]
    own, others = split_flags(StageConfig, argv)
    assert own == ["--num_epochs", "3", "--model", "x", "y", "--name=-n", "-h"] and others == ["--a-b", "1", "--c=2"]


@pytest.mark.parametrize(
    ("command", "called"), [(["-m", "ner.data"], "python -m ner.data"), (["train.py"], "train.py")]
)
def test_help_calls_a_script_as_a_person_does(command: list[str], called: str):
    shown = subprocess.run([sys.executable, *command, "--help"], capture_output=True, encoding="utf-8", cwd=ROOT)
    assert shown.stdout.startswith(f"usage: {called} [-h]")
