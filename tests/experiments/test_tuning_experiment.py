"""The measurement of searches: what they gain, what pruning saves, what kills cost."""

import json
from pathlib import Path

import pytest

from core.console import UserError
from experiments import tuning

pytest.importorskip("optuna", reason="requirements-tune.txt is not installed")


def args(bert: Path, data: Path, output: Path, *more: str) -> list[str]:
    paths = ["--data-dir", str(data), "--bert-path", str(bert), "--output", str(output), "--device", "cpu"]
    return [*paths, "--seeds", "1", "--minutes", "0.001", "--trials", "2", "--kills", "1", *more]


@pytest.mark.measurement
def test_all_parts_and_again(bert: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real, searched = tuning.search, []

    def search(config, folder, *limits):  # once; the others are told what it found
        searched.append(limits)
        if len(searched) == 1:
            searched[0] = real(config, folder, *limits)
        return dict(searched[0])

    monkeypatch.setattr(tuning, "search", search)
    tuning.main(args(bert, data, tmp_path))
    assert [limits[1] for limits in searched[1:]] == ["none", "median", "hyperband"]
    report = json.loads((tmp_path / "tuning.json").read_text(encoding="utf-8"))
    assert [entry["seed"] for entry in report["gain"]] == [1] and report["summary"]["difference"] == 0
    assert [(entry["pruner"], entry["complete"]) for entry in report["pruning"]][:2] == [("none", 1), ("median", 1)]
    [kills] = report["kills"]
    assert kills["lost"] == 0 and kills["found"] == kills["ended"][0] + 1
    text = (tmp_path / "tuning.md").read_text(encoding="utf-8")
    assert "killed 1 times" in text and "| 1 | 1 (0) |" in text
    monkeypatch.setattr(tuning, "search", lambda *_: pytest.fail("searched again"))
    tuning.main(args(bert, data, tmp_path))


def test_a_gain_is_the_mean_over_the_searches():
    better = {"predicted_best": "0 1 1 0", "predicted_default": "0 1 0 1"}
    found = tuning.summarise([better, {}], [0, 1, 1, 0])
    assert found["difference"] == pytest.approx(0.25) and found["low"] <= 0.25 <= found["high"]


def test_bad_input(bert: Path, data: Path, tmp_path: Path):
    with pytest.raises(UserError, match="must be 1 or more"):
        tuning.main(args(bert, data, tmp_path, "--kills", "0"))
