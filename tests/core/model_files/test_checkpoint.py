"""Checkpoints: what goes in comes out, nothing foreign does, and a file tells what it is."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ARTEFACT, ROOT, train_args

import train
from core.console import UserError
from core.model_files import checkpoint

FACTS = {"stage": "teacher", "architecture": {"type": "bert", "num_labels": 2}, "labels": ["甲", "乙"]}
FACTS |= {"vocab": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "好"], "max_length": 8}


def test_a_checkpoint_comes_back(tmp_path: Path):
    weights = {"w": torch.randn(3, 4), "n": torch.tensor(7)}
    checkpoint.save(tmp_path / "deep" / "m.pt", weights, FACTS)
    state_dict, facts = checkpoint.load(tmp_path / "deep" / "m.pt")
    assert facts == FACTS
    assert all(torch.equal(state_dict[name], weights[name]) for name in weights)


class Hostile:
    def __reduce__(self):
        return (print, ("code ran",))


def refuse(path: Path, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=says):
        checkpoint.load(path)
    assert "code ran" not in capsys.readouterr().out


def test_damaged_and_foreign_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    good, bad = tmp_path / "good.pt", tmp_path / "bad.pt"
    checkpoint.save(good, {"w": torch.randn(100, 100)}, FACTS)
    content = good.read_bytes()

    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for damage in (b"", b"hello", content[: len(content) // 2], content[:-10], bytes(flipped), b"PK\x03\x04" * 9):
        bad.write_bytes(damage)
        refuse(bad, "damaged", capsys)

    bad.write_bytes(pickle.dumps({"state_dict": Hostile()}))
    refuse(bad, "pickled", capsys)
    torch.save({"format_version": 1, "state_dict": {}, "meta": Hostile()}, bad)
    refuse(bad, "pickled", capsys)
    torch.save(torch.nn.Linear(2, 2), bad)
    refuse(bad, "pickled", capsys)
    torch.save({"w": torch.zeros(1)}, bad)
    refuse(bad, "not a checkpoint of this project", capsys)
    torch.save({"format_version": 99, "state_dict": {}, "meta": FACTS}, bad)
    refuse(bad, "format version 99, this code reads 1", capsys)
    torch.save({"format_version": 1, "state_dict": {}, "meta": {"stage": "teacher"}}, bad)
    refuse(bad, "lacks facts", capsys)
    refuse(tmp_path / "none.pt", "there is no file", capsys)


def test_a_checkpoint_tells_what_it_is(teacher: Path, tmp_path: Path):
    command = [sys.executable, "-m", "core.model_files.checkpoint"]
    result = subprocess.run([*command, str(teacher)], cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    for expected in (
        "teacher",
        "3: 体育 财经 科技",
        "metrics, test",
        "config, seed",
        "parent_sha256",
        "versions, torch",
    ):
        assert expected in result.stdout, result.stderr
    bad = tmp_path / "bad.pt"
    bad.write_bytes(b"no")
    result = subprocess.run([*command, str(bad)], cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert result.returncode == 1 and result.stderr.startswith("error: ") and "damaged" in result.stderr


def test_the_metric_that_the_state_was_selected_by_is_told_first(tmp_path: Path):
    metrics = {"dev": {"accuracy": 0.9, "n": 20, "per_class": {}, "macro_f1": 0.8765}, "test": None}
    checkpoint.save(tmp_path / "m.pt", {"w": torch.zeros(3, 4)}, {**FACTS, "metrics": metrics, "best_by": "macro_f1"})
    rows = dict(checkpoint.describe(tmp_path / "m.pt"))
    assert rows["metrics, dev"] == "macro_f1 0.8765, accuracy 0.9000, n 20" and "metrics, test" not in rows
    assert rows["licence"] == "unknown", "a file of an earlier version"
    assert rows["parameters"] == "12" and rows["vocab"] == "5 tokens"
    checkpoint.save(tmp_path / "m.pt", {"w": torch.zeros(3, 4)}, {**FACTS, "metrics": metrics, "licence": "mit"})
    assert dict(checkpoint.describe(tmp_path / "m.pt"))["licence"] == "mit"
    assert dict(checkpoint.describe(tmp_path / "m.pt"))["metrics, dev"].startswith("accuracy 0.9000, n 20, macro_f1")


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_weights_that_are_not_finite_are_neither_written_nor_read(value: float, kind: torch.dtype, tmp_path: Path):
    path, good = tmp_path / "m.pt", {"a": torch.ones(3), "w": torch.ones(4, 5, dtype=kind)}
    checkpoint.save(path, good, FACTS)
    before = path.read_bytes()
    bad = {**good, "w": good["w"].clone()}
    bad["w"][2, 3] = value
    with pytest.raises(UserError, match="m.pt is not written, .* in w.: train again with a lower --learning-rate"):
        checkpoint.save(path, bad, FACTS)
    with pytest.raises(UserError, match="m.pt is not written, .* in the loss on dev.: train again with a lower"):
        checkpoint.save(path, good, {**FACTS, "metrics": {"dev": {"f1": 0.1, "loss": value}, "test": None}})
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    checkpoint.write_tensors(path, {"format_version": 1, "state_dict": bad, "meta": FACTS})
    with pytest.raises(UserError, match="the weights in .*m.pt are not finite .* in 'w'.: make the model again"):
        checkpoint.load(path)


def test_large_weights_whose_sum_overflows_are_finite(tmp_path: Path):
    large = {"w": torch.full((9,), 3e38), "h": torch.full((9,), 6e4, dtype=torch.float16), "n": torch.arange(5)}
    checkpoint.save(tmp_path / "m.pt", large, FACTS)
    assert torch.equal(checkpoint.load(tmp_path / "m.pt")[0]["w"], large["w"])


def test_a_training_that_went_astray_keeps_the_earlier_file(bert: Path, data: Path, tmp_path: Path):
    """Its last step makes weights that are finite yet, but of which no logit is."""
    path = tmp_path / "save" / ARTEFACT
    path.parent.mkdir()
    path.write_bytes(b"earlier")
    with pytest.raises(UserError, match=f"{ARTEFACT} is not written, .*lower --learning-rate"):
        train.main(train_args(bert, data, tmp_path, "--learning-rate", "1e30", "--max-steps", "1"))
    assert path.read_bytes() == b"earlier"


@pytest.mark.parametrize("weights", [None, [], "x", {1: torch.ones(1)}, torch.ones(2)])
def test_weights_that_are_none(weights, tmp_path: Path):
    torch.save({"format_version": 1, "state_dict": weights, "meta": FACTS}, tmp_path / "m.pt")
    with pytest.raises(UserError, match="lacks the weights of its model: make the model again"):
        checkpoint.load(tmp_path / "m.pt")
