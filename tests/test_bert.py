"""The teacher: where its weights come from, and that it answers the same in any batch."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import ROOT, SPECIAL, write_bert
from transformers import BertConfig, BertForPreTraining

import bert_classifer_model
from bert_classifer_model import BertClassifier
from config import BUNDLED_BERT, Config
from core.bert.folder import find_bert, finetune_defaults, read_tokenizer
from core.console import UserError

SHAPE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture(scope="module")
def google_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the shape of google-bert/bert-base-chinese: 21,128 tokens, old names, heads, a .bin file."""
    folder = tmp_path_factory.mktemp("google")
    config = {
        **SHAPE,
        "vocab_size": 21128,
        "max_position_embeddings": 64,
        "model_type": "bert",
        "directionality": "bidi",
    }
    torch.manual_seed(3)
    model = BertForPreTraining(BertConfig(**config))
    weights = {}
    for name, tensor in model.state_dict().items():
        legacy = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        weights[legacy] = torch.randn_like(tensor) if tensor.is_floating_point() else tensor
    torch.save(weights, folder / "pytorch_model.bin")
    folder.joinpath("config.json").write_text(json.dumps(config), encoding="utf-8")
    vocab = [*SPECIAL, *(chr(0x4E00 + index) for index in range(21128 - len(SPECIAL)))]
    folder.joinpath("vocab.txt").write_text("\n".join(vocab), encoding="utf-8")
    return folder


def test_original_weights_arrive_name_by_name(google_bert: Path):
    model = BertClassifier.from_pretrained(google_bert, num_labels=10)
    source = torch.load(google_bert / "pytorch_model.bin", weights_only=True)
    for name, tensor in model.bert.state_dict().items():
        legacy = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        assert torch.equal(tensor, source[f"bert.{legacy}"]), name
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


def test_an_empty_default_folder_means_the_bundled_bert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    assert find_bert(Config.bert_path) == BUNDLED_BERT
    Config.bert_path.mkdir()
    Config.bert_path.joinpath("README.md").write_text("how to get it", encoding="utf-8")
    assert find_bert(Config.bert_path) == BUNDLED_BERT
    assert "bert-mini-chinese" in capsys.readouterr().out


@pytest.mark.parametrize("missing", ["config.json", "vocab.txt", "model.safetensors"])
def test_an_incomplete_folder_names_the_missing_file(bert: Path, tmp_path: Path, missing: str):
    folder = tmp_path / "bert-base-chinese"
    shutil.copytree(bert, folder)
    (folder / missing).unlink()
    with pytest.raises(UserError, match=f"lacks {missing}.*{bert_classifer_model.FETCH_COMMAND}"):
        find_bert(folder)


def test_another_folder_than_the_default_is_never_replaced(tmp_path: Path):
    with pytest.raises(UserError, match="lacks model.safetensors or pytorch_model.bin"):
        find_bert(tmp_path / "my-bert")


@pytest.mark.parametrize("tokens", [50, 9000])
def test_a_vocabulary_of_another_model_is_refused(bert: Path, tmp_path: Path, tokens: int):
    folder = shutil.copytree(bert, tmp_path / "bert")
    vocab = [*SPECIAL, *(f"t{index}" for index in range(tokens - len(SPECIAL)))]
    config = json.loads((folder / "config.json").read_text(encoding="utf-8")) | {"vocab_size": 300}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "vocab.txt").write_text("\n".join(vocab), encoding="utf-8")
    with pytest.raises(UserError, match=f"vocab.txt has {tokens} tokens, the embedding 300 rows"):
        read_tokenizer(folder, 64)


class Hostile:
    def __reduce__(self):
        return (print, ("code ran",))


def test_damaged_foreign_and_hostile_weights(
    google_bert: Path, bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = shutil.copytree(google_bert, tmp_path / "a")
    weights = folder / "pytorch_model.bin"
    content = weights.read_bytes()
    for damage in (content[:1000], b"<html>404</html>", b""):
        weights.write_bytes(damage)
        with pytest.raises(UserError, match="cannot be read.*fetch them again"):
            BertClassifier.from_pretrained(folder, num_labels=3)
    torch.save({"bert.x": Hostile()}, weights)
    with pytest.raises(UserError, match="cannot be read"):
        BertClassifier.from_pretrained(folder, num_labels=3)
    assert "code ran" not in capsys.readouterr().out

    folder = shutil.copytree(bert, tmp_path / "b")
    write_bert(tmp_path / "wider", hidden_size=64)
    shutil.copy(tmp_path / "wider" / "model.safetensors", folder)
    with pytest.raises(UserError, match="do not fit its config.json"):
        BertClassifier.from_pretrained(folder, num_labels=3)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"model_type": "gpt2"}', "not json"])
def test_a_foreign_config_is_refused(bert: Path, tmp_path: Path, content: str):
    folder = shutil.copytree(bert, tmp_path / "bert")
    (folder / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match="config.json|gpt2"):
        BertClassifier.from_pretrained(folder, num_labels=3)


def test_epochs_follow_the_rows(bert: Path, tmp_path: Path):
    assert finetune_defaults(bert, 10) == (1, 5e-3)
    assert finetune_defaults(bert, 11) == (4, 5e-3)
    epochs = {rows: finetune_defaults(tmp_path, rows)[0] for rows in (1, 300, 301, 800, 801, 3000, 12000, 12001)}
    assert epochs == {1: 30, 300: 30, 301: 16, 800: 16, 801: 8, 3000: 8, 12000: 4, 12001: 2}
    assert finetune_defaults(tmp_path, 10)[1] == 5e-5
    tmp_path.joinpath("finetune.json").write_text('{"learning_rate": 1e-3}', encoding="utf-8")
    assert finetune_defaults(tmp_path, 10) == (30, 1e-3)


@pytest.mark.parametrize(
    "text", ["{", "[]", "7", '{"num_epochs": 3}', '{"num_epochs": [[9, 1]]}', '{"learning_rate": "x"}']
)
def test_damaged_defaults(tmp_path: Path, text: str):
    tmp_path.joinpath("finetune.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="finetune.json is damaged"):
        finetune_defaults(tmp_path, 10)


def test_the_bundled_bert_loads():
    folder = ROOT / BUNDLED_BERT
    model = BertClassifier.from_pretrained(folder, num_labels=10)
    assert len(read_tokenizer(folder, 64).vocab) == model.bert.config.vocab_size
    assert model.bert.embeddings.word_embeddings.weight.dtype == torch.float32
