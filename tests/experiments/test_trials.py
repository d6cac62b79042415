"""Entries of a report that are made once, and what stands in tables."""

import json
from pathlib import Path

import pytest

from core.measure.stats import Comparison, interval
from experiments.readme_words import each_seed, markdown, percent
from experiments.trials import Trials


def open_trials(folder: Path) -> Trials:
    return Trials(folder / "work", {"data": "some"}, ["cells", "rows"], folder / "report.json")


def test_what_was_made_is_not_made_again(tmp_path: Path):
    made = []

    def make(folder: Path) -> dict:
        made.append(folder.name)
        return {"score": len(made), "seed": 99}  # the key has the last word

    trials = open_trials(tmp_path)
    for seed in (1, 2, 1):
        assert trials.once("cells", {"rate": 0.5, "seed": seed}, make)["score"] == seed
    trials.once("rows", {"seed": 1}, make)
    assert made == ["0.5-1", "0.5-2", "1"]

    def stop(_: Path) -> dict:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trials.once("cells", {"rate": 0.5, "seed": 3}, stop)
    again = open_trials(tmp_path)  # as after a kill
    assert again.report["cells"] == [{"rate": 0.5, "seed": seed, "score": seed} for seed in (1, 2)]
    assert again.once("cells", {"seed": 2, "rate": 0.5}, stop)["score"] == 2
    assert again.find("cells", {"rate": 0.5, "seed": 3}) is None
    other = Trials(tmp_path / "work", {"data": "other"}, ["cells"])
    assert other.work != again.work and other.folder({"seed": 1}) != again.folder({"seed": 1})
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["machine"] and report["date"] and report["settings"] == {"data": "some"}


def test_a_model_that_is_gone_is_made_again_where_it_is_needed(tmp_path: Path):
    trials, made, key = open_trials(tmp_path), [], {"recipe": "plain"}

    def make(folder: Path) -> dict:
        made.append(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "resume").mkdir(exist_ok=True)
        (folder / "model.pth").touch()
        return {"score": len(made)}

    trials.once("cells", key, make)["test"] = "kept"
    assert trials.model(key) == trials.folder(key) / "model.pth"
    trials.model(key).unlink()
    assert trials.model(key) is None
    trials.once("cells", key, make)
    assert len(made) == 1
    assert trials.once("cells", key, make, need_model=True) == {"recipe": "plain", "score": 2, "test": "kept"}
    trials.once("cells", key, make, need_model=True)
    assert len(made) == 2 and len(trials.report["cells"]) == 1


def test_cells():
    found = Comparison(0.1068, 0.096, -0.0004, 0.00021)
    assert interval(found) == "+10.7 (+9.6 to -0.0)"
    words = "{of}: {difference}（{low} 到 {high}），p {p}"
    assert interval({**vars(found), "of": "BERT"}, words, 2) == "BERT: +10.68（+9.6 到 -0.0），p 0.0002"
    assert percent(0.92545) == "92.55 %" and percent(1, 1) == "100.0 %"
    assert each_seed([0.5, 0.25]) == "50.00 % · 25.00 %"
    assert markdown("a | b", [["1", "2"]]) == "| a | b |\n|---|---|\n| 1 | 2 |"
