"""Distil a BERT into a small BiLSTM with hard labels: the student learns the class that the teacher predicts.

    python hard_label_distillation.py                                    # from save_models/, on data/
    python hard_label_distillation.py --data-dir my_data --unlabeled titles.txt
    python hard_label_distillation.py --bert-layers 2                    # the student is a BERT of two layers
    python hard_label_distillation.py --resume                           # go on after Ctrl-C, a kill or a power cut

Only the teacher's likeliest class counts (no soft loss; the true labels are not read in training). Writes
models_save/bilstm_hard_distill.pth (the state with the best macro-F1 on dev.txt; bert_hard_distill.pth with
--bert-layers), beside it the same student as .onnx, which predicts without torch, and the log and learning curve of the
run to a folder of that name in reports/.
"""

from collections.abc import Sequence

from core.compression.losses import hard_loss
from core.console import parse, run
from distillation import DistillConfig, distil


def distil_hard(config: DistillConfig, deploy: bool = True) -> None:
    """Run the stage; see `distillation.distil`."""
    distil(config, "hard", lambda student, teacher, _labels: (hard_loss(student, teacher), {}), deploy)


def main(argv: Sequence[str] | None = None) -> None:
    distil_hard(parse(DistillConfig, argv, __doc__))


if __name__ == "__main__":
    run(main)
