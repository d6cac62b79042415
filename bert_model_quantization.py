"""Make a trained model INT8: a quarter of the size and several times as fast on a CPU.

    python bert_model_quantization.py                           # the teacher
    python bert_model_quantization.py --model pruned            # prune, then quantize
    python bert_model_quantization.py --model soft              # the student
    python bert_model_quantization.py --data-dir my_data --max-drop 1

The teacher becomes bertclassifer_int8.onnx, the file to deploy, which needs neither torch nor transformers, and
quantized_model_bertclassifer_model.pt, a PyTorch state dict that is loaded by build -> quantize -> load. Of any other
model the ONNX file is made, named after it with _int8.onnx. A file that loses more than --max-drop points of accuracy
on dev.txt is not written. What each form costs and gains on this machine goes to reports/quantization/report.json.
Where OpenVINO is installed (requirements-openvino.txt), a BERT also becomes bertclassifer_int8.xml and .bin for it.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from config import MODELS, OPENVINO, Config, find_model, parse
from core.answers import every, text_fault
from core.compression import export
from core.compression.quantize import SCHEME, VARIANTS, quantize, quantize_onnx, quantize_openvino
from core.console import UserError, run
from core.files import sha256, write_json
from core.measure.latency import compare_speed
from core.measure.metrics import classification_metrics
from core.model_files import checkpoint, onnx_model, openvino_model
from core.text.tokenizer import Encoder, pad
from core.training.device import CPU, measured_on
from predict_fun import NewsClassifier, load_module, module_logits, predict_lines
from utils import Titles, read_labels, read_titles

MIN_ROWS = 2000  # of dev.txt; with fewer, a loss of half a point is a matter of luck
MIN_AGREEMENT = 0.98  # of the classes that INT8 and FP32 predict
SAMPLE = 256  # titles that the variants of ONNX INT8 are compared on
TIMED = 20  # titles that are timed
TIE = 1.1  # a ratio of times that is not worth a title answered otherwise


@dataclass
class QuantizeConfig:
    """Knobs of quantization."""

    model: str = "teacher"
    """Name (teacher, pruned, soft, hard) or path of the FP32 checkpoint to start from."""
    data_dir: Path = Config.data_dir
    """Folder with the dev.txt that accuracy is measured on."""
    save_dir: Path | None = None
    """Folder that the INT8 files are written to. None: the one that the model lies in."""
    output: Path = Config.output
    """Folder for the report: quantization/ is made in it."""
    max_drop: float = 0.5
    """Points of accuracy on dev.txt that INT8 may lose; a file that loses more is not written."""

    def __post_init__(self) -> None:
        if not self.max_drop >= 0:
            raise UserError(f"--max-drop is {self.max_drop}: it must be 0 or more")


def read_dev(data_dir: Path, labels: Sequence[str]) -> Titles:
    """dev.txt of a data folder that has the model's classes.

    Raises:
        UserError: there is no usable dev.txt, or class.txt names other classes than the model.
    """
    class_file = data_dir / "class.txt"
    if class_file.is_file() and (theirs := read_labels(class_file)) != list(labels):
        raise UserError(
            f"{class_file} names other classes than the model: give the data it was trained on with --data-dir\n"
            f"  model:     {' '.join(labels)}\n  class.txt: {' '.join(theirs)}"
        )
    titles = read_titles(data_dir / "dev.txt", labels)
    if all(text_fault(text) for text in titles.texts):
        raise UserError(f"{data_dir / 'dev.txt'} has no title with anything to see in it: give other data")
    return titles


def onnx_classifier(content: bytes, meta: dict[str, Any]) -> NewsClassifier:
    """A classifier on the CPU of an ONNX graph that has not been written yet."""
    return NewsClassifier(meta, onnx_model.logits_fn(onnx_model.open_session(content, [onnx_model.CPU])))


def score(classifier: NewsClassifier, titles: Titles, name: str) -> dict[str, Any]:
    """`classification_metrics` of a classifier; a title with nothing to see in it counts as a mistake."""
    answers = predict_lines(classifier, iter(titles.texts), Config.batch_size)
    answers = tqdm(answers, name, len(titles.texts), unit="title", leave=False)
    predicted = [prediction.label_id if prediction else -1 for _, prediction in answers]
    return classification_metrics(titles.labels, predicted, classifier.labels)


def speeds(classifiers: dict[str, NewsClassifier], texts: Sequence[str]) -> dict[str, dict[str, float]]:
    """What `compare_speed` finds of each model."""
    found = compare_speed([classifier.predict for classifier in classifiers.values()], every(texts, TIMED))
    return dict(zip(classifiers, found, strict=True))


def choose_variant(content: bytes, meta: dict[str, Any], texts: Sequence[str]) -> tuple[str, bytes, dict[str, Any]]:
    """Quantize an ONNX graph in several ways and keep the fastest one that predicts what FP32 predicts.

    Returns:
        The name among `VARIANTS`, the INT8 graph, and of each its speed (`compare_speed`) and `agreement`.
    """
    sample = every(texts, SAMPLE)
    expected = [prediction.label_id for prediction in onnx_classifier(content, meta).predict(sample)]
    graphs = {name: quantize_onnx(content, options) for name, options in VARIANTS.items()}
    classifiers = {name: onnx_classifier(graph, meta) for name, graph in graphs.items()}
    measured = speeds(classifiers, texts)
    for name, classifier in classifiers.items():
        same = sum(p.label_id == other for p, other in zip(classifier.predict(sample), expected, strict=True))
        measured[name]["agreement"] = same / len(sample)
    enough = min(MIN_AGREEMENT, max(row["agreement"] for row in measured.values()))
    right = {name: row for name, row in measured.items() if row["agreement"] >= enough}
    fastest = min(row["p50_ms"] for row in right.values())
    near = [name for name, row in right.items() if row["p50_ms"] <= fastest * TIE]
    best = max(near, key=lambda name: measured[name]["agreement"])
    return best, graphs[best], measured


def has_vnni() -> bool:
    """Whether the CPU multiplies 8-bit integers in one instruction of its own (VNNI)."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_vnni") or capabilities.get("avx_vnni"))


def loss(before: dict[str, Any], after: dict[str, Any], max_drop: float) -> str | None:
    """A loss of more than `max_drop` points of accuracy in words, else None."""
    drop = 100 * (before["accuracy"] - after["accuracy"])
    if drop <= max_drop + 1e-9:
        return None
    figures = f"from {before['accuracy']:.4f} to {after['accuracy']:.4f}"
    return f"accuracy on dev.txt falls {figures}, by {drop:.2f} points, more than --max-drop {max_drop:g}"


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows of the report for people."""
    lines = ["size MB  accuracy  macro-F1   p50 ms  x FP32  model"]
    for row in rows:
        size = "      -" if row["size_mb"] is None else f"{row['size_mb']:7.1f}"
        scores = f"{row['accuracy']:9.4f} {row['macro_f1']:9.4f} {row['p50_ms']:8.2f} {row['ratio_p50']:7.1f}"
        lines.append(f"{size} {scores}  {row['name']}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(QuantizeConfig, argv, __doc__)
    export.import_onnx()
    path = find_model(config.model, onnx=False)
    model, meta = load_module(path)
    if meta["architecture"].get("quantization"):
        raise UserError(f"{path} is INT8 already: give the FP32 checkpoint that it was made from with --model")
    titles = read_dev(config.data_dir, meta["labels"])

    print(f"quantizing {path} ({meta['stage']}); accuracy on {config.data_dir / 'dev.txt'}: {len(titles.texts)} titles")
    graph = export.to_onnx(model, meta)
    variant, int8_graph, variants = choose_variant(graph, meta, titles.texts)
    print(
        f"INT8 weights: {variant}: the best of {len(variants)} on this CPU, {'with' if has_vnni() else 'without'} VNNI"
    )
    classifiers = {
        "FP32 PyTorch": NewsClassifier(meta, module_logits(model, CPU)),
        "FP32 ONNX": onnx_classifier(graph, meta),
        "INT8 ONNX": onnx_classifier(int8_graph, meta),
    }
    folder = config.save_dir or path.parent
    files = {"INT8 ONNX": folder / f"{path.stem}_int8.onnx"}
    if openvino_model.is_installed() and meta["architecture"]["type"] == "bert":
        encoder = Encoder.from_meta(meta)
        sample = encoder.encode(every(titles.texts, SAMPLE)).input_ids
        int8_openvino = quantize_openvino(graph, [pad([ids], encoder.pad_id) for ids in sample])
        classifiers["INT8 OpenVINO"] = NewsClassifier(meta, openvino_model.logits_fn(int8_openvino, meta))
        files["INT8 OpenVINO"] = files["INT8 ONNX"].with_suffix(OPENVINO)
    if meta["stage"] == "teacher":
        files |= {name: folder / (MODELS["int8"].paths[0].stem + file.suffix) for name, file in files.items()}
        try:
            quantized = quantize(model)
            classifiers["INT8 PyTorch"] = NewsClassifier(meta, module_logits(quantized, CPU))
            files["INT8 PyTorch"] = folder / MODELS["int8"].path.name
        except UserError as fault:
            print(f"warning: {MODELS['int8'].path.name} is not made: {fault}")
    metrics = {name: score(classifier, titles, name) for name, classifier in classifiers.items()}
    speed = speeds(classifiers, titles.texts)

    facts = {**meta, **checkpoint.provenance(), "stage": f"{meta['stage']}_int8", "parent_sha256": sha256(path)}
    facts["versions"]["onnxruntime"] = version("onnxruntime")
    facts["architecture"] = {**meta["architecture"], "quantization": SCHEME}
    sizes = {"FP32 PyTorch": path.stat().st_size, "FP32 ONNX": len(graph)}
    refused = []
    for name, file in files.items():
        if fault := loss(metrics["FP32 PyTorch"], metrics[name], config.max_drop):
            if len(titles.texts) >= MIN_ROWS:
                refused.append(f"{file} was not written: {fault}")
                continue
            print(f"warning: {file}: {fault}, but {len(titles.texts)} titles are too few to judge by")
        facts["metrics"] = {"dev": metrics[name], "test": None}
        if name == "INT8 ONNX":
            export.write(file, int8_graph, {**facts, "weights": variant})
        elif name == "INT8 OpenVINO":
            openvino_model.write(file, int8_openvino, facts)
        else:
            checkpoint.save(file, quantized.state_dict(), facts)
        sizes[name] = openvino_model.size(file)
        print(f"saved {file}")

    rows = [
        {
            "name": name,
            "runtime": name.split()[1],
            "size_mb": sizes[name] / 1e6 if name in sizes else None,
            "accuracy": metrics[name]["accuracy"],
            "macro_f1": metrics[name]["macro_f1"],
            "p50_ms": speed[name]["p50_ms"],
            "ratio_p50": speed["FP32 PyTorch"]["p50_ms"] / speed[name]["p50_ms"],
        }
        for name in classifiers
    ]
    report = {**measured_on(), "threads": os.cpu_count(), "vnni": has_vnni(), "model": meta["stage"]}
    report |= {"n": len(titles.texts), "rows": rows, "weights": variant, "variants": variants}
    write_json(config.output / "quantization" / "report.json", report)
    print(table(rows))
    if refused:
        raise UserError(f"{'; '.join(refused)}: allow more with --max-drop, or quantize another model")


if __name__ == "__main__":
    run(main)
