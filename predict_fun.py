"""Predict the class of titles with any model of this project.

    python predict_fun.py                                            # a few sample titles
    python predict_fun.py --text "央行下调存款准备金率 释放长期资金约一万亿元" --top-k 3
    python predict_fun.py --file titles.txt --output classes.csv     # one title a line; the CSV opens in Excel
    python predict_fun.py --file - < titles.txt                      # standard input
    python predict_fun.py --model save_models/bertclassifer_int8.onnx    # ONNX needs neither torch nor transformers

From Python:

    from predict_fun import NewsClassifier, predict
    predict({"text": "…"})                                           # {"text": …, "pred_class": …}, default model
    NewsClassifier.load(Path("model.pt")).predict(["…", "…"])        # all probabilities

The model is `--model`, else the environment's NEWS_MODEL, else the first one that has been trained.
"""

import functools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from config import ONNX, OPENVINO, Config, find_model, parse, require_one_or_more
from core.answers import FAULTS, Prediction, show, text_fault, write_csv
from core.console import UserError, run
from core.files import atomic_write, detect_encoding, read_lines
from core.model_files import onnx_model, openvino_model
from core.text.tokenizer import Encoder, pad, replace_surrogates

if TYPE_CHECKING:
    import torch
    from torch import nn

SAMPLES = (
    "SpaceX 星舰今日成功发射，开启火星移民新篇章",
    "央行下调存款准备金率 释放长期资金约一万亿元",
    "高考语文作文题出炉，你会写哪一道？",
    "加时赛绝杀！主队时隔六年重返决赛",
    "二手房挂牌量创新高 卖家开始接受议价",
)
CHUNK = 1024  # titles read, predicted and written at a time


class NewsClassifier:
    """A trained model, whatever it runs on, ready to predict. Use `NewsClassifier.load`."""

    def __init__(self, meta: dict[str, Any], logits_fn: onnx_model.LogitsFn, path: Path | None = None) -> None:
        self.meta, self.path = meta, path
        self.name: str = meta["stage"]
        self.labels: list[str] = meta["labels"]
        self._encoder = Encoder.from_meta(meta)
        self._logits_fn = logits_fn

    @classmethod
    def load(cls, path: Path, device: str = "auto", in_server: bool = False) -> "NewsClassifier":
        """Open a model file; weights, labels, vocabulary and sizes all come from it.

        Args:
            path: the file.
            device: as `--device`.
            in_server: whether other threads of the process need the cores too.

        Raises:
            UserError: the file is missing, damaged, foreign, or its parts do not fit together.
        """
        if path.suffix == ONNX:
            meta, logits_fn = onnx_model.load(path, device, in_server)
        else:
            meta, logits_fn = (openvino_model.load if path.suffix == OPENVINO else _load_torch)(path, device)
        try:
            return cls(meta, logits_fn, path)
        except (KeyError, TypeError, ValueError) as fault:
            raise UserError(f"{path} has a damaged vocabulary or labels: make the model again") from fault

    def predict(self, texts: Sequence[str], batch_size: int = Config.batch_size) -> list[Prediction]:
        """Predict texts in the given order; each must be usable (see `text_fault`).

        Raises:
            UserError: a text is not a string or is empty.
        """
        for index, text in enumerate(texts):
            if fault := text_fault(text):
                raise UserError(f"text {index + 1} of {len(texts)} is {FAULTS[fault]}")
        encoded = self._encoder.encode(texts)
        by_length = sorted(range(len(texts)), key=lambda row: len(encoded.input_ids[row]))
        predictions: dict[int, Prediction] = {}
        for start in range(0, len(texts), batch_size):
            rows = by_length[start : start + batch_size]
            input_ids, mask = pad([encoded.input_ids[row] for row in rows], self._encoder.pad_id)
            for row, probabilities in zip(rows, _softmax(self._logits_fn(input_ids, mask)), strict=True):
                predictions[row] = self._prediction(texts[row], probabilities, encoded.truncated[row])
        return [predictions[row] for row in range(len(texts))]

    def _prediction(self, text: str, probabilities: np.ndarray, truncated: bool) -> Prediction:
        best = int(probabilities.argmax())
        by_name = dict(zip(self.labels, probabilities.tolist(), strict=True))
        return Prediction(
            replace_surrogates(text), self.labels[best], best, by_name[self.labels[best]], by_name, truncated
        )


def _load_torch(path: Path, device: str) -> tuple[dict[str, Any], onnx_model.LogitsFn]:
    model, meta = load_module(path)
    from core.training.device import CPU, pick_device

    # Integer kernels of this kind are the CPU's alone.
    return meta, module_logits(model, CPU if meta["architecture"].get("quantization") else pick_device(device))


def module_logits(model: "nn.Module", device: "torch.device") -> onnx_model.LogitsFn:
    """A module, moved to a device and set to predict, as a function of arrays."""
    import torch

    model.to(device).eval()

    def logits(input_ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            batch = torch.from_numpy(input_ids).to(device), torch.from_numpy(mask).to(device)
            return model(*batch).cpu().numpy()

    return logits


def load_module(path: Path) -> tuple["nn.Module", dict[str, Any]]:
    """The module of a checkpoint, on the CPU and ready to predict, and the checkpoint's facts.

    Raises:
        UserError: the file is missing, damaged, foreign, or its weights do not fit the model it describes.
    """
    try:
        from core.model_files import checkpoint
    except ImportError as fault:
        raise UserError(
            f"{path} needs {fault.name}: `pip install -r requirements.txt`, or use an ONNX model"
        ) from fault
    state_dict, meta = checkpoint.load(path)
    architecture = meta["architecture"]
    try:
        model = build_model(architecture)
        if architecture.get("quantization"):
            from core.compression.quantize import load_quantized, quantize

            model = quantize(model)
            load_quantized(model, state_dict)
        elif any("_packed_params" in name for name in state_dict):
            raise ValueError("INT8 weights, but no word of quantization in its facts")
        else:
            model.load_state_dict(state_dict)
        if architecture["num_labels"] != len(meta["labels"]):
            raise ValueError(f"{architecture['num_labels']} outputs, {len(meta['labels'])} labels")
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as fault:
        raise UserError(f"the weights in {path} do not fit the model it describes: make it again ({fault})") from fault
    return model.eval(), meta


def build_model(architecture: dict[str, Any]) -> "nn.Module":
    """The FP32 module that an architecture describes, weights at random.

    Raises:
        KeyError, TypeError, ValueError: it describes none.
    """
    if architecture["type"] == "bilstm":
        from bilstm_classifier import BiLSTMClassifier

        return BiLSTMClassifier.from_architecture(architecture)
    if architecture["type"] == "bert":
        from bert_classifer_model import BertClassifier

        return BertClassifier.from_architecture(architecture)
    raise ValueError(f"an unknown type of model, {architecture['type']}")


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


@functools.cache
def _default_classifier() -> NewsClassifier:
    return NewsClassifier.load(find_model(None))


def predict(data: dict[str, str]) -> dict[str, str]:
    """`{"text": "…"}` -> `{"text": "…", "pred_class": "…"}` with the default model, loaded at the first call.

    Raises:
        UserError: no usable text, or no trained model.
    """
    if not isinstance(data, dict) or "text" not in data:
        raise UserError('predict takes a dict with a text: {"text": "…"}')
    prediction = _default_classifier().predict([data["text"]])[0]
    return {"text": prediction.text, "pred_class": prediction.pred_class}


@dataclass
class PredictConfig:
    """Knobs of prediction."""

    model: str | None = None
    """Name (soft_bert, soft, teacher, int8, pruned, hard) or path of a model. None: NEWS_MODEL, else the first of
    these that is present."""
    text: str | None = None
    """One title to predict."""
    file: Path | None = None
    """A text file with one title a line (UTF-8 or GB18030); - is standard input."""
    output: Path | None = None
    """With --file: the CSV file to write; without it the answers are printed."""
    top_k: int = 1
    """How many of the likeliest classes to give."""
    batch_size: int = Config.batch_size
    """Titles in a forward pass."""
    device: str = Config.device
    """auto (a GPU where there is one), cpu, cuda, cuda:1, mps."""

    def __post_init__(self) -> None:
        if self.text is not None and self.file is not None:
            raise UserError("--text and --file exclude each other: give one of them")
        if self.output is not None and self.file is None:
            raise UserError("--output goes with --file")
        require_one_or_more(self, "top_k", "batch_size")


def predict_lines(
    classifier: NewsClassifier, lines: Iterator[str], batch_size: int
) -> Iterator[tuple[str, Prediction | None]]:
    """Each line with its prediction, None for a line with nothing to see in it; memory holds one chunk at a time."""
    while chunk := list(islice(lines, CHUNK)):
        predictions = iter(classifier.predict([line for line in chunk if not text_fault(line)], batch_size))
        for line in chunk:
            yield line, None if text_fault(line) else next(predictions)


def main(argv: Sequence[str] | None = None) -> None:
    answer(parse(PredictConfig, argv, __doc__))


def answer(config: PredictConfig) -> None:
    """Predict what the flags ask for, and print or save the answers."""
    if config.text is not None and (fault := text_fault(config.text)):
        raise UserError(f"--text is {FAULTS[fault]}: give a title")
    encoding = detect_encoding(config.file) if config.file and str(config.file) != "-" else None
    path = find_model(config.model)
    classifier = NewsClassifier.load(path, config.device)
    print(f"model: {classifier.name} ({path})", file=sys.stderr)
    if config.file is None:
        texts = [config.text] if config.text is not None else list(SAMPLES)
        show(zip(texts, classifier.predict(texts), strict=True), config.top_k)
        return

    from tqdm import tqdm

    with sys.stdin.buffer if encoding is None else config.file.open("rb") as file:
        lines = tqdm(read_lines(file, encoding), desc="predicting", unit="title", disable=config.output is None)
        answers = predict_lines(classifier, iter(lines), config.batch_size)
        if config.output is None:
            show(answers, config.top_k)
        else:
            atomic_write(config.output, lambda out: write_csv(out, answers, config.top_k))
            print(f"wrote {config.output}")


if __name__ == "__main__":
    run(main)
