"""Finite numbers: a model whose logits hold NaN or infinity is no model."""

import math
from pathlib import Path

import numpy as np

from core.console import UserError


class NotFinite(UserError):
    """A model that gives NaN or infinity."""

    def __init__(self, path: Path | None) -> None:
        super().__init__(
            f"{path or 'the model'} gives logits that are not finite (NaN or infinity): make the model again, where "
            "training went astray with a lower --learning-rate, or take another model"
        )


def is_finite(values: np.ndarray) -> bool:
    """Whether all of some numbers are finite."""
    # One pass without an array of its own; the square of a finite number may overflow, so who fails is looked at again.
    return bool(np.vdot(values, values) < math.inf) or bool(np.isfinite(values).all())
