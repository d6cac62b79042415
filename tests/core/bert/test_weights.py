"""The weights of a BERT: the same ones however they were written, and refused to the last one that does not fit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import legacy, write_bert
from safetensors.torch import load_file, save_file

from bert_classifer_model import BertClassifier
from core.bert.folder import find_bert
from core.bert.weights import read_pretrained
from core.console import UserError
from core.pretraining.masked_lm import read_bert

Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with pooler and masked-language-model head, by today's names."""
    from transformers import BertConfig, BertForPreTraining

    folder = write_bert(tmp_path_factory.mktemp("whole"))
    torch.manual_seed(5)
    config = BertConfig(**json.loads((folder / "config.json").read_bytes()))
    weights = BertForPreTraining(config).state_dict()
    save_file({name: torch.randn_like(tensor) for name, tensor in weights.items()}, folder / "model.safetensors")
    return folder


def prefixed(before: str) -> Callable[[Weights], Weights]:
    return lambda weights: {before + name: tensor for name, tensor in weights.items()}


def bare(weights: Weights) -> Weights:
    return {name.removeprefix("bert."): tensor for name, tensor in weights.items()}


WAYS = {
    "as they are": lambda weights: weights,
    "bare": bare,
    "module.": prefixed("module."),
    "module. bare": lambda weights: prefixed("module.")(bare(weights)),
    "twice": prefixed("module.module."),
    "a trainer's": prefixed("model."),
    "compiled": prefixed("_orig_mod."),
    "bert.bert.": prefixed("bert."),
    "old": lambda weights: {legacy(name): tensor for name, tensor in weights.items()},
    "old of two": lambda weights: {f"module.{legacy(name)}": tensor for name, tensor in weights.items()},
    "wrapped": lambda weights: {"state_dict": weights, "epoch": 3, "best": 0.5, "args": {"lr": [1e-4]}},
    "wrapped of two": lambda weights: {"model_state_dict": prefixed("module.")(weights)},
    "with an optimizer": lambda weights: {"net": weights, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}},
    "with other heads": lambda weights: {**weights, "classifier.weight": torch.ones(9, 2), "dropout.p": torch.ones(1)},
    "with counts": lambda weights: {**weights, "bert.embeddings.position_ids": torch.arange(64)[None]},
}


@pytest.mark.parametrize("way", WAYS)
def test_weights_are_the_same_however_they_were_written(whole: Path, tmp_path: Path, way: str):
    folder = shutil.copytree(whole, tmp_path / "bert")
    (folder / "model.safetensors").unlink()
    torch.save(WAYS[way](load_file(whole / "model.safetensors")), folder / "pytorch_model.bin")
    assert_same(folder, whole)


def test_safetensors_half_precision_and_legacy_files(whole: Path, tmp_path: Path):
    weights = load_file(whole / "model.safetensors")
    folder = shutil.copytree(whole, tmp_path / "a")
    save_file(prefixed("module.")(weights), folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert_same(folder, whole)
    torch.save(weights, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    assert_same(folder, whole)
    torch.save(weights, folder / "model.safetensors")
    with pytest.raises(UserError, match="model.safetensors was written by torch.save.*rename it pytorch_model.bin"):
        read_bert(folder)
    save_file({name: tensor.half() for name, tensor in weights.items()}, folder / "model.safetensors")
    bert = BertClassifier.from_pretrained(folder, num_labels=3).bert
    for name, tensor in bert.state_dict().items():
        assert torch.equal(tensor, weights[f"bert.{name}"].half().float()), name


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_shards_are_read_together(whole: Path, tmp_path: Path, name: str):
    folder = shutil.copytree(whole, tmp_path / "bert")
    weights = load_file(whole / "model.safetensors")
    (folder / "model.safetensors").unlink()
    stem, _, suffix = name.partition(".")
    shards = {key: f"{stem}-0000{1 + row % 3}-of-00003.{suffix}" for row, key in enumerate(sorted(weights))}
    for shard in set(shards.values()):
        held = {key: weights[key] for key in weights if shards[key] == shard}
        save_file(held, folder / shard) if suffix == "safetensors" else torch.save(held, folder / shard)
    index = folder / f"{name}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": shards}), encoding="utf-8-sig")
    find_bert(folder, Path("default"), Path("bundled"))
    assert_same(folder, whole)

    gone = folder / f"{stem}-00002-of-00003.{suffix}"
    gone.unlink()
    for read in (lambda: find_bert(folder, Path("default"), Path("bundled")), lambda: read_bert(folder)):
        with pytest.raises(UserError, match=f"lacks {gone.name}, which {index.name} names: put it there"):
            read()
    for map_ in ({"x": "../bert/model.safetensors"}, {"x": str(folder / name)}, {}, [], {"x": 3}, None):
        index.write_text(json.dumps({"weight_map": map_}), encoding="utf-8")
        with pytest.raises(UserError, match="is not the index of a BERT's shards: fetch it again"):
            read_bert(folder)


def assert_same(folder: Path, whole: Path) -> None:
    """Encoder, pooler and masked-language-model head are the same in both folders."""
    for load in (lambda path: BertClassifier.from_pretrained(path, num_labels=3), read_bert):
        models = []
        for path in (folder, whole):
            torch.manual_seed(2)
            models.append((load(path).state_dict(), torch.rand(1)))
        (ours, after), (theirs, after_theirs) = models
        assert ours.keys() == theirs.keys() and torch.equal(after, after_theirs)
        assert not [name for name in ours if not torch.equal(ours[name], theirs[name])]


def test_a_folder_without_head_or_pooler_starts_them_at_random(bert: Path):
    from transformers import BertModel

    _, missing = read_pretrained(BertModel, bert)
    assert missing == {"pooler.dense.weight", "pooler.dense.bias"}
    assert read_bert(bert).cls.predictions.transform.dense.weight.std() > 0


LAYER = "bert.encoder.layer.1.output.dense.weight"
CHANGES = {
    "no .*encoder.layer.1.output.dense.weight": lambda w: w.pop(LAYER),
    "no .*embeddings.LayerNorm.bias": lambda w: w.pop("bert.embeddings.LayerNorm.bias"),
    "no .*pooler.dense.bias": lambda w: w.pop("bert.pooler.dense.bias"),
    "no bert.embeddings.word_embeddings.weight": lambda w: w.pop("bert.embeddings.word_embeddings.weight"),
    "they have 3 layers, num_hidden_layers says 2": lambda w: w.update(
        {name.replace("layer.1.", "layer.2."): tensor.clone() for name, tensor in w.items() if "layer.1." in name}
    ),
    "they have 1 layers, num_hidden_layers says 2": lambda w: [w.pop(name) for name in list(w) if "layer.1." in name],
    "distance_embedding.weight, which a BERT does not have": lambda w: w.update(
        {"bert.encoder.layer.0.attention.self.distance_embedding.weight": torch.ones(2)}
    ),
    "task_type_embeddings.weight, which": lambda w: w.update({"bert.embeddings.task_type_embeddings.weight": LAYER_2}),
    "other shapes: .*layer.1.output.dense.weight is 2 x 2, by config.json 32 x 64": lambda w: w.update(
        {LAYER: LAYER_2}
    ),
    "is quantized, torch.int8": lambda w: w.update({LAYER: w[LAYER].to(torch.int8)}),
    "2 models in one file, student.bert. and teacher.": lambda w: (
        [w.update({f"{who}.{name}": w[name].clone() for who in ("student", "teacher")}) for name in list(w)],
        [w.pop(name) for name in list(w) if name.startswith(("bert.", "cls."))],
    ),
}
LAYER_2 = torch.ones(2, 2)


@pytest.mark.parametrize("says", CHANGES)
def test_weights_that_do_not_fit_to_the_last_one_are_refused(whole: Path, tmp_path: Path, says: str):
    folder = shutil.copytree(whole, tmp_path / "bert")
    weights = load_file(whole / "model.safetensors")
    CHANGES[says](weights)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(UserError, match=f"do not fit its config.json .*{says}.*: take both from the same model"):
        BertClassifier.from_pretrained(folder, num_labels=3)


def test_a_config_of_fewer_layers_does_not_train_half_a_bert(bert: Path, tmp_path: Path):
    folder = write_bert(tmp_path / "bert", num_hidden_layers=1)
    shutil.copy(bert / "model.safetensors", folder)
    for read in (read_bert, lambda path: BertClassifier.from_pretrained(path, num_labels=3)):
        with pytest.raises(UserError, match="they have 2 layers, num_hidden_layers says 1"):
            read(folder)


class Hostile:
    def __reduce__(self):
        return (print, ("code ran",))


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_damaged_and_hostile_weights(
    bert: Path, google_bert: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
):
    folder = shutil.copytree(bert if name == "model.safetensors" else google_bert, tmp_path / "bert")
    content = (folder / name).read_bytes()
    rest = (b"", b"\0", b"{}", b'{"error": "Repository not found"}', b"PK\3\4", b"\x80\2}q\0.", bytes(5000), b"{" * 99)
    for damage in (content[:7], content[:100], content[:-1000], content[500:], b"PK" + content[2:900], *rest):
        (folder / name).write_bytes(damage)
        with pytest.raises(UserError, match=r"cannot be read \(|do not fit") as told:
            BertClassifier.from_pretrained(folder, num_labels=3)
        assert "weights_only" not in str(told.value) and "\n" not in str(told.value) and len(str(told.value)) < 500
    for held in ({"bert.x": Hostile()}, Hostile(), torch.nn.Linear(2, 2), [torch.ones(2)], torch.ones(2), "text"):
        torch.save(held, folder / name)
        with pytest.raises(UserError, match="cannot be read") as told:
            BertClassifier.from_pretrained(folder, num_labels=3)
        assert "weights_only" not in str(told.value) and "torch.load" not in str(told.value)
    assert "code ran" not in capsys.readouterr().out


def roberta(folder: Path, **keys: object) -> Path:
    """Have the config.json of a folder call its model a roberta."""
    config = json.loads((folder / "config.json").read_bytes()) | {"model_type": "roberta", **keys}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.mark.parametrize("way", ["as they are", "bare", "module."])
def test_a_bert_that_is_called_roberta(whole: Path, tmp_path: Path, way: str, capsys: pytest.CaptureFixture[str]):
    folder = roberta(shutil.copytree(whole, tmp_path / "bert"), architectures=["RobertaForMaskedLM"])
    save_file(WAYS[way](load_file(whole / "model.safetensors")), folder / "model.safetensors")
    find_bert(folder, Path("default"), Path("bundled"))
    assert_same(folder, whole)
    assert "config.json says roberta, the weights are a BERT's" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("RobertaModel", {}),
        ("RobertaModel", {"pad_token_id": 0}),
        ("RobertaForMaskedLM", {}),
        ("RobertaForSequenceClassification", {"pad_token_id": 0, "type_vocab_size": 2}),
        ("RobertaForMaskedLM", {"pad_token_id": 0, "model_type": "bert"}),
    ],
)
def test_a_true_roberta_is_refused(bert: Path, tmp_path: Path, kind: str, keys: dict):
    import transformers

    folder = shutil.copytree(bert, tmp_path / "bert")
    sizes = json.loads((bert / "config.json").read_bytes())
    names = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    config = transformers.RobertaConfig(**{name: sizes[name] for name in names}, type_vocab_size=1)
    getattr(transformers, kind)(config).save_pretrained(folder)
    roberta(folder, **keys)
    (folder / "vocab.txt").unlink() if not keys else None  # of GPT's kind, in vocab.json and merges.txt
    with pytest.raises(UserError, match="holds a true RoBERTa model: only BERT"):
        find_bert(folder, Path("default"), Path("bundled"))
        BertClassifier.from_pretrained(folder, num_labels=3)
