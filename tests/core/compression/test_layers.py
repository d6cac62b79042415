"""Layers and vocabulary rows cut out of a BERT: what is left answers as before."""

import pytest
import torch
from conftest import TINY, some_ids, tiny_bert

from bert_classifer_model import BertClassifier
from core.bert.shape import layer_shapes
from core.compression.layers import cut_at_once, keep_layers, keep_tokens, spread, used_tokens
from core.console import UserError
from core.text.tokenizer import Tokenizer

VOCAB = ["a", "##a", "A", "##b", "5", "[MASK]", "球", "##球", "队", "win", "##dow", "[UNK]", "[CLS]", "[SEP]", "[PAD]"]


def test_layers_go_whole():
    assert [spread(12, 6), spread(4, 3), spread(4, 1)] == [[0, 2, 4, 6, 8, 10], [0, 1, 2], [0]]
    model = tiny_bert(layers=[{"heads": 1, "ffn": 7}, {"heads": 2, "ffn": 8}, {"heads": 3, "ffn": 9}])
    weights, architecture = keep_layers(model.state_dict(), model.architecture, [0, 2])
    cut = BertClassifier.from_architecture(architecture, weights).eval()
    assert layer_shapes(cut.architecture) == [{"heads": 1, "ffn": 7}, {"heads": 3, "ffn": 9}]
    ids = some_ids()
    del model.bert.encoder.layer[1]
    with torch.no_grad():
        assert torch.equal(model(ids, torch.ones_like(ids)), cut(ids, torch.ones_like(ids)))


def test_unused_tokens_go_and_titles_without_them_are_encoded_as_before():
    texts = ["球 window", "a5"]
    kept = used_tokens(VOCAB, texts)
    assert {VOCAB[token] for token in kept} == set(VOCAB) - {"##球", "队"}
    small = Tokenizer([VOCAB[token] for token in kept], 16)
    whole = Tokenizer(VOCAB, 16)
    for text in texts:
        old, new = (tokenizer.encode([text]).input_ids[0] for tokenizer in (whole, small))
        assert [VOCAB[token] for token in old] == [small.vocab[token] for token in new]
    assert small.unknown_id in small.encode(["队"]).input_ids[0]

    model = tiny_bert(bert_config={**TINY, "vocab_size": len(VOCAB) + 3})  # with spare rows
    weights, architecture = keep_tokens(model.state_dict(), model.architecture, kept, small.pad_id)
    cut = BertClassifier.from_architecture(architecture, weights).eval()
    assert cut.bert.embeddings.word_embeddings.padding_idx == small.pad_id
    ids = [torch.tensor([tokenizer.encode(["a5 球 window"]).input_ids[0]]) for tokenizer in (whole, small)]
    with torch.no_grad():
        one, other = (each(row, torch.ones_like(row)) for each, row in zip((model, cut), ids, strict=True))
    assert torch.allclose(one, other, atol=1e-6)


def test_layers_and_tokens_are_cut_at_once_or_left_alone():
    model, tokenizer = tiny_bert(), Tokenizer(VOCAB, 9, "head_tail")
    before = model.state_dict(), model.architecture, tokenizer
    assert cut_at_once(*before, None, None) == before
    weights, architecture, small = cut_at_once(*before, 2, ["a"])
    assert len(layer_shapes(architecture)) == 2 and (small.max_length, small.truncation) == (9, "head_tail")
    assert architecture["bert_config"]["vocab_size"] == len(small.vocab) < len(VOCAB)
    BertClassifier.from_architecture(architecture, weights)
    with pytest.raises(UserError, match="--keep-layers is 4, but the model has 3 layers"):
        cut_at_once(*before, 4, None)
