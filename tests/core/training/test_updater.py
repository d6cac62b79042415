"""The updater: one gradient, in whatever pieces a batch is computed, and whatever the loss is a mean over."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from conftest import TINY, tiny_bert
from torch import nn

from core.bert.encoder import build_bert
from core.console import UserError
from core.pretraining.masked_lm import NOT_WANTED, MaskedLM, count_masked, mask_tokens, masked_lm_loss, new_bert
from core.training.batches import Batches
from core.training.device import Devices
from core.training.knobs import LoopConfig
from core.training.recipes import cross_entropy
from core.training.units import IGNORED, Batch, count_labels, count_rows, row_units, token_units
from core.training.updater import Updater, learning_rate, make_optimizer

LENGTHS = (4, 12, 5, 9, 3, 12, 7, 6)
CALM = {**TINY, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


class Tagger(nn.Module):
    """A class for each token."""

    per_token = True

    def __init__(self) -> None:
        super().__init__()
        self.bert, self.head = build_bert(CALM, False), nn.Linear(24, 3)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.head(self.bert(input_ids, attention_mask).last_hidden_state)


def ids_of(lengths: tuple[int, ...]) -> list[list[int]]:
    rng = np.random.default_rng(0)
    return [rng.integers(5, 50, length).tolist() for length in lengths]


def titles() -> tuple[nn.Module, Batch, Callable, Callable]:
    [batch] = Batches({"labels": [0, 1, 2, 0, 1, 2, 2, 2], "input_ids": ids_of(LENGTHS)}, {}, 8).epoch()
    return tiny_bert(bert_config=CALM), batch, cross_entropy(row_units), count_rows


def tags() -> tuple[nn.Module, Batch, Callable, Callable]:
    """Rows with 1, 11, 2, 0, 1, 6, 5 and 1 labelled tokens; `epoch` sorts rows by length."""
    labelled = (1, 11, 2, 0, 1, 6, 5, 1)
    labels = [
        [column % 3 if column < count else IGNORED for column in range(length)]
        for length, count in zip(LENGTHS, labelled, strict=True)
    ]
    [batch] = Batches({"labels": labels, "input_ids": ids_of(LENGTHS)}, {"labels": IGNORED}, 8).epoch()
    assert sorted((batch["labels"] != IGNORED).sum(1).tolist()) == sorted(labelled)
    torch.manual_seed(0)
    return Tagger(), batch, cross_entropy(token_units), count_labels


def masked() -> tuple[nn.Module, Batch, Callable, Callable]:
    """Texts in which some tokens are hidden, of the fourth row none."""
    [batch] = Batches({"input_ids": ids_of(LENGTHS)}, {}, 8).epoch()
    ids = batch["input_ids"]
    hidden, chosen = mask_tokens(ids, torch.tensor([0]), 4, 50, 0.4, torch.Generator().manual_seed(0))
    chosen[3] = False
    assert len(set(chosen.sum(1).tolist())) > 2
    batch |= {"input_ids": torch.where(chosen, hidden, ids), "wanted": ids.masked_fill(~chosen, NOT_WANTED)}
    torch.manual_seed(0)
    vectors = 0.05 * torch.randn(50, 64).numpy()
    return MaskedLM(new_bert(1, 64, 16, vectors)), batch, masked_lm_loss, count_masked


def updated(make: Callable, pieces: int, spoil: Callable | None = None) -> tuple[dict, dict, dict, Updater]:
    """What one step makes of a model: gradients, weights, what it logs, and the updater."""
    model, batch, loss_fn, count = make()
    model.train()
    knobs = LoopConfig(gradient_accumulation=pieces, max_grad_norm=1e9)  # gradients as they are
    updater = Updater(model, spoil(loss_fn) if spoil else loss_fn, Devices(), count, knobs)
    numbers = updater.step(batch, 1e-3)
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert gradients and any(gradient.abs().max() > 1e-3 for gradient in gradients.values())
    return gradients, dict(model.state_dict()), numbers, updater


def assert_alike(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.allclose(tensor, other[name], rtol=0, atol=1e-6), name


def assert_updated_alike(gradients: dict, one: dict, other: dict) -> None:
    """Of a gradient that is next to nothing, Adam's first step takes the sign alone: those are left out."""
    assert_alike(*({name: each[name][g.abs() > 1e-4] for name, g in gradients.items()} for each in (one, other)))


MAKERS = pytest.mark.parametrize("make", [titles, tags, masked])


@MAKERS
@pytest.mark.parametrize("pieces", [2, 3, 4, 8])  # of eight rows one in a piece: a piece without any unit
def test_pieces_give_the_gradient_of_the_whole(make: Callable, pieces: int):
    gradients, weights, numbers, _ = updated(make, 1)
    in_pieces, others, again, _ = updated(make, pieces)
    assert_alike(gradients, in_pieces)
    assert_updated_alike(gradients, weights, others)
    assert numbers["loss"] == pytest.approx(again["loss"], abs=1e-6)


@MAKERS
@pytest.mark.parametrize(("rows_at_once", "tried"), [(100, [8]), (5, [4, 4]), (3, [3, 3, 2]), (0, [1] * 8)])
def test_on_a_cpu_pieces_are_small(make: Callable, rows_at_once: int, tried: list[int], monkeypatch):
    width = make()[1]["input_ids"].shape[1]
    gradients, *_ = updated(make, 1)
    monkeypatch.setattr("core.training.updater.TOKENS", rows_at_once * width + width - 1)
    found = []

    def spy(loss_fn: Callable) -> Callable:
        return lambda model, batch: (found.append(len(batch["row"])), loss_fn(model, batch))[1]

    in_pieces, *_ = updated(make, 1, spy)
    assert found == tried
    assert_alike(gradients, in_pieces)


@MAKERS
def test_the_gradient_is_that_of_the_mean_over_the_units(make: Callable):
    model, batch, loss_fn, _ = make()
    loss, _ = loss_fn(model.train(), batch)
    loss.backward()
    gradients, _, numbers, _ = updated(make, 4)
    assert_alike({name: p.grad for name, p in model.named_parameters() if p.grad is not None}, gradients)
    assert numbers["loss"] == pytest.approx(loss.item(), abs=1e-6)


def test_units_are_rows_labelled_tokens_and_masked_tokens():
    _, batch, _, _ = titles()
    assert count_rows(batch) == 8 and row_units("logits", batch) == ("logits", batch["labels"])
    _, batch, _, _ = tags()
    logits, labels = token_units(batch["input_ids"].unsqueeze(-1), batch)
    assert count_labels(batch) == 27 and logits.shape == (27, 1) and labels.shape == (27,) and labels.min() == 0
    _, batch, _, _ = masked()
    assert count_masked(batch) == (batch["wanted"] >= 5).sum() > 8


@MAKERS
def test_memory_that_runs_out_halves_the_pieces_and_keeps_the_update(
    make: Callable, capsys: pytest.CaptureFixture[str]
):
    tried = []

    def spoil(loss_fn: Callable) -> Callable:
        def loss(model: nn.Module, batch: Batch):
            tried.append(len(batch["row"]))
            if len(tried) in (2, 3):  # in the second of two pieces, then in the first of four
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return loss_fn(model, batch)

        return loss

    whole, weights, numbers, _ = updated(make, 1)
    in_pieces, halved, again, updater = updated(make, 2, spoil)
    assert tried == [4, 4, 2] + [1] * 8 and updater.pieces == updater.state_dict()["pieces"] == 8
    assert "computed in 8 pieces, with the same result" in capsys.readouterr().out
    assert_alike(whole, in_pieces)
    assert_updated_alike(whole, weights, halved)
    assert numbers["loss"] == pytest.approx(again["loss"], abs=1e-6)


def test_parts_of_the_loss_are_logged_as_means_over_the_units():
    def spoil(loss_fn: Callable) -> Callable:
        def loss(model: nn.Module, batch: Batch):
            units = token_units(batch["labels"].unsqueeze(-1), batch)[0].float()
            return loss_fn(model, batch)[0], {"place": units.mean()}

        return loss

    whole, pieces = (updated(tags, number, spoil)[2] for number in (1, 8))
    assert whole["place"] == pytest.approx(pieces["place"]) and 0 < whole["place"] < 2


def test_no_memory_for_one_row_is_told():
    def spoil(_loss: Callable) -> Callable:
        def loss(_model: nn.Module, _batch: Batch):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

        return loss

    with pytest.raises(UserError, match=r"out of memory with 1 text\(s\) at once: try --gradient-checkpointing"):
        updated(titles, 1, spoil)


def test_another_fault_is_not_taken_for_a_lack_of_memory():
    def spoil(_loss: Callable) -> Callable:
        def loss(_model: nn.Module, _batch: Batch):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

        return loss

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        updated(titles, 1, spoil)


def test_the_learning_rate_climbs_then_falls():
    rates = [learning_rate(step, 10, 1.0, 0.2) for step in range(10)]
    assert rates[1] == max(rates) == 1.0
    assert 0 < rates[0] < 1 and 0 < rates[9] <= 0.125
    assert rates[1:] == sorted(rates[1:], reverse=True)


def test_bias_and_layernorm_are_not_decayed():
    model = tiny_bert()
    decayed, others = make_optimizer(model, 0.01).param_groups
    assert decayed["weight_decay"] > 0 and others["weight_decay"] == 0
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    undecayed = {names[id(parameter)] for parameter in others["params"]}
    assert undecayed == {name for name in names.values() if name.endswith("bias") or "LayerNorm" in name}
    assert len(decayed["params"]) + len(others["params"]) == len(names)
