"""Wide and deep: hashed n-grams beside a student, from the title to the INT8 file."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import LABELS, stage_args, tiny_bert
from hypothesis import given
from hypothesis import strategies as st

import bert_model_quantization
import evaluate
import soft_label_distillation
from core.console import UserError
from core.model_files import checkpoint
from core.text.collate import collate
from core.text.ngrams import ngram_buckets
from core.text.tokenizer import Tokenizer
from ngram_classifier import BUCKETS, NgramClassifier, fit_ngrams
from predict_fun import NewsClassifier
from utils import Titles, read_titles

pytestmark = pytest.mark.usefixtures("small_student")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(TEXT)
def test_each_ngram_has_a_bucket_wherever_it_stands(text: str):
    size = len(text.lower())
    found = ngram_buckets(text, 1024)
    assert len(found) == size + max(0, size - 1) + max(0, size - 2)
    assert found.min() >= 0 and found.max() < 1024
    assert set(found) <= set(ngram_buckets(f"前{text}后", 1024)) or text.lower() != f"前{text}后".lower()[1:-1]
    assert np.array_equal(found, ngram_buckets(text.lower(), 1024))


def test_buckets_are_used_evenly():
    texts = [chr(0x4E00 + first) + chr(0x4E00 + 7 * second) for first in range(0, 2000, 10) for second in range(100)]
    pairs = np.array([ngram_buckets(text, 65_536)[2] for text in texts])
    assert len(np.unique(pairs)) > 0.95 * 65_536 * (1 - np.exp(-len(texts) / 65_536))  # as many as by chance


def test_padding_changes_no_logit():
    torch.manual_seed(0)
    model = NgramClassifier(tiny_bert(), 16).eval()
    columns = {"input_ids": [[2, 5, 3], [2, 6, 7, 8, 3]], "ngrams": [[1, 2, 3], [4, 5, 6, 7, 7, 7]]}
    pads = {"input_ids": 0, "ngrams": 16}

    def logits(rows: slice) -> torch.Tensor:
        batch = collate({name: values[rows] for name, values in columns.items()}, pads)
        return model(*(torch.from_numpy(batch[name]) for name in model.inputs))

    with torch.no_grad():
        assert torch.allclose(logits(slice(0, 2))[0], logits(slice(0, 1))[0], atol=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_table_is_a_linear_model_that_counts_as_much_as_it_knows(classes: int):
    words, rng = ["股市上涨", "球队夺冠", "手机发布"], np.random.default_rng(0)
    labels = rng.integers(classes, size=90).tolist()
    texts = [f"{words[label]}{rng.integers(99)}" for label in labels]
    titles = {"train": Titles(texts[:60], labels[:60]), "dev": Titles(texts[60:], labels[60:])}
    deep = tiny_bert(num_labels=classes).eval()
    model = fit_ngrams(deep, rng.normal(size=(30, classes)), titles).eval()  # what is deep knows nothing
    assert model.scale < 0.5 < model.table.weight.abs().max()
    assert not model.table.weight[-1].any()
    tokenizer = Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "球"], 8, buckets=BUCKETS)
    batch = collate(tokenizer.encode(texts[60:]).columns, tokenizer.pads)
    with torch.no_grad():
        found = model(*(torch.from_numpy(batch[name]) for name in model.inputs))
    assert found.argmax(1).tolist() == labels[60:]


def test_a_student_with_ngrams_from_training_to_int8(teacher: Path, data: Path, tmp_path: Path, capsys):
    args = stage_args(teacher, data, tmp_path, "--num-epochs", "2", "--bert-layers", "1", "--ngrams")
    soft_label_distillation.main(args)
    assert "with n-grams: dev accuracy" in capsys.readouterr().out
    made = tmp_path / "save" / "bert_soft_distill.pth"
    weights, facts = checkpoint.load(made)
    assert facts["inputs"] == ["input_ids", "attention_mask", "ngrams"] and facts["architecture"]["type"] == "ngrams"
    bert_model_quantization.main(
        ["--model", str(made), "--data-dir", str(data), "--output", str(tmp_path / "reports"), "--max-drop", "100"]
    )
    texts = read_titles(data / "test.txt", LABELS).texts
    answers = NewsClassifier.load(made).predict(texts)
    onnx, int8 = made.with_suffix(".onnx"), made.with_name("bert_soft_distill_int8.onnx")
    for path, tolerance in ((onnx, 1e-4), (int8, 0.15)):
        for one, other in zip(answers, NewsClassifier.load(path).predict(texts), strict=True):
            assert one.probabilities == pytest.approx(other.probabilities, abs=tolerance)
    assert len(NewsClassifier.load(onnx).predict(["球" * 100_000, "赛"])) == 2
    evaluate.main(["--model", str(int8), "--data", str(data / "test.txt"), "--output", str(tmp_path / "reports")])
    assert (
        json.loads((tmp_path / "reports" / "evaluate" / "metrics.json").read_text(encoding="utf-8"))["accuracy"] > 0.8
    )

    for buckets in (1000, 2**40, "many"):
        checkpoint.save(made, weights, {**facts, "architecture": {**facts["architecture"], "buckets": buckets}})
        with pytest.raises(UserError, match="damaged facts"):
            NewsClassifier.load(made)
    checkpoint.save(made, weights, {**facts, "architecture": {**facts["architecture"], "buckets": 32}})
    with pytest.raises(UserError, match="do not fit the model"):
        NewsClassifier.load(made)
