"""The speed of random weights: which models there are, and how long their titles."""

import json
from pathlib import Path

import pytest

import benchmark
from bilstm_classifier import BiLSTMClassifier
from core.compression import export
from core.model_files import openvino_model
from core.text.tokenizer import Tokenizer
from experiments import shapes

ALIKE = dict.fromkeys(("cold_start_s", "peak_mb", "p50_ms", "p95_ms", "titles_per_s"), 1.0)


@pytest.mark.measurement
def test_the_speed_of_a_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tiny = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    tiny |= {"intermediate_size": 20, "max_position_embeddings": 32}
    monkeypatch.setattr(shapes, "BERT_BASE", tiny)
    student = BiLSTMClassifier(60, 10, 8, 8)
    monkeypatch.setattr(shapes, "BiLSTMClassifier", lambda *_, **__: student)
    graph = export.to_onnx(student, shapes.facts_of("soft", student, 60))
    monkeypatch.setattr(openvino_model, "is_installed", lambda: False)  # openvino_checks.py has it
    monkeypatch.setattr(export, "to_onnx", lambda *_: graph)  # a BERT takes seconds, and is exported in other tests
    monkeypatch.setattr(benchmark, "measure_alone", lambda *_: ALIKE)
    shapes.main(["--output", str(tmp_path)])
    report = json.loads((tmp_path / "benchmark_bert_base.json").read_text(encoding="utf-8"))
    rows = {(row["name"], row["runtime"]): row for row in report["rows"]}
    assert [*rows] == [
        ("bert-base", "torch"),
        ("bert-base-int8", "torch"),
        ("bert-base", "onnxruntime"),
        ("bert-base-int8", "onnxruntime"),
        ("bert-base-int8", "onnxruntime (plain)"),
        ("bert-base-half-int8", "onnxruntime"),
        ("bert-base-quarter-int8", "onnxruntime"),
        ("bilstm", "onnxruntime"),
        ("bilstm-int8", "onnxruntime"),
    ]
    flops = rows["bert-base", "torch"]["encoder_flops"]
    assert rows["bert-base-half-int8", "onnxruntime"]["encoder_flops"] == flops / 2
    assert rows["bert-base-quarter-int8", "onnxruntime"]["encoder_flops"] == flops / 4
    assert rows["bert-base", "torch"]["ratio_p50"] == 1
    for row in rows.values():
        assert row["ratio_p50"] > 0 and row["ratio_throughput"] > 0 and row["size_mb"] > 0 and row["params"] > 0
        assert row["accuracy"] is None and row["file"] is None
    assert report["machine"] and report["threads"] and report["versions"]
    table = (tmp_path / "benchmark_bert_base.md").read_text(encoding="utf-8")
    assert "| bert-base-int8 | onnxruntime (plain) |" in table and "accuracy" not in table
    assert "24 tokens" in table and not (tmp_path / "benchmark_bert_base.png").exists()


def test_titles_of_a_shape_have_24_tokens():
    tokenizer = Tokenizer(shapes.make_vocab(21128), 64)
    assert len(tokenizer.vocab) == len(set(tokenizer.vocab)) == 21128
    encoded = tokenizer.encode(shapes.random_titles(21128)).input_ids
    assert {len(ids) for ids in encoded} == {24} and all(tokenizer.unknown_id not in ids for ids in encoded)
