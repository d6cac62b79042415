"""Recipes: what may be added to plain fine-tuning, by name; `experiments/ablation.py` measures what each is worth.

A recipe hands `train.fit` another loss; `fit` knows none of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from core.console import UserError
from core.encoding import Encoder
from core.recipe_losses import (
    Criterion,
    adversarial,
    balanced_weights,
    hide_tokens,
    mean_loss,
    r_drop,
    row_cross_entropy,
    smoothed_cross_entropy,
    weighted,
)
from core.updater import LossFn

PLAIN = "plain"
RECIPES = {
    "class_weights": "rows of rare classes weigh more",
    "class_balanced": "rows of very rare classes weigh more, those of the others about alike",
    "label_smoothing": "a little of each label goes to the other classes",
    "word_dropout": "some tokens are hidden in each step",
    "r_drop": "R-Drop: two dropouts, one answer",
    "fgm": "adversarial training on the token vectors",
    "head_tail": "of long texts the head and the tail are read",
}
# Pairs that do not go together, and why.
CONTRADICTIONS = {
    ("class_balanced", "class_weights"): "each alone makes up for rare classes, both together do so twice",
}
BETA = 0.999  # of the class-balanced loss: classes of more than some 1,000 rows weigh about alike
SMOOTHING = 0.1
HIDDEN_SHARE = 0.1  # of the tokens in word dropout
ALPHA = 1.0  # of R-Drop
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

    def loss_fn(self, plain: LossFn, labels: Sequence[int], num_labels: int, encoder: Encoder, bert: Any) -> LossFn:
        """What to lessen.

        Args:
            plain: the loss that the recipe is added to.
            labels: of the training rows.
            num_labels: number of classes.
            encoder: text -> ids.
            bert: the encoder in the model.
        """
        criterion: Criterion = row_cross_entropy
        if "label_smoothing" in self.names:
            criterion = partial(smoothed_cross_entropy, smoothing=SMOOTHING)
        if "class_weights" in self.names:
            criterion = weighted(criterion, balanced_weights(labels, num_labels, 1.0))
        if "class_balanced" in self.names:
            criterion = weighted(criterion, balanced_weights(labels, num_labels, BETA))
        loss = plain if criterion is row_cross_entropy else mean_loss(criterion)
        if "r_drop" in self.names:
            loss = r_drop(criterion, ALPHA)
        if "fgm" in self.names:
            loss = adversarial(loss, bert.get_input_embeddings(), MOVE)
        if "word_dropout" in self.names:
            special = (encoder.pad_id, encoder.cls_id, encoder.sep_id)
            loss = hide_tokens(loss, HIDDEN_SHARE, encoder.mask_id, special)
        return loss
