"""Every knob that the stages share: its default and its one-line help.

Edit a default below, or override it for one run, with the same word and dashes:

    python train.py --batch-size 64 --num-epochs 3

A stage with knobs of its own subclasses `Config` at the top of its own script.
"""

from dataclasses import dataclass
from pathlib import Path

from core.console import UserError, require_one_or_more
from core.model_files.names import ONNX, OPENVINO, Artefact, Models
from core.training.knobs import LoopConfig

PROJECT = Path(__file__).parent
BUNDLED_BERT = Path("bert-mini-chinese")
if not BUNDLED_BERT.is_dir():  # the command runs in another folder than the project's
    BUNDLED_BERT = PROJECT / BUNDLED_BERT
BEST_BY = "macro_f1"  # the metric that news classifiers are selected by


def _student(script: str, stem: Path) -> Artefact:
    """A student: the file that predicts without torch, and the checkpoint."""
    return Artefact(script, (stem.with_suffix(ONNX), stem.with_suffix(".pth")))


def _int8(parent: str, stem: Path) -> Artefact:
    """The INT8 form of a model, in a file beside it."""
    files = (stem.with_name(f"{stem.name}_int8{end}") for end in (ONNX, OPENVINO))
    return Artefact(f"bert_model_quantization.py --model {parent}", tuple(files), parent)


# By name, in the order in which they answer when nobody names a model and save_models/default.json does not either.
MODELS = Models(
    {
        "soft_bert_int8": _int8("soft_bert", Path("models_save/bert_soft_distill")),
        "soft_bert": _student("soft_label_distillation.py --bert-layers 2", Path("models_save/bert_soft_distill")),
        "soft_int8": _int8("soft", Path("models_save/bilstm_soft_distill")),
        "soft": _student("soft_label_distillation.py", Path("models_save/bilstm_soft_distill")),
        "teacher": Artefact("train.py", (Path("save_models/test_bertclassifer_model.pt"),)),
        "teacher_int8": Artefact(
            "bert_model_quantization.py",
            (
                Path("save_models/bertclassifer_int8.onnx"),
                Path("save_models/quantized_model_bertclassifer_model.pt"),
                Path("save_models/bertclassifer_int8.xml"),
            ),
            parent="teacher",
            aliases=("int8",),
        ),
        "structured_pruned_int8": _int8("structured_pruned", Path("models_save/structured_pruned_model")),
        "structured_pruned": Artefact(
            "custom_pruning.py --keep-flops 0.5", (Path("models_save/structured_pruned_model.pth"),)
        ),
        "pruned_int8": _int8("pruned", Path("models_save/pruned_model")),
        "pruned": Artefact(
            "custom_pruning.py",
            (Path("models_save/pruned_model.pth"),),
            instead=("structured_pruned_int8", "structured_pruned"),
        ),
        "hard_int8": _int8("hard", Path("models_save/bilstm_hard_distill")),
        "hard": _student("hard_label_distillation.py", Path("models_save/bilstm_hard_distill")),
        "hard_bert_int8": _int8("hard_bert", Path("models_save/bert_hard_distill")),
        "hard_bert": _student("hard_label_distillation.py --bert-layers 2", Path("models_save/bert_hard_distill")),
    },
    root=PROJECT,
)


@dataclass
class Config(LoopConfig):
    """Knobs of every stage that trains on labelled titles."""

    # Those of the training loop that people change; core/training/knobs.py has the others.
    output: Path = Path("reports")
    """Folder for logs, reports and pictures."""
    num_epochs: int | None = None
    """Passes over the training data. None: 30 for up to 300 rows, 16 for 800, 8 for 3,000, 4 for 12,000, 2 for more."""
    learning_rate: float | None = None
    """Peak learning rate. None: what the encoder's finetune.json says, else 5e-5."""
    seed: int = 42
    """Seed of the shuffling, the new weights and dropout: on a CPU the same seed gives the same weights."""
    device: str = "auto"
    """auto (a GPU where there is one), cpu, cuda, cuda:1, mps."""

    data_dir: Path = Path("data")
    """Folder with class.txt, train.txt, dev.txt and, where there is one, test.txt."""
    bert_path: Path = Path("bert-base-chinese")
    """Folder of the encoder, or its name in download.py (rbt3); while the default holds none: bert-mini-chinese."""
    save_dir: Path = Path("save_models")
    """Folder that the trained model is written to."""
    batch_size: int = 128
    """Titles in a training step: 64 to 128 on 24 GB of GPU memory, 16 to 32 on 6 to 8 GB."""
    max_length: int = 64
    """Tokens kept of a title, [CLS] and [SEP] included; what is longer is cut at the end."""
    limit: int | None = None
    """Train on the first N rows only, to try things out; dev and test stay whole."""

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
