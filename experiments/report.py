"""What the experiments share: a report that is opened again where it was, its table and picture, and predictions."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from core.console import UserError
from core.files import atomic_write
from core.text.tokenizer import Encoder
from core.training.device import Devices
from predict_fun import load_module
from train import predict_logits
from utils import Batches, Titles


def open_report(path: Path, settings: dict[str, Any], lists: Sequence[str]) -> dict[str, Any]:
    """The report as far as earlier runs came, or an empty one.

    Args:
        path: of the JSON file.
        settings: what makes two measurements the same.
        lists: names of what it collects.

    Raises:
        UserError: it is damaged, or was made with other settings.
    """
    if not path.is_file():
        return {"settings": settings, **{name: [] for name in lists}}
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        differ = [name for name, value in settings.items() if report["settings"].get(name) != value]
        whole = all(isinstance(entry, dict) for name in lists for entry in report[name])
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise UserError(f"{path} is damaged: delete it and start again") from fault
    if not whole:
        raise UserError(f"{path} is damaged: delete it and start again")
    if differ:
        raise UserError(f"{path} was made with another {differ[0]}: delete it, or choose another --output")
    return report


def write_views(
    report: dict[str, Any],
    path: Path,
    as_markdown: Callable[[dict[str, Any]], str],
    draw: Callable[[dict[str, Any], Path], None],
) -> None:
    """Write the table (.md) and the picture (.png) beside a report (.json), and show the table."""
    table, picture = path.with_suffix(".md"), path.with_suffix(".png")
    text = as_markdown(report)
    atomic_write(table, lambda file: file.write(text.encode("utf-8")))
    draw(report, picture)
    print(f"\n{text}wrote {path.name} {table.name} {picture.name} to {path.parent}")


def predict_classes(path: Path, titles: Titles, batch_size: int, device: str) -> list[int]:
    """The class ids that a model file predicts for titles, in FP32 as the predictor does."""
    model, meta = load_module(path)
    devices = Devices.find(device, "fp32")
    batches = Batches(titles, Encoder.from_meta(meta), batch_size)
    return predict_logits(model.to(devices.device), batches, devices).argmax(1).tolist()
