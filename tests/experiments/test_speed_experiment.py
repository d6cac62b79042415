"""The measurement of the training loop, on models small enough to measure in a test."""

import json
from pathlib import Path

import pytest
import torch

from core.console import UserError
from core.measure.latency import in_own_process, peak_mb, peak_memory_mb
from experiments import speed


@pytest.fixture
def small(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny models in place of the bundled one and BERT-base, measured in this process."""
    monkeypatch.setattr(speed, "BUNDLED_BERT", bert)
    tiny = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    monkeypatch.setattr(speed, "BERT_BASE", {**speed.BERT_BASE, **tiny, "vocab_size": 100})
    monkeypatch.setattr(speed, "in_own_process", lambda function, *args: function(*args))


def test_the_training_benchmark_from_end_to_end(small: None, data: Path, tmp_path: Path):
    flags = ["--batch-size", "16", "--seconds", "0.05", "--rounds", "2", "--device", "cpu"]
    speed.main(["--data-dir", str(data), "--output", str(tmp_path), *flags])
    report = json.loads((tmp_path / "training_speed.json").read_text(encoding="utf-8"))
    assert [row["shape"] for row in report["rows"]] == ["small", "bert-base"]
    for row in report["rows"]:
        assert row["plain_titles_per_s"] > 0 and row["fit_titles_per_s"] > 0 and row["fit_peak_mb"] > 0
        assert row["ratio"] == pytest.approx(row["fit_titles_per_s"] / row["plain_titles_per_s"], rel=0.9)
    assert report["machine"] and report["date"] and report["threads"]
    table = (tmp_path / "training_speed.md").read_text(encoding="utf-8")
    assert "| bert-mini-chinese, batches of 16 |" in table and "BERT-base, batches of 4 |" in table
    assert str(data) not in json.dumps(report)


def test_both_loops_take_the_same_steps(small: None, data: Path, monkeypatch: pytest.MonkeyPatch):
    """Without dropout, bucketing and bf16 the two loops differ in nothing but their order of titles."""
    monkeypatch.setattr(speed, "STEPS", 4)
    monkeypatch.setattr("core.training.device.has_native_bf16", lambda _: False)
    config = speed.SpeedConfig(data_dir=data, batch_size=60, device="cpu")
    labels, splits = speed.read_data(data)
    weights = {}
    for loop in ("plain", "fit"):
        model, steps = speed.start(loop, "small", splits["train"], len(labels), config)
        before = model.classifier.weight.detach().clone()
        model.eval()  # no dropout
        assert [next(steps) for _ in range(4)] == [60] * 4  # a batch is the whole file, so order does not matter
        weights[loop] = model.classifier.weight.detach().clone()
        assert (weights[loop] - before).abs().max() > 2e-3
    assert torch.allclose(weights["plain"], weights["fit"], atol=2e-3)


def test_a_process_of_its_own_has_its_own_memory():
    large = bytearray(400_000_000)
    assert 5 < in_own_process(peak_mb) < 200 and len(large) / 1e6 < peak_memory_mb(torch.device("cpu"))


@pytest.mark.parametrize("flags", [["--rounds", "0"], ["--seconds", "0"], ["--limit", "0"]])
def test_nothing_to_measure(flags: list[str]):
    with pytest.raises(UserError, match=f"{flags[0]}.* must be"):
        speed.main(flags)
