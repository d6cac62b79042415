"""Does 80 % mean 80 %? What evaluate.py says of the confidence of several models, in one table.

    python -m experiments.calibration --model teacher teacher_int8 soft                # on data/test.txt
    python -m experiments.calibration --data my_data/test.txt --output results/my_data

Each model is evaluated with the temperature in its file, which was fitted on dev.txt when it was made, and without it.
Writes calibration.json and calibration.md to the output folder, and evaluate.py's own files of each model to a folder
of its name beside them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import evaluate
from config import MODELS, Config
from core.console import UserError, parse, run
from core.files import sha256, write_json
from core.model_files.find import find_model
from core.model_files.module import pick_device
from core.model_files.names import called, canonical
from core.training.device import measured_on
from experiments.readme_words import Words, markdown, model_name, percent
from experiments.trials import write_views

FIGURES = ("n", "accuracy", "ece", "ece_uncalibrated", "ece_by_chance", "temperature", "coverage")
LEAST = 0.8  # confidence, in the table


@dataclass
class CalibrationConfig:
    """Knobs of the comparison."""

    model: tuple[str, ...] = ("teacher", "teacher_int8", "soft")
    """Names or paths of models whose files carry a temperature."""
    data: Path = Config.data_dir / "test.txt"
    """Labelled file; label ids follow the classes in the models."""
    output: Path = Config.output
    """Folder for the table."""
    device: str = Config.device
    """auto (a GPU where there is one), cpu, cuda, cuda:1, mps."""


def measure(model: str, config: CalibrationConfig) -> dict[str, Any]:
    """The figures of a model that the table needs, as evaluate.py has written them.

    Raises:
        UserError: the model has no temperature, or cannot be evaluated.
    """
    path = find_model(model, MODELS)
    name = canonical(path.name, MODELS) or called(path, MODELS)
    flags = {"--model": path, "--data": config.data, "--output": config.output / name, "--device": config.device}
    evaluate.main([str(part) for each in flags.items() for part in each])
    found = json.loads((config.output / name / "evaluate" / "metrics.json").read_text(encoding="utf-8"))
    if "temperature" not in found:
        raise UserError(f"{path} carries no temperature, as files of earlier versions: make the model again")
    return {"name": name, **{figure: found[figure] for figure in FIGURES}}


def table(report: dict[str, Any], words: Words) -> str:
    """The rows as a table."""
    lines = []
    for row in report["rows"]:
        sure = next(each for each in row["coverage"] if each["min_confidence"] == LEAST)
        errors = [percent(row[name], 1) for name in ("accuracy", "ece_uncalibrated", "ece", "ece_by_chance")]
        above = percent(sure["coverage"], 1), "–" if sure["accuracy"] is None else percent(sure["accuracy"], 1)
        lines.append([model_name(row, words), *errors, f"{row['temperature']:.2f}", *above])
    return markdown(words["table calibration"], lines)


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(CalibrationConfig, argv, __doc__)
    rows = [measure(model, config) for model in config.model]
    report = {"data_sha256": sha256(config.data), "rows": rows, **measured_on(pick_device(config.device))}
    path = config.output / "calibration.json"
    write_json(path, report)
    write_views(report, path, table)


if __name__ == "__main__":
    run(main)
