"""The models of this task that have names, and where their files lie."""

from pathlib import Path

from config import PROJECT
from core.model_files.names import ONNX, OPENVINO, Artefact, Models

TEACHER = Path("save_models/ner/bert_ner.pt")
STUDENT = Path("models_save/ner/bert_soft_distill.pth")


def _int8(name: str, parent: Path) -> Artefact:
    """The INT8 form of a model, in a file beside it."""
    files = (parent.with_name(f"{parent.stem}_int8{end}") for end in (ONNX, OPENVINO))
    return Artefact(f"bert_model_quantization.py --data-dir data/ner --model {parent.as_posix()}", tuple(files), name)


# In the order in which they answer when nobody names a model and save_models/ner/default.json does not either.
MODELS = Models(
    {
        "soft_int8": _int8("soft", STUDENT),
        "soft": Artefact("-m ner.distillation", (STUDENT.with_suffix(ONNX), STUDENT)),
        "teacher": Artefact("-m ner.train", (TEACHER,)),
        "teacher_int8": _int8("teacher", TEACHER),
    },
    root=PROJECT,
)
