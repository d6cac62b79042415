"""A BERT in a folder: found, read, checked, and refused where its parts do not fit."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import SPECIAL

from bert_classifer_model import BertClassifier
from config import BUNDLED_BERT, Config
from core.bert.folder import (
    FETCH_COMMAND,
    find_bert,
    find_weights,
    finetune_defaults,
    fingerprint,
    read_bert_config,
    read_tokenizer,
)
from core.console import UserError


def find(folder: Path) -> Path:
    return find_bert(folder, Config.bert_path, BUNDLED_BERT)


def test_an_empty_default_folder_means_the_bundled_bert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    bundled = BUNDLED_BERT.resolve()
    monkeypatch.chdir(tmp_path)
    assert find_bert(Config.bert_path, Config.bert_path, bundled) == bundled
    Config.bert_path.mkdir()
    Config.bert_path.joinpath("README.md").write_text("how to get it", encoding="utf-8")
    assert find_bert(Config.bert_path, Config.bert_path, bundled) == bundled
    assert "bert-mini-chinese" in capsys.readouterr().out


@pytest.mark.parametrize("missing", ["config.json", "vocab.txt", "model.safetensors"])
def test_an_incomplete_folder_names_the_missing_file(bert: Path, tmp_path: Path, missing: str):
    folder = tmp_path / "bert-base-chinese"
    shutil.copytree(bert, folder)
    (folder / missing).unlink()
    with pytest.raises(UserError, match=f"lacks {missing}.*{FETCH_COMMAND}"):
        find(folder)


def test_another_folder_than_the_default_is_never_replaced(tmp_path: Path):
    (tmp_path / "my-bert").mkdir()
    with pytest.raises(UserError, match="lacks model.safetensors or pytorch_model.bin: put it there"):
        find(tmp_path / "my-bert")


def test_a_path_that_is_no_folder(bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in ("some-org/some_bert.v2", "rbt3"):
        with pytest.raises(
            UserError, match=f"{name} is neither a folder nor fetched yet: run `python download.py {name}`"
        ):
            find(Path(name))
    (tmp_path / "models").mkdir()
    for path in (tmp_path / "my-bert", Path("my-bert"), Path("models/my-bert"), Path("../my-bert"), Path("a/b/c")):
        with pytest.raises(UserError, match="no such folder.*check the path") as told:
            find(path)
        assert f"download.py {path}" not in str(told.value)
    with pytest.raises(UserError, match="is a file: give the folder"):
        find(bert / "model.safetensors")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("model-00001-of-00003.safetensors", "lacks model.safetensors.index.json, which tells"),
        ("pytorch_model-00001-of-00003.bin", "lacks pytorch_model.bin.index.json, which tells"),
        ("bert_model.ckpt.index", r"lacks model.*bin \(bert_model.ckpt.index is TensorFlow's\)"),
        ("tf_model.h5", "is TensorFlow's"),
    ],
)
def test_what_lies_there_in_place_of_weights_is_named(bert: Path, tmp_path: Path, name: str, says: str):
    folder = shutil.copytree(bert, tmp_path / "bert")
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(UserError, match=says):
        find(folder)


STUBS = {
    "a git-lfs pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0a1b\nsize 409168\n",
    "a web page": b"\xef\xbb\xbf\r\n <!DOCTYPE html>\n<html><title>Log in</title></html>",
}


@pytest.mark.parametrize("stub", STUBS)
@pytest.mark.parametrize(
    "name", ["model.safetensors", "pytorch_model.bin", "model.safetensors.index.json", "config.json", "vocab.txt"]
)
def test_files_that_were_never_fetched_are_called_what_they_are(bert: Path, tmp_path: Path, name: str, stub: str):
    folder = shutil.copytree(bert, tmp_path / "bert")
    if name.startswith(("model", "pytorch")):
        (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(STUBS[stub])
    says = f"{name} is {stub}.*, not the file itself.*again, by `git lfs pull`"
    with pytest.raises(UserError, match=says):
        find(folder)
    with pytest.raises(UserError, match=says):  # as download.py --check does, without find_bert
        read_tokenizer(folder, 64)
        BertClassifier.from_pretrained(folder, num_labels=3)


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


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"model_type": "gpt2"}', "not json", "[" * 9999])
def test_a_foreign_config_is_refused(bert: Path, tmp_path: Path, content: str):
    folder = shutil.copytree(bert, tmp_path / "bert")
    (folder / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match="config.json|gpt2"):
        BertClassifier.from_pretrained(folder, num_labels=3)


def rewrite(folder: Path, **keys: object) -> Path:
    """Set keys of the config.json of a folder."""
    config = json.loads((folder / "config.json").read_bytes()) | keys
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "keys",
    [
        {"return_dict": False, "use_return_dict": False},
        {"torchscript": True, "output_attentions": True, "output_hidden_states": True},
        {"_attn_implementation": "flash_attention_2", "attn_implementation": 7, "_attn_implementation_internal": "x"},
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}},
        {"quantization_config": "what", "chunk_size_feed_forward": 5, "gradient_checkpointing": True},
        {"is_decoder": True, "add_cross_attention": True, "is_encoder_decoder": True, "use_cache": "no"},
        {"id2label": 3, "label2id": [], "num_labels": "two", "problem_type": 1, "dtype": "float7", "torch_dtype": {}},
        {"architectures": 5, "classifier_dropout": "x", "pruned_heads": {"0": [1]}, "vocab": 1, "self": 2},
    ],
)
def test_keys_that_are_the_callers_business_do_not_reach_the_model(
    bert: Path, tmp_path: Path, keys: dict, capsys: pytest.CaptureFixture[str]
):
    folder = rewrite(shutil.copytree(bert, tmp_path / "bert"), **keys)
    torch.manual_seed(1)
    plain = BertClassifier.from_pretrained(bert, num_labels=3).eval()
    torch.manual_seed(1)
    model = BertClassifier.from_pretrained(find(folder), num_labels=3).eval()
    assert model.architecture == plain.architecture
    ids = torch.tensor([[2, 7, 8, 9, 3]])
    with torch.no_grad():
        assert torch.equal(model(ids, torch.ones_like(ids)), plain(ids, torch.ones_like(ids)))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_size", "32"),
        ("hidden_size", 32.0),
        ("hidden_size", 10**15),
        ("vocab_size", True),
        ("vocab_size", None),
        ("num_hidden_layers", 0),
        ("num_attention_heads", -2),
        ("num_attention_heads", 3),
        ("intermediate_size", [64]),
        ("max_position_embeddings", "many"),
        ("type_vocab_size", {}),
        ("hidden_act", "gello"),
        ("hidden_act", ["gelu"]),
        ("hidden_dropout_prob", "0.1"),
        ("attention_probs_dropout_prob", 1.5),
        ("initializer_range", float("nan")),
        ("layer_norm_eps", False),
        ("pad_token_id", 10**6),
        ("position_embedding_type", "relative_key"),
    ],
)
def test_what_no_bert_has_is_named(bert: Path, tmp_path: Path, key: str, value: object):
    folder = rewrite(shutil.copytree(bert, tmp_path / "bert"), **{key: value})
    with pytest.raises(UserError, match=f"config.json.*({key}|{value} attention heads).*fetch it again"):
        find(folder)


def test_keys_of_no_value_are_left_out(bert: Path, tmp_path: Path):
    keys = {"hidden_act": None, "hidden_dropout_prob": None, "layer_norm_eps": None, "type_vocab_size": None}
    folder = rewrite(shutil.copytree(bert, tmp_path / "bert"), **keys, position_embedding_type=None, pad_token_id=None)
    config = BertClassifier.from_pretrained(find(folder), num_labels=3).bert.config
    assert (config.hidden_act, config.hidden_dropout_prob, config.layer_norm_eps) == ("gelu", 0.1, 1e-12)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", ["config.json", "bert_config.json"])
def test_a_config_of_any_name_and_encoding(bert: Path, tmp_path: Path, name: str, encoding: str):
    folder = shutil.copytree(bert, tmp_path / "bert")
    text = (folder / "config.json").read_text(encoding="utf-8")
    (folder / "config.json").unlink()
    (folder / name).write_text(text, encoding=encoding)
    recipe = (folder / "finetune.json").read_text(encoding="utf-8")
    (folder / "finetune.json").write_text(recipe, encoding=encoding)
    find(folder)
    assert read_bert_config(folder) == read_bert_config(bert)
    assert len(read_tokenizer(folder, 64).vocab) == len(read_tokenizer(bert, 64).vocab)
    assert finetune_defaults(folder, 11) == (4, 5e-3)


def test_the_vocabulary_as_transformers_saves_it(bert: Path, tmp_path: Path):
    from transformers import BertTokenizer

    folder = shutil.copytree(bert, tmp_path / "bert")
    BertTokenizer.from_pretrained(bert).save_pretrained(folder)
    (folder / "vocab.txt").unlink()
    ours, plain = (read_tokenizer(find(path), 64) for path in (folder, bert))
    assert ours.vocab == plain.vocab
    assert ours.encode(["球赛ABC云"]) == plain.encode(["球赛ABC云"])
    rewrite(folder, vocab_size=len(plain.vocab) - 1)
    with pytest.raises(UserError, match="tokenizer.json has .* tokens, the embedding"):
        read_tokenizer(folder, 64)


def test_a_fingerprint_tells_whatever_makes_another_bert(bert: Path, tmp_path: Path):
    plain, seen = fingerprint(bert), set()
    assert plain == fingerprint(shutil.copytree(bert, tmp_path / "copy")) and len(plain) == 64
    for name in ("config.json", "vocab.txt", "model.safetensors"):
        folder = shutil.copytree(bert, tmp_path / name)
        with (folder / name).open("ab") as file:
            file.write(b"\n")
        seen.add(fingerprint(folder))
    folder = shutil.copytree(bert, tmp_path / "shards")
    (folder / "model.safetensors").unlink()
    shards = {"x": "a.safetensors", "y": "b.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}), encoding="utf-8")
    for content in (b"12", b"13"):
        (folder / "a.safetensors").write_bytes(b"1")
        (folder / "b.safetensors").write_bytes(content)
        seen.add(fingerprint(folder))
    assert len(seen | {plain}) == 6


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
