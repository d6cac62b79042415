"""Unstructured pruning: weights become zero where they stand; shapes, file and dense arithmetic stay.

Han et al. 2015, "Learning both Weights and Connections for Efficient Neural Networks" (arXiv 1506.02626).
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.utils import prune

# How the names of the matrices in scope begin within a layer.
SCOPES = {"query": "attention.self.query", "attention": "attention.", "all": ""}


def prune_weights(model: nn.Module, amount: float, scope: str) -> dict[str, float]:
    """Set the smallest weights of the encoder's matrices to zero, for good: L1, ranked over all layers together.

    Args:
        model: a BERT classifier; is changed.
        amount: the share of the weights in scope that becomes zero.
        scope: "query", "attention" or "all" (attention and FFN).

    Returns:
        `sparsity_in_scope` and `sparsity`: the share of zeros in those matrices and in the whole model.
    """
    matrices = [
        (module, "weight")
        for layer in model.bert.encoder.layer
        for name, module in layer.named_modules()
        if isinstance(module, nn.Linear) and name.startswith(SCOPES[scope])
    ]
    prune.global_unstructured(matrices, prune.L1Unstructured, amount=amount)
    for module, name in matrices:
        prune.remove(module, name)
    in_scope = [module.weight for module, _ in matrices]
    return {"sparsity_in_scope": sparsity(in_scope), "sparsity": sparsity(list(model.parameters()))}


def sparsity(tensors: Sequence[torch.Tensor]) -> float:
    """The share of zeros in some tensors."""
    zeros = sum(int((tensor == 0).sum()) for tensor in tensors)
    return zeros / sum(tensor.numel() for tensor in tensors)
