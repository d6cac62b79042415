"""A DistilBERT is read as the BERT of the same function; other kinds are refused with what to take instead."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import some_ids, write_bert

from bert_classifer_model import BertClassifier
from core.bert.folder import find_bert
from core.console import UserError
from core.pretraining.masked_lm import read_bert

KINDS = ("DistilBertModel", "DistilBertForMaskedLM", "DistilBertForSequenceClassification")


@pytest.fixture(params=KINDS)
def distilbert(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    import transformers

    folder = write_bert(tmp_path / "distilbert", vocab=["[PAD]", "[UNK]", "[CLS]", "[SEP]", *map(chr, range(97, 143))])
    (folder / "model.safetensors").unlink()
    torch.manual_seed(1)
    config = transformers.DistilBertConfig(
        vocab_size=50, dim=24, n_layers=3, n_heads=3, hidden_dim=40, max_position_embeddings=32, activation="relu"
    )
    model = getattr(transformers, request.param)(config)
    for parameter in model.parameters():  # as small as they start, no part would matter
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    return folder


def test_a_distilbert_is_the_bert_of_the_same_function(distilbert: Path):
    import transformers

    find_bert(distilbert, Path("default"), Path("bundled"))
    original = transformers.DistilBertForMaskedLM.from_pretrained(distilbert).eval()
    model = BertClassifier.from_pretrained(distilbert, num_labels=3).eval()
    assert model.architecture["pooling"] == "mean"
    assert model.architecture["bert_config"]["num_hidden_layers"] == 3
    ids, mask = some_ids(), torch.ones(4, 9, dtype=torch.long)
    mask[1:, 5:] = 0
    with torch.no_grad():
        wanted = original.distilbert(ids, mask).last_hidden_state
        found = model.bert(input_ids=ids, attention_mask=mask)
        segments = model.bert(input_ids=ids, attention_mask=mask, token_type_ids=ids % 2)
        torch.testing.assert_close(found.last_hidden_state, wanted, atol=1e-5, rtol=0)
        torch.testing.assert_close(segments.last_hidden_state, wanted, atol=1e-5, rtol=0)
        if json.loads((distilbert / "config.json").read_bytes())["architectures"] == ["DistilBertForMaskedLM"]:
            rebuilt = BertClassifier.from_architecture(model.architecture, model.state_dict()).bert
            states = read_bert(distilbert).eval()(input_ids=ids, attention_mask=mask).logits
            torch.testing.assert_close(states, original(ids, mask).logits, atol=1e-5, rtol=0)
            assert rebuilt.config.hidden_act == "relu"


def test_a_distilbert_of_a_wrong_size_is_refused(distilbert: Path):
    config = json.loads((distilbert / "config.json").read_bytes())
    for key, value, says in (
        ("n_layers", 2, "3 layers, num_hidden"),
        ("n_heads", 5, "among 5"),
        ("dim", "x", "says hi"),
    ):
        (distilbert / "config.json").write_text(json.dumps({**config, key: value}), encoding="utf-8")
        with pytest.raises(UserError, match=says):
            BertClassifier.from_pretrained(distilbert, num_labels=3)


@pytest.mark.parametrize(
    ("model", "instead"),
    [
        ("Electra", "chinese-macbert-base"),
        ("Albert", "rbt4-h312"),
        ("Ernie", "chinese-roberta-wwm-ext"),
        ("Roberta", "chinese-roberta-wwm-ext"),
        ("XLMRoberta", "chinese-roberta-wwm-ext"),
        ("MPNet", "bert-base-chinese"),
    ],
)
def test_other_kinds_are_refused_with_what_to_take_instead(bert: Path, tmp_path: Path, model: str, instead: str):
    import transformers

    folder = shutil.copytree(bert, tmp_path / "other")
    sizes = {"vocab_size": 50, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = getattr(transformers, f"{model}Config")(**sizes, intermediate_size=8)
    getattr(transformers, f"{model}Model")(config).save_pretrained(folder)
    says = f"only BERT encoders are supported .*; take {instead} in its place: python download.py {instead}$"
    with pytest.raises(UserError, match=says):
        find_bert(folder, Path("default"), Path("bundled"))


def test_an_ernie_that_was_saved_as_a_bert_is_one(tmp_path: Path):
    from transformers import BertConfig, BertForMaskedLM, ErnieConfig, ErnieModel

    folder = write_bert(tmp_path / "ernie")
    sizes = json.loads((folder / "config.json").read_bytes())
    ernie = ErnieModel(
        ErnieConfig(**{key: sizes[key] for key in sizes if key != "model_type"}), add_pooling_layer=False
    )
    bert = BertForMaskedLM(BertConfig(**sizes))
    bert.bert.load_state_dict(ernie.state_dict())
    bert.save_pretrained(folder)
    find_bert(folder, Path("default"), Path("bundled"))
    loaded = BertClassifier.from_pretrained(folder, num_labels=3).bert
    assert all(torch.equal(tensor, ernie.state_dict()[name]) for name, tensor in loaded.state_dict().items())
