"""Layers and vocabulary rows cut out of a BERT: what needs no scores."""

import sys
from collections.abc import Collection, Mapping, Sequence

import torch

from core.bert.shape import Architecture, Weights, layer_shapes
from core.console import UserError
from core.text.tokenizer import SPECIAL_TOKENS, Tokenizer


def spread(layers: int, keep: int) -> list[int]:
    """`keep` of `layers` layers, evenly spread from the first on: every other one where half are kept.

    DistilBERT starts from such layers (Sanh et al. 2019, arXiv 1910.01108).
    """
    return [index * layers // keep for index in range(keep)]


def keep_layers(weights: Weights, architecture: Architecture, kept: Sequence[int]) -> tuple[Weights, Architecture]:
    """Cut all layers but those in `kept` out of the weights."""
    prefix = "bert.encoder.layer."
    cut = {name: tensor for name, tensor in weights.items() if not name.startswith(prefix)}
    for new, old in enumerate(kept):
        start = f"{prefix}{old}."
        cut |= {
            prefix + f"{new}." + name.removeprefix(start): w for name, w in weights.items() if name.startswith(start)
        }
    shapes = layer_shapes(architecture)
    bert_config = {**architecture["bert_config"], "num_hidden_layers": len(kept)}
    return cut, {**architecture, "bert_config": bert_config, "layers": [shapes[index] for index in kept]}


def used_tokens(vocab: Sequence[str], texts: Sequence[str]) -> list[int]:
    """The ids of the tokens worth keeping: those in the texts, the special ones, and ASCII characters.

    The texts are encoded as before with these tokens alone; the ASCII characters, `a` as well as `##a`, let Latin words
    and numbers that the texts lack be spelled out.
    """
    used = {token for ids in Tokenizer(vocab, sys.maxsize).encode(texts).input_ids for token in ids}
    special = {*SPECIAL_TOKENS, "[MASK]"}
    for index, token in enumerate(vocab):
        character = token.removeprefix("##")
        if token in special or (len(character) == 1 and character.isascii()):
            used.add(index)
    return sorted(used)


def token_ids(columns: Mapping[str, Sequence], inputs: Sequence[str]) -> set[int]:
    """The ids of tokens in the rows of some data, in whichever of a model's inputs: those whose names end in `_ids`."""
    names = [name for name in inputs if name.endswith("_ids")]
    return {token for name in names for ids in columns[name] for token in ids.tolist()}


def keep_tokens(
    weights: Weights, architecture: Architecture, kept: Sequence[int], pad_id: int
) -> tuple[Weights, Architecture]:
    """Cut all rows but those in `kept` out of the embedding; `pad_id` is the new id of [PAD]."""
    name = "bert.embeddings.word_embeddings.weight"
    rows = weights[name][torch.tensor(kept)]
    bert_config = {**architecture["bert_config"], "vocab_size": len(kept), "pad_token_id": pad_id}
    return {**weights, name: rows}, {**architecture, "bert_config": bert_config}


def cut_at_once(
    weights: Weights,
    architecture: Architecture,
    tokenizer: Tokenizer,
    layers: int | None,
    texts: Sequence[str] | None,
    ids: Collection[int] = (),
) -> tuple[Weights, Architecture, Tokenizer]:
    """Cut out what needs no scores: layers and tokens.

    Args:
        weights: of a BERT classifier.
        architecture: its.
        tokenizer: its text tokenizer.
        layers: how many to keep (see `spread`); None: all.
        texts: those whose tokens stay (see `used_tokens`); None: all tokens do.
        ids: of further tokens that stay then.

    Raises:
        UserError: there are fewer layers.
    """
    if texts is not None:
        kept = sorted({*used_tokens(tokenizer.vocab, texts), *ids})
        tokenizer = tokenizer.with_vocab([tokenizer.vocab[token] for token in kept])
        weights, architecture = keep_tokens(weights, architecture, kept, tokenizer.pad_id)
    if layers is not None:
        present = len(layer_shapes(architecture))
        if layers > present:
            raise UserError(f"--keep-layers is {layers}, but the model has {present} layers: keep fewer")
        weights, architecture = keep_layers(weights, architecture, spread(present, layers))
    return weights, architecture, tokenizer
