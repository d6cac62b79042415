"""The encoder of a BERT as a module, pruned or not, for the heads of the tasks to stand on."""

from pathlib import Path
from typing import Any

from torch import nn

from core.bert.folder import read_tokenizer
from core.bert.weights import read_pretrained

MIN_LENGTH = 3  # of a text: [CLS], a token, [SEP]

# The sizes of bert-base-chinese.
BERT_BASE = {"vocab_size": 21128, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
BERT_BASE |= {"intermediate_size": 3072, "max_position_embeddings": 512}


def build_bert(bert_config: dict[str, Any], pooler: bool, layers: list[dict[str, int]] | None = None) -> nn.Module:
    """A `BertModel` with weights at random.

    Args:
        bert_config: the keys of a Hugging Face `config.json` of a BERT.
        pooler: whether it has one.
        layers: {"heads", "ffn"} of each layer of a pruned encoder: its attention heads, of the size that bert_config
            gives, and its FFN neurons. None: all that bert_config gives.

    Raises:
        ValueError: `layers` does not fit bert_config.
    """
    from transformers import BertConfig, BertModel

    bert = BertModel(BertConfig(**bert_config), add_pooling_layer=pooler)
    if layers is not None:
        for layer, shape in zip(bert.encoder.layer, layers, strict=True):
            _narrow(layer, shape["heads"], shape["ffn"])
    return bert


def pretrained_bert(folder: Path) -> tuple[nn.Module, bool]:
    """The `BertModel` of a Hugging Face folder in FP32, and whether its weights have a pooler; it has none otherwise.

    Raises:
        UserError: the weights are damaged or do not fit `config.json`.
    """
    from transformers import BertModel

    bert, missing = read_pretrained(BertModel, folder)
    if missing:
        bert.pooler = None
    return bert, not missing


def describe(folder: Path) -> str:
    """What a folder holds, opened as training does, in words.

    Raises:
        UserError: weights, vocabulary and config are damaged, or do not fit together.
    """
    tokenizer = read_tokenizer(folder, max_length=MIN_LENGTH)
    # Mapped to the file until this returns: Windows would not let the file be moved while the model is in use.
    bert, _ = pretrained_bert(folder)
    rows, width = bert.embeddings.word_embeddings.weight.shape
    return f"the weights open; vocabulary: {len(tokenizer.vocab):,} tokens, embedding: {rows:,} rows of {width}"


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
