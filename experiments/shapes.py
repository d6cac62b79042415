"""The speed of a BERT-base, and of what compression makes of it, before any training.

    python -m experiments.shapes
    python -m experiments.shapes --output results        # for the README

The weights are random: what a model computes does not change how fast it is, only its shape does. FP32, INT8, half and
a quarter of it in INT8, and a BiLSTM are measured side by side, as benchmark.py does it; ratios are to FP32 eager
PyTorch. Writes benchmark_bert_base.json and benchmark_bert_base.md to the output folder.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmark import ModelFile, describe_model, describe_run, measure, write_report
from bert_classifer_model import BertClassifier
from bilstm_classifier import EMBEDDING_DIM, BiLSTMClassifier
from config import Config
from core.bert.encoder import BERT_BASE
from core.compression import export
from core.compression.quantize import VARIANTS, choose_variant, quantize_onnx, quantize_openvino
from core.console import parse, run
from core.model_files import checkpoint, openvino_model
from core.model_files.facts import INPUTS, Facts
from core.model_files.int8 import SCHEME, quantize
from core.model_files.module import CPU, run_module
from core.text.collate import collate
from core.text.tokenizer import SPECIAL_TOKENS, Tokenizer
from core.training.device import has_native_bf16
from predict_fun import NewsClassifier

LABELS = [f"class {index}" for index in range(10)]
TOKENS = 24  # of each title, [CLS] and [SEP] included
TITLES = 64
NAME = "bert-base"


@dataclass
class ShapesConfig:
    """Knobs of the measurement."""

    output: Path = Config.output
    """Folder for the JSON and Markdown files."""


def random_titles(vocab_size: int) -> list[str]:
    """Titles of characters that each make one token."""
    rng = np.random.default_rng(0)
    characters = [token for token in make_vocab(vocab_size) if len(token) == 1]
    return ["".join(rng.choice(characters, TOKENS - 2)) for _ in range(TITLES)]


def make_vocab(size: int) -> list[str]:
    """The special tokens and Chinese characters, all common ones among them."""
    special = [*SPECIAL_TOKENS, "[MASK]"]
    characters = [*range(0x4E00, 0xA000), *range(0x3400, 0x4DC0)]
    return special + [chr(character) for character in characters[: size - len(special)]]


def random_bert(sizes: dict[str, int], layers: list[dict[str, int]] | None = None) -> BertClassifier:
    """A BERT of some shape; see `BertClassifier` for `layers`."""
    torch.manual_seed(0)
    bert_config = {**sizes, "num_hidden_layers": len(layers)} if layers else sizes
    model = BertClassifier(bert_config, len(LABELS), "pooler", layers).eval()
    # Of random weights all classes are as good as equal, and INT8 and FP32 agree by chance: one class shall stand out.
    model.classifier.bias.data[0] = 1.0
    return model


def facts_of(stage: str, model: nn.Module, vocab_size: int) -> Facts:
    """The facts of a model that stands for what a stage makes."""
    facts: Facts = {"stage": stage, "architecture": model.architecture, "labels": LABELS}
    return {**facts, "vocab": make_vocab(vocab_size), "max_length": TOKENS}


def quantized_facts(facts: Facts) -> Facts:
    """The facts of the same model in INT8."""
    architecture = {**facts["architecture"], "quantization": SCHEME}
    return {**facts, "stage": f"{facts['stage']}_int8", "architecture": architecture}


def write_models(folder: Path, sizes: dict[str, int]) -> Iterator[ModelFile]:
    """Make the models, from FP32 to half and quarter INT8, and the BiLSTM student of the same vocabulary."""
    vocab_size, count = sizes["vocab_size"], sizes["num_hidden_layers"]
    half = {"heads": sizes["num_attention_heads"] // 2, "ffn": sizes["intermediate_size"] // 2}
    model = random_bert(sizes)
    facts = facts_of("teacher", model, vocab_size)
    int8 = quantized_facts(facts)

    for name, module, its in ((NAME, model, facts), (f"{NAME}-int8", quantize(model), int8)):
        path = folder / f"{name}.pt"
        checkpoint.save(path, module.state_dict(), its)
        yield ModelFile(name, "torch", path)
    graph = export.to_onnx(model, facts)
    yield _onnx(folder, NAME, "onnxruntime", graph, facts)
    predictor = NewsClassifier(facts, run_module(model, CPU))
    variant, quantized, _ = choose_variant(graph, predictor, random_titles(vocab_size))
    print(f"INT8 weights: {variant}")
    yield _onnx(folder, f"{NAME}-int8", "onnxruntime", quantized, int8)
    yield _onnx(folder, f"{NAME}-int8", "onnxruntime (plain)", plain_int8(model), int8)
    if openvino_model.is_installed():
        yield from _openvino(folder, NAME, graph, facts)
        yield _openvino_int8(folder, f"{NAME}-int8", graph, facts)
    for name, layers in ((f"{NAME}-half-int8", [half] * count), (f"{NAME}-quarter-int8", [half] * (count // 2))):
        smaller = random_bert(sizes, layers)
        its = facts_of("pruned", smaller, vocab_size)
        graph = export.to_onnx(smaller, its)
        yield _onnx(folder, name, "onnxruntime", quantize_onnx(graph, VARIANTS[variant]), quantized_facts(its))
        if openvino_model.is_installed():
            yield _openvino_int8(folder, name, graph, its)
    student = BiLSTMClassifier(vocab_size, len(LABELS), embedding_dim=min(EMBEDDING_DIM, sizes["hidden_size"]))
    facts = facts_of("soft", student, vocab_size)
    graph = export.to_onnx(student, facts)
    yield _onnx(folder, "bilstm", "onnxruntime", graph, facts)
    yield _onnx(folder, "bilstm-int8", "onnxruntime", quantize_onnx(graph, VARIANTS[variant]), quantized_facts(facts))


def _onnx(folder: Path, name: str, runtime: str, graph: bytes, facts: Facts) -> ModelFile:
    path = folder / f"{name} {runtime}.onnx"
    export.write(path, graph, facts)
    return ModelFile(name, runtime, path)


def _openvino(folder: Path, name: str, graph: bytes, facts: Facts) -> Iterator[ModelFile]:
    """The same graph run by OpenVINO in FP32, and in bf16 where that is native."""
    core = openvino_model.import_openvino().Core()
    for precision, runtime in (("f32", "openvino"), ("bf16", "openvino (bf16)")):
        if precision == "f32" or has_native_bf16(CPU):
            path = folder / f"{name} {runtime}{openvino_model.SUFFIX}"
            openvino_model.write(path, core.read_model(graph), {**facts, "precision": precision})
            yield ModelFile(name, runtime, path)


def _openvino_int8(folder: Path, name: str, graph: bytes, facts: Facts) -> ModelFile:
    """The same graph run by OpenVINO in INT8."""
    path = folder / f"{name}{openvino_model.SUFFIX}"
    titles = Tokenizer(facts["vocab"], TOKENS).encode(random_titles(len(facts["vocab"]))).input_ids
    rows = [collate({"input_ids": [ids]}, {}) for ids in titles]
    openvino_model.write(path, quantize_openvino(graph, rows), quantized_facts(facts))
    return ModelFile(name, "openvino", path)


def plain_int8(model: BertClassifier) -> bytes:
    """A BERT as torch.onnx.export and onnxruntime's quantize_dynamic make it when left to their defaults."""
    onnx = export.import_onnx()
    from onnxruntime.quantization import quantize_dynamic

    plain = BertClassifier.from_architecture(model.architecture, model.state_dict()).eval()
    plain.bert.set_attn_implementation("eager")
    example = tuple(torch.ones(2, 4, dtype=torch.long) for _ in INPUTS)
    axes = dict.fromkeys((0, 1), torch.export.Dim.DYNAMIC)
    knobs = {"input_names": list(INPUTS), "output_names": ["logits"], "external_data": False, "verbose": False}
    with export.quietly(), tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        torch.onnx.export(plain, example, file, dynamic_shapes=(axes, axes), **knobs)
        graph = onnx.load(file)
        graph.graph.ClearField("value_info")  # quantize_dynamic refuses the exporter's shapes
        quantize_dynamic(graph, file)
        return file.read_bytes()


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(ShapesConfig, argv, __doc__)
    titles, candidates = random_titles(BERT_BASE["vocab_size"]), []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for file in write_models(Path(folder), BERT_BASE):
            candidates.append(describe_model(file, NewsClassifier.load(file.path, "cpu"), titles))
            candidates[-1].row["file"] = None  # it is gone when the report is read
        rows = measure(candidates, titles)
    report = describe_run({"data": f"random weights, titles of {TOKENS} tokens", "rows": rows, "advice": None})
    path = config.output / "benchmark_bert_base.json"
    print(f"\n{write_report(report, path)}wrote {path.name} and its table to {config.output}")


if __name__ == "__main__":
    run(main)
