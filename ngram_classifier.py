"""Wide and deep: a classifier with a linear model of character n-grams beside it, in one file.

    model = fit_ngrams(student, student_logits, titles, num_labels)
    logits = model(input_ids, attention_mask, ngrams)

Networks and linear models err on different titles; their logits are added (Cheng et al. 2016, "Wide & Deep Learning for
Recommender Systems"). The n-grams are hashed (core/text/ngrams.py), so that the linear part is one table of 65,536
rows: 0.7 MB in INT8, and a look-up in place of a layer.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from core.compression.ensemble import fit_weights
from core.measure.data_faults import Splits
from core.text.ngrams import all_ngrams

BUCKETS = 65_536


class NgramClassifier(nn.Module):
    """A classifier of titles, and a table of character n-grams with a number for each class.

    Args:
        deep: the classifier, input_ids and attention_mask -> (batch, num_labels).
        buckets: rows of the table but the last, which is for padding.
    """

    inputs = ("input_ids", "attention_mask", "ngrams")
    axes = {"ngrams": "ngrams"}  # there are as many as they are, not as many as tokens

    def __init__(self, deep: nn.Module, buckets: int) -> None:
        super().__init__()
        num_labels = deep.architecture["num_labels"]
        self.architecture = {
            "type": "ngrams",
            "num_labels": num_labels,
            "buckets": buckets,
            "deep": deep.architecture,
        }
        self.deep, self.buckets = deep, buckets
        self.scale = nn.Parameter(torch.ones(()))
        self.table = nn.Embedding(buckets + 1, num_labels, padding_idx=buckets)
        self.bias = nn.Parameter(torch.zeros(num_labels))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, ngrams: torch.Tensor) -> torch.Tensor:
        """Logits of a batch; padding does not change them.

        Args:
            input_ids: (batch, seq) int64.
            attention_mask: (batch, seq), 1 for tokens and 0 for padding.
            ngrams: (batch, n-grams) int64 buckets, `buckets` for padding.

        Returns:
            (batch, num_labels) float32.
        """
        found = (ngrams != self.buckets).sum(1, keepdim=True).clamp(min=1)
        wide = self.table(ngrams).sum(1) / found.float().sqrt()
        return self.scale * self.deep(input_ids, attention_mask) + wide.float() + self.bias

    @classmethod
    def from_architecture(
        cls, architecture: Mapping[str, Any], build: Callable[[dict[str, Any]], nn.Module]
    ) -> "NgramClassifier":
        """Rebuild the module, weights at random, from what `self.architecture` said; `build` makes what is deep."""
        return cls(build(architecture["deep"]), architecture["buckets"])


def fit_ngrams(deep: nn.Module, dev_logits: np.ndarray, titles: Splits) -> NgramClassifier:
    """Put a linear model of n-grams beside a classifier.

    The linear model is fitted on train.txt; how much it and the classifier count, on dev.txt.

    Args:
        deep: the classifier; it becomes a part of what is returned.
        dev_logits: (titles, num_labels), its logits of the dev titles.
        titles: `train` and `dev`.
    """
    from sklearn.svm import LinearSVC

    train, dev = titles["train"], titles["dev"]
    model = NgramClassifier(deep, BUCKETS)
    num_labels = model.architecture["num_labels"]
    linear = LinearSVC(C=1.0).fit(_features(train.texts), train.labels)
    weights, bias = linear.coef_, linear.intercept_
    if len(weights) == 1:  # of two classes scikit-learn gives the second one's alone
        weights, bias = (np.concatenate((-each, each)) / 2 for each in (weights, bias))
    table, offset = np.zeros((BUCKETS + 1, num_labels)), np.full(num_labels, bias.min() - 1)
    table[:-1, linear.classes_], offset[linear.classes_] = weights.T, bias
    wide = _features(dev.texts) @ table[:-1] + offset
    scale, share = fit_weights([dev_logits, wide], dev.labels)
    with torch.no_grad():
        model.scale.fill_(scale)
        model.table.weight.copy_(torch.from_numpy(share * table))
        model.bias.copy_(torch.from_numpy(share * offset))
    return model


def _features(texts: list[str]) -> Any:
    """Counts of n-grams, a sparse row for each text, divided by the square root of how many there are."""
    from scipy.sparse import csr_matrix

    rows = all_ngrams(texts, BUCKETS)
    sizes = np.array(list(map(len, rows)))
    values = np.repeat(1 / np.sqrt(np.maximum(sizes, 1)), sizes)
    starts = np.concatenate(([0], sizes.cumsum()))
    matrix = csr_matrix((values, np.concatenate(rows), starts), shape=(len(rows), BUCKETS))
    matrix.sum_duplicates()
    return matrix
