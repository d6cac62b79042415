"""The shape of a BERT: its FLOPs are those that torch counts, and a pruned one is a module like any other."""

import json

import pytest
import torch
from conftest import TINY, some_ids, tiny_bert
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from bert_classifer_model import BertClassifier
from core.bert.shape import describe_layers, encoder_flops, layer_shapes, unit_flops


@pytest.mark.parametrize("layers", [None, [{"heads": 2, "ffn": 13}, {"heads": 1, "ffn": 40}, {"heads": 3, "ffn": 1}]])
def test_flops_are_those_that_torch_counts(layers: list | None):
    eager = {**TINY, "attn_implementation": "eager"}
    model = tiny_bert(bert_config=eager, **({"layers": layers} if layers else {}))
    ids = some_ids(rows=1, seq_len=7)
    with FlopCounterMode(display=False) as counter:
        model(ids, torch.ones_like(ids))
    classifier = 2 * 24 * 3
    assert encoder_flops(model.architecture, 7) == counter.get_total_flops() - classifier


def test_a_random_model_of_any_shape_without_a_checkpoint():
    half = [{"heads": 1, "ffn": 20}] * 3
    model = tiny_bert(layers=half)
    ids = torch.tensor([[2, 7, 8, 9, 3]])
    padded, mask = F.pad(ids, (0, 6)), F.pad(torch.ones_like(ids), (0, 6))
    with torch.no_grad():
        assert torch.allclose(model(ids, torch.ones_like(ids)), model(padded, mask), atol=1e-5)
    again = BertClassifier.from_architecture(json.loads(json.dumps(model.architecture)))
    again.load_state_dict(model.state_dict())
    for layers in (half[:2], [{"heads": 0, "ffn": 20}] * 3, [{"heads": 1, "ffn": 0}] * 3, [{"heads": 4, "ffn": 1}] * 3):
        with pytest.raises(ValueError):
            tiny_bert(layers=layers)


def test_a_cut_model_can_be_exported():
    model = tiny_bert(layers=[{"heads": 1, "ffn": 20}] * 3)
    batch, seq = torch.export.Dim("batch", max=64), torch.export.Dim("seq", max=32)
    ids, shapes = some_ids(rows=2), {0: batch, 1: seq}
    exported = torch.export.export(model, (ids, torch.ones_like(ids)), dynamic_shapes=(shapes, shapes))
    ids = some_ids(rows=3, seq_len=12)
    with torch.no_grad():
        answer = exported.module(check_guards=False)(ids, torch.ones_like(ids))
        assert torch.allclose(answer, model(ids, torch.ones_like(ids)), atol=1e-5)


def test_shapes_of_pruned_and_whole_models():
    whole = {"bert_config": {}}
    assert layer_shapes(whole) == [{"heads": 12, "ffn": 3072}] * 12  # what a config.json means by leaving it out
    layers = [{"heads": 2, "ffn": 13}, {"heads": 1, "ffn": 40}]
    assert layer_shapes({**whole, "layers": layers}) == layers
    assert describe_layers({**whole, "layers": layers}) == "heads/neurons of each layer 2/13  1/40"
    costs = unit_flops({"bert_config": TINY}, 7)
    cut = {"bert_config": TINY, "layers": layers}
    assert encoder_flops(cut, 7) == 3 * costs["heads"] + 53 * costs["ffn"]
