"""Which heads and neurons go: those that the loss can do without; and cutting them out of the weights."""

import pytest
import torch
from conftest import TINY, some_ids, tiny_bert
from torch.nn import functional as F

from bert_classifer_model import BertClassifier
from core.bert.shape import encoder_flops, layer_shapes, unit_flops
from core.compression.structured_pruning import choose_units, cut_units, plan_budgets, unit_importance
from core.console import UserError
from core.training.recipes import cross_entropy
from core.training.units import count_rows, row_units

CPU = torch.device("cpu")


def test_cutting_parts_that_put_out_nothing_changes_nothing():
    model = tiny_bert()
    kept = [
        {"heads": [0, 2], "ffn": [1, 5, 7, 39]},
        {"heads": [1], "ffn": list(range(40))},
        {"heads": [0, 1, 2], "ffn": [8]},
    ]
    with torch.no_grad():
        for layer, units in zip(model.bert.encoder.layer, kept, strict=True):
            for head in set(range(3)) - set(units["heads"]):
                layer.attention.output.dense.weight[:, 8 * head : 8 * head + 8] = 0
            gone = sorted(set(range(40)) - set(units["ffn"]))
            layer.output.dense.weight[:, gone] = 0
        weights, architecture = cut_units(model.state_dict(), model.architecture, kept)
        cut = BertClassifier.from_architecture(architecture, weights).eval()
        ids = some_ids()
        assert torch.allclose(model(ids, torch.ones_like(ids)), cut(ids, torch.ones_like(ids)), atol=1e-5)
    assert layer_shapes(cut.architecture) == [
        {"heads": 2, "ffn": 4},
        {"heads": 1, "ffn": 40},
        {"heads": 3, "ffn": 1},
    ]


def test_importance_is_what_the_loss_changes_by():
    model = tiny_bert()
    ids, labels = some_ids(rows=3), torch.tensor([0, 2, 1])
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
    batch["row"] = torch.arange(3)
    scores = unit_importance(model, [batch], cross_entropy(row_units), count_rows, CPU)

    def changes(weight: torch.Tensor, columns: slice, step: float = 0.01) -> float:
        """The first-order change of each title's loss, in absolute value, when these columns fade."""
        losses = []
        with torch.no_grad():
            whole = weight.clone()
            for factor in (1 + step, 1 - step):
                weight[:, columns] = whole[:, columns] * factor
                losses.append(F.cross_entropy(model(ids, batch["attention_mask"]), labels, reduction="none"))
            weight.copy_(whole)
        return ((losses[0] - losses[1]) / (2 * step)).abs().sum().item()

    for layer, found in zip(model.bert.encoder.layer, scores, strict=True):
        heads = [changes(layer.attention.output.dense.weight, slice(8 * head, 8 * head + 8)) for head in range(3)]
        neurons = [changes(layer.output.dense.weight, slice(unit, unit + 1)) for unit in range(40)]
        assert torch.allclose(found["heads"], torch.tensor(heads) / sum(heads), atol=0.01)
        assert torch.allclose(found["ffn"], torch.tensor(neurons) / sum(neurons), atol=0.01)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_what_matters_least_for_its_flops_goes_first_and_no_layer_is_emptied():
    architecture = {"bert_config": {**TINY, "num_hidden_layers": 2, "num_attention_heads": 2}}
    costs = unit_flops(architecture, 10)
    per_flop = {"heads": torch.tensor([5.0, 1.0]) * costs["heads"], "ffn": torch.full((40,), 3.0) * costs["ffn"]}
    worthless = {"heads": torch.zeros(2), "ffn": torch.zeros(40)}
    full = encoder_flops(architecture, 10)
    spare = encoder_flops(architecture, 10) // 2 - costs["heads"] - costs["ffn"]  # of the second layer
    kept = choose_units([per_flop, worthless], architecture, full - spare, 10)
    assert [len(kept[1][kind]) for kind in ("heads", "ffn")] == [1, 1]
    assert kept[0] == {"heads": [0, 1], "ffn": list(range(40))}
    kept = choose_units([per_flop, worthless], architecture, full - spare - 1, 10)
    assert kept[0] == {"heads": [0], "ffn": list(range(40))}
    kept = choose_units([per_flop, worthless], architecture, 0, 10)
    assert [len(units) for kinds in kept for units in kinds.values()] == [1, 1, 1, 1]


def test_importance_adds_up_over_batches():
    model, ids, labels = tiny_bert(), some_ids(rows=6), torch.tensor([0, 2, 1, 1, 0, 2])
    whole = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels, "row": torch.arange(6)}
    parts = [{name: tensor[rows] for name, tensor in whole.items()} for rows in (slice(4), slice(4, 6))]
    loss = cross_entropy(row_units)
    for one, other in zip(
        *(unit_importance(model, each, loss, count_rows, CPU) for each in ([whole], parts)), strict=True
    ):
        assert torch.allclose(one["heads"], other["heads"], atol=1e-5)
        assert torch.allclose(one["ffn"], other["ffn"], atol=1e-5)


def test_the_budget_falls_in_equal_steps_to_the_goal():
    architecture = tiny_bert().architecture
    full, costs = encoder_flops(architecture, 10), unit_flops(architecture, 10)
    assert plan_budgets(architecture, full / 2, 2, 10) == [full * 0.75, full / 2]
    assert plan_budgets(architecture, full, 6, 10) == []
    least = 3 * (costs["heads"] + costs["ffn"])
    assert plan_budgets(architecture, least, 1, 10) == [least]
    with pytest.raises(UserError, match="one head and one neuron in each layer take"):
        plan_budgets(architecture, least - 1, 6, 10)
