"""Recipes: what may be added to plain fine-tuning, by name; `experiments/ablation.py` measures what each is worth.

A recipe hands `train.fit` other rows, another loss or another rule of updating; `fit` knows none of them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from core.augment import augment
from core.console import UserError
from core.encoding import Encoder
from core.recipe_losses import (
    Criterion,
    adversarial,
    focal_loss,
    hide_tokens,
    mean_loss,
    r_drop,
    rarity_weights,
    row_cross_entropy,
    smoothed_cross_entropy,
    weighted,
)
from core.updater import LossFn, UpdateRule, cosine_rate, learning_rate

PLAIN = "plain"
RECIPES = {
    "class_weights": "rows of rare classes weigh more",
    "root_weights": "rows of rare classes weigh a little more",
    "focal": "focal loss: rows that are easy count less",
    "label_smoothing": "a little of each label goes to the other classes",
    "oversample": "rows of rare classes are repeated",
    "augment": "a changed copy of each title (core/augment.py)",
    "word_dropout": "some tokens are hidden in each step",
    "r_drop": "R-Drop: two dropouts, one answer",
    "fgm": "adversarial training on the token vectors",
    "layer_rates": "lower layers learn more slowly",
    "freeze_embeddings": "the embeddings stay as pretrained",
    "freeze_lower": "the embeddings and the lower half of the layers stay as pretrained",
    "cosine": "the learning rate falls along a cosine",
    "average": "a moving average of the weights is kept",
    "head_tail": "of long texts the head and the tail are read",
}
# Pairs that do not go together, and why.
CONTRADICTIONS = {
    ("focal", "label_smoothing"): "one wants sure answers left alone, the other made less sure",
    ("class_weights", "oversample"): "each alone makes up for rare classes, both together do so twice",
    ("class_weights", "root_weights"): "each alone makes up for rare classes, both together do so twice",
    ("oversample", "root_weights"): "each alone makes up for rare classes, both together do so twice",
    ("fgm", "freeze_embeddings"): "frozen embeddings have no gradient to follow",
    ("fgm", "freeze_lower"): "frozen embeddings have no gradient to follow",
    ("freeze_embeddings", "freeze_lower"): "the second freezes the embeddings too",
}
GAMMA = 2.0  # of the focal loss, as in the paper
SMOOTHING = 0.1
MAX_REPEATS = 5  # of a row in oversampling
COPIES = 1  # of each title in augmentation
HIDDEN_SHARE = 0.1  # of the tokens in word dropout
ALPHA = 1.0  # of R-Drop
MOVE = 0.3  # of the token vectors in adversarial training
LAYER_DECAY = 0.85  # of the learning rate from a layer to the one below
FROZEN_LAYERS = 0.5  # share of the layers, the lowest ones
AVERAGE_DECAY = 0.99  # in a step


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

    def add_rows(self, batches: Any, num_labels: int, encoder: Encoder, seed: int) -> Any:
        """Training batches (`utils.Batches`) with what the recipe adds to their rows, after the rows themselves."""
        input_ids, labels = batches.input_ids, batches.labels
        if "oversample" in self.names:
            rows = oversample(labels, num_labels, MAX_REPEATS, seed)
            input_ids, labels = [input_ids[row] for row in rows], [labels[row] for row in rows]
        if "augment" in self.names:
            input_ids = input_ids + augment(input_ids, COPIES, encoder.mask_id, seed)
            labels = labels * (1 + COPIES)
        return batches.with_rows(input_ids, labels, batches.seed)

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
        if "focal" in self.names:
            criterion = partial(focal_loss, gamma=GAMMA)
        if "label_smoothing" in self.names:
            criterion = partial(smoothed_cross_entropy, smoothing=SMOOTHING)
        if "class_weights" in self.names:
            criterion = weighted(criterion, rarity_weights(labels, num_labels, 1.0))
        if "root_weights" in self.names:
            criterion = weighted(criterion, rarity_weights(labels, num_labels, 0.5))
        loss = plain if criterion is row_cross_entropy else mean_loss(criterion)
        if "r_drop" in self.names:
            loss = r_drop(criterion, ALPHA)
        if "fgm" in self.names:
            loss = adversarial(loss, bert.get_input_embeddings(), MOVE)
        if "word_dropout" in self.names:
            special = (encoder.pad_id, encoder.cls_id, encoder.sep_id)
            loss = hide_tokens(loss, HIDDEN_SHARE, encoder.mask_id, special)
        return loss

    def rule(self, bert: Any) -> UpdateRule:
        """How far the weights go in a step."""
        layers = bert.config.num_hidden_layers
        frozen = -1  # the highest depth that is frozen; the embeddings' is 0
        if "freeze_embeddings" in self.names:
            frozen = 0
        if "freeze_lower" in self.names:
            frozen = round(FROZEN_LAYERS * layers)
        decay = LAYER_DECAY if "layer_rates" in self.names else 1.0

        def rate_factor(name: str) -> float:
            depth = parameter_depth(name, layers)
            return 0.0 if depth <= frozen else decay ** (layers + 1 - depth)

        return UpdateRule(
            rate_factor,
            cosine_rate if "cosine" in self.names else learning_rate,
            AVERAGE_DECAY if "average" in self.names else 0.0,
        )


def oversample(labels: Sequence[int], num_labels: int, max_repeats: int, seed: int) -> list[int]:
    """The indices of all rows, then of those to repeat until each class has as many as the largest (Buda et al. 2018).

    Args:
        labels: of the rows.
        num_labels: number of classes.
        max_repeats: a row comes so often at most, so that a class of few rows is not learned by heart.
        seed: of the choice of the rows to repeat once more than others.
    """
    rng = np.random.default_rng(seed)
    classes = [np.flatnonzero(np.array(labels) == label) for label in range(num_labels)]
    largest = max(map(len, classes))
    rows = list(range(len(labels)))
    for members in classes:
        extra = min(largest, max_repeats * len(members)) - len(members)
        rows += np.resize(rng.permutation(members), extra).tolist() if extra else []
    return rows


def parameter_depth(name: str, layers: int) -> int:
    """How far above the input a parameter of a BERT classifier lies: embeddings 0, layers from 1 on, the rest above.

    Learning rates that fall with depth: Howard & Ruder 2018 (ULMFiT), Sun et al. 2019. Frozen layers: Lee et al. 2019,
    "What Would Elsa Do?".
    """
    if found := re.match(r"bert\.encoder\.layer\.(\d+)\.", name):
        return 1 + int(found[1])
    return 0 if name.startswith("bert.embeddings.") else layers + 1
