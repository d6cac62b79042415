"""The shape of a BERT: heads and neurons of its layers, and the arithmetic that they take."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Weights = dict[str, "torch.Tensor"]
Architecture = dict[str, Any]
# What a config.json of BERT means by leaving a size out.
BERT_SIZES = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}


def layer_shapes(architecture: Architecture) -> list[dict[str, int]]:
    """The number of attention heads and FFN neurons of each layer: [{"heads": 12, "ffn": 3072}, …]."""
    if architecture.get("layers"):
        return [dict(shape) for shape in architecture["layers"]]
    sizes = BERT_SIZES | architecture["bert_config"]
    shape = {"heads": sizes["num_attention_heads"], "ffn": sizes["intermediate_size"]}
    return [dict(shape) for _ in range(sizes["num_hidden_layers"])]


def unit_flops(architecture: Architecture, seq_len: int) -> dict[str, int]:
    """The FLOPs of one attention head and of one FFN neuron on a text of `seq_len` tokens (see `encoder_flops`)."""
    sizes = BERT_SIZES | architecture["bert_config"]
    hidden = sizes["hidden_size"]
    head_size = hidden // sizes["num_attention_heads"]
    projections = 4 * seq_len * hidden * head_size  # query, key, value, output
    attention = 2 * seq_len * seq_len * head_size  # scores, and their mean of the values
    return {"heads": 2 * (projections + attention), "ffn": 2 * 2 * seq_len * hidden}


def encoder_flops(architecture: Architecture, seq_len: int) -> int:
    """The FLOPs of the encoder layers on one text, two for each multiply-add of their matrix products.

    With s tokens, hidden size h, head size d, and n heads and m neurons in a layer, a layer takes
    2 * (4 s h n d + 2 s s n d + 2 s h m): four projections, scores and weighted values, two FFN matrices. Embeddings,
    softmax, LayerNorm, activation functions and the classifier are left out: together they are a few per cent.

    Args:
        architecture: of a BERT, pruned or not.
        seq_len: tokens of the text, [CLS] and [SEP] included.
    """
    costs = unit_flops(architecture, seq_len)
    return sum(shape[kind] * costs[kind] for shape in layer_shapes(architecture) for kind in costs)


def describe_layers(architecture: Architecture) -> str:
    """The shapes of the layers as a line for people."""
    shapes = "  ".join(f"{shape['heads']}/{shape['ffn']}" for shape in layer_shapes(architecture))
    return f"heads/neurons of each layer {shapes}"
