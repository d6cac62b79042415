"""A BERT in a Hugging Face folder: transformers gives the same ids and logits, or the model is refused."""

from pathlib import Path

import pytest
import torch
from conftest import ROOT, some_ids, tiny_bert
from torch import nn

from core.bert.encoder import build_bert
from core.compression import hf_folder
from core.console import UserError
from core.text.tokenizer import Tokenizer, read_vocab

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *map(chr, range(97, 142))]
TEXTS = [
    "苹果iPhone 15发布会：售价5999元起",
    "央行 降息\u3000Café!",
    "[CLS] 好 [MASK][SEP]",
    "",
    "😀鑫\t龘",
    "好" * 90,
    "a\x00b\ufffd",
]


def facts_of(model: nn.Module) -> dict:
    return {"architecture": model.architecture, "labels": ["体育", "财经", "科技"], "vocab": VOCAB, "max_length": 16}


@pytest.mark.parametrize(
    "layers",
    [None, [{"heads": 3, "ffn": 24}] * 3, [{"heads": 1, "ffn": 24}, {"heads": 3, "ffn": 8}, {"heads": 2, "ffn": 1}]],
)
def test_transformers_gives_the_same_logits(layers: list | None, tmp_path: Path):
    from transformers import AutoModelForSequenceClassification

    model = tiny_bert(pooling="pooler", **({} if layers is None else {"layers": layers}))
    hf_folder.write_hf(model, facts_of(model), tmp_path)  # compares the logits itself
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert theirs.config.id2label == {0: "体育", 1: "财经", 2: "科技"} and theirs.config.label2id["科技"] == 2
    ids, mask = some_ids(), torch.ones(4, 9, dtype=torch.long)
    mask[1:, 5:] = 0
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids, mask).logits, model(ids, mask), atol=1e-5, rtol=0)


def test_logits_that_differ_are_refused(tmp_path: Path):
    model = tiny_bert(pooling="pooler")
    hf_folder.write_hf(model, facts_of(model), tmp_path)
    with torch.no_grad():
        model.classifier.bias[1] += 3e-5
    with pytest.raises(UserError, match="gives other logits than the model"):
        hf_folder.check_logits(model, facts_of(model), tmp_path)


@pytest.mark.parametrize("kind", ["words", "pieces", "cased"])
def test_transformers_gives_the_same_ids(kind: str, tmp_path: Path):
    from transformers import AutoTokenizer

    bundled = read_vocab(ROOT / "bert-mini-chinese" / "vocab.txt")
    pieces = [*VOCAB, "##b", "##hone", "好", "央", "行", "1", "##5", "!"]
    ours = Tokenizer({"words": bundled, "pieces": pieces, "cased": [*pieces, "A", "C"]}[kind], 24)
    hf_folder.write_tokenizer(ours, tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    encoded = theirs(TEXTS, truncation=True)
    assert encoded["input_ids"] == ours.encode(TEXTS).input_ids
    assert set(encoded) == {"input_ids", "attention_mask"} and theirs.pad_token_id == ours.pad_id
    assert theirs(TEXTS, truncation=True, padding=True)["input_ids"][3][:3] == [ours.cls_id, ours.sep_id, ours.pad_id]


class Tagger(nn.Module):
    """A head on each token."""

    per_token = True
    inputs = ("input_ids", "attention_mask")

    def __init__(self, parts: str = "classifier") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.architecture = {"type": "tagger", "bert_config": tiny_bert().architecture["bert_config"]}
        self.bert, self.parts = build_bert(self.architecture["bert_config"], False), parts
        setattr(self, parts, nn.Linear(24, 3))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return getattr(self, self.parts)(self.bert(input_ids, attention_mask).last_hidden_state).float()


def test_a_head_on_each_token_is_written_too(tmp_path: Path):
    model = Tagger().eval()
    assert not hf_folder.why_not(model.architecture)
    hf_folder.write_hf(model, facts_of(model), tmp_path / "a")
    other = Tagger("head").eval()
    with pytest.raises(UserError, match="other parts than transformers' BertForTokenClassification: use --format onnx"):
        hf_folder.write_hf(other, facts_of(other), tmp_path / "b")


@pytest.mark.parametrize(
    ("architecture", "says"),
    [
        ({"type": "bert", "bert_config": {}, "pooling": "mean"}, "by the mean of the states"),
        ({"type": "bilstm"}, "a model of its own kind"),
    ],
)
def test_what_transformers_has_no_equal_of(architecture: dict, says: str):
    assert says in hf_folder.why_not(architecture)
