"""The measurement of what the labels of the least sure titles buy."""

import json
from pathlib import Path

import pytest

from core.console import UserError
from experiments import least_sure
from experiments.least_sure import LEAST_SURE, NONE, RANDOM


def args(bert: Path, data: Path, output: Path, *more: str) -> list[str]:
    paths = ["--data-dir", str(data), "--bert-path", str(bert), "--output", str(output)]
    return [*paths, "--rows", "20", "--add", "8", "--seeds", "1", "--device", "cpu", *more]


@pytest.mark.measurement
def test_from_end_to_end_and_again(bert: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real, trained = least_sure.fine_tune, []

    def fine_tune(config, **more):
        trained.append((config.data_dir / "train.txt").read_text(encoding="utf-8").splitlines())
        real(config, **more)

    monkeypatch.setattr(least_sure, "fine_tune", fine_tune)
    least_sure.main(args(bert, data, tmp_path))
    report = json.loads((tmp_path / "least_sure.json").read_text(encoding="utf-8"))
    cells = {cell["choice"]: cell for cell in report["cells"]}
    assert list(cells) == [NONE, RANDOM, LEAST_SURE] and list(map(len, trained)) == [20, 28, 28]
    lines = (data / "train.txt").read_text(encoding="utf-8").splitlines()
    picked = [lines[20 + int(row)] for row in cells[NONE]["least_sure"].split()]
    assert trained[0] == lines[:20] and trained[2] == lines[:20] + picked
    assert trained[1][:20] == lines[:20] and set(trained[1][20:]) <= set(lines[20:]) and trained[1] != trained[2]
    last = report["summary"]["pairs"][-1]
    gain = cells[LEAST_SURE]["accuracy"] - cells[RANDOM]["accuracy"]
    assert (last["of"], last["against"]) == (LEAST_SURE, RANDOM) and last["difference"] == pytest.approx(gain)
    text = (tmp_path / "least_sure.md").read_text(encoding="utf-8")
    assert "| 20 titles, and the 8 least sure ones |" in text and "the least sure against random ones" in text
    assert not list(tmp_path.rglob("*.pt")) and str(data) not in json.dumps(report)

    report["cells"].pop()  # as if the run had been stopped before its last training
    (tmp_path / "least_sure.json").write_text(json.dumps(report), encoding="utf-8")
    least_sure.main(args(bert, data, tmp_path))
    assert len(trained) == 4
    again = json.loads((tmp_path / "least_sure.json").read_text(encoding="utf-8"))
    assert again["cells"][-1]["predicted"] == cells[LEAST_SURE]["predicted"]


def test_bad_input(bert: Path, data: Path, tmp_path: Path):
    with pytest.raises(UserError, match="--add is 0: it must be 1 or more"):
        least_sure.main(args(bert, data, tmp_path, "--add", "0"))
    for rows, left in (("55", 5), ("60", 0), ("99", 0)):
        with pytest.raises(UserError, match=f"only {left} rows of train.txt are left to choose --add 8 from"):
            least_sure.main(args(bert, data, tmp_path, "--rows", rows))
