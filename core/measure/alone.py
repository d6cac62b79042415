"""A model measured in a process of its own, as where it is deployed: start, memory, speed.

    python -m core.measure.alone < question.json

The question is {"predictor": "module.Class", "path": …, "items": […]}. An empty line is printed at the first answer,
then {"peak_mb", "p50_ms", "p95_ms", "titles_per_s"}.
"""

import contextlib
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.console import UserError, run

ROOT = Path(__file__).parents[2]
ROUNDS = 2


def measure_alone(predictor: type, path: Path, items: Sequence[Any]) -> dict[str, float]:
    """Seconds from the start of a process to its first answer, its memory and speed.

    Args:
        predictor: the class that opens the file.
        path: of the model.
        items: to answer.

    Raises:
        UserError: the process failed.
    """
    command, started = [sys.executable, "-X", "utf8", "-m", "core.measure.alone"], time.perf_counter()
    env, pipe = {**os.environ, "TQDM_DISABLE": "1"}, subprocess.PIPE
    name = f"{predictor.__module__}.{predictor.__qualname__}"
    with subprocess.Popen(command, cwd=ROOT, encoding="utf-8", env=env, stdin=pipe, stdout=pipe) as process:
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(OSError):  # it ended before it read: its own words tell why
            json.dump({"predictor": name, "path": str(path.resolve()), "items": list(items)}, process.stdin)
            process.stdin.close()
        process.stdout.readline()
        seconds = time.perf_counter() - started
        found = process.stdout.read()
    if process.returncode:
        raise UserError(f"{path} could not be opened in a process of its own: see above, and try predict_fun.py")
    return {"cold_start_s": seconds, **json.loads(found)}


def main() -> None:
    question = json.loads(sys.stdin.read())
    module, _, name = question["predictor"].rpartition(".")
    items = question["items"]
    predictor = getattr(importlib.import_module(module), name).load(Path(question["path"]), "cpu")
    predictor.predict(items[:1])
    print(flush=True)
    from core.measure.latency import BATCH, compare_speed, peak_mb

    predictor.predict(items[:BATCH])
    peak = peak_mb()
    print(json.dumps({"peak_mb": peak, **compare_speed([predictor.predict], items, ROUNDS)[0]}))


if __name__ == "__main__":
    run(main)
