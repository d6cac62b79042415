"""An ensemble of models: how much each member counts.

The members' logits are added with a weight each, that is, their probabilities are multiplied: a product of experts
(Hinton 2002), or logistic stacking with one number a member (Wolpert 1992). The weight takes in the member's
temperature: a sure but poor model gets a small one, scores that are no log-probabilities any scale that suits them.
"""

from collections.abc import Sequence

import numpy as np

PRIOR = 1.0  # weight of one row that holds each weight near an equal share


def fit_weights(members: Sequence[np.ndarray], labels: Sequence[int]) -> list[float]:
    """The weights, none below 0, under which the sum of the members' logits makes the labels likeliest.

    A weak prior around equal shares keeps them finite where the rows are few or none of them is a mistake, and equal
    where the members agree.

    Args:
        members: logits of each, (rows, classes), of rows that it has not learned from.
        labels: (rows,) class ids.
    """
    from scipy.optimize import minimize

    values = np.stack([np.asarray(each, np.float64) for each in members])
    values -= values.max(axis=-1, keepdims=True)
    chosen, equal = np.asarray(labels), 1 / len(values)
    true = values[:, np.arange(len(chosen)), chosen]  # (members, rows)

    def surprise(weights: np.ndarray) -> tuple[float, np.ndarray]:
        summed = np.tensordot(weights, values, 1)
        highest = summed.max(axis=1, keepdims=True)
        shares = np.exp(summed - highest)
        total = shares.sum(axis=1, keepdims=True)
        loss = float((highest + np.log(total)).sum() - (weights @ true).sum())
        gradient = np.einsum("rc,mrc->m", shares / total, values) - true.sum(axis=1)
        away = weights - equal
        return loss + PRIOR / 2 * float(away @ away), gradient + PRIOR * away

    start = np.full(len(values), equal)
    found = minimize(surprise, start, jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * len(values))
    return [round(float(weight), 4) for weight in found.x]
