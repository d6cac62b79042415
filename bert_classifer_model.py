"""The teacher: a BERT encoder with a linear classifier on top.

    model = BertClassifier.from_pretrained(find_bert(Path("bert-base-chinese")), num_labels=10)
    logits = model(input_ids, attention_mask)

Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding".
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from config import BUNDLED_BERT, Config
from core.bert.folder import read_pretrained
from core.console import UserError
from core.text.tokenizer import Encoder, read_vocab

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
MODEL_FILES = (*WEIGHT_FILES, "config.json", "vocab.txt", "tokenizer.json", "tokenizer_config.json")
FETCH_COMMAND = "python download.py bert"
# Some encoders pad their embedding to a round number of rows; a difference beyond that is another vocabulary.
MAX_SPARE_EMBEDDINGS = 128
# The sizes of bert-base-chinese.
BERT_BASE = {"vocab_size": 21128, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
BERT_BASE |= {"intermediate_size": 3072, "max_position_embeddings": 512}
# Few titles take many passes, or there are too few updates to learn anything (Mosbach et al. 2021).
FINETUNE = {"learning_rate": 5e-5, "num_epochs": [[300, 30], [800, 16], [3000, 8], [12000, 4], [None, 2]]}


class BertClassifier(nn.Module):
    """BERT encoder -> one vector a text -> dropout -> linear.

    The vector is BERT's pooler output where the pretrained weights carry a pooler, else the mean of the states of the
    real tokens.

    Args:
        bert_config: the keys of a Hugging Face `config.json` of a BERT.
        num_labels: number of classes.
        pooling: "pooler" or "mean".
        layers: {"heads", "ffn"} of each layer of a pruned encoder: its attention heads, of the size that bert_config
            gives, and its FFN neurons. None: all that bert_config gives.

    Raises:
        ValueError: `layers` does not fit bert_config.
    """

    def __init__(
        self, bert_config: dict[str, Any], num_labels: int, pooling: str, layers: list[dict[str, int]] | None = None
    ) -> None:
        from transformers import BertConfig, BertModel

        super().__init__()
        config = BertConfig(**bert_config)
        self.architecture = {
            "type": "bert",
            "bert_config": bert_config,
            "num_labels": num_labels,
            "pooling": pooling,
        }
        self.pooling = pooling
        self.bert = BertModel(config, add_pooling_layer=pooling == "pooler")
        if layers is not None:
            self.architecture["layers"] = layers
            for layer, shape in zip(self.bert.encoder.layer, layers, strict=True):
                _narrow(layer, shape["heads"], shape["ffn"])
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, num_labels)
        nn.init.normal_(self.classifier.weight, std=config.initializer_range)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Logits of a batch; padding does not change them.

        Args:
            input_ids: (batch, seq) int64.
            attention_mask: (batch, seq), 1 for tokens and 0 for padding.

        Returns:
            (batch, num_labels) float32.
        """
        output = self.bert(input_ids=input_ids, attention_mask=attention_mask)
        if self.pooling == "pooler":
            pooled = output.pooler_output  # (batch, hidden)
        else:
            states = output.last_hidden_state.float()  # (batch, seq, hidden)
            mask = attention_mask.unsqueeze(-1).float()  # (batch, seq, 1)
            pooled = (states * mask).sum(1) / mask.sum(1)
        return self.classifier(self.dropout(pooled)).float()

    @classmethod
    def from_pretrained(cls, folder: Path, num_labels: int) -> "BertClassifier":
        """Take the encoder from a Hugging Face folder; the classifier starts at random.

        Raises:
            UserError: the weights are damaged or do not fit `config.json`.
        """
        from transformers import BertModel

        bert_config = read_bert_config(folder)
        bert, missing = read_pretrained(BertModel, folder)
        model = cls(bert_config, num_labels, "mean" if missing else "pooler")
        model.bert = bert
        if model.pooling == "mean":
            model.bert.pooler = None
        return model

    @classmethod
    def from_architecture(
        cls, architecture: dict[str, Any], weights: dict[str, torch.Tensor] | None = None
    ) -> "BertClassifier":
        """Rebuild the module from what `self.architecture` said, with a state dict or with weights at random."""
        names = ("bert_config", "num_labels", "pooling")
        model = cls(*(architecture[name] for name in names), architecture.get("layers"))
        if weights is not None:
            model.load_state_dict(weights)
        return model


def _narrow(layer: nn.Module, heads: int, neurons: int) -> None:
    """Leave a BertLayer the first so many attention heads and FFN neurons."""
    attention = layer.attention.self
    if not (1 <= heads <= attention.num_attention_heads and 1 <= neurons <= layer.output.dense.in_features):
        raise ValueError(f"a layer of {heads} heads and {neurons} neurons")
    attention.num_attention_heads = heads
    attention.all_head_size = width = heads * attention.attention_head_size
    for outer in (attention.query, attention.key, attention.value):
        _resize(outer, width, outer.in_features)
    _resize(layer.attention.output.dense, layer.attention.output.dense.out_features, width)
    _resize(layer.intermediate.dense, neurons, layer.intermediate.dense.in_features)
    _resize(layer.output.dense, layer.output.dense.out_features, neurons)


def _resize(linear: nn.Linear, out_features: int, in_features: int) -> None:
    linear.weight = nn.Parameter(linear.weight.detach()[:out_features, :in_features].clone())
    linear.bias = nn.Parameter(linear.bias.detach()[:out_features].clone())
    linear.out_features, linear.in_features = out_features, in_features


def find_bert(bert_path: Path) -> Path:
    """The folder to take the encoder from: `bert_path`, or the bundled BERT while the default folder is empty.

    Raises:
        UserError: the folder lacks weights, config or vocabulary.
    """
    if bert_path == Config.bert_path and not any((bert_path / name).is_file() for name in MODEL_FILES):
        print(f"encoder: {BUNDLED_BERT} (bundled). For the larger bert-base-chinese (400 MB): {FETCH_COMMAND}")
        return BUNDLED_BERT
    require_files(bert_path)
    print(f"encoder: {bert_path}")
    return bert_path


def require_files(bert_path: Path) -> None:
    """Refuse a folder that lacks weights, config or vocabulary.

    Raises:
        UserError: it does.
    """
    for accepted in (WEIGHT_FILES, ("config.json",), ("vocab.txt",)):
        if not any((bert_path / name).is_file() for name in accepted):
            raise UserError(f"{bert_path} lacks {' or '.join(accepted)}: put it there, or run: {FETCH_COMMAND}")


def find_weights(folder: Path) -> Path:
    """The file with the weights in a folder that `find_bert` gave."""
    return next(folder / name for name in WEIGHT_FILES if (folder / name).is_file())


def read_bert_config(folder: Path) -> dict[str, Any]:
    """The keys of `config.json`, less what depends on the library or file it was written by."""
    try:
        bert_config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if bert_config.get("model_type", "bert") != "bert":
            raise UserError(f"{folder} holds a {bert_config['model_type']} model: only BERT encoders are supported")
        if not all(isinstance(bert_config[key], int) for key in ("vocab_size", "max_position_embeddings")):
            raise ValueError
    except (OSError, ValueError, KeyError, AttributeError) as fault:
        raise UserError(f"{folder / 'config.json'} is not the config.json of a BERT: fetch it again") from fault
    dropped = ("transformers_version", "dtype", "torch_dtype", "architectures", "_name_or_path")
    return {key: value for key, value in bert_config.items() if key not in dropped}


def read_bert_encoder(folder: Path, max_length: int, truncation: str = "end") -> Encoder:
    """The text encoder of a BERT folder, its vocabulary checked against the rows of the embedding.

    Raises:
        UserError: `vocab.txt` belongs to another model, or the model has fewer positions than `max_length`.
    """
    vocab = read_vocab(folder / "vocab.txt")
    bert_config = read_bert_config(folder)
    rows, positions = bert_config["vocab_size"], bert_config["max_position_embeddings"]
    if not 0 <= rows - len(vocab) < MAX_SPARE_EMBEDDINGS:
        raise UserError(
            f"{folder}: vocab.txt has {len(vocab)} tokens, the embedding {rows} rows; they belong to different models: "
            "take vocab.txt, config.json and the weights from the same one"
        )
    if max_length > positions:
        raise UserError(f"--max-length {max_length} is more than the {positions} positions of {folder}: lower it")
    return Encoder(vocab, max_length, truncation)


def read_finetune(folder: Path) -> dict[str, Any]:
    """For how long and how fast an encoder is trained: FINETUNE, but for what `finetune.json` beside its weights says.

    That is `{"learning_rate": 4e-4, "num_epochs": [[2000, 12], [null, 3]]}` or one of the two; each pair is (up to so
    many rows, epochs).
    """
    path = folder / "finetune.json"
    try:
        return FINETUNE | (json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {})
    except (OSError, ValueError, TypeError) as fault:
        raise UserError(f"{path} is damaged: mend it or delete it") from fault


def finetune_defaults(folder: Path, rows: int) -> tuple[int, float]:
    """The epochs and peak learning rate that suit an encoder and a number of training rows."""
    defaults = read_finetune(folder)
    try:
        epochs = next(epochs for up_to, epochs in defaults["num_epochs"] if up_to is None or rows <= up_to)
        return int(epochs), float(defaults["learning_rate"])
    except (ValueError, TypeError, StopIteration) as fault:
        raise UserError(f"{folder / 'finetune.json'} is damaged: mend it or delete it") from fault
