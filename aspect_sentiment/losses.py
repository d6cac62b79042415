"""Losses of training on labels: the mean over the labelled pairs of review and aspect."""

import torch
from torch import nn
from torch.nn import functional as F

from core.model_files.module import call
from core.training.units import IGNORED, Batch
from core.training.updater import LossFn


def pair_loss(weights: torch.Tensor | None = None, gamma: float = 0.0) -> LossFn:
    """Cross-entropy, or focal loss (Lin et al. 2017), the mean over the labelled pairs.

    Args:
        weights: (aspects, states) what the loss of a pair is multiplied by; None: 1.
        gamma: of the focal loss: pairs of which the model is sure count for (1 - p) ** gamma.
    """

    def loss_fn(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return _pairs(call(model, batch), batch, weights, gamma), {}

    return loss_fn


def _pairs(logits: torch.Tensor, batch: Batch, weights: torch.Tensor | None, gamma: float) -> torch.Tensor:
    labels = batch["labels"]
    chosen = labels != IGNORED
    losses = F.cross_entropy(logits[chosen], labels[chosen], reduction="none")
    if gamma:
        losses = (1 - torch.exp(-losses)) ** gamma * losses
    if weights is not None:
        aspects = torch.arange(labels.shape[1], device=labels.device).expand_as(labels)
        losses = weights.to(labels.device)[aspects[chosen], labels[chosen]] * losses
    return losses.mean()


def r_drop(alpha: float, weights: torch.Tensor | None = None) -> LossFn:
    """R-Drop (Liang et al. 2021): the loss with two dropout masks, and alpha times their mean symmetric KL."""

    def loss_fn(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        one, other = (call(model, batch) for _ in range(2))
        chosen = batch["labels"] != IGNORED
        logs = [F.log_softmax(each[chosen], dim=-1) for each in (one, other)]
        divergence = sum(F.kl_div(a, b, log_target=True, reduction="batchmean") for a, b in (logs, logs[::-1]))
        hard = (_pairs(one, batch, weights, 0.0) + _pairs(other, batch, weights, 0.0)) / 2
        return hard + alpha * divergence / 2, {"hard": hard.detach(), "divergence": divergence.detach()}

    return loss_fn


def balanced_weights(states: torch.Tensor, num_labels: int, power: float = 0.5) -> torch.Tensor:
    """(aspects, states) weights that fall with a state's number of reviews to a power; their mean over the pairs is 1.

    Args:
        states: (reviews, aspects) ids, IGNORED where there is no label.
        num_labels: number of states.
        power: 1: all states of an aspect count alike; 0.5: between that and as they come.
    """
    counts = torch.stack([torch.bincount(c[c != IGNORED], minlength=num_labels) for c in states.T]).double()
    weights = counts.clamp(min=1) ** -power
    return (weights * counts.sum() / (weights * counts).sum()).float()
