"""`--config FILE`: a JSON or TOML file of flags, which those on the command line win over."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from core.console import UserError, parse


@dataclass
class Knobs:
    """Some knobs."""

    rate: float = 1.0
    num_epochs: int | None = None
    model: tuple[str, ...] = ()
    quick: bool = False
    output: Path = Path("here")
    config: Path | None = None


def test_the_file_counts_and_the_command_line_wins(tmp_path: Path):
    file = tmp_path / "knobs.json"
    text = '\ufeff{"rate": 0.5, "num-epochs": 3, "model": ["a", "b"], "quick": true, "output": null}'
    file.write_text(text, encoding="utf-8")
    assert parse(Knobs, ["--config", str(file)], None) == Knobs(0.5, 3, ("a", "b"), True, Path("here"), file)
    found = parse(Knobs, ["--num-epochs", "4", f"--config={file}", "--model", "c"], None)
    assert (found.rate, found.num_epochs, found.model) == (0.5, 4, ("c",))
    toml = tmp_path / "knobs.toml"
    toml.write_text('rate = 2\nquick = false\nmodel = []\noutput = "there"\n', encoding="utf-8")
    assert parse(Knobs, ["--config", str(toml)], None) == Knobs(2.0, None, (), False, Path("there"), toml)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"{", "is no JSON"),
        (b"\xff\xfe", "is no JSON"),
        (b"[1]", "must hold flags and their values"),
        (b'{"rate": {"low": 1}}', "must hold flags and their values"),
        (b'{"speed": 1}', "has speed, which is no flag here: known are model num_epochs output quick rate"),
        (b'{"config": "other.json"}', "has config, which is no flag here"),
        (b"[" * 100_000, "is no JSON"),
    ],
)
def test_files_that_are_none(content: bytes, fault: str, tmp_path: Path):
    file = tmp_path / "knobs.json"
    file.write_bytes(content)
    with pytest.raises(UserError, match=fault):
        parse(Knobs, ["--config", str(file)], None)


def test_a_missing_file_and_a_missing_name(tmp_path: Path):
    with pytest.raises(UserError, match="cannot be read"):
        parse(Knobs, ["--config", str(tmp_path / "none.json")], None)
    with pytest.raises(SystemExit):
        parse(Knobs, ["--config"], None)
