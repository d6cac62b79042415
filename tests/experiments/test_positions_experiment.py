"""Positions that pretraining never reached, trained alone."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import pretrain_mlm
from core.console import UserError
from experiments import positions

NAME = "bert.embeddings.position_embeddings.weight"


@pytest.fixture(scope="module")
def bert(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of 64 positions; do not write to it."""
    folder = tmp_path_factory.mktemp("bert")
    sizes = ["--vocab-size", "150", "--num-layers", "1", "--hidden-size", "64", "--max-steps", "2", "--device", "cpu"]
    paths = ["--corpus", str(corpus), "--save-dir", str(folder / "bert"), "--output", str(folder / "reports")]
    pretrain_mlm.main([*paths, *sizes])
    return folder / "bert"


def test_late_positions_learn_and_nothing_else_changes(bert: Path, corpus: Path, tmp_path: Path):
    paths = ["--init", str(bert), "--corpus", str(corpus), "--save-dir", str(tmp_path / "new")]
    steps = ["--minutes", "None", "--num-epochs", "1", "--max-steps", "40", "--batch-tokens", "256", "--device", "cpu"]
    positions.main([*paths, "--output", str(tmp_path), "--reached", "16", *steps])
    before, after = load_file(bert / "model.safetensors"), load_file(tmp_path / "new/model.safetensors")
    assert before[NAME].shape == (64, 64)
    assert torch.equal(before[NAME][:16], after[NAME][:16])
    assert not torch.isclose(before[NAME][16:], after[NAME][16:]).all(1).any()
    assert all(torch.equal(before[name], after[name]) for name in before if name != NAME)
    report = json.loads((tmp_path / "new/positions.json").read_text(encoding="utf-8"))
    assert report["after"]["late_loss"] < report["before"]["late_loss"]


def test_what_cannot_be_trained(bert: Path, corpus: Path, tmp_path: Path):
    short = tmp_path / "short.txt"
    short.write_text("股市\n" * 30, encoding="utf-8")
    for reached, texts, says in (
        (64, corpus, "--reached is 64: it must be 1 to 63"),
        (0, corpus, "--reached is 0"),
        (60, short, "no text that reaches far beyond position 60: give paragraphs"),
    ):
        paths = ["--init", str(bert), "--corpus", str(texts), "--save-dir", str(tmp_path / "new")]
        with pytest.raises(UserError, match=says):
            positions.main([*paths, "--output", str(tmp_path), "--reached", str(reached)])
