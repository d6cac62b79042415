"""Structured pruning of a BERT: which heads, neurons, layers and vocabulary rows can go, and cutting them out.

What goes leaves the weights, so the model is smaller and faster on any hardware. Cutting works on a state dict and its
`architecture`, whose `layers` ({"heads", "ffn"} of each) then tell the model class what shapes to build.

Michel et al. 2019, "Are Sixteen Heads Really Better than One?" (arXiv 1905.10650); Molchanov et al. 2017, "Pruning
Convolutional Neural Networks for Resource Efficient Inference" (arXiv 1611.06440).
"""

from collections.abc import Callable, Iterable

import torch
from torch import nn

from core.bert.shape import (
    BERT_SIZES,
    Architecture,
    Weights,
    encoder_flops,
    layer_shapes,
    unit_flops,
)
from core.console import UserError
from core.training.units import Batch
from core.training.updater import LossFn

# One entry a layer: {"heads": …, "ffn": …}, a score or an index for each attention head and each FFN neuron.
Scores = list[dict[str, torch.Tensor]]
Units = list[dict[str, list[int]]]


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


def unit_importance(
    model: nn.Module, batches: Iterable[Batch], loss_fn: LossFn, count: Callable[[Batch], int], device: torch.device
) -> Scores:
    """Importance of each head and neuron: the change of the loss without it, to first order, |gradient x activation|.

    Products are summed over the tokens of a row (and the numbers that a head puts out), their absolute values over the
    rows: the head score of Michel et al., and the Taylor criterion of Molchanov et al. Both divide by the norm of
    a layer's scores; here they sum to 1, so that few heads compare with many neurons.

    Args:
        model: with a BERT, on `device`.
        batches: labelled ones.
        loss_fn: the loss, a mean over units.
        count: the units in a batch.
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
            loss, _ = loss_fn(model, {name: tensor.to(device) for name, tensor in batch.items()})
            gradients = torch.autograd.grad(loss * count(batch), outputs)  # of the sum: a row's depends on no other
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
