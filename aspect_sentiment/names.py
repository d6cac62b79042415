"""The models of this task that have names, and where their files lie."""

from pathlib import Path

from config import PROJECT
from core.model_files.names import ONNX, OPENVINO, Artefact, Models

NAME = "aspect_sentiment"
TEACHER = Path("save_models/aspect_sentiment/bert_aspects.pt")
STUDENT = Path("models_save/aspect_sentiment/bert_soft_distill.pth")


def _int8(name: str, parent: Path) -> Artefact:
    """The INT8 form of a model, in a file beside it."""
    files = (parent.with_name(f"{parent.stem}_int8{end}") for end in (ONNX, OPENVINO))
    command = f"bert_model_quantization.py --data-dir data/{NAME} --model {parent.as_posix()}"
    return Artefact(command, tuple(files), name)


# In the order in which they answer when nobody names a model and default.json beside the teacher does not either.
MODELS = Models(
    {
        "soft_int8": _int8("soft", STUDENT),
        "soft": Artefact(f"-m {NAME}.distillation", (STUDENT.with_suffix(ONNX), STUDENT)),
        "teacher": Artefact(f"-m {NAME}.train", (TEACHER,)),
        "teacher_int8": _int8("teacher", TEACHER),
    },
    root=PROJECT,
)
