"""Recipes: their losses against values worked out by hand, their rules, and each from training to prediction."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import (
    ARTEFACT,
    LABELS,
    assert_close,
    memory_for,
    press_ctrl_c,
    same,
    train_args,
    write_bert,
    write_data,
)
from torch import nn
from torch.nn import functional as F

import train
from bert_classifer_model import BertClassifier
from core.bert.folder import read_tokenizer
from core.console import UserError
from core.model_files import checkpoint
from core.model_files.module import load_module
from core.text.tokenizer import Tokenizer
from core.training.device import Devices
from core.training.loop import forward_rows
from core.training.recipes import CONTRADICTIONS, RECIPES, Recipe, adversarial, balanced_weights, cross_entropy
from core.training.resume import RunState
from core.training.units import IGNORED, row_units, token_units
from predict_fun import NewsClassifier
from utils import read_titles, title_batches

PLAIN_LOSS = cross_entropy(row_units)
LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0], [1.0, 3.0, 0.5]])
TARGETS = torch.tensor([0, 2, 0])


def first_batch(data: Path, tokenizer: Tokenizer, size: int = 12) -> dict[str, torch.Tensor]:
    return next(title_batches(read_titles(data / "train.txt", LABELS), tokenizer, size, seed=1).epoch())


def classifier(folder: Path) -> tuple[BertClassifier, Tokenizer]:
    torch.manual_seed(3)
    return BertClassifier.from_pretrained(folder, 3), read_tokenizer(folder, 64)


def gradients(model: torch.nn.Module, loss: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters()), allow_unused=True, materialize_grads=True))


def test_classes_with_weights_count_alike_in_any_pieces():
    labels = [0] * 6 + [1] * 3 + [3]  # no row of class 2
    weights = balanced_weights(labels, 4, 1.0)
    assert weights[torch.tensor(labels)].mean() == pytest.approx(1.0)
    assert weights[0] * 6 == pytest.approx(weights[1] * 3) and weights[1] * 3 == pytest.approx(weights[3])
    milder = balanced_weights(labels, 4, 0.5)
    assert milder[torch.tensor(labels)].mean() == pytest.approx(1.0)
    assert (milder[3] / milder[1]).item() == pytest.approx(1 + 0.5 + 0.25)
    assert (milder[3] / milder[0]).item() == pytest.approx(sum(0.5**row for row in range(6)))
    loss_fn = cross_entropy(row_units, torch.tensor([1.0, 2.0, 5.0]))

    def weigh(rows: slice) -> float:
        batch = {"input_ids": rows, "attention_mask": None, "labels": TARGETS[rows]}
        return loss_fn(lambda ids, _mask: LOGITS[ids], batch)[0].item()

    losses = F.cross_entropy(LOGITS, TARGETS, reduction="none") * torch.tensor([1.0, 5.0, 1.0])
    assert weigh(slice(3)) == pytest.approx(losses.mean().item())
    assert 2 * weigh(slice(2)) + weigh(slice(2, 3)) == pytest.approx(losses.sum().item())


def test_fgm_moves_each_text_to_where_its_loss_is_higher(calm: Path, data: Path):
    model, tokenizer = classifier(calm)
    embedding = model.bert.get_input_embeddings()
    batch = first_batch(data, tokenizer)
    plain = PLAIN_LOSS(model, batch)[0]
    loss, parts = adversarial(PLAIN_LOSS, embedding, 0.3)(model, batch)
    assert loss.item() == pytest.approx(plain.item() + parts["adversarial"].item())
    assert parts["adversarial"].item() > plain.item() + 1e-3
    still, _ = adversarial(PLAIN_LOSS, embedding, 0.0)(model, batch)
    assert torch.allclose(gradients(model, still)[0], 2 * gradients(model, plain)[0], atol=1e-6)
    assert not embedding._forward_hooks


def test_the_move_of_a_text_has_a_fixed_size_and_none_on_padding(calm: Path, data: Path):
    model, tokenizer = classifier(calm)
    embedding, batch = model.bert.get_input_embeddings(), first_batch(data, tokenizer)
    seen = []

    def spy(candidate, part):
        handle = embedding.register_forward_hook(lambda _m, _i, out: seen.append(out.detach()))
        try:
            return PLAIN_LOSS(candidate, part)
        finally:
            handle.remove()

    whole = adversarial(spy, embedding, 0.3)(model, batch)[1]["adversarial"]
    move = seen[1] - seen[0]
    unit = embedding.weight.detach().norm(dim=1).mean()
    assert torch.allclose(move.norm(dim=(1, 2)), 0.3 * unit.expand(len(move)), rtol=1e-4)
    assert not move[batch["attention_mask"] == 0].any() and (batch["attention_mask"] == 0).any()
    half = {name: tensor[:6] for name, tensor in batch.items()}, {name: tensor[6:] for name, tensor in batch.items()}
    parts = [adversarial(PLAIN_LOSS, embedding, 0.3)(model, part)[1]["adversarial"] for part in half]
    assert whole.item() == pytest.approx((parts[0] + parts[1]).item() / 2, rel=1e-4)


def test_plain_fine_tuning_is_untouched(calm: Path, data: Path):
    model, tokenizer = classifier(calm)
    batch, embedding = first_batch(data, tokenizer), model.bert.get_input_embeddings()
    loss, parts = Recipe.read("plain").loss_fn(row_units, [0, 1], 2, embedding)(model, batch)
    assert torch.equal(loss, F.cross_entropy(model(batch["input_ids"], batch["attention_mask"]), batch["labels"]))
    assert not parts


def test_weights_of_classes_go_to_the_tokens_that_have_a_label():
    labels = torch.tensor([[IGNORED, 0, 2, IGNORED], [IGNORED, 0, IGNORED, IGNORED]])
    logits = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    batch = {"input_ids": labels, "attention_mask": labels, "labels": labels, "row": torch.arange(2)}
    loss_fn = Recipe.read("class_weights").loss_fn(token_units, [0, 0, 0, 2], 3, nn.Embedding(3, 2))
    chosen = logits[labels != IGNORED]
    expected = F.cross_entropy(chosen, torch.tensor([0, 2, 0]), reduction="none") * torch.tensor([2 / 3, 2, 2 / 3])
    assert loss_fn(lambda *_: logits, batch)[0].item() == pytest.approx(expected.mean().item())


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data with more rows of one class than of another."""
    data = write_data(tmp_path_factory.mktemp("uneven"))
    lines = (data / "train.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    (data / "train.txt").write_text("".join(lines[:30] + lines[30::3] + lines[31::6]), encoding="utf-8")
    return data


def few_steps(recipe: str, bert: Path, data: Path, folder: Path) -> tuple[dict[str, torch.Tensor], dict]:
    """A training so short that titles are cut; returns what its checkpoint holds."""
    train.main(train_args(bert, data, folder, "--recipe", recipe, "--max-steps", "3", "--max-length", "8"))
    return checkpoint.load(folder / "save" / ARTEFACT)


@pytest.fixture(scope="module")
def plain(bert: Path, uneven: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    return few_steps("plain", bert, uneven, tmp_path_factory.mktemp("plain"))[0]


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_each_recipe_trains_otherwise_and_predicts(
    recipe: str, bert: Path, uneven: Path, tmp_path: Path, plain: dict[str, torch.Tensor]
):
    weights, facts = few_steps(recipe, bert, uneven, tmp_path)
    assert facts["config"]["recipe"] == recipe and facts["training"]["rows"] == 45
    assert facts["truncation"] == ("head_tail" if recipe == "head_tail" else "end")
    assert not all(torch.equal(weights[name], plain[name]) for name in plain)
    assert NewsClassifier.load(tmp_path / "save" / ARTEFACT).predict(["球赛"])[0].pred_class in LABELS


@pytest.mark.parametrize("recipe", ["fgm,class_weights", "class_balanced"])
def test_ctrl_c_and_resume_end_with_the_same_weights(
    recipe: str, bert: Path, uneven: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    more = ("--recipe", recipe, "--num-epochs", "8")
    train.main(train_args(bert, uneven, tmp_path / "whole", *more))
    assert checkpoint.load(tmp_path / "whole" / "save" / ARTEFACT)[1]["metrics"]["test"]["accuracy"] > 0.6
    press_ctrl_c(monkeypatch, at=3)
    with pytest.raises(UserError, match="stopped at step 3"):
        train.main(train_args(bert, uneven, tmp_path / "cut", *more))
    monkeypatch.undo()
    with pytest.raises(UserError, match=f"the stopped run had recipe = {recipe}, this one has plain"):
        train.main(train_args(bert, uneven, tmp_path / "cut", "--num-epochs", "8", "--resume"))
    train.main(train_args(bert, uneven, tmp_path / "cut", *more, "--resume"))
    assert same(tmp_path / "whole" / "save" / ARTEFACT, tmp_path / "cut" / "save" / ARTEFACT)


def test_pieces_and_checkpointing_keep_the_result(calm: Path, data: Path, tmp_path: Path):
    recipe = ("--recipe", "fgm,class_weights", "--precision", "fp32")
    ways = {"whole": (), "pieces": ("--gradient-accumulation", "3"), "checkpointing": ("--gradient-checkpointing",)}
    for name, more in ways.items():
        train.main(train_args(calm, data, tmp_path / name, *recipe, "--max-steps", "6", *more))
    for name in ("pieces", "checkpointing"):
        assert_close(tmp_path / "whole" / "save" / ARTEFACT, tmp_path / name / "save" / ARTEFACT)


def test_out_of_memory_halves_the_pieces_and_keeps_the_result(
    calm: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    more = ("--recipe", "fgm", "--precision", "fp32", "--max-steps", "4")
    train.main(train_args(calm, data, tmp_path / "whole", *more))
    memory_for(5, monkeypatch)
    train.main(train_args(calm, data, tmp_path / "pieces", *more))
    assert "computed in 4 pieces" in capsys.readouterr().out
    assert_close(tmp_path / "whole" / "save" / ARTEFACT, tmp_path / "pieces" / "save" / ARTEFACT)


@pytest.mark.parametrize("pair", CONTRADICTIONS)
def test_contradictory_recipes(pair: tuple[str, str]):
    with pytest.raises(UserError, match=f"{pair[0]} and {pair[1]} contradict each other .*take one of them"):
        train.main(["--recipe", f"{pair[1]},fgm,{pair[0]}"])


@pytest.mark.parametrize("text", ["fokal", "plain,fgm", "fgm,", ""])
def test_unknown_recipes(text: str):
    with pytest.raises(UserError, match="there is no recipe .*take plain, or some of class_weights, class_balanced"):
        train.main(["--recipe", text])


def test_the_help_names_every_recipe(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        train.main(["--help"])
    told = capsys.readouterr().out
    assert all(name in told for name in RECIPES)


def test_what_a_long_text_is_cut_to_goes_with_the_model(tmp_path: Path):
    positions = write_bert(tmp_path / "bert", max_position_embeddings=512)
    data = write_data(tmp_path / "data", rows=30)
    for split in ("train", "dev", "test"):  # what tells the classes apart stands at the end, 300 to 600 characters on
        lines = (data / f"{split}.txt").read_text(encoding="utf-8").splitlines(keepends=True)
        long = ("今日新的在有" * (50 + 10 * (row % 6)) + line for row, line in enumerate(lines))
        (data / f"{split}.txt").write_text("".join(long), encoding="utf-8")
    more = ("--max-length", "512", "--num-epochs", "1", "--recipe", "head_tail", "--max-steps", "1")
    train.main(train_args(positions, data, tmp_path, *more))
    path = tmp_path / "save" / ARTEFACT
    model, facts = load_module(path, NewsClassifier.builds)
    assert (facts["truncation"], facts["max_length"]) == ("head_tail", 512)

    titles = read_titles(data / "test.txt", LABELS)
    batches = title_batches(titles, Tokenizer(facts["vocab"], 512, "head_tail"), 4)
    assert max(batches.lengths) == 512
    logits = torch.tensor(np.stack(forward_rows(model, batches, Devices())))
    classifier = NewsClassifier.load(path, "cpu")
    predictions = classifier.predict(titles.texts)
    assert any(one.truncated for one in predictions) and not all(one.truncated for one in predictions)
    for prediction, row in zip(predictions, classifier.probabilities(logits.numpy()), strict=True):
        assert list(prediction.probabilities.values()) == pytest.approx(row.tolist(), abs=1e-5)

    weights, facts = checkpoint.load(path)
    checkpoint.save(path, weights, {**facts, "truncation": "middle"})
    with pytest.raises(UserError, match="make the model again"):
        NewsClassifier.load(path)
    assert not RunState(path, {}).exists()
