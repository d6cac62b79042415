"""Where a student starts, and that it learns the answers of its own rows, whatever a unit is."""

import pytest
import torch
from conftest import TINY, some_ids, tiny_bert

from bert_classifer_model import BertClassifier
from core.compression.distil import start_student, taught
from core.compression.losses import distillation_loss
from core.compression.teacher_cache import RowLogits
from core.training.units import IGNORED, row_units, token_units

DEEP = {**TINY, "num_hidden_layers": 6}


def layers_of(student: BertClassifier, teacher: BertClassifier) -> list[int]:
    """Which of the teacher's layers the student has, in order; every weight of a layer must be the teacher's."""
    found = []
    for layer in student.bert.encoder.layer:
        weights = layer.state_dict()
        same = [
            index
            for index, other in enumerate(teacher.bert.encoder.layer)
            if all(torch.equal(tensor, weights[name]) for name, tensor in other.state_dict().items())
        ]
        found += same or [-1]
    return found


@pytest.mark.parametrize(
    ("start", "layers", "kept"),
    [
        ("spread", 1, [0]),
        ("spread", 2, [0, 3]),
        ("spread", 3, [0, 2, 4]),
        ("spread", 4, [0, 1, 3, 4]),
        ("spread", 6, [0, 1, 2, 3, 4, 5]),
        ("first", 1, [0]),
        ("first", 3, [0, 1, 2]),
    ],
)
def test_a_student_starts_with_layers_of_its_teacher_and_all_the_rest(start: str, layers: int, kept: list[int]):
    teacher = tiny_bert(bert_config=DEEP)
    weights, architecture = start_student(teacher.state_dict(), teacher.architecture, layers, start)
    student = BertClassifier.from_architecture(architecture, weights)
    assert layers_of(student, teacher) == kept
    others = [name for name in student.state_dict() if "encoder.layer" not in name]
    assert "classifier.weight" in others and "bert.embeddings.word_embeddings.weight" in others
    assert all(torch.equal(student.state_dict()[name], teacher.state_dict()[name]) for name in others)


def test_a_random_student_has_the_shape_alone():
    teacher = tiny_bert(bert_config=DEEP)
    weights, architecture = start_student(teacher.state_dict(), teacher.architecture, 2, "random")
    assert weights is None
    student = BertClassifier.from_architecture(architecture)
    assert layers_of(student, teacher) == [-1, -1]
    ours, theirs = student.state_dict(), teacher.state_dict()
    assert not [name for name, tensor in ours.items() if torch.equal(tensor, theirs[name]) and name.endswith("weight")]


@pytest.mark.parametrize(("start", "second"), [("spread", 2), ("first", 1), ("random", 1)])
def test_a_student_of_a_pruned_teacher_has_its_shapes(start: str, second: int):
    layers = [{"heads": 1 + index % 2, "ffn": 10 + index} for index in range(4)]
    teacher = tiny_bert(bert_config={**TINY, "num_hidden_layers": 4}, layers=layers)
    weights, architecture = start_student(teacher.state_dict(), teacher.architecture, 2, start)
    assert architecture["layers"] == [layers[0], layers[second]]
    student = BertClassifier.from_architecture(architecture, weights)
    assert student.bert.config.num_hidden_layers == 2
    if start != "random":
        assert layers_of(student, teacher) == [0, second]


def loss(student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor):
    return distillation_loss(student, teacher, labels, 2.0, 0.5)


def test_a_row_is_taught_by_its_own_logits():
    teacher = RowLogits(torch.randn(10, 3, generator=torch.Generator().manual_seed(0)))
    batch = {"input_ids": some_ids(3), "attention_mask": torch.ones(3, 9), "labels": torch.tensor([0, 1, 2])}
    batch["row"] = torch.tensor([7, 2, 5])
    loss_fn = taught(loss, teacher, row_units)
    assert loss_fn(lambda *_: teacher.values[[7, 2, 5]], batch)[1]["soft"] == pytest.approx(0, abs=1e-6)
    assert loss_fn(lambda *_: teacher.values[[2, 7, 5]], batch)[1]["soft"] > 0.1
    again, parts = loss_fn(lambda *_: teacher.values[:3], batch)
    expected, _ = loss(teacher.values[:3], teacher.values[[7, 2, 5]], batch["labels"])
    assert torch.equal(again, expected) and parts.keys() == {"soft", "hard"}


@pytest.mark.parametrize("padding", [0, 3])  # a batch may be wider than its longest row
def test_a_token_is_taught_by_its_own_logits(padding: int):
    values = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    teacher = RowLogits(values, torch.tensor([0, 4, 9]))
    labels = torch.tensor([[IGNORED, 1, 2, 0, IGNORED], [IGNORED, 0, IGNORED, IGNORED, IGNORED]])
    labels = torch.cat((labels, torch.full((2, padding), IGNORED)), 1)
    batch = {"input_ids": some_ids(2, 5 + padding), "attention_mask": torch.ones(2, 5 + padding), "labels": labels}
    batch["row"] = torch.tensor([1, 0])  # the second row is shorter by a token
    own = torch.zeros(2, 5 + padding, 3)
    own[0, :5], own[1, :4] = values[4:], values[:4]
    loss_fn = taught(loss, teacher, token_units)
    assert loss_fn(lambda *_: own, batch)[1]["soft"] == pytest.approx(0, abs=1e-6)
    found, _ = loss_fn(lambda *_: torch.ones(2, 5 + padding, 3), batch)
    expected, _ = loss(torch.ones(4, 3), values[[5, 6, 7, 1]], torch.tensor([1, 2, 0, 0]))
    assert torch.allclose(found, expected)
