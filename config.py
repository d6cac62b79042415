"""Every knob that the stages share: its default and its one-line help.

Edit a default below, or override it for one run, with the same word and dashes:

    python train.py --batch-size 64 --num-epochs 3

A stage with knobs of its own subclasses `Config` at the top of its own script.
"""

import importlib.util
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from core.console import UserError

BUNDLED_BERT = Path("bert-mini-chinese")
ONNX = ".onnx"
OPENVINO = ".xml"
LIGHT = (ONNX, OPENVINO)  # only predict, and need no PyTorch


class Artefact(NamedTuple):
    """A model that `--model` knows by name: its files, the one to prefer first, and the command that makes them."""

    script: str
    paths: tuple[Path, ...]

    @property
    def path(self) -> Path:
        """The checkpoint among its files."""
        return next(path for path in self.paths if path.suffix not in LIGHT)


# The first one present is what predict_fun.py and api.py take when nobody names a model.
MODELS = {
    "soft_bert": Artefact(
        "soft_label_distillation.py --bert-layers 2",
        (
            Path("models_save/bert_soft_distill_int8.onnx"),
            Path("models_save/bert_soft_distill.onnx"),
            Path("models_save/bert_soft_distill.pth"),
        ),
    ),
    "soft": Artefact(
        "soft_label_distillation.py",
        (
            Path("models_save/bilstm_soft_distill_int8.onnx"),
            Path("models_save/bilstm_soft_distill.onnx"),
            Path("models_save/bilstm_soft_distill.pth"),
        ),
    ),
    "teacher": Artefact("train.py", (Path("save_models/test_bertclassifer_model.pt"),)),
    "int8": Artefact(
        "bert_model_quantization.py",
        (
            Path("save_models/bertclassifer_int8.onnx"),
            Path("save_models/quantized_model_bertclassifer_model.pt"),
            Path("save_models/bertclassifer_int8.xml"),
        ),
    ),
    "pruned": Artefact(
        "custom_pruning.py",
        (
            Path("models_save/structured_pruned_model_int8.onnx"),
            Path("models_save/structured_pruned_model.pth"),
            Path("models_save/pruned_model_int8.onnx"),
            Path("models_save/pruned_model.pth"),
        ),
    ),
    "hard": Artefact(
        "hard_label_distillation.py",
        (
            Path("models_save/bilstm_hard_distill_int8.onnx"),
            Path("models_save/bilstm_hard_distill.onnx"),
            Path("models_save/bilstm_hard_distill.pth"),
        ),
    ),
}


def made_from(checkpoint: Path) -> list[Path]:
    """The files that may have been made from a checkpoint, to predict with; another checkpoint makes them stale."""
    if checkpoint.name == MODELS["teacher"].path.name:
        files = [checkpoint.with_name(path.name) for path in MODELS["int8"].paths]
    else:
        files = [checkpoint.with_suffix(ONNX), *(checkpoint.with_name(f"{checkpoint.stem}_int8{end}") for end in LIGHT)]
    return files + [file.with_suffix(".bin") for file in files if file.suffix == OPENVINO]


def find_model(model: str | None, onnx: bool = True) -> Path:
    """The file of a model; without PyTorch installed names mean files that need none, ONNX ones above all.

    Args:
        model: a name (`teacher`, …) or a path; None: the environment's NEWS_MODEL, else the first model present.
        onnx: whether a file that only predicts will do; False where a stage starts from the weights.

    Raises:
        UserError: there is no such model.
    """
    torch = importlib.util.find_spec("torch") is not None
    model = model or os.environ.get("NEWS_MODEL")
    if model is not None and model not in MODELS:
        if not Path(model).is_file():
            raise UserError(f"there is no model {model}: give the path of a model file or one of {', '.join(MODELS)}")
        if not onnx and Path(model).suffix in LIGHT:
            raise UserError(f"{model} can only predict: give the checkpoint (.pt, .pth) that it was made from")
        return Path(model)
    named = MODELS.values() if model is None else [MODELS[model]]
    usable = [path for artefact in named for path in artefact.paths if (onnx if path.suffix in LIGHT else torch)]
    for path in usable:
        if path.is_file():
            teacher = MODELS["teacher"].path
            if model is None and teacher.is_file() and path.stat().st_mtime < teacher.stat().st_mtime:
                print(f"warning: {path} is older than {teacher}; --model teacher takes that", file=sys.stderr)
            return path
    if not torch:
        raise UserError(
            f"there is no ONNX file of {model or 'any model'} here, and without PyTorch no other can be used: run "
            "`python bert_model_quantization.py` where PyTorch is installed and copy its file to the same folder here"
        )
    if model is None:
        raise UserError("there is no trained model yet: run `python train.py`, or name a file with --model")
    raise UserError(f"{usable[0]} does not exist: run `python {MODELS[model].script}`")


@dataclass
class LoopConfig:
    """Knobs of the training loop."""

    output: Path = Path("reports")
    """Folder for logs, reports and pictures."""

    num_epochs: int | None = None
    """Passes over the training data. None: 30 for up to 300 rows, 16 for 800, 8 for 3,000, 4 for 12,000, 2 for more."""
    learning_rate: float | None = None
    """Peak learning rate. None: what the encoder's finetune.json says, else 5e-5."""
    warmup_ratio: float = 0.1
    """Share of the steps in which the learning rate climbs to its peak."""
    weight_decay: float = 0.01
    """Decay of the weights, bias and LayerNorm excepted."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm."""
    evals_per_epoch: int = 2
    """Evaluations on the dev data in an epoch, the one at its end included."""

    seed: int = 42
    """Seed of the shuffling, the new weights and dropout: on a CPU the same seed gives the same weights."""
    device: str = "auto"
    """auto (a GPU where there is one), cpu, cuda, cuda:1, mps."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of the forward pass: auto takes bf16 where the hardware multiplies it natively."""
    gradient_accumulation: int = 1
    """Compute each batch in so many pieces: less memory, the same result."""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them: much less memory, about a third slower."""
    resume: bool = False
    """Go on with a run that was stopped or killed."""
    patience: int | None = None
    """Stop early after so many evaluations in a row without a better score on the dev data."""
    max_steps: int | None = None
    """Stop after so many steps, to try things out."""
    minutes: float | None = None
    """Train so many minutes in place of epochs, the learning rate following the clock; --resume may change it."""
    save_minutes: float = 5.0
    """Minutes between two saves of the state that --resume goes on from; at the end of an epoch 20 seconds suffice."""

    def plain(self) -> dict[str, Any]:
        """All knobs as plain values, to be kept with what they made."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    def __post_init__(self) -> None:
        require_one_or_more(self, "num_epochs", "evals_per_epoch", "gradient_accumulation", "patience", "max_steps")
        for name in ("learning_rate", "max_grad_norm", "save_minutes", "minutes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(f"{flag(name)} is {value}: it must be above 0")
        if not 0 <= self.warmup_ratio < 1:
            raise UserError(f"--warmup-ratio is {self.warmup_ratio}: it must be at least 0 and below 1")


@dataclass
class Config(LoopConfig):
    """Knobs of every stage that trains on labelled titles."""

    data_dir: Path = Path("data")
    """Folder with class.txt, train.txt, dev.txt and, where there is one, test.txt."""
    bert_path: Path = Path("bert-base-chinese")
    """Folder with config.json, vocab.txt and weights; while it holds none, the bundled bert-mini-chinese is used."""
    save_dir: Path = Path("save_models")
    """Folder that the trained model is written to."""
    batch_size: int = 128
    """Titles in a training step: 64 to 128 on 24 GB of GPU memory, 16 to 32 on 6 to 8 GB."""
    max_length: int = 64
    """Tokens kept of a title, [CLS] and [SEP] included; what is longer is cut at the end."""
    limit: int | None = None
    """Train on the first N rows only, to try things out; dev.txt and test.txt stay whole."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_or_more(self, "batch_size", "limit")
        if self.gradient_accumulation > self.batch_size:
            raise UserError(
                f"--gradient-accumulation {self.gradient_accumulation} is more than --batch-size {self.batch_size}: "
                "a piece must hold at least one title"
            )
        if self.max_length < 3:
            raise UserError(f"--max-length is {self.max_length}: it must be 3 or more ([CLS], a token, [SEP])")


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.as_posix() if isinstance(value, Path) else value


def require_one_or_more(config: Any, *names: str) -> None:
    """Refuse a knob of a config that is set and below 1."""
    for name in names:
        value = getattr(config, name)
        if value is not None and value < 1:
            raise UserError(f"{flag(name)} is {value}: it must be 1 or more")


def flag(name: str) -> str:
    """`batch_size` -> `--batch-size`."""
    return "--" + name.replace("_", "-")


Parsed = TypeVar("Parsed")


def parse(config_class: type[Parsed], argv: Sequence[str] | None, description: str | None) -> Parsed:
    """Read a config from the command line.

    Args:
        config_class: a dataclass; its fields are the flags, the strings under them the help.
        argv: the arguments, or None for those of the process.
        description: the script's docstring, shown above the flags.
    """
    import tyro

    return tyro.cli(config_class, args=argv, description=description, config=(tyro.conf.FlagCreatePairsOff,))
