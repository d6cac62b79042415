"""Which model should I deploy on my CPU? All that are present, side by side: accuracy, size, memory, speed.

    python benchmark.py                                        # every model here, on data/test.txt
    python benchmark.py --data-dir my_data --model soft teacher other.onnx
    python benchmark.py --output results                       # for the README
    python benchmark.py --shape bert-base                      # speed alone, of random weights: no training needed

Besides the models, the most frequent class and the linear model of baseline.py take part. Titles are timed one by one
and in batches of 32, from text to answer, on all cores, each model in a process of its own, and so are start and
memory. Ratios are to the teacher in FP32 eager PyTorch, measured in the same run. Writes benchmark.json,
benchmark.md and benchmark.png (with --shape benchmark_bert_base.json and .md) to the output folder.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from tqdm import tqdm

from baseline import fit_linear
from bert_model_quantization import score
from config import MODELS, ONNX, OPENVINO, Config, find_model, parse
from core.answers import every
from core.compression.structured_pruning import encoder_flops
from core.console import UserError, run
from core.files import atomic_write, sha256, write_json
from core.measure.benchmark_report import add_ratios, advise, as_markdown, draw
from core.measure.latency import Predictor, compare_speed
from core.measure.metrics import classification_metrics
from core.measure.stats import wilson_interval
from core.model_files import openvino_model
from core.text.tokenizer import Encoder
from core.training.device import cpu_flags, measured_on
from experiments.shapes import SHAPES, TOKENS, ModelFile, random_titles, write_models
from predict_fun import NewsClassifier, build_model
from utils import read_data

ROOT = Path(__file__).parent
RUNTIMES = {ONNX: "onnxruntime", OPENVINO: "openvino"}
TIMED_TITLES = 200
TURNS = 3  # of each model; the median counts
FIELDS = ("name", "runtime", "file", "accuracy", "accuracy_low", "accuracy_high", "macro_f1", "size_mb", "params")
FIELDS += ("encoder_flops", "peak_mb", "cold_start_s", "p50_ms", "p95_ms", "titles_per_s")  # None: not measured
ALONE = """
import json, sys
from pathlib import Path
from core.measure.latency import peak_mb
from predict_fun import NewsClassifier
path, *texts = json.loads(sys.stdin.read())
classifier = NewsClassifier.load(Path(path), "cpu")
classifier.predict(texts[:1])
print(flush=True)
from core.measure.latency import BATCH, compare_speed
classifier.predict(texts[:BATCH])
peak = peak_mb()
print(json.dumps({"peak_mb": peak, **compare_speed([classifier.predict], texts, 2)[0]}))
"""


@dataclass
class BenchmarkConfig:
    """Knobs of the comparison."""

    data_dir: Path = Config.data_dir
    """Folder with class.txt, train.txt, dev.txt and test.txt; dev.txt is measured on where there is no test.txt."""
    model: tuple[str, ...] = ()
    """Names (soft_bert, soft, teacher, int8, pruned, hard) or paths of models. None: all that are present."""
    shape: Literal["bert-base"] | None = None
    """Measure the speed of random weights of this shape instead: FP32, INT8, pruned and INT8, and a BiLSTM."""
    output: Path = Config.output
    """Folder for the table and the picture."""


@dataclass
class Candidate:
    """What takes part: its row of the report, how it predicts, and the model, where it is one that has a file."""

    row: dict[str, Any]
    predict: Predictor | None = None  # None: not worth timing
    classifier: NewsClassifier | None = None
    path: Path | None = None


def find_files(models: Sequence[str]) -> list[ModelFile]:
    """The files of the models that are asked for, and of the teacher; of all that are present if none is.

    Raises:
        UserError: one that is asked for is not there.
    """
    for model in models:
        find_model(model)
    files = []
    for name in dict.fromkeys([*models, "teacher"] if models else MODELS):
        for path in MODELS[name].paths if name in MODELS else [Path(name)]:
            if path.is_file():
                runtime = RUNTIMES.get(path.suffix, "torch")
                files.append(ModelFile(name if name in MODELS else path.stem, runtime, path))
    return files


def open_model(file: ModelFile, texts: Sequence[str]) -> Candidate:
    """Open a model on the CPU; its FLOPs are those of the middle one of the titles.

    Raises:
        UserError: it cannot be opened.
    """
    classifier = NewsClassifier.load(file.path, "cpu")
    meta = classifier.meta
    with torch.device("meta"):
        params = sum(parameter.numel() for parameter in build_model(meta["architecture"]).parameters())
    lengths = map(len, Encoder.from_meta(meta).encode(texts).input_ids)
    is_bert = meta["architecture"]["type"] == "bert"
    flops = encoder_flops(meta["architecture"], round(statistics.median(lengths))) if is_bert else None
    row = {"name": file.name, "runtime": file.runtime, "params": params, "encoder_flops": flops}
    row["size_mb"] = openvino_model.size(file.path) / 1e6
    return Candidate(row, classifier.predict, classifier, file.path)


def measure_alone(path: Path, texts: Sequence[str]) -> dict[str, float]:
    """A process of its own, as where it is deployed: seconds from its start to its first answer, memory and speed.

    Raises:
        UserError: it failed.
    """
    command, started = [sys.executable, "-X", "utf8", "-c", ALONE], time.perf_counter()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": {**os.environ, "TQDM_DISABLE": "1"}}
    with subprocess.Popen(command, cwd=ROOT, encoding="utf-8", **pipes) as process:
        with contextlib.suppress(OSError):  # it ended before it read: its own words tell why
            process.stdin.write(json.dumps([str(path.resolve()), *texts]))
            process.stdin.close()
        process.stdout.readline()
        seconds = time.perf_counter() - started
        found = process.stdout.read()
    if process.returncode:
        raise UserError(f"{path} could not be opened in a process of its own: see above, and try predict_fun.py")
    return {"cold_start_s": seconds, **json.loads(found)}


def measure(candidates: Sequence[Candidate], texts: Sequence[str]) -> list[dict[str, Any]]:
    """Fill the rows with speed, memory and ratios, and return them; the models take turns."""
    timed = [candidate for candidate in candidates if candidate.predict]
    turns: list[list[dict[str, float]]] = [[] for _ in timed]
    with tqdm(total=TURNS * len(timed), desc="measuring", unit="run", leave=False) as bar:
        for _ in range(TURNS):
            for candidate, mine in zip(timed, turns, strict=True):
                path = candidate.path
                mine.append(measure_alone(path, texts) if path else compare_speed([candidate.predict], texts, 2)[0])
                bar.update()
    for candidate in candidates:
        candidate.row = {**dict.fromkeys(FIELDS), **candidate.row}
    for candidate, mine in zip(timed, turns, strict=True):
        candidate.row |= {name: statistics.median(turn[name] for turn in mine) for name in mine[0]}
    opened = [candidate for candidate in timed if candidate.path]
    eager = [each for each in opened if each.row["runtime"] == "torch" and each.classifier.meta["stage"] == "teacher"]
    rows = [candidate.row for candidate in candidates]
    add_ratios(rows, eager[0].row if eager else None)
    return rows


def benchmark_models(config: BenchmarkConfig) -> dict[str, Any]:
    """All models on the same titles."""
    files = find_files(config.model)
    labels, titles = read_data(config.data_dir)
    split = "test" if "test" in titles else "dev"
    held_out = titles[split]
    texts = every(held_out.texts, TIMED_TITLES)
    linear, _ = fit_linear(titles["train"], titles["dev"])
    classifier = linear[-1]
    majority = Counter(titles["train"].labels).most_common(1)[0][0]
    n = len(held_out.labels)
    scores = [
        classification_metrics(held_out.labels, predicted, labels)
        for predicted in ([majority] * n, linear.predict(held_out.texts).tolist())
    ]
    candidates = [
        Candidate({"name": "majority", "runtime": "none"}),
        Candidate(
            {"name": "linear", "runtime": "scikit-learn", "params": classifier.coef_.size + classifier.intercept_.size},
            lambda texts, _: linear.predict(texts),
        ),
    ]
    for file in files:
        try:
            candidate = open_model(file, texts)
            if candidate.classifier.labels != labels:
                raise UserError(f"{file.path} knows other classes than {config.data_dir / 'class.txt'}")
        except UserError as fault:
            print(f"warning: left out: {fault}")
            continue
        candidate.row["file"] = file.path.as_posix()
        candidates.append(candidate)
        scores.append(score(candidate.classifier, held_out, file.path.name))
    for candidate, found in zip(candidates, scores, strict=True):
        low, high = wilson_interval(round(found["accuracy"] * n), n)
        candidate.row |= {name: found[name] for name in ("accuracy", "macro_f1")}
        candidate.row |= {"accuracy_low": low, "accuracy_high": high}
    rows = measure(candidates, texts)
    if rows[-1]["ratio_p50"] is None:
        print("warning: without a teacher (`python train.py`) there is nothing to give ratios to")
    facts = {"data": f"{split}.txt, {n} titles", "data_sha256": sha256(config.data_dir / f"{split}.txt")}
    return {**facts, "rows": rows, "advice": advise(rows)}


def benchmark_shape(shape: str) -> dict[str, Any]:
    """The speed of random weights of a shape, and of what compression makes of it."""
    texts = random_titles(SHAPES[shape]["vocab_size"])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        rows = measure([open_model(file, texts) for file in write_models(shape, Path(folder))], texts)
    return {"data": f"random weights, titles of {TOKENS} tokens", "rows": rows, "advice": None}


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(BenchmarkConfig, argv, __doc__)
    found = benchmark_shape(config.shape) if config.shape else benchmark_models(config)
    versions = {name: version(name) for name in ("torch", "onnxruntime")}
    report = {**measured_on(), "threads": torch.get_num_threads(), "cpu_flags": cpu_flags(), "versions": versions}
    report |= found
    name = f"benchmark_{config.shape.replace('-', '_')}" if config.shape else "benchmark"
    write_json(config.output / f"{name}.json", report)
    table = as_markdown(report)
    atomic_write(config.output / f"{name}.md", lambda file: file.write(table.encode("utf-8")))
    written = f"{name}.json {name}.md"
    if not config.shape:
        draw(report["rows"], config.output / f"{name}.png")
        written += f" {name}.png"
    print(f"\n{table}wrote {written} to {config.output}")


if __name__ == "__main__":
    run(main)
