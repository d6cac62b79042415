"""A DistilBERT as the BERT that it is: the same layers by other names, without segments and pooler.

Sanh et al. 2019, "DistilBERT, a distilled version of BERT". The BERT whose segment vectors are zero gives its very
states; in training that has one dropout more, after the attention.
"""

import re
from typing import Any

from core.bert.shape import Weights

KEYS = {  # of its config.json, by BERT's names for them
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "hidden_dim": "intermediate_size",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "activation": "hidden_act",
}
# What it means by leaving a key out.
DEFAULTS = {"hidden_size": 768, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 3072}
FIXED = {"type_vocab_size": 2, "layer_norm_eps": 1e-12}
PARTS = {  # of the names of its weights
    "distilbert.": "bert.",
    "transformer.layer.": "encoder.layer.",
    ".attention.q_lin.": ".attention.self.query.",
    ".attention.k_lin.": ".attention.self.key.",
    ".attention.v_lin.": ".attention.self.value.",
    ".attention.out_lin.": ".attention.output.dense.",
    ".sa_layer_norm.": ".attention.output.LayerNorm.",
    ".ffn.lin1.": ".intermediate.dense.",
    ".ffn.lin2.": ".output.dense.",
    ".output_layer_norm.": ".output.LayerNorm.",
    "vocab_transform.": "cls.predictions.transform.dense.",
    "vocab_layer_norm.": "cls.predictions.transform.LayerNorm.",
    "vocab_projector.weight": "cls.predictions.decoder.weight",
    "vocab_projector.bias": "cls.predictions.bias",
}
PART = re.compile("|".join(map(re.escape, PARTS)))
POSITIONS = "embeddings.position_embeddings.weight"


def bert_keys(config: dict[str, Any]) -> dict[str, Any]:
    """Its config by BERT's keys."""
    return DEFAULTS | {KEYS.get(key, key): value for key, value in config.items()} | FIXED


def bert_names(weights: Weights) -> Weights:
    """Its weights by BERT's names, with segment vectors of zero; whatever stands before the names stays there."""
    named = {PART.sub(lambda found: PARTS[found[0]], name): tensor for name, tensor in weights.items()}
    for name in [name for name in named if name.endswith(POSITIONS)]:
        segments = f"{name.removesuffix(POSITIONS)}embeddings.token_type_embeddings.weight"
        named[segments] = named[name].new_zeros(FIXED["type_vocab_size"], named[name].shape[-1])
    return named
