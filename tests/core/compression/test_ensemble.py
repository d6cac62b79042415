"""The weights of an ensemble's members."""

import numpy as np
import pytest

from core.compression.ensemble import fit_weights


def noisy(labels: np.ndarray, noise: float, seed: int) -> np.ndarray:
    """Log-probabilities of a calibrated model that sees the labels through noise."""
    rng = np.random.default_rng(seed)
    seen = np.eye(4)[labels] + noise * rng.normal(size=(len(labels), 4))
    return seen / noise**2  # the log-likelihood ratio of this noise


LABELS = np.random.default_rng(0).integers(4, size=4000)


def test_members_of_independent_mistakes_count_in_full_whatever_their_scale():
    members = [noisy(LABELS, 0.8, 1), noisy(LABELS, 1.2, 2) * 7]
    assert fit_weights(members, LABELS) == pytest.approx([1, 1 / 7], rel=0.1)


def test_a_member_that_knows_nothing_counts_for_nothing():
    guess = np.random.default_rng(3).normal(size=(4000, 4))
    assert fit_weights([noisy(LABELS, 0.8, 1), guess], LABELS) == pytest.approx([1, 0], abs=0.1)
    harmful = -noisy(LABELS, 0.8, 4)
    assert fit_weights([noisy(LABELS, 0.8, 1), harmful], LABELS)[1] == 0


def test_members_that_agree_share_equally_and_a_perfect_one_stays_finite():
    member = noisy(LABELS, 0.8, 1)
    one, other = fit_weights([member, member], LABELS)
    assert one == other == pytest.approx(0.5, rel=0.1)
    right = 1.0 * np.eye(4)[LABELS[:30]]
    assert 1 < fit_weights([right], LABELS[:30])[0] < 20
