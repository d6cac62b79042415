"""Models with random weights, as files: the speed of a BERT-base and of what compression makes of it, before training.

What a model computes does not change how fast it is, only its shape does.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from bert_classifer_model import BERT_BASE, BertClassifier
from bert_model_quantization import choose_variant
from bilstm_classifier import EMBEDDING_DIM, BiLSTMClassifier
from core.compression import export
from core.compression.quantize import SCHEME, VARIANTS, quantize, quantize_onnx, quantize_openvino
from core.model_files import checkpoint, onnx_model, openvino_model
from core.text.tokenizer import SPECIAL_TOKENS, Encoder, pad
from core.training.device import CPU, has_native_bf16

LABELS = [f"class {index}" for index in range(10)]
TOKENS = 24  # of each title, [CLS] and [SEP] included
TITLES = 64
SHAPES = {"bert-base": BERT_BASE}


class ModelFile(NamedTuple):
    """A model to measure: its name, what runs it, and its file."""

    name: str
    runtime: str
    path: Path


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


def write_models(shape: str, folder: Path) -> Iterator[ModelFile]:
    """Make the models of a shape, from FP32 to half and quarter INT8, and the BiLSTM student of that vocabulary."""
    sizes = SHAPES[shape]
    heads, ffn, count = (sizes[name] for name in ("num_attention_heads", "intermediate_size", "num_hidden_layers"))
    half = {"heads": heads // 2, "ffn": ffn // 2}
    model = random_bert(sizes)
    meta = facts("teacher", model, sizes["vocab_size"])
    int8 = quantized_facts(meta)

    path = folder / f"{shape}.pt"
    checkpoint.save(path, model.state_dict(), meta)
    yield ModelFile(shape, "torch", path)
    path = folder / f"{shape}-int8.pt"
    checkpoint.save(path, quantize(model).state_dict(), int8)
    yield ModelFile(f"{shape}-int8", "torch", path)
    graph = export.to_onnx(model, meta)
    yield _write(folder, shape, "onnxruntime", graph, meta)
    variant, quantized, _ = choose_variant(graph, meta, random_titles(sizes["vocab_size"]))
    print(f"INT8 weights: {variant}")
    yield _write(folder, f"{shape}-int8", "onnxruntime", quantized, int8)
    yield _write(folder, f"{shape}-int8", "onnxruntime (plain)", plain_int8(model), int8)
    if openvino_model.is_installed():
        yield from _openvino(folder, shape, graph, meta)
        yield _openvino_int8(folder, f"{shape}-int8", graph, meta)
    for name, layers in ((f"{shape}-half-int8", [half] * count), (f"{shape}-quarter-int8", [half] * (count // 2))):
        smaller = random_bert(sizes, layers)
        its = facts("pruned", smaller, sizes["vocab_size"])
        graph = export.to_onnx(smaller, its)
        yield _write(folder, name, "onnxruntime", quantize_onnx(graph, VARIANTS[variant]), quantized_facts(its))
        if openvino_model.is_installed():
            yield _openvino_int8(folder, name, graph, its)
    width = min(EMBEDDING_DIM, sizes["hidden_size"])
    student = BiLSTMClassifier(sizes["vocab_size"], len(LABELS), embedding_dim=width)
    meta = facts("soft", student, sizes["vocab_size"])
    graph = export.to_onnx(student, meta)
    yield _write(folder, "bilstm", "onnxruntime", graph, meta)
    yield _write(folder, "bilstm-int8", "onnxruntime", quantize_onnx(graph, VARIANTS[variant]), quantized_facts(meta))


def _openvino(folder: Path, shape: str, graph: bytes, meta: dict[str, Any]) -> Iterator[ModelFile]:
    """The same graph run by OpenVINO in FP32, and in bf16 where that is native."""
    core = openvino_model.import_openvino().Core()
    for precision, runtime in (("f32", "openvino"), ("bf16", "openvino (bf16)")):
        if precision == "f32" or has_native_bf16(CPU):
            path = folder / f"{shape} {runtime}{openvino_model.SUFFIX}"
            openvino_model.write(path, core.read_model(graph), {**meta, "precision": precision})
            yield ModelFile(shape, runtime, path)


def _openvino_int8(folder: Path, name: str, graph: bytes, meta: dict[str, Any]) -> ModelFile:
    """The same graph run by OpenVINO in INT8."""
    path = folder / f"{name}{openvino_model.SUFFIX}"
    titles = Encoder(meta["vocab"], TOKENS).encode(random_titles(len(meta["vocab"]))).input_ids
    openvino_model.write(path, quantize_openvino(graph, [pad([ids], 0) for ids in titles]), quantized_facts(meta))
    return ModelFile(name, "openvino", path)


def facts(stage: str, model: nn.Module, vocab_size: int) -> dict[str, Any]:
    """The `meta` of a model that stands for what a stage makes."""
    meta = {"stage": stage, "architecture": model.architecture, "labels": LABELS}
    return {**meta, "vocab": make_vocab(vocab_size), "max_length": TOKENS}


def quantized_facts(meta: dict[str, Any]) -> dict[str, Any]:
    """The `meta` of the same model in INT8."""
    architecture = {**meta["architecture"], "quantization": SCHEME}
    return {**meta, "stage": f"{meta['stage']}_int8", "architecture": architecture}


def _write(folder: Path, name: str, runtime: str, graph: bytes, meta: dict[str, Any]) -> ModelFile:
    path = folder / f"{name} {runtime}.onnx"
    export.write(path, graph, meta)
    return ModelFile(name, runtime, path)


def plain_int8(model: BertClassifier) -> bytes:
    """What torch.onnx.export and onnxruntime's quantize_dynamic make of a BERT when left to their defaults."""
    onnx = export.import_onnx()
    from onnxruntime.quantization import quantize_dynamic

    plain = BertClassifier.from_architecture(model.architecture, model.state_dict()).eval()
    plain.bert.set_attn_implementation("eager")
    example = torch.ones(2, 4, dtype=torch.long), torch.ones(2, 4, dtype=torch.long)
    axes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    names = {"input_names": list(onnx_model.INPUTS), "output_names": ["logits"]}
    with export.quietly(), tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        torch.onnx.export(
            plain, example, file, dynamic_shapes=(axes, axes), external_data=False, verbose=False, **names
        )
        graph = onnx.load(file)
        graph.graph.ClearField("value_info")  # quantize_dynamic refuses the exporter's shapes
        quantize_dynamic(graph, file)
        return file.read_bytes()
