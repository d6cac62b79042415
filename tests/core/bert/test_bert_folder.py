"""A BERT in a folder: found, read, checked, and refused where its parts do not fit."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import SPECIAL, write_bert

from bert_classifer_model import BertClassifier
from config import BUNDLED_BERT, Config
from core.bert.folder import FETCH_COMMAND, find_bert, find_weights, finetune_defaults, read_tokenizer
from core.console import UserError


def find(folder: Path) -> Path:
    return find_bert(folder, Config.bert_path, BUNDLED_BERT)


def test_an_empty_default_folder_means_the_bundled_bert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    assert find(Config.bert_path) == BUNDLED_BERT
    Config.bert_path.mkdir()
    Config.bert_path.joinpath("README.md").write_text("how to get it", encoding="utf-8")
    assert find(Config.bert_path) == BUNDLED_BERT
    assert "bert-mini-chinese" in capsys.readouterr().out


@pytest.mark.parametrize("missing", ["config.json", "vocab.txt", "model.safetensors"])
def test_an_incomplete_folder_names_the_missing_file(bert: Path, tmp_path: Path, missing: str):
    folder = tmp_path / "bert-base-chinese"
    shutil.copytree(bert, folder)
    (folder / missing).unlink()
    with pytest.raises(UserError, match=f"lacks {missing}.*{FETCH_COMMAND}"):
        find(folder)


def test_another_folder_than_the_default_is_never_replaced(tmp_path: Path):
    with pytest.raises(UserError, match="lacks model.safetensors or pytorch_model.bin"):
        find(tmp_path / "my-bert")


def test_weights_in_either_format_are_found(bert: Path, google_bert: Path):
    for folder, name in ((bert, "model.safetensors"), (google_bert, "pytorch_model.bin")):
        assert find_weights(find(folder)) == folder / name


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
