"""Distil a BERT into a small BiLSTM with soft labels: the student learns the teacher's probabilities.

    python soft_label_distillation.py                                    # from save_models/, on data/
    python soft_label_distillation.py --temperature 4 --alpha 0.9
    python soft_label_distillation.py --unlabeled titles.txt --augment 4 # a transfer set that the teacher labels
    python soft_label_distillation.py --bert-layers 2                    # the student is a BERT of two layers
    python soft_label_distillation.py --alpha 0 --save-dir models_save/alone     # no teacher: to compare with
    python soft_label_distillation.py --resume                           # go on after Ctrl-C, a kill or a power cut

The loss is alpha · T² · KL(teacher / T || student / T) + (1 - alpha) · cross-entropy to the true labels, and to the
teacher's class for titles without one (Hinton et al. 2015, "Distilling the Knowledge in a Neural Network"). Writes
models_save/bilstm_soft_distill.pth (the state with the best macro-F1 on dev.txt; bert_soft_distill.pth with
--bert-layers), beside it the same student as .onnx, which predicts without torch, and the log and learning curve of the
run to a folder of that name in reports/.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from core.compression.losses import distillation_loss
from core.console import UserError, parse, run
from distillation import DistillConfig, distil


@dataclass
class SoftConfig(DistillConfig):
    """Knobs of soft distillation."""

    temperature: float = 2.0
    """T: both models' logits are divided by it; 2 to 5 show more of the unlikely classes."""
    alpha: float = 0.7
    """Weight of the soft loss, 0 to 1; the rest is that of the true labels. 0: the student learns alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.temperature < float("inf"):
            raise UserError(f"--temperature is {self.temperature}: it must be above 0; 2 to 5 are usual")
        if not 0 <= self.alpha <= 1:
            raise UserError(f"--alpha is {self.alpha}: it must be 0 to 1; 0.5 to 0.9 are usual")


def distil_soft(config: SoftConfig, deploy: bool = True) -> None:
    """Run the stage; see `distillation.distil`."""

    def loss(student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor):
        return distillation_loss(student, teacher, labels, config.temperature, config.alpha)

    distil(config, "soft", loss, deploy)


def main(argv: Sequence[str] | None = None) -> None:
    distil_soft(parse(SoftConfig, argv, __doc__))


if __name__ == "__main__":
    run(main)
