"""Masked language modelling: what is hidden, drawn for a batch as a whole; its loss and its score."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from core.pretraining.corpus import CorpusBatches, build_vocab, encode_corpus
from core.pretraining.masked_lm import (
    NOT_WANTED,
    MaskedLM,
    Masks,
    count_masked,
    mask_tokens,
    masked_lm_loss,
    new_bert,
    score_masked_lm,
)
from core.text.tokenizer import SPECIAL_TOKENS, Tokenizer
from core.training.device import Devices
from core.training.units import Batch


@pytest.fixture(scope="module")
def tokenizer(corpus: Path) -> Tokenizer:
    return Tokenizer(build_vocab([corpus], 150), 32)


@pytest.fixture(scope="module")
def batches(corpus: Path, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> CorpusBatches:
    encoded = encode_corpus([corpus], tokenizer, tmp_path_factory.mktemp("encoded"))
    return CorpusBatches(encoded, np.arange(60), tokenizer, 128, seed=1)


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> MaskedLM:
    torch.manual_seed(0)
    return MaskedLM(new_bert(1, 64, 32, 0.02 * torch.randn(len(tokenizer.vocab), 64).numpy()))


def test_masks():
    special = torch.tensor([0, 2, 3, 4])
    ids = torch.randint(5, 1000, (200, 50))
    ids[:, 0], ids[:, -10:] = 2, 0
    corrupted, chosen = mask_tokens(ids, special, 4, 1000, 0.2)
    assert not chosen[:, 0].any() and not chosen[:, -10:].any()
    assert chosen[:, 1:-10].float().mean() == pytest.approx(0.2, abs=0.02)
    assert torch.equal(corrupted[~chosen], ids[~chosen])
    assert (corrupted[chosen] == 4).float().mean() == pytest.approx(0.8, abs=0.04)
    assert (corrupted[chosen] == ids[chosen]).float().mean() == pytest.approx(0.1, abs=0.03)
    same = [mask_tokens(ids, special, 4, 1000, 0.2, torch.Generator().manual_seed(1))[0] for _ in range(2)]
    assert torch.equal(*same)
    assert mask_tokens(ids[:1, :3], special, 4, 1000, 1e-9)[1].sum() == 1  # something to predict in each batch


def test_the_characters_of_a_word_are_masked_together():
    word = torch.arange(30).repeat_interleave(2).repeat(20, 1)
    _, chosen = mask_tokens(torch.full(word.shape, 7), torch.tensor([0]), 4, 1000, 0.3, word=word)
    pairs = chosen.view(20, 30, 2).sum(-1)
    assert (pairs == 1).sum() <= 1 < (pairs == 2).sum()  # where the count ends, a word may be cut
    assert chosen.float().mean() == pytest.approx(0.3, abs=0.06)


def epoch(masks: Masks, number: int = 0, skip: int = 0) -> list[Batch]:
    return list(masks.epoch(number, skip))


def test_what_is_hidden_can_be_read_off_and_special_tokens_never_are(batches: CorpusBatches, tokenizer: Tokenizer):
    torch.manual_seed(0)
    masks, changed = Masks(batches, tokenizer, 0.3), 0
    assert len(masks) == len(batches) and masks.sha256() == batches.sha256()
    special = torch.tensor([tokenizer.vocab.index(token) for token in (*SPECIAL_TOKENS, "[MASK]")])
    for plain, hidden in zip(batches.epoch(0), masks.epoch(0, 0), strict=True):
        wanted = hidden["wanted"] != NOT_WANTED
        assert torch.equal(hidden["wanted"][wanted], plain["input_ids"][wanted])
        assert torch.equal(hidden["input_ids"][~wanted], plain["input_ids"][~wanted])
        unknown = plain["input_ids"] == tokenizer.unknown_id
        assert not (wanted & torch.isin(plain["input_ids"], special) & ~unknown).any()
        assert torch.equal(plain["row"], hidden["row"]) and count_masked(hidden) == wanted.sum() > 0
        changed += int((hidden["input_ids"] == masks.mask_id).sum())
    assert changed > 20


def test_masks_are_drawn_anew_in_training_and_the_same_for_evaluation(batches: CorpusBatches, tokenizer: Tokenizer):
    held_out = Masks(batches, tokenizer, 0.3, seed=0)
    torch.manual_seed(1)
    first, second = epoch(held_out), epoch(held_out)
    assert all(torch.equal(one["wanted"], two["wanted"]) for one, two in zip(first, second, strict=True))
    training = Masks(batches, tokenizer, 0.3)
    first, second = epoch(training), epoch(training)
    assert not all(torch.equal(one["wanted"], two["wanted"]) for one, two in zip(first, second, strict=True))


def test_a_run_that_goes_on_draws_the_masks_of_one_that_was_not_stopped(batches: CorpusBatches, tokenizer: Tokenizer):
    masks = Masks(batches, tokenizer, 0.3)
    torch.manual_seed(2)
    whole = masks.epoch(0, 0)
    before = [next(whole) for _ in range(2)]
    state = torch.get_rng_state()  # what a run saves after its second step
    rest = list(whole)
    assert before and len(rest) == len(masks) - 2 > 1
    torch.set_rng_state(state)
    for one, other in zip(rest, masks.epoch(0, 2), strict=True):
        assert torch.equal(one["input_ids"], other["input_ids"]) and torch.equal(one["wanted"], other["wanted"])


def test_the_loss_is_a_mean_over_the_hidden_tokens_alone(batches: CorpusBatches, tokenizer: Tokenizer, model: MaskedLM):
    batch = epoch(Masks(batches, tokenizer, 0.3, seed=0))[0]
    wanted = batch["wanted"] != NOT_WANTED
    with torch.no_grad():
        loss, parts = masked_lm_loss(model, batch)
        everywhere = model.bert_for_mlm(batch["input_ids"], batch["attention_mask"]).logits
    assert loss.item() == pytest.approx(F.cross_entropy(everywhere[wanted], batch["wanted"][wanted]).item(), abs=1e-5)
    assert not parts


def test_the_score_is_that_of_all_hidden_tokens_together(batches: CorpusBatches, tokenizer: Tokenizer, model: MaskedLM):
    masks = Masks(batches, tokenizer, 0.3, seed=0)
    found = score_masked_lm(model.train(), masks, Devices())
    losses, right = [], []
    with torch.no_grad():
        for batch in masks.epoch():
            logits = model.eval()(batch["input_ids"], batch["attention_mask"], batch["wanted"] != NOT_WANTED)
            wanted = batch["wanted"][batch["wanted"] != NOT_WANTED]
            losses += F.cross_entropy(logits, wanted, reduction="none").tolist()
            right += (logits.argmax(1) == wanted).tolist()
    assert found["loss"] == pytest.approx(np.mean(losses), abs=1e-5) and found["log_likelihood"] == -found["loss"]
    assert found["accuracy"] == pytest.approx(np.mean(right))
    assert score_masked_lm(model, masks, Devices()) == found


def test_a_small_bert_starts_from_its_word_vectors(tokenizer: Tokenizer):
    vectors = np.random.default_rng(0).normal(size=(len(tokenizer.vocab), 128)).astype(np.float32)
    bert = new_bert(2, 128, 40, vectors)
    assert np.array_equal(bert.bert.embeddings.word_embeddings.weight.detach().numpy(), vectors)
    shape = bert.config
    assert (shape.num_hidden_layers, shape.num_attention_heads, shape.intermediate_size) == (2, 2, 512)
    assert bert.cls.predictions.decoder.weight is bert.bert.embeddings.word_embeddings.weight
