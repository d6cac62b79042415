"""The teacher: its encoder comes weight by weight, and it answers the same in any batch."""

import json
from pathlib import Path

import pytest
import torch
from conftest import ROOT, legacy

from bert_classifer_model import BertClassifier
from config import BUNDLED_BERT
from core.bert.folder import read_tokenizer


def test_original_weights_arrive_name_by_name(google_bert: Path):
    model = BertClassifier.from_pretrained(google_bert, num_labels=10)
    source = torch.load(google_bert / "pytorch_model.bin", weights_only=True)
    for name, tensor in model.bert.state_dict().items():
        assert torch.equal(tensor, source[f"bert.{legacy(name)}"]), name
    assert model.pooling == "pooler"
    assert len(read_tokenizer(google_bert, 64).vocab) == 21128


def test_weights_without_pooler_take_the_mean(bert: Path):
    model = BertClassifier.from_pretrained(bert, num_labels=3)
    assert model.pooling == "mean"
    assert not [name for name in model.state_dict() if "pooler" in name]


@pytest.mark.parametrize("source", ["bert", "google_bert"])
def test_padding_does_not_change_a_logit(source: str, request: pytest.FixtureRequest):
    model = BertClassifier.from_pretrained(request.getfixturevalue(source), num_labels=3).eval()
    ids = torch.tensor([[2, 7, 8, 9, 3]])
    padded = torch.nn.functional.pad(ids, (0, 20))
    mask = (torch.arange(25) < 5).long().unsqueeze(0)
    with torch.no_grad():
        alone = model(ids, torch.ones_like(ids))
        assert torch.allclose(alone, model(padded, mask), atol=1e-5)
        other_padding = torch.where(mask.bool(), padded, 9)
        assert torch.allclose(alone, model(other_padding, mask), atol=1e-5)


def test_rebuilt_from_its_architecture_alone(bert: Path):
    model = BertClassifier.from_pretrained(bert, num_labels=3)
    again = BertClassifier.from_architecture(json.loads(json.dumps(model.architecture)))
    again.load_state_dict(model.state_dict())


def test_the_bundled_bert_loads():
    folder = ROOT / BUNDLED_BERT
    model = BertClassifier.from_pretrained(folder, num_labels=10)
    assert len(read_tokenizer(folder, 64).vocab) == model.bert.config.vocab_size
    assert model.bert.embeddings.word_embeddings.weight.dtype == torch.float32
