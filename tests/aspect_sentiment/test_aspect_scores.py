"""Scores and decisions, in numbers that can be checked by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from aspect_sentiment.decisions import choose_offsets, decide, fit_offsets, pool_windows
from aspect_sentiment.losses import balanced_weights, pair_loss, r_drop
from aspect_sentiment.metrics import aspect_metrics, row_counts
from aspect_sentiment.predict import SentimentPredictor
from aspect_sentiment.report import explain
from core.measure.stats import paired_bootstrap_counts
from core.training.units import IGNORED

LABELS = ["未提及", "负面", "中性", "正面"]
TRUE = np.array([[0, 3], [0, 2], [1, 3], [IGNORED, 0]])
FOUND = np.array([[0, 3], [2, 2], [1, 2], [3, 0]])


def test_scores_by_hand():
    found = aspect_metrics(TRUE, FOUND, LABELS, ["a", "b"])
    # Of the seven labelled pairs: 未提及 2 right of 2 answered and 3 true; 负面 1, 1, 1; 中性 1, 3, 1; 正面 1, 1, 2.
    f1 = {"未提及": 4 / 5, "负面": 1.0, "中性": 2 / 4, "正面": 2 / 3}
    assert {name: row["f1"] for name, row in found["per_class"].items()} == pytest.approx(f1)
    assert found["pooled_f1"] == pytest.approx(np.mean(list(f1.values())))
    assert found["aspect_f1"] == pytest.approx(((2 / 3 + 1 + 0) / 3 + (1 + 2 / 3 + 2 / 3) / 3) / 2)
    # Where not mentioned and neutral are one, a is right; of b one 正面 of two is missed.
    assert found["merged_f1"] == pytest.approx((1 + (2 / 3 + 4 / 5) / 2) / 2)
    assert found["detect_f1"] == pytest.approx(2 * 4 / (5 + 4))
    assert (found["mean_accuracy"], found["strict_accuracy"], found["n"]) == (5 / 7, 0.5, 4)
    assert found["per_aspect"]["a"]["states"]["中性"] == {"f1": 0.0, "n": 0, "answered": 1}
    blank = [np.concatenate((rows, filler)) for rows, filler in ((TRUE, [[IGNORED] * 2] * 2), (FOUND, [[0, 0]] * 2))]
    assert aspect_metrics(*blank, LABELS, ["a", "b"])["strict_accuracy"] == 0.5, "no label, nothing right or wrong"
    assert aspect_metrics(TRUE[3:, :1], FOUND[3:, :1], LABELS, ["a"])["pooled_f1"] == 0.0


def test_what_is_never_found_is_told_commonest_first_and_counted():
    true = np.repeat([1, 2, 3], [1, 2, 3])[:, None].repeat(8, axis=1)  # of each of eight aspects, three states
    told = explain(aspect_metrics(true, np.zeros_like(true), LABELS, list("abcdefgh"))).splitlines()[-22:]
    assert told[:2] == ["never found, 24 state(s) of aspects:", "  a 正面 (3 there, 0 answered)"]
    assert told[-2:] == ["  d 负面 (1 there, 0 answered)", "  … and 4 more"]


def test_two_models_are_compared_by_the_mean_f1_of_states():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 4, (300, 5))
    better, worse = (
        np.where(rng.random(true.shape) < share, rng.integers(0, 4, true.shape), true) for share in (0.1, 0.4)
    )
    counts = [np.array(row_counts(true, found, 4))[None] for found in (better, worse)]
    compared = paired_bootstrap_counts(*counts)
    scores = [aspect_metrics(true, found, LABELS, list("abcde"))["pooled_f1"] for found in (better, worse)]
    assert compared.difference == pytest.approx(scores[0] - scores[1]) and compared.low > 0


def test_windows_are_pooled_by_who_mentions_the_aspect():
    silent, blame = [0.97, 0.01, 0.01, 0.01], [0.2, 0.7, 0.05, 0.05]
    pooled = pool_windows(np.array([[silent], [blame], [silent]]), 0)
    assert pooled[0].argmax() == 1 and pooled[0, 0] == pytest.approx(0.2) and pooled.sum() == pytest.approx(1)
    assert pool_windows(np.array([[[0.2, 0.8]], [[0.6, 0.4]]]), None).tolist() == [
        [pytest.approx(0.4), pytest.approx(0.6)]
    ]


@pytest.mark.parametrize(
    ("shares", "chosen", "state", "share"),
    [
        ([[0.0, 0.50, 0.45, 0.05], [0.0, 0.03, 0.45, 0.52]], [1, 3], "正面", 1 / 2),  # not 中性, which none has
        ([[0, 0.4, 0, 0.6], [0, 0.4, 0, 0.6], [0, 1, 0, 0], [1, 0, 0, 0]], [3, 3, 1, 0], "正面", 2 / 3),
        ([[0.9, 0.1, 0, 0], [0.7, 0, 0.3, 0]], [0, 0], "未提及", 0.8),
        ([[0.8, 0.2, 0, 0], [0.1, 0, 0, 0.9]], [1, 0], "负面", 1.0),  # an offset chose it
    ],
)
def test_overall_is_what_most_of_the_mentioned_aspects_have(shares: list, chosen: list, state: str, share: float):
    model = SimpleNamespace(absent=0, labels=LABELS)
    found = SentimentPredictor._overall(model, np.array(shares, float), np.array(chosen))
    assert found == {"state": state, "confidence": pytest.approx(share)}


def test_offsets_find_states_that_are_drowned():
    rng = np.random.default_rng(1)
    true = (rng.random((400, 3)) < 0.1).astype(int)
    logits = np.stack([np.full(true.shape, 3.0), 2.0 * true + rng.normal(0, 0.3, true.shape)], axis=-1)
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    assert not decide(shares, None).any()
    offsets, found = choose_offsets(shares, true)
    assert found["state"] > found["none"] + 0.3 and (decide(shares, offsets) == true).mean() > 0.98
    assert not fit_offsets(shares, true, "none").any()


def test_losses_are_means_over_the_labelled_pairs():
    import torch

    logits, labels = torch.randn(3, 2, 4, requires_grad=True), torch.tensor([[0, 3], [1, IGNORED], [2, 2]])

    class Model(torch.nn.Module):
        inputs = ("input_ids",)

        def forward(self, _):
            return logits

    batch = {"input_ids": torch.zeros(3, 1), "labels": labels}
    plain = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
    assert pair_loss()(Model(), batch)[0].item() == pytest.approx(plain.item())
    assert pair_loss(gamma=2.0)(Model(), batch)[0] < plain
    assert r_drop(1.0)(Model(), batch)[0].item() == pytest.approx(plain.item())
    weights = balanced_weights(labels, 4, 1.0)
    assert weights[1, 2] == weights[1, 3] and weights[1, 0] > weights[1, 2] * 0.9
    counts = torch.stack([torch.bincount(c[c != IGNORED], minlength=4) for c in labels.T])
    assert (weights * counts).sum().item() == pytest.approx(5, rel=1e-5)
