"""Export to ONNX: any module of this project, compared with PyTorch, and no other is written."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import float_products, tiny_bert
from torch import nn

from bilstm_classifier import BiLSTMClassifier
from core.bert.encoder import build_bert
from core.compression import export
from core.compression.quantize import VARIANTS, quantize_onnx, run_graph
from core.console import UserError
from core.model_files import checkpoint, onnx_model
from core.model_files.facts import inputs_of
from core.model_files.finite import NotFinite
from core.model_files.module import load_module, run_module
from predict_fun import NewsClassifier

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def facts(teacher: Path) -> dict:
    return {**checkpoint.load(teacher)[1], "stage": "soft", "architecture": {"type": "bilstm", "num_labels": 3}}


def test_attention_is_one_operator(graph: bytes):
    import onnx

    operators = [node.op_type for node in onnx.load_from_string(graph).graph.node]
    assert operators.count("MultiHeadAttention") == 2 and "Softmax" not in operators
    assert operators.count("Gelu") == 2 and operators.count("LayerNormalization") == 5


class Student(nn.Module):
    """A classifier with an LSTM in it."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(100, 16)
        self.lstm = nn.LSTM(16, 16, batch_first=True)
        self.classifier = nn.Linear(16, 3)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        states = self.lstm(self.embedding(input_ids))[0] * attention_mask.unsqueeze(-1)
        return self.classifier(states.sum(1) / attention_mask.sum(1, keepdim=True))


def test_a_student_is_exported_and_quantized(facts: dict, tmp_path: Path):
    model = Student().train()
    export.export(model, tmp_path / "student.onnx", facts)
    assert model.training
    classifier = NewsClassifier.load(tmp_path / "student.onnx")
    assert classifier.facts == {**facts, "format_version": 1} and classifier.name == "soft"
    texts = ["球队夺冠", "银行基金股债利率", "芯"]
    together = classifier.predict(texts)
    for text, expected in zip(texts, together, strict=True):
        assert classifier.predict([text])[0].confidence == pytest.approx(expected.confidence, abs=1e-5)
    content = quantize_onnx(export.to_onnx(model, facts), VARIANTS["signed"])
    assert b"DynamicQuantizeLSTM" in content and b"MatMulInteger" in content
    export.write(tmp_path / "int8.onnx", content, facts)
    for answer, expected in zip(NewsClassifier.load(tmp_path / "int8.onnx").predict(texts), together, strict=True):
        assert answer.confidence == pytest.approx(expected.confidence, abs=0.02)


def test_layers_of_different_sizes_are_exported(teacher: Path):
    model, its = load_module(teacher, NewsClassifier.builds)
    attention = model.bert.encoder.layer[0].attention
    for name in ("query", "key", "value"):  # one head of two is left in this layer, both in the next
        full = getattr(attention.self, name)
        half = nn.Linear(32, 16)
        half.weight.data, half.bias.data = full.weight.data[:16].clone(), full.bias.data[:16].clone()
        setattr(attention.self, name, half)
    output = nn.Linear(16, 32)
    output.weight.data = attention.output.dense.weight.data[:, :16].clone()
    attention.output.dense = output
    content = export.to_onnx(model, its)  # compares the logits itself
    quantize_onnx(content, VARIANTS["signed, per channel"])


def test_an_export_that_differs_is_refused(graph: bytes, teacher: Path):
    model, its = load_module(teacher, NewsClassifier.builds)
    export.check_logits(model, graph, its)
    with torch.no_grad():
        model.classifier.bias[1] += 2e-4
    with pytest.raises(UserError, match="gives other logits than PyTorch"):
        export.check_logits(model, graph, its)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_model_that_is_not_finite_is_not_exported(value: float, facts: dict, graph: bytes, teacher: Path):
    model = BiLSTMClassifier(len(facts["vocab"]), 3, 8, 8).eval()
    with torch.no_grad():
        model.classifier.bias[1] = value
    with pytest.raises(NotFinite, match="the model gives logits that are not finite .*lower --learning-rate"):
        export.to_onnx(model, facts)


class Tagger(nn.Module):
    """A head on each token of a BERT that is told which of two segments a token is in."""

    inputs = ("input_ids", "attention_mask", "token_type_ids")
    per_token = True

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.bert = build_bert(tiny_bert().architecture["bert_config"], False)
        self.classifier = nn.Linear(24, 3)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor):
        states = self.bert(input_ids, attention_mask, token_type_ids).last_hidden_state
        return self.classifier(states).float()


class RecurrentTagger(nn.Module):
    """A head on each state of an LSTM."""

    per_token = True

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.lstm = nn.Embedding(50, 8), nn.LSTM(8, 8, batch_first=True)
        self.classifier = nn.Linear(8, 3)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.lstm(self.embedding(input_ids * attention_mask))[0])


@pytest.mark.parametrize("kind", [Tagger, RecurrentTagger])
def test_logits_of_tokens_and_more_inputs_are_exported(kind: type[nn.Module], facts: dict, tmp_path: Path):
    model, vocab = kind().eval(), facts["vocab"][:50]
    its = {**facts, "vocab": vocab, "max_length": 12, "inputs": list(inputs_of(model)), "per_token": True}
    graph = export.to_onnx(model, its)  # compares lengths and padding itself
    export.write(tmp_path / "m.onnx", graph, its)
    kept, run = onnx_model.load(tmp_path / "m.onnx", "cpu")
    assert kept["inputs"] == list(inputs_of(model)) and kept["per_token"] is True
    rng = np.random.default_rng(1)
    arrays = {"input_ids": rng.integers(5, len(vocab), (3, 7)), "attention_mask": np.ones((3, 7), dtype=np.int64)}
    arrays["token_type_ids"] = (np.arange(7) > 3).astype(np.int64) * np.ones((3, 1), dtype=np.int64)
    arrays = {name: arrays[name] for name in its["inputs"]}
    found = run(arrays)
    assert found.shape == (3, 7, 3) and np.abs(found - run_module(model, CPU)(arrays)).max() < 1e-4
    if kind is Tagger:
        other = run({**arrays, "token_type_ids": np.zeros((3, 7), dtype=np.int64)})
        assert np.abs(found - other).max() > 1e-3  # the third input is no ornament
    export.write(tmp_path / "m.onnx", graph, {**its, "inputs": ["input_ids"]})
    with pytest.raises(UserError, match="lacks facts about its model, or they do not fit it"):
        onnx_model.load(tmp_path / "m.onnx", "cpu")


class Twice(nn.Module):
    """One layer at work in two places, as the encoder of a tagger that reads words and characters."""

    per_token = True

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.shared, self.classifier = nn.Embedding(50, 128), nn.Linear(128, 128), nn.Linear(128, 3)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        states = self.embedding(input_ids * attention_mask)
        return self.classifier(self.shared(states.tanh()) + self.shared(states))


def test_weights_that_are_used_twice_become_integers_too(facts: dict, tmp_path: Path):
    its = {**facts, "vocab": facts["vocab"][:50], "max_length": 12, "per_token": True}
    graph = export.to_onnx(Twice().eval(), its)
    (tmp_path / "int8.onnx").write_bytes(quantize_onnx(graph, VARIANTS["signed"]))
    assert not float_products(tmp_path / "int8.onnx")


class Otherwise(RecurrentTagger):
    """The same, but for what it gives at padding, or for one class of each token."""

    def __init__(self, at_padding: bool) -> None:
        super().__init__()
        self.at_padding = at_padding

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        where = 1 - attention_mask if self.at_padding else attention_mask
        return super().forward(input_ids, attention_mask) + 0.01 * where.unsqueeze(-1)


def test_what_stands_at_padding_is_not_compared(facts: dict):
    its = {**facts, "vocab": facts["vocab"][:50], "max_length": 12}
    export.check_logits(RecurrentTagger(), export.to_onnx(Otherwise(at_padding=True), its), its)
    with pytest.raises(UserError, match="gives other logits than PyTorch"):
        export.check_logits(RecurrentTagger(), export.to_onnx(Otherwise(at_padding=False), its), its)


def test_the_students_of_this_project_are_exported_as_they_are(facts: dict):
    torch.manual_seed(0)
    model = BiLSTMClassifier(len(facts["vocab"]), 3, 8, 8).eval()
    run, ids = run_graph(export.to_onnx(model, facts)), np.array([[2, 7, 8, 3, 0], [2, 9, 3, 0, 0]])
    arrays = {"input_ids": ids, "attention_mask": (np.arange(5) < np.array([[4], [3]])).astype(np.int64)}
    assert np.abs(run(arrays) - run_module(model, CPU)(arrays)).max() < 1e-5
