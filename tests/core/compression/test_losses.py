"""Losses of distillation against their definitions, on rows and on tokens."""

import pytest
import torch
from torch.nn import functional as F

from core.compression.losses import NO_LABEL, distillation_loss, hard_loss, soft_loss


def logits(seed: int, requires_grad: bool = False) -> torch.Tensor:
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(seed)).requires_grad_(requires_grad)


def test_without_soft_labels_it_is_cross_entropy():
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    loss, parts = distillation_loss(logits(1), logits(2), labels, temperature=3.0, alpha=0.0)
    assert torch.equal(loss, F.cross_entropy(logits(1), labels))
    assert torch.equal(parts["hard"], loss) and parts["soft"] > 0


def test_the_soft_loss_is_the_divergence_times_t_squared():
    teacher, student = (torch.softmax(logits(seed) / 2, 1) for seed in (2, 1))
    divergence = (teacher * (teacher / student).log()).sum(1).mean()
    assert soft_loss(logits(1), logits(2), 2.0).item() == pytest.approx(4 * divergence.item(), rel=1e-5)
    assert soft_loss(logits(1), logits(1) + 5, 2.0).item() == pytest.approx(0, abs=1e-6)
    labels = torch.zeros(6, dtype=torch.long)
    loss, parts = distillation_loss(logits(1), logits(2), labels, temperature=2.0, alpha=0.7)
    assert loss.item() == pytest.approx(0.7 * parts["soft"].item() + 0.3 * parts["hard"].item())


def test_gradients_reach_the_student_alone():
    student, teacher = logits(1, requires_grad=True), logits(2, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 3, NO_LABEL, NO_LABEL])
    (distillation_loss(student, teacher, labels, 2.0, 0.7)[0] + hard_loss(student, teacher)).backward()
    assert student.grad.abs().sum() > 0 and teacher.grad is None


def test_t_squared_keeps_the_scale_of_the_gradient():
    norms = []
    for temperature in (1.0, 10.0):
        student = (logits(1) / 100).requires_grad_()
        soft_loss(student, logits(2) / 100, temperature).backward()
        norms.append(student.grad.norm().item())
    assert norms[1] == pytest.approx(norms[0], rel=0.02)


def test_the_teachers_class_stands_in_for_a_missing_label():
    teacher = logits(2)
    labels = torch.tensor([0, NO_LABEL, 2, NO_LABEL, 0, 1])
    filled = torch.where(labels == NO_LABEL, teacher.argmax(1), labels)
    loss, _ = distillation_loss(logits(1), teacher, labels, 2.0, 0.0)
    assert torch.equal(loss, F.cross_entropy(logits(1), filled))
    assert torch.equal(hard_loss(logits(1), teacher), F.cross_entropy(logits(1), teacher.argmax(1)))


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 2, 4)])
def test_logits_of_more_dimensions_are_as_many_units(shape: tuple[int, ...]):
    rng = torch.Generator().manual_seed(3)
    student, teacher = (torch.randn(shape, generator=rng) for _ in range(2))
    labels = torch.randint(4, shape[:-1], generator=rng)
    labels[0, 1] = NO_LABEL
    units = (student.reshape(-1, 4), teacher.reshape(-1, 4))
    assert torch.equal(soft_loss(student, teacher, 3.0), soft_loss(*units, 3.0))
    assert torch.equal(hard_loss(student, teacher), hard_loss(*units))
    loss, parts = distillation_loss(student, teacher, labels, 3.0, 0.6)
    expected, expected_parts = distillation_loss(*units, labels.flatten(), 3.0, 0.6)
    assert torch.equal(loss, expected) and all(torch.equal(parts[name], expected_parts[name]) for name in parts)
    assert loss.ndim == 0
