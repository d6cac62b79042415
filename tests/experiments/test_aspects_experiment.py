"""experiments.aspects from end to end: chosen on dev, test read for the best and the students, kept cell by cell."""

import json
from pathlib import Path

import pytest
from aspect_reviews import VOCAB, write_reviews
from conftest import write_bert

from aspect_sentiment.data import read_data
from experiments import aspects
from experiments.aspect_rows import WAYS, make_folder
from experiments.readme_words import ENGLISH


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("aspects")
    return write_reviews(folder / "data", 30), write_bert(folder / "bert", VOCAB, max_position_embeddings=16)


@pytest.mark.measurement
def test_models_are_chosen_on_dev_and_the_best_is_scored_on_test(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    data, bert = folders
    paths = ["--data-dir", str(data), "--bert-path", str(bert), "--output", str(tmp_path)]
    args = [*paths, "--seeds", "1", "--num-epochs", "2", "--models", "linear", "attention", "eda", "taught", "matched"]
    aspects.main(args)
    report = json.loads((tmp_path / "aspects.json").read_text(encoding="utf-8"))
    assert [entry["model"] for entry in report["summary"]] == ["linear", "attention", "eda", "taught", "matched"]
    judged = {cell["model"] for cell in report["test"]}
    best = max(("attention", "eda"), key=lambda name: {c["model"]: c for c in report["cells"]}[name]["pooled_f1"])
    assert judged == {"linear", best, "taught", "matched"}
    table = (tmp_path / "aspects.md").read_text(encoding="utf-8")
    assert "| linear model |" in table and f"- {ENGLISH[best]} against the linear model on test, pooled F1: " in table
    capsys.readouterr()
    aspects.main(args)
    assert "==" not in capsys.readouterr().out, "nothing is trained again"


def test_rows_made_otherwise(folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    splits = read_data(folders[0])
    made = {way: read_data(make_folder(way, splits, tmp_path / way, 1))["train"] for way in WAYS}
    before, told = splits["train"], capsys.readouterr().out
    assert len(made["undersample"]) == 22 and len(made["eda"]) == 60 and len(made["oversample"]) >= 30
    assert set(made["undersample"].items) <= set(before.items) == set(made["oversample"].items)
    assert (made["eda"].states[30:] == before.states).all() and made["eda"].items[30:] != before.items
    assert "eda: 30 -> 60 reviews; shares of the states before and after: " in told
