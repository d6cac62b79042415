"""Losses of distillation: pure functions of logits, (units, classes), where a unit is a row, a token, an aspect.

Classes come last: (batch, seq, classes) are as many units as there are tokens. The teacher's logits are constants: no
gradient goes back to them.
"""

import torch
from torch.nn import functional as F

NO_LABEL = -1  # of a unit that nobody has labelled


def soft_loss(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """T² · KL(teacher / T || student / T), the mean over the units (Hinton et al. 2015, section 2).

    Softened by T, the gradient of the divergence shrinks with T²; the factor keeps its scale.
    """
    soft_student = F.log_softmax(_units(student) / temperature, dim=-1)
    soft_teacher = F.log_softmax(_units(teacher.detach()) / temperature, dim=-1)
    return temperature**2 * F.kl_div(soft_student, soft_teacher, log_target=True, reduction="batchmean")


def hard_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Cross-entropy to the teacher's likeliest class, the mean over the units."""
    return F.cross_entropy(_units(student), _units(teacher).argmax(-1))


def distillation_loss(
    student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, temperature: float, alpha: float
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """alpha · soft loss + (1 - alpha) · cross-entropy to the labels (Hinton et al. 2015).

    Args:
        student: logits.
        teacher: logits.
        labels: (units,) true classes; the teacher's likeliest one takes the place of `NO_LABEL`.
        temperature: above 0; higher ones show more of what the teacher thinks of the unlikely classes.
        alpha: 0 to 1, the weight of the soft loss.

    Returns:
        The loss and its parts, `soft` and `hard`, before weighting.
    """
    soft = soft_loss(student, teacher, temperature)
    hard = F.cross_entropy(_units(student), torch.where(labels == NO_LABEL, teacher.argmax(-1), labels).flatten())
    return alpha * soft + (1 - alpha) * hard, {"soft": soft.detach(), "hard": hard.detach()}


def _units(logits: torch.Tensor) -> torch.Tensor:
    """Logits of any shape as (units, classes) float32."""
    return logits.float().flatten(0, -2)
