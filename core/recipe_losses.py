"""Losses to train a classifier with instead of plain cross-entropy: pure functions, each with its paper.

A criterion judges logits row by row. A `LossFn`, which is what `train.fit` lessens, runs the model as well; some take
another one and change what it sees.
"""

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from core.updater import Batch, LossFn

# (logits (batch, num_labels), labels (batch,)) -> losses (batch,)
Criterion = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def row_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The criterion of plain fine-tuning."""
    return F.cross_entropy(logits, labels, reduction="none")


def smoothed_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Cross-entropy to labels that give a share of their mass to all classes alike (Szegedy et al. 2016)."""
    return F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)


def balanced_weights(labels: Sequence[int], num_labels: int, beta: float) -> torch.Tensor:
    """(num_labels,) weights that fall with a class's number of rows; their mean over the rows is 1.

    Class-balanced loss (Cui et al. 2019): a class of n rows weighs 1 / (1 + beta + … + beta^(n-1)), about 1 / n below
    1 / (1 - beta) rows and about the same above. With beta = 1 it is 1 / n: all classes count alike (King & Zeng 2001).
    """
    counts = torch.bincount(torch.tensor(labels), minlength=num_labels).double()
    filled = counts.clamp(min=1)
    weights = 1 / filled if beta == 1 else (1 - beta) / (1 - beta**filled)
    return (weights * len(labels) / (weights * counts).sum()).float()


def weighted(criterion: Criterion, weights: torch.Tensor) -> Criterion:
    """A criterion times the weight of the label. The mean divides by the rows, so a batch may come in pieces."""

    def judge(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return weights.to(labels.device)[labels] * criterion(logits, labels)

    return judge


def mean_loss(criterion: Criterion) -> LossFn:
    """The mean of a criterion over a batch."""

    def loss_fn(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return criterion(model(batch["input_ids"], batch["attention_mask"]), batch["labels"]).mean(), {}

    return loss_fn


def r_drop(criterion: Criterion, alpha: float) -> LossFn:
    """Each text twice with other dropout, and alpha · the divergence of the two answers (Wu et al. 2021, R-Drop).

    Half the loss of the paper: the mean of the two criteria, and alpha / 2 times the mean of the two Kullback-Leibler
    divergences. Without dropout it is the criterion.
    """

    def loss_fn(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        logits = model(batch["input_ids"].repeat(2, 1), batch["attention_mask"].repeat(2, 1))
        one, other = F.log_softmax(logits, dim=1).chunk(2)
        # KL(p || q) + KL(q || p) = the sum of (p - q) · (log p - log q)
        divergence = ((one.exp() - other.exp()) * (one - other)).sum(1).mean() / 2
        loss = criterion(logits, batch["labels"].repeat(2)).mean()
        return loss + alpha / 2 * divergence, {"divergence": divergence.detach()}

    return loss_fn


def adversarial(loss_fn: LossFn, embedding: nn.Embedding, size: float) -> LossFn:
    """A loss, and the same loss after the worst small move of the token vectors (Miyato et al. 2017; called FGM).

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


def hide_tokens(loss_fn: LossFn, share: float, mask_id: int, keep: Sequence[int]) -> LossFn:
    """A loss on texts of which some tokens are hidden, drawn anew each time (Iyyer et al. 2015, word dropout).

    Args:
        loss_fn: the loss.
        share: of the tokens.
        mask_id: what takes their place.
        keep: ids that stay ([PAD], [CLS], [SEP]).
    """

    def hidden(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        ids = batch["input_ids"]
        chosen = (torch.rand(ids.shape) < share).to(ids.device)
        chosen &= ~torch.isin(ids, torch.tensor(keep, device=ids.device))
        return loss_fn(model, {**batch, "input_ids": ids.masked_fill(chosen, mask_id)})

    return hidden
