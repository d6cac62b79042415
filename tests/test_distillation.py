"""Both stages of distillation from end to end: transfer set, several teachers, students of both kinds, bad input."""

import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import LABELS, ROOT, TINY, assert_calibrated, press_ctrl_c, same, stage_args, tiny_bert, write_data

import distillation
import hard_label_distillation
import soft_label_distillation
from baseline import decisions, fit_linear, out_of_fold
from bert_classifer_model import BertClassifier
from bilstm_classifier import BiLSTMClassifier
from core.compression.losses import NO_LABEL
from core.console import UserError
from core.files import sha256
from core.model_files import checkpoint, onnx_model
from core.model_files.int8 import SCHEME, quantize
from core.model_files.module import load_module
from core.training.device import Devices
from predict_fun import NewsClassifier
from utils import read_data, read_titles

HARD, SOFT = "bilstm_hard_distill.pth", "bilstm_soft_distill.pth"
pytestmark = pytest.mark.usefixtures("small_student")


def args(teacher: Path, data: Path, folder: Path, *more: str) -> list[str]:
    return stage_args(teacher, data, folder, "--num-epochs", "8", *more)


@pytest.fixture
def no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """A BERT is not exported to ONNX, which takes seconds."""
    monkeypatch.setattr(distillation, "export", lambda *_: None)


def write_titles(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_unlabelled_titles_are_read_once_and_never_from_dev_or_test(
    teacher: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    held_out = (data / "test.txt").read_text(encoding="utf-8").splitlines()[0].partition("\t")[0]
    path = tmp_path / "titles.txt"
    copies = f"{held_out}\r\n{held_out[0]} {held_out[1:]}！\r\n"
    path.write_bytes(f"球赛冠军\r\n\r\n{copies}球赛 冠军\r\n银行利率\t今日\r\n".encode("gb18030"))
    config = distillation.DistillConfig(
        data_dir=data, model=(str(teacher),), save_dir=tmp_path, unlabeled=path, augment=2, batch_size=16, device="cpu"
    )
    lesson = distillation.prepare(config, Devices())
    assert "2 titles (3 left out" in capsys.readouterr().out
    assert lesson.batches.columns["labels"][60:] == [NO_LABEL] * (2 + 2 * 60)
    assert lesson.logits.values.shape == (60 + 2 + 2 * 60, 3)
    model, _ = load_module(teacher, NewsClassifier.builds)
    for batch in itertools.islice(lesson.batches.epoch(), 3):
        with torch.no_grad():
            fresh = model(batch["input_ids"], batch["attention_mask"])
        assert torch.allclose(lesson.logits.of(batch["row"], 3), fresh, atol=0.01)  # of fp16


def lesson_of(teachers: tuple[Path | str, ...], data: Path, folder: Path, **knobs) -> distillation.Lesson:
    config = distillation.DistillConfig(
        data_dir=data, model=tuple(map(str, teachers)), save_dir=folder, batch_size=16, device="cpu", **knobs
    )
    return distillation.prepare(config, Devices())


def changed(teacher: Path, path: Path, bias: float = 0.0, **facts) -> Path:
    """A teacher like another, with other facts, or other opinions: its last class a little likelier."""
    weights, old = checkpoint.load(teacher)
    last = torch.arange(3.0) // 2
    checkpoint.save(path, {**weights, "classifier.bias": weights["classifier.bias"] + bias * last}, {**old, **facts})
    return path


def test_several_teachers_teach_what_they_say_together(
    teacher: Path, data: Path, tmp_path: Path, no_export: None, capsys: pytest.CaptureFixture
):
    other = changed(teacher, tmp_path / "other.pt", bias=1.0)
    models = ["--model", str(teacher), str(other)]
    soft_label_distillation.main(args(teacher, data, tmp_path, *models, "--bert-layers", "1", "--max-steps", "2"))
    out = capsys.readouterr().out
    assert out.count(": dev accuracy") == 3 and out.count("the teacher ") == 2
    made = checkpoint.load(tmp_path / "save" / "bert_soft_distill.pth")[1]
    assert made["parent_sha256"] == sha256(teacher)
    assert made["config"]["teacher_sha256"] == [sha256(teacher), sha256(other)]
    assert list(made["teachers"]) == models[1:]

    together = lesson_of((teacher, other), data, tmp_path)
    one, two = (lesson_of((each,), data, tmp_path).logits.values for each in (teacher, other))
    first, second = together.weights.values()
    assert first + second > 0 and together.weights == pytest.approx(made["teachers"], rel=0.01)
    assert torch.allclose(together.logits.values, first * one + second * two, atol=0.01)


def test_the_linear_model_teaches_what_it_does_not_know_by_heart(
    teacher: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    unlabeled = write_titles(tmp_path / "titles.txt", "球赛冠军", "银行利率今日")
    lesson = lesson_of((teacher, "linear"), data, tmp_path, unlabeled=unlabeled)
    _, titles = read_data(data)
    train = titles["train"]
    model, min_df = fit_linear(train, titles["dev"])
    expected = [out_of_fold(train, min_df, 3), decisions(model, ["球赛冠军", "银行利率今日"], 3)]
    alone = lesson_of((teacher,), data, tmp_path, unlabeled=unlabeled).logits.values
    weights = lesson.weights
    wanted = weights[str(teacher)] * alone + weights["linear"] * torch.from_numpy(np.concatenate(expected))
    assert weights["linear"] > 0 and torch.allclose(lesson.logits.values, wanted.float(), atol=0.02)
    by_heart = decisions(model, train.texts, 3)
    assert (by_heart.argmax(1) == train.labels).mean() >= (expected[0].argmax(1) == train.labels).mean()
    assert np.abs(by_heart).mean() > np.abs(expected[0]).mean()  # it is surer of what it has seen
    capsys.readouterr()
    assert torch.equal(
        lesson_of((teacher, "linear"), data, tmp_path, unlabeled=unlabeled).logits.values, lesson.logits.values
    )
    assert "unit" not in capsys.readouterr().err  # nothing was fitted again


def test_teachers_may_read_titles_differently(teacher: Path, data: Path, tmp_path: Path):
    vocab = checkpoint.load(teacher)[1]["vocab"]
    short = changed(teacher, tmp_path / "short.pt", max_length=4)
    lesson = lesson_of((teacher, short), data, tmp_path)
    alone = lesson_of((short,), data, tmp_path)
    assert alone.batches.columns["input_ids"][0].size <= 4 < max(map(len, lesson.batches.columns["input_ids"]))
    full = lesson_of((teacher,), data, tmp_path)
    one, two = lesson.weights.values()
    assert torch.allclose(lesson.logits.values, one * full.logits.values + two * alone.logits.values, atol=0.01)
    assert lesson.teachers.first.facts["vocab"] == vocab


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        (["--model", "linear"], "a student starts from a BERT: name one beside the linear model"),
        (["--model", "TEACHER", "TEACHER"], "names one teacher twice"),
        (["--model", "TEACHER", "linear", "--augment", "1"], "--augment changes the first teacher's tokens"),
        (["--model", "TEACHER", "SHORT", "--augment", "1"], "--augment changes the first teacher's tokens"),
        (["--model", "TEACHER", "OTHER"], "names other classes than the model"),
    ],
)
def test_teachers_that_do_not_suit_each_other(more: list[str], fault: str, teacher: Path, data: Path, tmp_path: Path):
    paths = {
        "TEACHER": teacher,
        "SHORT": changed(teacher, tmp_path / "short.pt", max_length=4),
        "OTHER": changed(teacher, tmp_path / "classes.pt", labels=["甲", "乙", "丙"]),
    }
    more = [str(paths.get(each, each)) for each in more]
    with pytest.raises(UserError, match=fault):
        soft_label_distillation.main(args(teacher, data, tmp_path, *more))
    assert not (tmp_path / "save" / "bilstm_soft_distill.pth").exists()


def test_teachers_that_always_agree_are_said_to(teacher: Path, data: Path, tmp_path: Path, capsys):
    twin = changed(teacher, tmp_path / "twin.pt", seed=7)
    lesson = lesson_of((teacher, twin), data, tmp_path)
    assert "the same answer to every dev title" in capsys.readouterr().out
    one, two = lesson.weights.values()
    assert one == pytest.approx(two, rel=1e-3)


WITHOUT_TORCH = """
import sys
sys.modules |= dict.fromkeys(("torch", "transformers", "onnx", "sklearn"))
from pathlib import Path
from predict_fun import NewsClassifier
classifier = NewsClassifier.load(Path(sys.argv[1]))
print(*[prediction.pred_class for prediction in classifier.predict(sys.argv[2:])])
"""


@pytest.mark.parametrize(("stage", "name"), [(hard_label_distillation, HARD), (soft_label_distillation, SOFT)])
def test_a_stage_from_end_to_end(stage, name: str, teacher: Path, data: Path, tmp_path: Path):
    stale = (tmp_path / "save" / name).with_name(f"{Path(name).stem}_int8.onnx")
    stale.parent.mkdir()
    stale.touch()
    stage.main(args(teacher, data, tmp_path, "--num-epochs", "20"))
    assert not stale.exists()
    _, facts = checkpoint.load(tmp_path / "save" / name)
    _, teacher_facts = checkpoint.load(teacher)
    assert facts["metrics"]["test"]["accuracy"] > 0.8 and facts["metrics"]["dev"]["n"] == 20
    assert facts["stage"] == name.split("_")[1] and facts["parent_sha256"] == sha256(teacher)
    for key in ("labels", "vocab", "max_length", "truncation"):
        assert facts[key] == teacher_facts[key]
    texts = read_titles(data / "test.txt", LABELS).texts
    answers = NewsClassifier.load(tmp_path / "save" / name).predict(texts)
    assert NewsClassifier.load(tmp_path / "save" / name).predict(["球赛夺冠军胜"])[0].pred_class == "体育"
    onnx = (tmp_path / "save" / name).with_suffix(".onnx")
    assert onnx_model.load(onnx, "cpu")[0].items() >= facts.items()
    for path in (tmp_path / "save" / name, onnx):
        assert_calibrated(path, data)
    for one, other in zip(answers, NewsClassifier.load(onnx).predict(texts), strict=True):
        assert one.pred_class == other.pred_class
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)
    command = [sys.executable, "-X", "utf8", "-c", WITHOUT_TORCH, str(onnx), *texts]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8")
    assert result.stdout.split() == [answer.pred_class for answer in answers], result.stderr
    log = (tmp_path / "reports" / Path(name).stem / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert ("soft" in json.loads(log[0])) == (stage is soft_label_distillation)
    assert not (tmp_path / "save" / "resume").exists()


def test_hard_distillation_learns_the_teachers_answers_and_not_the_labels(teacher: Path, tmp_path: Path):
    data = write_data(tmp_path / "data")
    path = data / "train.txt"
    rows = [line.rpartition("\t")[0] for line in path.read_text(encoding="utf-8").splitlines()]
    write_titles(path, *(f"{text}\t{(row + 1) % 3}" for row, text in enumerate(rows)))  # all labels wrong
    hard_label_distillation.main(args(teacher, data, tmp_path, "--num-epochs", "20"))
    assert checkpoint.load(tmp_path / "save" / HARD)[1]["metrics"]["test"]["accuracy"] > 0.8
    soft_label_distillation.main(args(teacher, data, tmp_path, "--num-epochs", "20", "--alpha", "0"))
    assert checkpoint.load(tmp_path / "save" / SOFT)[1]["metrics"]["test"]["accuracy"] < 0.8  # alone: the labels


def test_a_stopped_distillation_resumes_to_the_same_weights(
    teacher: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    teacher = Path(shutil.copy(teacher, tmp_path))
    soft_label_distillation.main(args(teacher, data, tmp_path / "whole"))
    press_ctrl_c(monkeypatch, at=7)
    with pytest.raises(UserError, match="stopped at step 7 of 32"):
        soft_label_distillation.main(args(teacher, data, tmp_path / "cut"))
    with pytest.raises(UserError, match="had temperature = 2.0, this one has 3.0"):
        soft_label_distillation.main(args(teacher, data, tmp_path / "cut", "--resume", "--temperature", "3"))
    earlier, (weights, facts) = teacher.read_bytes(), checkpoint.load(teacher)
    checkpoint.save(teacher, weights, {**facts, "seed": 7})
    with pytest.raises(UserError, match="had teacher_sha256 = .*repeat its flags and data"):
        soft_label_distillation.main(args(teacher, data, tmp_path / "cut", "--resume"))
    teacher.write_bytes(earlier)
    soft_label_distillation.main(args(teacher, data, tmp_path / "cut", "--resume"))
    assert same(tmp_path / "whole" / "save" / SOFT, tmp_path / "cut" / "save" / SOFT)
    capsys.readouterr()
    soft_label_distillation.main(args(teacher, data, tmp_path / "cut", "--resume"))
    assert "nothing to resume" in capsys.readouterr().out


def test_a_shallow_bert_has_layers_of_its_teacher_and_a_file_of_its_own(
    teacher: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    soft_label_distillation.main(args(teacher, data, tmp_path, "--num-epochs", "1", "--bert-layers", "1"))
    made = tmp_path / "save" / "bert_soft_distill.pth"
    assert not (tmp_path / "save" / SOFT).exists()
    facts = checkpoint.load(made)[1]
    assert facts["architecture"]["bert_config"]["num_hidden_layers"] == 1
    assert facts["config"]["learning_rate"] == 5e-3  # the teacher's
    for file in (made, made.with_suffix(".onnx")):
        assert NewsClassifier.load(file).predict(["球赛"])[0].pred_class in LABELS
    with pytest.raises(UserError, match="--bert-layers 3 is more than the 2 of"):
        soft_label_distillation.main(args(teacher, data, tmp_path, "--bert-layers", "3"))


@pytest.mark.parametrize("start", ["first", "random"])
def test_a_shallow_bert_starts_where_it_is_told_to(
    start: str, teacher: Path, data: Path, tmp_path: Path, no_export: None
):
    more = ("--bert-layers", "1", "--start", start, "--learning-rate", "1e-5")
    soft_label_distillation.main(args(teacher, data, tmp_path, "--max-steps", "2", *more))
    made = tmp_path / "save" / "bert_soft_distill.pth"
    weights, facts = checkpoint.load(made)
    assert facts["config"]["start"] == start and facts["architecture"]["layers"] == [{"heads": 2, "ffn": 64}]
    name = "bert.embeddings.word_embeddings.weight"
    near = (weights[name] - checkpoint.load(teacher)[0][name]).abs().mean().item()
    assert near > 0.015 if start == "random" else near < 1e-4
    assert NewsClassifier.load(made).predict(["球赛"])[0].pred_class in LABELS


def test_a_stopped_student_with_another_start_is_not_gone_on_with(
    teacher: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    flags = args(teacher, data, tmp_path, "--bert-layers", "1", "--start")
    press_ctrl_c(monkeypatch, at=1)
    with pytest.raises(UserError, match="stopped at step 1"):
        soft_label_distillation.main([*flags, "random"])
    monkeypatch.undo()
    with pytest.raises(UserError, match="had start = random, this one has first"):
        soft_label_distillation.main([*flags, "first", "--resume"])


def test_students_of_both_kinds_start_from_their_teacher():
    teacher = tiny_bert()
    bilstm = distillation.build_student(teacher, None, "spread")
    assert isinstance(bilstm, BiLSTMClassifier) and bilstm.embedding.weight.shape == (50, 24)
    assert bilstm.classifier.out_features == 3
    kept = {"spread": [0, 1], "first": [0, 1], "random": []}
    for start, layers in kept.items():
        student = distillation.build_student(teacher, 2, start)
        assert isinstance(student, BertClassifier) and student.bert.config.num_hidden_layers == 2
        found = [layer.output.dense.weight for layer in student.bert.encoder.layer]
        theirs = [layer.output.dense.weight for layer in teacher.bert.encoder.layer]
        own = [index for one in found for index, other in enumerate(theirs) if torch.equal(one, other)]
        assert own == layers
    spread = distillation.build_student(tiny_bert(bert_config={**TINY, "num_hidden_layers": 4}), 2, "spread")
    first = distillation.build_student(tiny_bert(bert_config={**TINY, "num_hidden_layers": 4}), 2, "first")
    second = [model.bert.encoder.layer[1].output.dense.weight for model in (spread, first)]
    assert not torch.equal(*second)


def test_epochs_follow_the_batches():
    assert distillation.default_epochs(11) == 40
    assert distillation.default_epochs(400) == 10
    assert distillation.default_epochs(1172) == distillation.default_epochs(100_000) == 4


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--alpha", "1.5"], "--alpha is 1.5: it must be 0 to 1"),
        (["--alpha", "nan"], "--alpha is nan"),
        (["--temperature", "0"], "--temperature is 0.0: it must be above 0"),
        (["--augment", "-1"], "--augment is -1"),
        (["--bert-layers", "0"], "--bert-layers is 0"),
        (["--start", "first"], "--start goes with --bert-layers"),
        (["--start", "random"], "--start goes with --bert-layers"),
    ],
)
def test_impossible_knobs(flags: list[str], message: str):
    with pytest.raises(UserError, match=message):
        soft_label_distillation.main(flags)


def test_what_the_teacher_decides_is_no_flag():
    for flag in ("--max-length", "--bert-path", "--teacher-sha256"):
        with pytest.raises(SystemExit):
            soft_label_distillation.main([flag, "32"])


def test_no_teacher_names_the_command(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="run `python train.py`"):
        hard_label_distillation.main(["--data-dir", str(data)])


def test_a_teacher_of_other_classes_or_another_vocabulary(teacher: Path, data: Path, tmp_path: Path):
    other = shutil.copytree(data, tmp_path / "classes")
    write_titles(other / "class.txt", "体育", "财经", "娱乐")
    with pytest.raises(UserError, match="(?s)names other classes.*model: 体育 财经 科技\n.*data:  体育 财经 娱乐"):
        hard_label_distillation.main(args(teacher, other, tmp_path))
    other = shutil.copytree(data, tmp_path / "script")
    write_titles(other / "train.txt", *(f"деловые новости\t{label}" for label in range(3)))
    with pytest.raises(UserError, match="does not know .* of the characters"):
        hard_label_distillation.main(args(teacher, other, tmp_path))


def test_a_student_cannot_teach(teacher: Path, data: Path, tmp_path: Path):
    hard_label_distillation.main(args(teacher, data, tmp_path, "--max-steps", "1"))
    with pytest.raises(UserError, match="is a student itself \\(hard\\): distil from a BERT"):
        soft_label_distillation.main(args(tmp_path / "save" / HARD, data, tmp_path))
    with pytest.raises(UserError, match="can only predict: give the checkpoint"):
        soft_label_distillation.main(args((tmp_path / "save" / HARD).with_suffix(".onnx"), data, tmp_path))
    model, facts = load_module(teacher, NewsClassifier.builds)
    int8 = {**facts, "architecture": {**facts["architecture"], "quantization": SCHEME}}
    checkpoint.save(tmp_path / "int8.pt", quantize(model).state_dict(), int8)
    with pytest.raises(UserError, match="is INT8: distil from the FP32 checkpoint"):
        soft_label_distillation.main(args(tmp_path / "int8.pt", data, tmp_path))


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_what_the_export_lacks_is_told_before_the_training(package: str, tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=f"needs {package}: run `pip install -r requirements.txt`"):
        hard_label_distillation.main(["--data-dir", str(tmp_path / "none")])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no title that the labelled files lack"),
        (b"\n  \n", "has no title that the labelled files lack"),
        (b"PK\x03\x04\x00\x00", "NUL byte: this is not a text file"),
        ("球赛\t0\n银行\t财经\n".encode(), "is a labelled file: --unlabeled takes titles alone"),
        (None, "does not exist"),
    ],
)
def test_bad_unlabelled_files(content: bytes | None, message: str, data: Path, tmp_path: Path):
    path = tmp_path / "titles.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):  # before the teacher is looked for
        hard_label_distillation.main(args(tmp_path / "none.pt", data, tmp_path, "--unlabeled", str(path)))
