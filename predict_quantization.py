"""Predict the class of titles with the INT8 model, on the CPU; the flags are those of predict_fun.py.

    python predict_quantization.py                                            # a few sample titles
    python predict_quantization.py --text "央行下调存款准备金率 释放长期资金约一万亿元" --top-k 3
    python predict_quantization.py --file titles.txt --output classes.csv
    python predict_quantization.py --model save_models/quantized_model_bertclassifer_model.pt

The model is save_models/bertclassifer_int8.onnx where it is present, else the PyTorch file named above; both come from
bert_model_quantization.py. The operators on 8-bit integers are the CPU's: a GPU is not used, whatever the machine has.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tyro.conf import Suppress

from core.console import parse, run
from predict_fun import PredictConfig, answer


@dataclass
class QuantizedConfig(PredictConfig):
    """Knobs of prediction in INT8."""

    model: str | None = "teacher_int8"
    """Name (teacher_int8, soft_int8, …) or path of a model."""
    device: Suppress[str] = "cpu"


def main(argv: Sequence[str] | None = None) -> None:
    answer(parse(QuantizedConfig, argv, __doc__))


if __name__ == "__main__":
    run(main)
