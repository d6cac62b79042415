"""Structured pruning of a BERT: which heads, neurons, layers and vocabulary rows can go, and cutting them out.

What goes leaves the weights, so the model is smaller and faster on any hardware. Cutting works on a state dict and its
`architecture`, whose `layers` ({"heads", "ffn"} of each) then tell the model class what shapes to build.

Michel et al. 2019, "Are Sixteen Heads Really Better than One?" (arXiv 1905.10650); Molchanov et al. 2017, "Pruning
Convolutional Neural Networks for Resource Efficient Inference" (arXiv 1611.06440).
"""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from core.console import UserError
from core.text.tokenizer import SPECIAL_TOKENS, Encoder

Weights = dict[str, torch.Tensor]
Architecture = dict[str, Any]
# One entry a layer: {"heads": …, "ffn": …}, a score or an index for each attention head and each FFN neuron.
Scores = list[dict[str, torch.Tensor]]
Units = list[dict[str, list[int]]]

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


def plan_budgets(architecture: Architecture, goal: float, rounds: int, seq_len: int) -> list[float]:
    """The FLOPs that the encoder may take after each round of cutting, in equal steps down to `goal`.

    Raises:
        UserError: one head and one neuron in each layer already take more than the goal.
    """
    now = encoder_flops(architecture, seq_len)
    least = len(layer_shapes(architecture)) * sum(unit_flops(architecture, seq_len).values())
    if goal < least:
        raise UserError(
            f"--keep-flops asks for {goal:,.0f} FLOPs, but one head and one neuron in each layer take {least:,}: "
            "give a higher share, or fewer layers with --keep-layers"
        )
    return [now + (goal - now) * number / rounds for number in range(1, rounds + 1)] if goal < now else []


def unit_importance(model: nn.Module, batches: Iterable[dict[str, torch.Tensor]], device: torch.device) -> Scores:
    """How much the loss would change without each head and each neuron, to first order: |gradient x activation|.

    Products are summed over the tokens of a title (and the numbers that a head puts out), their absolute values over
    the titles: the head score of Michel et al., and the Taylor criterion of Molchanov et al. Both divide by the norm of
    a layer's scores; here they sum to 1, so that few heads compare with many neurons.

    Args:
        model: a BERT classifier on `device`.
        batches: labelled ones.
        device: what to compute on.

    Returns:
        For each layer {"heads": (heads,), "ffn": (neurons,)}, float32 on the CPU.
    """
    layers = model.bert.encoder.layer
    head_size = layers[0].attention.self.attention_head_size
    widths = [head_size, 1] * len(layers)  # numbers that a unit puts out, in the order of `outputs`
    outputs: list[torch.Tensor] = []  # what heads and neurons put out in each layer: inputs of the next matrix
    hooks = [
        projection.register_forward_pre_hook(lambda _module, inputs: outputs.append(inputs[0]))
        for layer in layers
        for projection in (layer.attention.output.dense, layer.output.dense)
    ]
    totals = [torch.zeros(())] * len(widths)
    model.eval()
    try:
        for batch in batches:
            outputs.clear()
            logits = model(batch["input_ids"].to(device), batch["attention_mask"].to(device))
            loss = F.cross_entropy(logits, batch["labels"].to(device), reduction="sum")
            gradients = torch.autograd.grad(loss, outputs)
            for index, (output, gradient) in enumerate(zip(outputs, gradients, strict=True)):
                changes = (output.detach() * gradient).unflatten(-1, (-1, widths[index])).sum((1, 3))  # (batch, units)
                totals[index] = totals[index] + changes.abs().sum(0).float().cpu()
    finally:
        for hook in hooks:
            hook.remove()
    shares = [total / total.sum().clamp(min=1e-30) for total in totals]
    return [{"heads": heads, "ffn": ffn} for heads, ffn in zip(shares[::2], shares[1::2], strict=True)]


def choose_units(scores: Scores, architecture: Architecture, budget: float, seq_len: int) -> Units:
    """The units to keep so that the encoder takes no more than `budget` FLOPs on a text of `seq_len` tokens.

    Those that matter least for the FLOPs they take go first; each layer keeps at least one head and one neuron.
    """
    costs = unit_flops(architecture, seq_len)
    queue = sorted(
        (score / costs[kind], layer, kind, unit)
        for layer, kinds in enumerate(scores)
        for kind, values in kinds.items()
        for unit, score in enumerate(values.tolist())
    )
    kept = [{kind: set(range(len(values))) for kind, values in kinds.items()} for kinds in scores]
    flops = encoder_flops(architecture, seq_len)
    for _, layer, kind, unit in queue:
        if flops <= budget:
            break
        if len(kept[layer][kind]) > 1:
            kept[layer][kind].remove(unit)
            flops -= costs[kind]
    return [{kind: sorted(units) for kind, units in kinds.items()} for kinds in kept]


def cut_units(weights: Weights, architecture: Architecture, kept: Units) -> tuple[Weights, Architecture]:
    """Cut all heads and neurons but those in `kept` out of the weights."""
    sizes = BERT_SIZES | architecture["bert_config"]
    head_size = sizes["hidden_size"] // sizes["num_attention_heads"]
    cut = dict(weights)
    for index, units in enumerate(kept):
        layer = f"bert.encoder.layer.{index}."
        heads = (torch.tensor(units["heads"]).unsqueeze(1) * head_size + torch.arange(head_size)).flatten()
        outer = {f"attention.self.{name}": heads for name in ("query", "key", "value")}
        outer["intermediate.dense"] = torch.tensor(units["ffn"])
        for name, rows in outer.items():
            for part in (f"{layer}{name}.weight", f"{layer}{name}.bias"):
                cut[part] = weights[part][rows]
        for name, columns in (("attention.output", heads), ("output", torch.tensor(units["ffn"]))):
            part = f"{layer}{name}.dense.weight"
            cut[part] = weights[part][:, columns]
    shapes = [{kind: len(units[kind]) for kind in ("heads", "ffn")} for units in kept]
    return cut, {**architecture, "layers": shapes}


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
    used = {token for ids in Encoder(vocab, sys.maxsize).encode(texts).input_ids for token in ids}
    special = {*SPECIAL_TOKENS, "[MASK]"}
    for index, token in enumerate(vocab):
        character = token.removeprefix("##")
        if token in special or (len(character) == 1 and character.isascii()):
            used.add(index)
    return sorted(used)


def keep_tokens(
    weights: Weights, architecture: Architecture, kept: Sequence[int], pad_id: int
) -> tuple[Weights, Architecture]:
    """Cut all rows but those in `kept` out of the embedding; `pad_id` is the new id of [PAD]."""
    name = "bert.embeddings.word_embeddings.weight"
    rows = weights[name][torch.tensor(kept)]
    bert_config = {**architecture["bert_config"], "vocab_size": len(kept), "pad_token_id": pad_id}
    return {**weights, name: rows}, {**architecture, "bert_config": bert_config}


def cut_at_once(
    weights: Weights, architecture: Architecture, encoder: Encoder, layers: int | None, texts: Sequence[str] | None
) -> tuple[Weights, Architecture, Encoder]:
    """Cut out what needs no scores: layers and tokens.

    Args:
        weights: of a BERT classifier.
        architecture: its.
        encoder: its text encoder.
        layers: how many to keep (see `spread`); None: all.
        texts: those whose tokens stay (see `used_tokens`); None: all tokens do.

    Raises:
        UserError: there are fewer layers.
    """
    if texts is not None:
        kept = used_tokens(encoder.vocab, texts)
        encoder = Encoder([encoder.vocab[token] for token in kept], encoder.max_length, encoder.truncation)
        weights, architecture = keep_tokens(weights, architecture, kept, encoder.pad_id)
    if layers is not None:
        present = len(layer_shapes(architecture))
        if layers > present:
            raise UserError(f"--keep-layers is {layers}, but the model has {present} layers: keep fewer")
        weights, architecture = keep_layers(weights, architecture, spread(present, layers))
    return weights, architecture, encoder
