"""experiments.aspects from end to end: chosen on dev, test read for the best and the students, kept cell by cell."""

import json
from pathlib import Path

import pytest
from aspect_reviews import VOCAB, write_reviews
from conftest import write_bert

from experiments import aspects


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("aspects")
    return write_reviews(folder / "data", 30), write_bert(folder / "bert", VOCAB, max_position_embeddings=16)


def test_models_are_chosen_on_dev_and_the_best_is_scored_on_test(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    data, bert = folders
    paths = ["--data-dir", str(data), "--bert-path", str(bert), "--output", str(tmp_path)]
    args = [*paths, "--seeds", "1", "--num-epochs", "2", "--models", "linear", "attention", "head_tail", "taught"]
    aspects.main(args)
    report = json.loads((tmp_path / "aspects.json").read_text(encoding="utf-8"))
    assert [entry["model"] for entry in report["summary"]] == ["linear", "attention", "head_tail", "taught"]
    judged = {cell["model"] for cell in report["test"]}
    best = max(("attention", "head_tail"), key=lambda name: {c["model"]: c for c in report["cells"]}[name]["pooled_f1"])
    assert judged == {"linear", best, "taught"}
    table = (tmp_path / "aspects.md").read_text(encoding="utf-8")
    assert "| linear |" in table and f"- {best} – linear, test pooled F1: " in table
    capsys.readouterr()
    aspects.main(args)
    assert "==" not in capsys.readouterr().out, "nothing is trained again"
