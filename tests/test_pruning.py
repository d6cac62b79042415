"""custom_pruning.py: what is set to zero, what is cut out, and that all the rest of the model stays as it was."""

import itertools
import json
import shutil
import signal
from pathlib import Path

import pytest
import torch
from conftest import LABELS, WORDS, write_data
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import custom_pruning
from bert_classifer_model import BertClassifier
from bilstm_classifier import BiLSTMClassifier
from core.compression.quantize import SCHEME, quantize
from core.compression.structured_pruning import (
    choose_units,
    cut_units,
    encoder_flops,
    keep_layers,
    keep_tokens,
    layer_shapes,
    spread,
    unit_flops,
    unit_importance,
    used_tokens,
)
from core.console import UserError
from core.model_files import checkpoint
from core.text.tokenizer import Encoder
from core.training.updater import Updater
from predict_fun import NewsClassifier, load_module
from utils import Batches, read_titles

CPU = torch.device("cpu")
ZEROED, CUT = "pruned_model.pth", "structured_pruned_model.pth"
TINY = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 40}
TINY |= {"vocab_size": 50, "max_position_embeddings": 32}


def prune_args(model: Path, data: Path, folder: Path, *more: str) -> list[str]:
    paths = {"--model": model, "--data-dir": data, "--save-dir": folder / "save", "--output": folder / "reports"}
    flags = [part for name, path in paths.items() for part in (name, str(path))]
    return [*flags, "--batch-size", "16", "--device", "cpu", *more]


def report(folder: Path) -> dict:
    return json.loads((folder / "reports" / "pruning" / "report.json").read_text(encoding="utf-8"))


def tiny_bert(**architecture) -> BertClassifier:
    torch.manual_seed(0)
    model = BertClassifier.from_architecture(
        {"bert_config": TINY, "num_labels": 3, "pooling": "mean", **architecture}
    ).eval()
    for parameter in model.parameters():  # as small as they start, no part would matter
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def some_ids(rows: int = 4, seq_len: int = 9) -> torch.Tensor:
    return torch.randint(5, 50, (rows, seq_len), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def halved(teacher: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that kept half of the FLOPs; do not write to it."""
    folder = tmp_path_factory.mktemp("halved")
    custom_pruning.main(prune_args(teacher, data, folder, "--keep-flops", "0.5"))
    return folder


@pytest.mark.parametrize(("scope", "inside"), [("query", "query"), ("attention", "attention"), ("all", "layer")])
def test_the_smallest_weights_in_scope_become_zero(
    scope: str, inside: str, teacher: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    custom_pruning.main(prune_args(teacher, data, tmp_path, "--amount", "0.4", "--scope", scope))
    before, _ = checkpoint.load(teacher)
    after, meta = checkpoint.load(tmp_path / "save" / ZEROED)
    assert meta["stage"] == "pruned" and before.keys() == after.keys()
    scoped = [name for name in before if f".{inside}." in name and name.endswith("weight") and "LayerNorm" not in name]
    old, new = (torch.cat([weights[name].flatten() for name in scoped]) for weights in (before, after))
    zero = new == 0
    assert zero.float().mean() == pytest.approx(0.4, abs=1e-3)
    assert old[zero].abs().max() <= old[~zero].abs().min()
    assert torch.equal(old[~zero], new[~zero])
    assert all(torch.equal(before[name], after[name]) for name in before if name not in scoped)

    found, out = report(tmp_path), capsys.readouterr().out
    assert found["sparsity_in_scope"] == pytest.approx(0.4, abs=1e-3)
    zeros = sum(int((weight == 0).sum()) for weight in after.values())
    assert found["sparsity"] == pytest.approx(zeros / sum(map(torch.numel, after.values())))
    assert found["before"]["accuracy"] > 0.8
    assert found["after"]["accuracy"] == pytest.approx(meta["metrics"]["dev"]["accuracy"])
    assert found["before"]["p50_ms"] > 0 and f"measured {found['ratio_p50']:.2f} times as fast" in out
    assert "dense kernels run no faster" in out


def test_a_cut_model_is_smaller_still_right_and_needs_nothing_else(halved: Path, teacher: Path, data: Path):
    weights, meta = checkpoint.load(halved / "save" / CUT)
    original = checkpoint.load(teacher)[1]["architecture"]
    found = report(halved)
    kept = encoder_flops(meta["architecture"], 10) / encoder_flops(original, 10)
    assert 0.4 < kept <= 0.5
    assert found["after"]["encoder_flops"] <= 0.5 * found["before"]["encoder_flops"]
    assert found["after"]["params"] == sum(map(torch.numel, weights.values())) < found["before"]["params"]
    assert found["after"]["size_mb"] < found["before"]["size_mb"]
    for index, shape in enumerate(meta["architecture"]["layers"]):
        layer = f"bert.encoder.layer.{index}."
        assert weights[layer + "attention.self.value.weight"].shape == (shape["heads"] * 16, 32)
        assert weights[layer + "attention.output.dense.weight"].shape == (32, shape["heads"] * 16)
        assert weights[layer + "intermediate.dense.bias"].shape == (shape["ffn"],)
        assert weights[layer + "output.dense.weight"].shape == (32, shape["ffn"])
    assert not (halved / "save" / "resume").exists()
    assert meta["metrics"]["test"]["accuracy"] > 0.8

    classifier = NewsClassifier.load(halved / "save" / CUT, "cpu")
    titles = read_titles(data / "test.txt", LABELS)
    alone = [classifier.predict([text])[0] for text in titles.texts]
    assert sum(one.label_id == label for one, label in zip(alone, titles.labels, strict=True)) > 16
    for one, other in zip(alone, classifier.predict(titles.texts), strict=True):
        assert one.confidence == pytest.approx(other.confidence, abs=1e-5)  # padding changes nothing


def test_cutting_parts_that_put_out_nothing_changes_nothing():
    model = tiny_bert()
    kept = [
        {"heads": [0, 2], "ffn": [1, 5, 7, 39]},
        {"heads": [1], "ffn": list(range(40))},
        {"heads": [0, 1, 2], "ffn": [8]},
    ]
    with torch.no_grad():
        for layer, units in zip(model.bert.encoder.layer, kept, strict=True):
            for head in set(range(3)) - set(units["heads"]):
                layer.attention.output.dense.weight[:, 8 * head : 8 * head + 8] = 0
            gone = sorted(set(range(40)) - set(units["ffn"]))
            layer.output.dense.weight[:, gone] = 0
        weights, architecture = cut_units(model.state_dict(), model.architecture, kept)
        cut = BertClassifier.from_architecture(architecture, weights).eval()
        ids = some_ids()
        assert torch.allclose(model(ids, torch.ones_like(ids)), cut(ids, torch.ones_like(ids)), atol=1e-5)
    assert layer_shapes(cut.architecture) == [
        {"heads": 2, "ffn": 4},
        {"heads": 1, "ffn": 40},
        {"heads": 3, "ffn": 1},
    ]


def test_importance_is_what_the_loss_changes_by():
    model = tiny_bert()
    ids, labels = some_ids(rows=3), torch.tensor([0, 2, 1])
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
    scores = unit_importance(model, [batch], CPU)

    def changes(weight: torch.Tensor, columns: slice, step: float = 0.01) -> float:
        """The first-order change of each title's loss, in absolute value, when these columns fade."""
        losses = []
        with torch.no_grad():
            whole = weight.clone()
            for factor in (1 + step, 1 - step):
                weight[:, columns] = whole[:, columns] * factor
                losses.append(F.cross_entropy(model(ids, batch["attention_mask"]), labels, reduction="none"))
            weight.copy_(whole)
        return ((losses[0] - losses[1]) / (2 * step)).abs().sum().item()

    for layer, found in zip(model.bert.encoder.layer, scores, strict=True):
        heads = [changes(layer.attention.output.dense.weight, slice(8 * head, 8 * head + 8)) for head in range(3)]
        neurons = [changes(layer.output.dense.weight, slice(unit, unit + 1)) for unit in range(40)]
        assert torch.allclose(found["heads"], torch.tensor(heads) / sum(heads), atol=0.01)
        assert torch.allclose(found["ffn"], torch.tensor(neurons) / sum(neurons), atol=0.01)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_what_matters_least_for_its_flops_goes_first_and_no_layer_is_emptied():
    architecture = {"bert_config": {**TINY, "num_hidden_layers": 2, "num_attention_heads": 2}}
    costs = unit_flops(architecture, 10)
    per_flop = {"heads": torch.tensor([5.0, 1.0]) * costs["heads"], "ffn": torch.full((40,), 3.0) * costs["ffn"]}
    worthless = {"heads": torch.zeros(2), "ffn": torch.zeros(40)}
    full = encoder_flops(architecture, 10)
    spare = encoder_flops(architecture, 10) // 2 - costs["heads"] - costs["ffn"]  # of the second layer
    kept = choose_units([per_flop, worthless], architecture, full - spare, 10)
    assert [len(kept[1][kind]) for kind in ("heads", "ffn")] == [1, 1]
    assert kept[0] == {"heads": [0, 1], "ffn": list(range(40))}
    kept = choose_units([per_flop, worthless], architecture, full - spare - 1, 10)
    assert kept[0] == {"heads": [0], "ffn": list(range(40))}
    kept = choose_units([per_flop, worthless], architecture, 0, 10)
    assert [len(units) for kinds in kept for units in kinds.values()] == [1, 1, 1, 1]


@pytest.mark.parametrize("layers", [None, [{"heads": 2, "ffn": 13}, {"heads": 1, "ffn": 40}, {"heads": 3, "ffn": 1}]])
def test_flops_are_those_that_torch_counts(layers: list | None):
    eager = {**TINY, "attn_implementation": "eager"}
    model = tiny_bert(bert_config=eager, **({"layers": layers} if layers else {}))
    ids = some_ids(rows=1, seq_len=7)
    with FlopCounterMode(display=False) as counter:
        model(ids, torch.ones_like(ids))
    classifier = 2 * 24 * 3
    assert encoder_flops(model.architecture, 7) == counter.get_total_flops() - classifier


def test_a_random_model_of_any_shape_without_a_checkpoint():
    half = [{"heads": 1, "ffn": 20}] * 3
    model = tiny_bert(layers=half)
    ids = torch.tensor([[2, 7, 8, 9, 3]])
    padded, mask = F.pad(ids, (0, 6)), F.pad(torch.ones_like(ids), (0, 6))
    with torch.no_grad():
        assert torch.allclose(model(ids, torch.ones_like(ids)), model(padded, mask), atol=1e-5)
    again = BertClassifier.from_architecture(json.loads(json.dumps(model.architecture)))
    again.load_state_dict(model.state_dict())
    for layers in (half[:2], [{"heads": 0, "ffn": 20}] * 3, [{"heads": 1, "ffn": 0}] * 3, [{"heads": 4, "ffn": 1}] * 3):
        with pytest.raises(ValueError):
            tiny_bert(layers=layers)


def test_a_cut_model_can_be_exported():
    model = tiny_bert(layers=[{"heads": 1, "ffn": 20}] * 3)
    batch, seq = torch.export.Dim("batch", max=64), torch.export.Dim("seq", max=32)
    ids, shapes = some_ids(rows=2), {0: batch, 1: seq}
    exported = torch.export.export(model, (ids, torch.ones_like(ids)), dynamic_shapes=(shapes, shapes))
    ids = some_ids(rows=3, seq_len=12)
    with torch.no_grad():
        answer = exported.module(check_guards=False)(ids, torch.ones_like(ids))
        assert torch.allclose(answer, model(ids, torch.ones_like(ids)), atol=1e-5)


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
    vocab = [
        "a",
        "##a",
        "A",
        "##b",
        "5",
        "[MASK]",
        "球",
        "##球",
        "队",
        "win",
        "##dow",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[PAD]",
    ]
    texts = ["球 window", "a5"]
    kept = used_tokens(vocab, texts)
    assert {vocab[token] for token in kept} == set(vocab) - {"##球", "队"}
    small = Encoder([vocab[token] for token in kept], 16)
    whole = Encoder(vocab, 16)
    for text in texts:
        old, new = (encoder.encode([text]).input_ids[0] for encoder in (whole, small))
        assert [vocab[token] for token in old] == [small.vocab[token] for token in new]
    assert small.unknown_id in small.encode(["队"]).input_ids[0]

    model = tiny_bert(bert_config={**TINY, "vocab_size": len(vocab) + 3})  # with spare rows
    weights, architecture = keep_tokens(model.state_dict(), model.architecture, kept, small.pad_id)
    cut = BertClassifier.from_architecture(architecture, weights).eval()
    assert cut.bert.embeddings.word_embeddings.padding_idx == small.pad_id
    ids = [torch.tensor([encoder.encode(["a5 球 window"]).input_ids[0]]) for encoder in (whole, small)]
    with torch.no_grad():
        one, other = (each(row, torch.ones_like(row)) for each, row in zip((model, cut), ids, strict=True))
    assert torch.allclose(one, other, atol=1e-6)


def test_layers_and_tokens_together_then_pruned_again(
    halved: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    few = tmp_path / "data"
    shutil.copytree(data, few)
    rows = [line for line in (data / "train.txt").read_text(encoding="utf-8").splitlines() if "赛" not in line]
    (few / "train.txt").write_text("\n".join(rows), encoding="utf-8")
    source = halved / "save" / CUT
    custom_pruning.main(prune_args(source, few, tmp_path, "--keep-layers", "1", "--prune-vocab", "--num-epochs", "1"))
    weights, meta = checkpoint.load(tmp_path / "save" / CUT)
    assert meta["architecture"]["layers"] == checkpoint.load(source)[1]["architecture"]["layers"][:1]
    assert "赛" in WORDS["体育"] and "赛" not in meta["vocab"] and "[MASK]" in meta["vocab"]
    assert len(weights["bert.embeddings.word_embeddings.weight"]) == len(meta["vocab"])
    before, after = report(tmp_path)["dev_unknown_characters"]
    lost = sum(line.count("赛") for line in (few / "dev.txt").read_text(encoding="utf-8").splitlines())
    assert after - before == lost > 0
    assert f"{lost} more of the" in capsys.readouterr().out
    assert meta["config"]["num_epochs"] == 1 and meta["config"]["learning_rate"] == 5e-3  # the teacher's

    custom_pruning.main(prune_args(tmp_path / "save" / CUT, data, tmp_path, "--keep-flops", "0.6", "--max-steps", "2"))
    again = checkpoint.load(tmp_path / "save" / CUT)[1]["architecture"]
    assert encoder_flops(again, 10) <= 0.6 * encoder_flops(meta["architecture"], 10)
    custom_pruning.main(prune_args(tmp_path / "save" / CUT, data, tmp_path))
    assert NewsClassifier.load(tmp_path / "save" / ZEROED, "cpu").predict(["球赛"])


def test_tokens_alone_need_no_training(teacher: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(custom_pruning, "fit", None)
    stale = tmp_path / "save" / "structured_pruned_model_int8.onnx"
    stale.parent.mkdir()
    stale.touch()
    custom_pruning.main(prune_args(teacher, data, tmp_path, "--prune-vocab"))
    assert not stale.exists()
    whole, small = (NewsClassifier.load(path, "cpu") for path in (teacher, tmp_path / "save" / CUT))
    texts = read_titles(data / "train.txt", LABELS).texts
    for one, other in zip(whole.predict(texts), small.predict(texts), strict=True):
        assert one.confidence == pytest.approx(other.confidence, abs=1e-5)


def test_the_recovery_learns_from_the_teacher(teacher: Path, data: Path):
    _, meta = checkpoint.load(teacher)
    batches = Batches(read_titles(data / "train.txt", LABELS), Encoder(meta["vocab"], 64), 60)
    batch = next(batches.epoch())
    logits = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    loss_fn = custom_pruning.recovery_loss(logits)
    assert loss_fn(lambda *_: logits[batch["row"]], batch)[1]["soft"] == pytest.approx(0, abs=1e-6)
    assert loss_fn(lambda *_: logits, batch)[1]["soft"] > 0.1  # the rows of others


def same(one: Path, other: Path) -> bool:
    ours, theirs = (checkpoint.load(path)[0] for path in (one, other))
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("stop_at", [4, 20])  # in the second round, in the last one
def test_ctrl_c_and_resume_end_with_the_same_weights(
    stop_at: int, halved: Path, teacher: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    real_step, steps = Updater.step, itertools.count(1)

    def step_and_press(*args):
        if next(steps) == stop_at:
            signal.raise_signal(signal.SIGINT)
        return real_step(*args)

    monkeypatch.setattr(Updater, "step", step_and_press)
    args = prune_args(teacher, data, tmp_path, "--keep-flops")
    with pytest.raises(UserError, match="stopped at step .*--resume"):
        custom_pruning.main([*args, "0.5"])
    assert not (tmp_path / "save" / CUT).exists()
    monkeypatch.undo()
    with pytest.raises(UserError, match="had keep_flops = 0.5, this one has 0.6"):
        custom_pruning.main([*args, "0.6", "--resume"])
    custom_pruning.main([*args, "0.5", "--resume"])
    assert same(tmp_path / "save" / CUT, halved / "save" / CUT)
    assert not (tmp_path / "save" / "resume").exists()


def test_killed_between_two_rounds_and_resumed(
    halved: Path,
    teacher: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    rounds = itertools.count(1)

    def score_and_die(*args):
        if next(rounds) == 3:
            raise KeyboardInterrupt
        return unit_importance(*args)

    monkeypatch.setattr(custom_pruning, "unit_importance", score_and_die)
    args = prune_args(teacher, data, tmp_path, "--keep-flops", "0.5")
    with pytest.raises(KeyboardInterrupt):
        custom_pruning.main(args)
    monkeypatch.undo()
    capsys.readouterr()
    custom_pruning.main([*args, "--resume"])
    out = capsys.readouterr().out
    assert "round 1 of" not in out and "round 6 of 6" in out
    assert same(tmp_path / "save" / CUT, halved / "save" / CUT)
    custom_pruning.main([*args, "--resume"])
    assert "nothing to resume" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--amount", "1.5"], "--amount is 1.5: it must be above 0 and below 1"),
        (["--amount", "nan"], "--amount is nan"),
        (["--keep-flops", "0"], "--keep-flops is 0.0: it must be above 0 and below 1"),
        (["--keep-flops", "2"], "--keep-flops is 2.0"),
        (["--keep-layers", "0"], "--keep-layers is 0: it must be 1 or more"),
        (["--keep-layers", "3"], "--keep-layers is 3, but the model has 2 layers: keep fewer"),
        (["--keep-flops", "0.001"], "one head and one neuron in each layer take .*give a higher share"),
        (["--keep-flops", "0.5", "--scope", "all"], "give one kind"),
    ],
)
def test_impossible_knobs(flags: list[str], message: str, teacher: Path, data: Path, tmp_path: Path):
    with pytest.raises(UserError, match=message):
        custom_pruning.main(prune_args(teacher, data, tmp_path, *flags))
    assert not (tmp_path / "save").exists()


def test_a_pruning_is_counted_in_steps():
    with pytest.raises(SystemExit):
        custom_pruning.main(["--minutes", "3"])


def test_models_that_cannot_be_pruned(teacher: Path, data: Path, tmp_path: Path):
    weights, meta = checkpoint.load(teacher)
    student, int8, broken, onnx = (tmp_path / name for name in ("student.pth", "int8.pt", "broken.pt", "int8.onnx"))
    bilstm = BiLSTMClassifier(len(meta["vocab"]), len(LABELS), 4, 4)
    checkpoint.save(student, bilstm.state_dict(), {**meta, "stage": "soft", "architecture": bilstm.architecture})
    packed = quantize(load_module(teacher)[0]).state_dict()
    checkpoint.save(int8, packed, {**meta, "architecture": {**meta["architecture"], "quantization": SCHEME}})
    fewer = {**meta["architecture"], "layers": [{"heads": 1, "ffn": 64}, {"heads": 2, "ffn": 64}]}
    checkpoint.save(broken, weights, {**meta, "architecture": fewer})
    onnx.write_bytes(b"onnx")
    for path, message in (
        (student, r"is a student \(soft\): only a BERT can be pruned, name one with --model"),
        (int8, "holds INT8 weights: prune the FP32 model first, then quantize"),
        (broken, "do not fit the model it describes: make it again"),
        (onnx, "can only predict: give the checkpoint"),
        (tmp_path / "none.pt", "there is no model"),
    ):
        with pytest.raises(UserError, match=message):
            custom_pruning.main(prune_args(path, data, tmp_path))


def test_data_with_other_classes_is_refused_with_both_sides_shown(teacher: Path, tmp_path: Path):
    data = write_data(tmp_path / "data")
    (data / "class.txt").write_text("体育\n财经\n娱乐\n", encoding="utf-8")
    with pytest.raises(UserError, match="(?s)knows other classes.*体育 财经 科技.*体育 财经 娱乐"):
        custom_pruning.main(prune_args(teacher, data, tmp_path))
