"""Recipes: what may be added to plain fine-tuning, by name; `experiments/ablation.py` measures what each is worth.

A recipe hands `fit` another loss, and says what is cut of long texts; `fit` knows none of them. What was measured
and helped nowhere is gone from here: results/ablation/ablation.md has the figures.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from core.console import UserError
from core.model_files.module import call
from core.training.units import Batch, Units
from core.training.updater import LossFn

PLAIN = "plain"
RECIPES = {
    "class_weights": "all classes count alike, however few rows they have",
    "class_balanced": "very rare classes count for more, those of many rows about as they are",
    "fgm": "adversarial training on the token vectors",
    "head_tail": "of long texts the head and the tail are read",
}
# Pairs that do not go together, and why.
CONTRADICTIONS = {
    ("class_balanced", "class_weights"): "each alone makes up for rare classes, both together do so twice",
}
BETA = {"class_weights": 1.0, "class_balanced": 0.999}  # classes of more than 1 / (1 - beta) rows weigh about alike
MOVE = 0.3  # of the token vectors in adversarial training


@dataclass(frozen=True)
class Recipe:
    """Some of `RECIPES` together."""

    names: frozenset[str]

    @classmethod
    def read(cls, text: str) -> "Recipe":
        """Take a recipe from the command line: `plain`, or names joined by commas.

        Raises:
            UserError: an unknown name, or names that contradict each other.
        """
        names = frozenset(text.split(",")) if text != PLAIN else frozenset()
        if unknown := names - RECIPES.keys():
            raise UserError(
                f"there is no recipe {min(unknown) or 'without a name'}: take {PLAIN}, or some of "
                f"{', '.join(RECIPES)}, joined by commas"
            )
        for (one, other), why in CONTRADICTIONS.items():
            if {one, other} <= names:
                raise UserError(f"the recipes {one} and {other} contradict each other ({why}): take one of them")
        return cls(names)

    @property
    def truncation(self) -> str:
        """What is cut of texts that are too long."""
        return "head_tail" if "head_tail" in self.names else "end"

    def loss_fn(self, units: Units, labels: Sequence[int], num_labels: int, embedding: nn.Embedding) -> LossFn:
        """The loss of fine-tuning with this recipe.

        Args:
            units: what the loss is a mean over.
            labels: of the training data.
            num_labels: number of classes.
            embedding: of the tokens, in the model.
        """
        loss = cross_entropy(units)
        for name in self.names & BETA.keys():
            loss = cross_entropy(units, balanced_weights(labels, num_labels, BETA[name]))
        return adversarial(loss, embedding, MOVE) if "fgm" in self.names else loss


def cross_entropy(units: Units, weights: torch.Tensor | None = None) -> LossFn:
    """Loss of plain fine-tuning: cross-entropy to the labels, the mean over the units.

    Args:
        units: what it is a mean over.
        weights: (classes,) what the loss of a unit is multiplied by. The mean still divides by the number of units, so
            that a batch may come in pieces.
    """

    def loss_fn(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        logits, labels = units(call(model, batch), batch)
        if weights is None:
            return F.cross_entropy(logits, labels), {}
        losses = F.cross_entropy(logits, labels, reduction="none")
        return (weights.to(labels.device)[labels] * losses).mean(), {}

    return loss_fn


def balanced_weights(labels: Sequence[int], num_labels: int, beta: float) -> torch.Tensor:
    """(num_labels,) weights that fall with a class's number of rows; their mean over the rows is 1.

    Class-balanced loss (Cui et al. 2019): a class of n rows weighs 1 / (1 + beta + … + beta^(n-1)), about 1 / n below
    1 / (1 - beta) rows and about the same above. With beta = 1 it is 1 / n: all classes count alike (King & Zeng 2001).
    """
    counts = torch.bincount(torch.tensor(labels), minlength=num_labels).double()
    filled = counts.clamp(min=1)
    weights = 1 / filled if beta == 1 else (1 - beta) / (1 - beta**filled)
    return (weights * len(labels) / (weights * counts).sum()).float()


def adversarial(loss_fn: LossFn, embedding: nn.Embedding, size: float) -> LossFn:
    """Adversarial training (FGM, Miyato et al. 2017): the loss, and again after the worst small move of token vectors.

    Args:
        loss_fn: the loss.
        embedding: of the tokens, in the model.
        size: norm of a text's move in units of the mean norm of a token vector.
    """

    def both(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        seen: list[torch.Tensor] = []
        with embedding.register_forward_hook(lambda _module, _ids, vectors: seen.append(vectors)):
            loss, parts = loss_fn(model, batch)
        # Of the sum, so that the gradient of a text depends on no other text; the graph serves once more below.
        (gradient,) = torch.autograd.grad(loss * len(batch["row"]), seen, retain_graph=True)
        norms = gradient.norm(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(gradient.dtype).tiny)
        move = size * embedding.weight.detach().norm(dim=1).mean() * gradient / norms  # (batch, seq, hidden)
        with embedding.register_forward_hook(lambda _module, _ids, vectors: vectors + move):
            moved, _ = loss_fn(model, batch)
        return loss + moved, {**parts, "adversarial": moved.detach()}

    return both
