"""INT8: the variant that suits this CPU, and PyTorch's own form of it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from core.compression import quantize
from core.compression.quantize import VARIANTS, choose_variant, has_vnni
from core.console import UserError
from core.model_files import checkpoint
from core.model_files.facts import Facts
from core.model_files.int8 import load_quantized
from core.model_files.int8 import quantize as quantize_module
from core.model_files.predictor import Predictor, Rows
from predict_fun import NewsClassifier

NAMES = [*VARIANTS]


def patch(monkeypatch: pytest.MonkeyPatch, times: dict[str, float], run_of: Callable) -> None:
    """Let the graph of a variant be its name, with the speed that `times` gives and the answers of `run_of`."""
    monkeypatch.setattr(quantize, "quantize_onnx", lambda _, options: NAMES[[*VARIANTS.values()].index(options)])
    monkeypatch.setattr(quantize, "run_graph", run_of)
    monkeypatch.setattr(quantize, "compare_speed", lambda *_: [{"p50_ms": times[name]} for name in NAMES])


def answer(number: int) -> Callable:
    return lambda inputs: np.eye(3, dtype=np.float32)[np.full(len(inputs["input_ids"]), number)]


@pytest.mark.parametrize(
    ("times", "right", "best"),
    [
        ((1.0, 2.0, 1.98, 2.5), (False, True, False, True), 1),  # the fastest of those that agree
        ((1.0, 2.0, 1.98, 2.5), (False, False, False, True), 3),
        ((3.0, 2.0, 1.98, 1.0), (False, False, False, False), 3),  # none agrees: the fastest
    ],
)
def test_the_fastest_variant_that_agrees_is_kept(times, right, best, teacher: Path, monkeypatch: pytest.MonkeyPatch):
    agrees = dict(zip(NAMES, right, strict=True))
    patch(monkeypatch, dict(zip(NAMES, times, strict=True)), lambda name: answer(int(agrees[name])))
    fp32 = NewsClassifier(checkpoint.load(teacher)[1], answer(1))
    name, graph, measured = choose_variant("fp32", fp32, ["球队夺冠", "银行利率"])
    assert name == graph == NAMES[best]
    assert measured == {
        each: {"p50_ms": times[index], "agreement": float(right[index])} for index, each in enumerate(NAMES)
    }


def test_of_variants_as_fast_the_one_that_agrees_most_is_kept(teacher: Path, monkeypatch: pytest.MonkeyPatch):
    texts = ["球" * (1 + index) for index in range(50)]  # told by their lengths
    shares = dict(zip(NAMES, (49, 50, 49, 50), strict=True))

    def run_of(name: str) -> Callable:
        return lambda inputs: np.eye(3)[(inputs["attention_mask"].sum(1) - 2 <= shares[name]).astype(int)]

    patch(monkeypatch, dict(zip(NAMES, (1.0, 1.09, 1.0, 1.2), strict=True)), run_of)
    name, _, measured = choose_variant("fp32", NewsClassifier(checkpoint.load(teacher)[1], answer(1)), texts)
    assert name == NAMES[1] and [measured[each]["agreement"] for each in NAMES] == [0.98, 1.0, 0.98, 1.0]


class Tagger(Predictor):
    """A class for each token of a row of numbers."""

    def encode(self, items: list[list[int]]) -> Rows:
        return Rows({"input_ids": items}, range(len(items)), items)


def test_tokens_are_compared_without_padding(teacher: Path, monkeypatch: pytest.MonkeyPatch):
    facts: Facts = {**checkpoint.load(teacher)[1], "per_token": True}

    def run_of(name: str) -> Callable:
        """All classes are 1, but for the token 9 in the first variant, and those at padding."""

        def run(inputs: dict[str, np.ndarray]) -> np.ndarray:
            wrong = (inputs["input_ids"] == 9) & (name == NAMES[0]) | ((inputs["attention_mask"] == 0) & (name != ""))
            return np.eye(3)[np.where(wrong, 2, 1)]

        return run

    patch(monkeypatch, dict.fromkeys(NAMES, 1.0), run_of)
    items = [[5, 6, 9, 7, 8, 5, 5], [5]]
    name, _, measured = choose_variant("fp32", Tagger(facts, run_of("")), items)
    assert name == NAMES[1]
    assert [measured[each]["agreement"] for each in NAMES] == [7 / 8, 1.0, 1.0, 1.0]


def test_nothing_to_compare_on(teacher: Path):
    with pytest.raises(UserError, match="nothing to measure with that a model could answer"):
        choose_variant(b"", NewsClassifier(checkpoint.load(teacher)[1], answer(1)), [])


@pytest.mark.parametrize(
    ("flags", "vnni"),
    [(["avx2", "avx512_f"], False), (["avx512_f", "avx512_vnni"], True), (["avx_vnni"], True), ([], False)],
)
def test_integer_instructions(flags: list[str], vnni: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(quantize, "cpu_flags", lambda: flags)
    assert has_vnni() == vnni


def test_a_quantized_state_comes_back_from_a_checkpoint(tmp_path: Path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3))
    int8 = quantize_module(model)
    facts = {"stage": "int8", "architecture": {"type": "toy", "num_labels": 3}, "labels": ["a", "b", "c"]}
    facts |= {"vocab": ["[PAD]", "[UNK]", "[CLS]", "[SEP]"], "max_length": 8}
    checkpoint.save(tmp_path / "m.pt", int8.state_dict(), facts)
    again = quantize_module(nn.Sequential(nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3)))
    inputs = torch.randn(4, 16)
    assert not torch.equal(again(inputs), int8(inputs))
    load_quantized(again, checkpoint.load(tmp_path / "m.pt")[0])
    assert torch.equal(again(inputs), int8(inputs)) and torch.allclose(again(inputs), model(inputs), atol=0.05)
    assert type(model[0]) is nn.Linear  # left as it was
