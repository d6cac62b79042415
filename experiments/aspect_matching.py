"""Hidden states and attention of a student matched with its teacher's, for experiments.aspects.

TinyBERT (Jiao et al. 2020, sections 3.1 and 3.2): beside the loss of the answers, the mean squared error between the
student's and the teacher's embeddings, the states after its layers and those after the teacher's that they stand for,
and the attention of these layers. Student and teacher have one width here, so that no projection is learned; of
attention the probabilities are matched, and all in one stage.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import torch
from torch import nn
from torch.nn import functional as F

from aspect_sentiment import distillation
from core.compression.distil import taught
from core.model_files.module import call
from core.training.units import Batch
from core.training.updater import LossFn

WEIGHT = 1.0  # of what is matched
Seen = dict[str, torch.Tensor]


@contextmanager
def watched(model: nn.Module, layers: Sequence[int]) -> Iterator[Seen]:
    """What passes through an encoder while it computes: its embeddings, and the states and attention of some layers."""
    seen: Seen = {}

    def keep(name: str, pick: Callable) -> Callable:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            seen[name] = pick(output)

        return hook

    with ExitStack() as stack:

        def watch(module: nn.Module, name: str, pick: Callable) -> None:
            stack.enter_context(module.register_forward_hook(keep(name, pick)))

        watch(model.bert.embeddings, "embeddings", lambda output: output)
        for place, layer in enumerate(layers):
            watch(model.bert.encoder.layer[layer].output, f"states {place}", lambda output: output)
            watch(model.bert.encoder.layer[layer].attention.self, f"attention {place}", lambda output: output[1])
        yield seen


def matched(loss_fn: LossFn, teacher: nn.Module) -> LossFn:
    """A loss, and WEIGHT times what student and teacher differ by inside."""
    teacher.eval().requires_grad_(False)
    teacher.bert.set_attn_implementation("eager")  # which alone tells its attention

    def both(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        model.bert.set_attn_implementation("eager")
        own, whole = model.bert.config.num_hidden_layers, teacher.bert.config.num_hidden_layers
        with watched(model, range(own)) as ours:
            loss, parts = loss_fn(model, batch)
        with torch.no_grad(), watched(teacher, [(place + 1) * whole // own - 1 for place in range(own)]) as theirs:
            call(teacher, batch)
        mask = batch["attention_mask"].bool()
        differences = [
            F.mse_loss(one[mask].float(), theirs[name][mask].float())
            if one.ndim == 3
            else F.mse_loss(one.float(), theirs[name].float())
            for name, one in ours.items()
        ]
        inside = torch.stack(differences).sum()
        return loss + WEIGHT * inside, {**parts, "inside": inside.detach()}

    return both


@contextmanager
def matching(teacher: nn.Module) -> Iterator[None]:
    """Have `aspect_sentiment.distillation` match students with a teacher, whose file it learns from, inside too."""
    with patch.object(distillation, "taught", lambda *args: matched(taught(*args), teacher)):
        yield
