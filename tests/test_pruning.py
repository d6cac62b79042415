"""custom_pruning.py from end to end: weights set to zero, parts cut out and the rest recovered, stopped and resumed."""

import itertools
import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import LABELS, LICENCE, WORDS, assert_calibrated, press_ctrl_c, same, stage_args, write_data

import custom_pruning
from bilstm_classifier import BiLSTMClassifier
from core.bert.shape import encoder_flops
from core.compression.distil import taught
from core.compression.structured_pruning import unit_importance
from core.compression.teacher_cache import RowLogits
from core.console import UserError
from core.model_files import checkpoint
from core.model_files.int8 import SCHEME, quantize
from core.model_files.module import load_module
from core.text.tokenizer import Tokenizer
from core.training.units import row_units
from predict_fun import NewsClassifier
from utils import read_titles, title_batches

ZEROED, CUT = "pruned_model.pth", "structured_pruned_model.pth"


def report(folder: Path) -> dict:
    return json.loads((folder / "reports" / "pruning" / "report.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def halved(teacher: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that kept half of the FLOPs; do not write to it."""
    folder = tmp_path_factory.mktemp("halved")
    custom_pruning.main(stage_args(teacher, data, folder, "--keep-flops", "0.5"))
    return folder


@pytest.mark.parametrize(("scope", "inside"), [("query", "query"), ("attention", "attention"), ("all", "layer")])
def test_the_smallest_weights_in_scope_become_zero(
    scope: str, inside: str, teacher: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    custom_pruning.main(stage_args(teacher, data, tmp_path, "--amount", "0.4", "--scope", scope))
    before, _ = checkpoint.load(teacher)
    after, facts = checkpoint.load(tmp_path / "save" / ZEROED)
    assert facts["licence"] == LICENCE
    assert facts["stage"] == "pruned" and before.keys() == after.keys()
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
    assert found["after"]["accuracy"] == pytest.approx(facts["metrics"]["dev"]["accuracy"])
    assert found["before"]["p50_ms"] > 0 and f"measured {found['ratio_p50']:.2f} times as fast" in out
    assert "dense kernels run no faster" in out


def test_a_cut_model_is_smaller_still_right_and_needs_nothing_else(halved: Path, teacher: Path, data: Path):
    weights, facts = checkpoint.load(halved / "save" / CUT)
    assert facts["licence"] == LICENCE
    original = checkpoint.load(teacher)[1]["architecture"]
    found = report(halved)
    kept = encoder_flops(facts["architecture"], 10) / encoder_flops(original, 10)
    assert 0.4 < kept <= 0.5
    assert found["after"]["encoder_flops"] <= 0.5 * found["before"]["encoder_flops"]
    assert found["after"]["params"] == sum(map(torch.numel, weights.values())) < found["before"]["params"]
    assert found["after"]["size_mb"] < found["before"]["size_mb"]
    for index, shape in enumerate(facts["architecture"]["layers"]):
        layer = f"bert.encoder.layer.{index}."
        assert weights[layer + "attention.self.value.weight"].shape == (shape["heads"] * 16, 32)
        assert weights[layer + "attention.output.dense.weight"].shape == (32, shape["heads"] * 16)
        assert weights[layer + "intermediate.dense.bias"].shape == (shape["ffn"],)
        assert weights[layer + "output.dense.weight"].shape == (32, shape["ffn"])
    assert not (halved / "save" / "resume").exists()
    assert facts["metrics"]["test"]["accuracy"] > 0.8
    assert (facts["task"], facts["stage"], facts["best_by"]) == ("classification", "structured_pruned", "macro_f1")

    assert_calibrated(halved / "save" / CUT, data)
    classifier = NewsClassifier.load(halved / "save" / CUT, "cpu")
    titles = read_titles(data / "test.txt", LABELS)
    alone = [classifier.predict([text])[0] for text in titles.texts]
    assert sum(one.label_id == label for one, label in zip(alone, titles.labels, strict=True)) > 16
    for one, other in zip(alone, classifier.predict(titles.texts), strict=True):
        assert one.confidence == pytest.approx(other.confidence, abs=1e-5)  # padding changes nothing


def test_layers_and_tokens_together_then_pruned_again(
    halved: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    few = tmp_path / "data"
    shutil.copytree(data, few)
    rows = [line for line in (data / "train.txt").read_text(encoding="utf-8").splitlines() if "赛" not in line]
    (few / "train.txt").write_text("\n".join(rows), encoding="utf-8")
    source = halved / "save" / CUT
    custom_pruning.main(stage_args(source, few, tmp_path, "--keep-layers", "1", "--prune-vocab", "--num-epochs", "1"))
    weights, facts = checkpoint.load(tmp_path / "save" / CUT)
    assert facts["architecture"]["layers"] == checkpoint.load(source)[1]["architecture"]["layers"][:1]
    assert "赛" in WORDS["体育"] and "赛" not in facts["vocab"] and "[MASK]" in facts["vocab"]
    assert len(weights["bert.embeddings.word_embeddings.weight"]) == len(facts["vocab"])
    before, after = report(tmp_path)["dev_unknown_characters"]
    lost = sum(line.count("赛") for line in (few / "dev.txt").read_text(encoding="utf-8").splitlines())
    assert after - before == lost > 0
    assert f"{lost} more of the" in capsys.readouterr().out
    assert facts["config"]["num_epochs"] == 1 and facts["config"]["learning_rate"] == 5e-3  # the teacher's

    custom_pruning.main(stage_args(tmp_path / "save" / CUT, data, tmp_path, "--keep-flops", "0.6", "--max-steps", "2"))
    again = checkpoint.load(tmp_path / "save" / CUT)[1]["architecture"]
    assert encoder_flops(again, 10) <= 0.6 * encoder_flops(facts["architecture"], 10)
    custom_pruning.main(stage_args(tmp_path / "save" / CUT, data, tmp_path))
    assert NewsClassifier.load(tmp_path / "save" / ZEROED, "cpu").predict(["球赛"])


def test_tokens_alone_need_no_training(teacher: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(custom_pruning, "fit", None)
    stale = tmp_path / "save" / "structured_pruned_model_int8.onnx"
    stale.parent.mkdir()
    stale.touch()
    custom_pruning.main(stage_args(teacher, data, tmp_path, "--prune-vocab"))
    assert not stale.exists()
    whole, small = (NewsClassifier.load(path, "cpu") for path in (teacher, tmp_path / "save" / CUT))
    texts = read_titles(data / "train.txt", LABELS).texts
    for one, other in zip(whole.predict(texts), small.predict(texts), strict=True):
        assert one.confidence == pytest.approx(other.confidence, abs=1e-5)


def test_the_recovery_learns_from_the_teacher(teacher: Path, data: Path):
    tokenizer = Tokenizer.from_facts(checkpoint.load(teacher)[1])
    batch = next(title_batches(read_titles(data / "train.txt", LABELS), tokenizer, 60).epoch())
    logits = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    loss_fn = taught(custom_pruning.recovery_loss, RowLogits(logits), row_units)
    assert loss_fn(lambda *_: logits[batch["row"]], batch)[1]["soft"] == pytest.approx(0, abs=1e-6)
    assert loss_fn(lambda *_: logits, batch)[1]["soft"] > 0.1  # the rows of others


@pytest.mark.parametrize("stop_at", [4, 20])  # in the second round, in the last one
def test_ctrl_c_and_resume_end_with_the_same_weights(
    stop_at: int, halved: Path, teacher: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    press_ctrl_c(monkeypatch, at=stop_at)
    args = stage_args(teacher, data, tmp_path, "--keep-flops")
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
    args = stage_args(teacher, data, tmp_path, "--keep-flops", "0.5")
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
        custom_pruning.main(stage_args(teacher, data, tmp_path, *flags))
    assert not any(path.is_file() for path in (tmp_path / "save").rglob("*"))


def test_a_pruning_is_counted_in_steps():
    with pytest.raises(SystemExit):
        custom_pruning.main(["--minutes", "3"])


def test_models_that_cannot_be_pruned(teacher: Path, data: Path, tmp_path: Path):
    weights, facts = checkpoint.load(teacher)
    student, int8, broken, onnx = (tmp_path / name for name in ("student.pth", "int8.pt", "broken.pt", "int8.onnx"))
    bilstm = BiLSTMClassifier(len(facts["vocab"]), len(LABELS), 4, 4)
    checkpoint.save(student, bilstm.state_dict(), {**facts, "stage": "soft", "architecture": bilstm.architecture})
    packed = quantize(load_module(teacher, NewsClassifier.builds)[0]).state_dict()
    checkpoint.save(int8, packed, {**facts, "architecture": {**facts["architecture"], "quantization": SCHEME}})
    fewer = {**facts["architecture"], "layers": [{"heads": 1, "ffn": 64}, {"heads": 2, "ffn": 64}]}
    checkpoint.save(broken, weights, {**facts, "architecture": fewer})
    onnx.write_bytes(b"onnx")
    for path, message in (
        (student, r"is a student \(soft\): only a BERT can be pruned, name one with --model"),
        (int8, "holds INT8 weights: prune the FP32 model first, then quantize"),
        (broken, "do not fit the model it describes: make it again"),
        (onnx, "can only predict: give the checkpoint"),
        (tmp_path / "none.pt", "does not exist: check the path"),
    ):
        with pytest.raises(UserError, match=message):
            custom_pruning.main(stage_args(path, data, tmp_path))


def test_data_with_other_classes_is_refused_with_both_sides_shown(teacher: Path, tmp_path: Path):
    data = write_data(tmp_path / "data")
    (data / "class.txt").write_text("体育\n财经\n娱乐\n", encoding="utf-8")
    with pytest.raises(UserError, match="(?s)names other classes.*体育 财经 科技.*体育 财经 娱乐"):
        custom_pruning.main(stage_args(teacher, data, tmp_path))


def test_dev_data_without_anything_to_see(teacher: Path, tmp_path: Path):
    data = write_data(tmp_path / "data")
    (data / "dev.txt").write_text("\u200b\t1\n", encoding="utf-8")
    with pytest.raises(UserError, match="nothing to measure with that a model could answer"):
        custom_pruning.main(stage_args(teacher, data, tmp_path))
