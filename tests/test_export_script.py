"""export.py: a model for others, with its card; what has no equal is refused with what to do instead."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import LABELS, LICENCE, TINY

import export
from bert_classifer_model import BertClassifier
from core.console import UserError
from core.model_files import checkpoint
from core.model_files.predictor import softmax
from predict_fun import NewsClassifier

TEXTS = ["球赛冠军", "银行A利率", "芯片12"]


@pytest.fixture
def pooled(teacher: Path, tmp_path: Path) -> Path:
    """A teacher whose head stands on the pooler, as that of bert-base-chinese does."""
    facts = checkpoint.load(teacher)[1]
    torch.manual_seed(0)
    model = BertClassifier({**TINY, "vocab_size": len(facts["vocab"]), "max_position_embeddings": 64}, 3, "pooler")
    path = tmp_path / "pooled.pt"
    checkpoint.save(path, model.state_dict(), {**facts, "architecture": model.architecture})
    return path


def test_a_hugging_face_folder(pooled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from transformers import pipeline

    argv = ["--model", str(pooled), "--output", str(tmp_path / "mine")]
    export.main(argv)
    export.main([*argv, "--format", "hf"])  # an earlier export is replaced
    names = {"README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in (tmp_path / "mine").iterdir()} == names
    assert len({path.stat().st_mode for path in (tmp_path / "mine").iterdir()}) == 1, "others may read it all"
    assert not list(tmp_path.glob(".*")) and "warning" not in capsys.readouterr().out
    answers = pipeline("text-classification", str(tmp_path / "mine"), top_k=None)(TEXTS, batch_size=3)
    ours = NewsClassifier.load(pooled, "cpu")
    logits = np.array(ours.logits({"input_ids": ours.tokenizer.encode(TEXTS).input_ids}))
    for row, theirs in zip(softmax(logits, 1.0), answers, strict=True):
        shares = {answer["label"]: answer["score"] for answer in theirs}
        assert shares == pytest.approx(dict(zip(LABELS, row, strict=True)), abs=1e-5)

    facts, said = checkpoint.load(pooled)[1], (tmp_path / "mine" / "README.md").read_text(encoding="utf-8")
    assert said.startswith(f"---\nlicense: {LICENCE}\n") and f"| 许可证 | {LICENCE} |" in said
    assert "3 个：" + "、".join(LABELS) in said and facts["data_sha256"] in said and "60 条" in said
    assert f"macro_f1 {facts['metrics']['dev']['macro_f1']:.4g}" in said and "测试集" in said
    assert f"softmax(logits / {facts['temperature']:.4g})" in said and str(tmp_path) not in said


def test_an_onnx_file_with_its_tokenizer(teacher: Path, tmp_path: Path):
    from transformers import AutoTokenizer

    export.main(["--model", str(teacher), "--format", "onnx", "--output", str(tmp_path / "mine")])
    names = {"README.md", "model.onnx", "tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in (tmp_path / "mine").iterdir()} == names
    classifier = NewsClassifier.load(tmp_path / "mine" / "model.onnx", "cpu")
    logits = classifier.logits({"input_ids": AutoTokenizer.from_pretrained(tmp_path / "mine")(TEXTS)["input_ids"]})
    wanted = NewsClassifier.load(teacher, "cpu")
    np.testing.assert_allclose(
        logits, wanted.logits({"input_ids": wanted.tokenizer.encode(TEXTS).input_ids}), atol=1e-4
    )
    assert "predict_fun.py --model" in (tmp_path / "mine" / "README.md").read_text(encoding="utf-8")


def test_what_cannot_be_handed_on_is_told(teacher: Path, pooled: Path, tmp_path: Path):
    output = tmp_path / "mine"
    says = f"by the mean of the states.*: run `python export.py --model {teacher} --format onnx --output {output}`"
    with pytest.raises(UserError, match=says.replace("\\", r"\\")):
        export.main(["--model", str(teacher), "--output", str(output)])
    weights, facts = checkpoint.load(teacher)
    int8 = {**facts, "architecture": {**facts["architecture"], "quantization": "dynamic"}}
    checkpoint.save(tmp_path / "int8.pt", weights, int8)
    for kind in ("hf", "onnx"):
        with pytest.raises(UserError, match="is INT8: hand on the ONNX file"):
            export.main(["--model", str(tmp_path / "int8.pt"), "--format", kind, "--output", str(output)])
    output.mkdir()
    (output / "thesis.txt").write_text("mine", encoding="utf-8")
    for path in (output, output / "thesis.txt"):
        with pytest.raises(UserError, match="is there already, and no export"):
            export.main(["--model", str(pooled), "--output", str(path)])
    assert (output / "thesis.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("licence", "head"),
    [("unknown", "license: unknown\n"), ("research-only", 'license: other\nlicense_name: "research-only"\n')],
)
def test_the_licence_in_the_card(pooled: Path, licence: str, head: str):
    facts = {**checkpoint.load(pooled)[1], "licence": licence}
    said = export.card(facts, "hf")
    assert said.startswith(f"---\n{head}") and ("未知" in said) == (licence == "unknown")
    del facts["metrics"], facts["training"], facts["data_sha256"], facts["licence"]
    assert "未知" in export.card(facts, "onnx")
