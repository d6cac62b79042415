"""Distillation for any task: the start of a student, and its loss against a teacher's logits."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import nn

from core.bert.shape import Architecture, Weights, layer_shapes
from core.compression.layers import keep_layers, spread
from core.compression.teacher_cache import RowLogits
from core.model_files.module import call
from core.training.units import Batch, Units
from core.training.updater import LossFn

Start = Literal["random", "first", "spread"]
# (student's logits, teacher's logits, labels with NO_LABEL where there is none) -> (mean loss, {name: part})
DistilLoss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, dict[str, torch.Tensor]]]


def start_student(
    weights: Weights, architecture: Architecture, layers: int, start: Start = "spread"
) -> tuple[Weights | None, Architecture]:
    """The weights and the architecture that a student with fewer layers than its teacher begins with.

    Args:
        weights: of the teacher.
        architecture: its.
        layers: of the student.
        start: the teacher's layers that the student takes over: the "first" ones, or evenly "spread" ones (every other
            one where half are kept: DistilBERT, Sanh et al. 2019, arXiv 1910.01108); "random": none, nor anything else.

    Returns:
        Weights None: at random.
    """
    shapes = layer_shapes(architecture)
    kept = spread(len(shapes), layers) if start == "spread" else list(range(layers))
    weights, architecture = keep_layers(weights, architecture, kept)
    return (None if start == "random" else weights), architecture


def taught(loss: DistilLoss, teacher: RowLogits, units: Units) -> LossFn:
    """Loss of a student that learns from a teacher's logits, as `fit` takes it.

    Args:
        loss: of a student's and a teacher's logits, unit by unit.
        teacher: its logits of all rows, on the device that is computed on.
        units: what of the logits is compared.
    """

    def loss_fn(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        logits = call(model, batch)
        student, labels = units(logits, batch)
        wanted, _ = units(teacher.of(batch["row"], logits.shape[1]), batch)
        return loss(student, wanted, labels)

    return loss_fn
