"""Units: what a loss is a mean over, such as rows or tokens, chosen from a batch and counted."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Batch = dict[str, "Tensor"]
# (logits, batch) -> what a loss compares: logits (units, classes) and labels (units,)
Units = Callable[["Tensor", Batch], "tuple[Tensor, Tensor]"]
IGNORED = -100  # the label of a token that is no unit: [CLS], [SEP], padding, the later pieces of a word


def row_units(logits: "Tensor", batch: Batch) -> "tuple[Tensor, Tensor]":
    """A unit is a row: logits are (batch, classes), `labels` (batch,)."""
    return logits, batch["labels"]


def token_units(logits: "Tensor", batch: Batch) -> "tuple[Tensor, Tensor]":
    """A unit is a token with a label: logits are (batch, seq, classes), `labels` (batch, seq)."""
    chosen = batch["labels"] != IGNORED
    return logits[chosen], batch["labels"][chosen]


def count_rows(batch: Batch) -> int:
    """The rows of a batch."""
    return len(batch["row"])


def count_labels(batch: Batch) -> int:
    """The labels of a batch that are units."""
    return int((batch["labels"] != IGNORED).sum())
