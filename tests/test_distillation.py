"""Distillation: losses, student, transfer set, the cache of the teacher's logits, both stages, the comparison."""

import itertools
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import COMMON, LABELS, ROOT, WORDS, write_bert, write_data
from torch import nn
from torch.nn import functional as F

import bilstm_classifier
import distillation
import hard_label_distillation
import soft_label_distillation
import train
from bilstm_classifier import BiLSTMClassifier
from core.compression import teacher_cache
from core.compression.losses import NO_LABEL, distillation_loss, hard_loss, soft_loss
from core.compression.quantize import SCHEME, quantize
from core.compression.teacher_cache import cached_logits
from core.console import UserError
from core.files import sha256
from core.model_files import checkpoint, onnx_model
from core.text.augment import augment
from core.training.updater import Updater
from experiments import students as comparison
from experiments.distillation_report import compare, summarise
from predict_fun import NewsClassifier, load_module
from utils import read_titles

HARD, SOFT = "bilstm_hard_distill.pth", "bilstm_soft_distill.pth"


@pytest.fixture(autouse=True)
def small_student(monkeypatch: pytest.MonkeyPatch) -> None:
    """A BiLSTM that takes milliseconds a step."""
    monkeypatch.setattr(BiLSTMClassifier.__init__, "__defaults__", (16, 16, 0.1))


def stage_args(teacher: Path, data: Path, folder: Path, *more: str) -> list[str]:
    paths = {"--model": teacher, "--data-dir": data, "--save-dir": folder / "save", "--output": folder / "reports"}
    flags = [part for name, path in paths.items() for part in (name, str(path))]
    return [*flags, "--batch-size", "16", "--device", "cpu", "--num-epochs", "8", *more]


def write_titles(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


# Losses


def logits(seed: int, requires_grad: bool = False) -> torch.Tensor:
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(seed)).requires_grad_(requires_grad)


def test_without_soft_labels_it_is_cross_entropy():
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    loss, parts = distillation_loss(logits(1), logits(2), labels, temperature=3.0, alpha=0.0)
    assert torch.equal(loss, F.cross_entropy(logits(1), labels))
    assert torch.equal(parts["hard"], loss) and parts["soft"] > 0


def test_the_soft_loss_is_the_divergence_times_t_squared():
    teacher, student = (torch.softmax(logits(seed) / 2, 1) for seed in (2, 1))
    divergence = (teacher * (teacher / student).log()).sum(1).mean()
    assert soft_loss(logits(1), logits(2), 2.0).item() == pytest.approx(4 * divergence.item(), rel=1e-5)
    assert soft_loss(logits(1), logits(1) + 5, 2.0).item() == pytest.approx(0, abs=1e-6)
    labels = torch.zeros(6, dtype=torch.long)
    loss, parts = distillation_loss(logits(1), logits(2), labels, temperature=2.0, alpha=0.7)
    assert loss.item() == pytest.approx(0.7 * parts["soft"].item() + 0.3 * parts["hard"].item())


def test_gradients_reach_the_student_alone():
    student, teacher = logits(1, requires_grad=True), logits(2, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 3, NO_LABEL, NO_LABEL])
    (distillation_loss(student, teacher, labels, 2.0, 0.7)[0] + hard_loss(student, teacher)).backward()
    assert student.grad.abs().sum() > 0 and teacher.grad is None


def test_t_squared_keeps_the_scale_of_the_gradient():
    norms = []
    for temperature in (1.0, 10.0):
        student = (logits(1) / 100).requires_grad_()
        soft_loss(student, logits(2) / 100, temperature).backward()
        norms.append(student.grad.norm().item())
    assert norms[1] == pytest.approx(norms[0], rel=0.02)


def test_the_teachers_class_stands_in_for_a_missing_label():
    teacher = logits(2)
    labels = torch.tensor([0, NO_LABEL, 2, NO_LABEL, 0, 1])
    filled = torch.where(labels == NO_LABEL, teacher.argmax(1), labels)
    loss, _ = distillation_loss(logits(1), teacher, labels, 2.0, 0.0)
    assert torch.equal(loss, F.cross_entropy(logits(1), filled))
    assert torch.equal(hard_loss(logits(1), teacher), F.cross_entropy(logits(1), teacher.argmax(1)))


# The student


def test_padding_does_not_change_a_logit():
    torch.manual_seed(0)
    model = BiLSTMClassifier(40, 3).eval()
    ids = torch.tensor([[2, 7, 8, 9, 3]])
    with torch.no_grad():
        alone = model(ids, torch.ones_like(ids))
        assert not torch.allclose(alone, model(ids.flip(1), torch.ones_like(ids)), atol=1e-3)  # order counts
        for filler in (0, 9):
            padded = F.pad(ids, (0, 20), value=filler)
            batch = torch.cat((padded, torch.randint(0, 40, (1, 25))))
            mask = torch.stack((torch.arange(25) < 5, torch.arange(25) < 25)).long()
            assert torch.allclose(alone[0], model(batch, mask)[0], atol=1e-6)


def test_it_is_the_packed_bidirectional_lstm_without_packing():
    torch.manual_seed(0)
    model = BiLSTMClassifier(40, 3).eval()
    reference = nn.LSTM(16, 16, batch_first=True, bidirectional=True)
    for name, parameter in model.forward_lstm.named_parameters():
        getattr(reference, name).data = parameter.data
    for name, parameter in model.backward_lstm.named_parameters():
        getattr(reference, name + "_reverse").data = parameter.data
    ids, lengths = torch.randint(0, 40, (3, 9)), torch.tensor([9, 4, 6])
    with torch.no_grad():
        packed = nn.utils.rnn.pack_padded_sequence(model.embedding(ids), lengths, True, enforce_sorted=False)
        states, _ = nn.utils.rnn.pad_packed_sequence(reference(packed)[0], batch_first=True)
        for row, length in enumerate(lengths):
            real = states[row, :length]
            want = model.classifier(torch.cat((real.amax(0), real.mean(0))))
            mask = (torch.arange(9) < lengths.unsqueeze(1)).long()
            assert torch.allclose(model(ids, mask)[row], want, atol=1e-5)


def test_every_weight_is_used_and_the_architecture_says_all():
    model = BiLSTMClassifier(40, 3)
    ids = torch.arange(40).view(4, 10)
    model(ids, torch.ones_like(ids)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())
    again = BiLSTMClassifier.from_architecture(json.loads(json.dumps(model.architecture)))
    again.load_state_dict(model.state_dict())


def test_embeddings_of_the_teacher_keep_their_geometry(monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    embeddings = 0.05 * torch.randn(50, 12) @ torch.randn(12, 20)  # 20 wide, but of 12 dimensions
    for most in (12, 320):
        monkeypatch.setattr(bilstm_classifier, "EMBEDDING_DIM", most)
        start = BiLSTMClassifier.from_embeddings(embeddings, 3).embedding.weight
        assert start.shape == (50, min(most, 20))
        assert start.std().item() == pytest.approx(1, abs=0.05)
        ratio = torch.pdist(start.double()) / torch.pdist(embeddings.double())
        assert (ratio.max() / ratio.min()).item() == pytest.approx(1, abs=1e-3)


def test_it_has_at_most_a_tenth_of_bert_bases_parameters(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()  # the real size
    model = BiLSTMClassifier.from_embeddings(torch.randn(21128, 768), 10)
    assert sum(parameter.numel() for parameter in model.parameters()) < 102_267_648 / 10


# The transfer set


def test_augmented_copies():
    rows = [np.array([2, *range(10, 10 + length), 3], dtype=np.int32) for length in (0, 1, 2, 5, 30)] * 20
    before = [ids.copy() for ids in rows]
    copies = augment(rows, 2, mask_id=4, seed=1)
    assert len(copies) == 2 * len(rows)
    assert all(np.array_equal(one, other) for one, other in zip(rows, before, strict=True))
    kinds = set()
    for ids, copy in zip(rows * 2, copies, strict=True):
        assert copy[0] == 2 and copy[-1] == 3 and copy.dtype == ids.dtype
        assert set(copy.tolist()) <= {*ids.tolist(), 4}
        assert len(copy) >= min(3, len(ids))
        if len(ids) == 32:
            if 4 in copy:
                kinds.add("mask")
                assert (copy == 4).sum() == 3 and len(copy) == 32
            elif len(copy) == 32:
                kinds.add("swap")
                assert sorted(copy.tolist()) == sorted(ids.tolist())
            elif len(copy) == 29:
                kinds.add("delete")
            elif np.array_equal(copy[1:-1], np.arange(copy[1], copy[1] + len(copy) - 2)):
                kinds.add("n-gram")
    assert kinds == {"mask", "swap", "delete", "n-gram"}
    again, other = (augment(rows, 2, 4, seed) for seed in (1, 2))
    assert all(map(np.array_equal, copies, again)) and not all(map(np.array_equal, copies, other))


def test_unlabelled_titles_are_read_once_and_never_from_dev_or_test(
    teacher: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    held_out = (data / "test.txt").read_text(encoding="utf-8").splitlines()[0].partition("\t")[0]
    path = tmp_path / "titles.txt"
    path.write_bytes(f"球赛冠军\r\n\r\n{held_out}\r\n球赛冠军\r\n银行利率\t今日\r\n".encode("gb18030"))
    config = distillation.DistillConfig(
        data_dir=data, model=(str(teacher),), save_dir=tmp_path, unlabeled=path, augment=2, batch_size=16, device="cpu"
    )
    lesson = distillation.prepare(config, distillation.Devices())
    assert "2 titles (2 left out" in capsys.readouterr().out
    assert lesson.batches.labels[60:] == [NO_LABEL] * (2 + 2 * 60)
    assert lesson.logits.shape == (60 + 2 + 2 * 60, 3)
    model, meta = load_module(teacher)
    model.eval()
    for batch in itertools.islice(lesson.batches.epoch(), 3):
        with torch.no_grad():
            fresh = model(batch["input_ids"], batch["attention_mask"])
        assert torch.allclose(lesson.logits[batch["row"]].float(), fresh, atol=0.01)  # of fp16


def test_several_teachers_teach_their_mean(teacher: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    weights, meta = checkpoint.load(teacher)
    other, strange = tmp_path / "other.pt", tmp_path / "strange.pt"
    checkpoint.save(other, {**weights, "classifier.bias": weights["classifier.bias"] + torch.arange(3.0)}, meta)
    checkpoint.save(strange, weights, {**meta, "max_length": meta["max_length"] - 1})
    models = ["--model", str(teacher), str(other)]
    soft_label_distillation.main(stage_args(teacher, data, tmp_path, *models, "--bert-layers", "1", "--max-steps", "2"))
    assert capsys.readouterr().out.count("the teacher: test accuracy") == 2
    made = checkpoint.load(tmp_path / "save" / "bert_soft_distill.pth")[1]
    assert made["parent_sha256"] == sha256(teacher)
    assert made["config"]["teacher_sha256"] == [sha256(teacher), sha256(other)]

    one, both = (
        distillation.DistillConfig(data_dir=data, model=paths, save_dir=tmp_path, batch_size=16, device="cpu")
        for paths in ((str(teacher),), (str(teacher), str(other)))
    )
    alone, mean = (distillation.prepare(config, distillation.Devices()).logits for config in (one, both))
    assert torch.allclose(mean - alone, torch.tensor([0.0, 0.5, 1.0]).expand_as(mean), atol=0.01)
    with pytest.raises(UserError, match="the teachers do not read titles alike"):
        soft_label_distillation.main(stage_args(teacher, data, tmp_path, "--model", str(teacher), str(strange)))


# The cache


class Rows:
    """Ten titles in batches of two."""

    labels = [0] * 10

    def __init__(self, name: str = "data") -> None:
        self.name = name

    def sha256(self) -> str:
        return self.name

    def __len__(self) -> int:
        return 5

    def epoch(self):
        for start in (6, 0, 8, 2, 4):
            yield {"row": torch.tensor([start, start + 1])}


class Teacher:
    def __init__(self, stop_at: int | None = None) -> None:
        self.calls, self.stop_at = 0, stop_at

    def __call__(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        self.calls += 1
        return torch.stack((batch["row"] * 0.5, -batch["row"].float()), 1)


WANTED = torch.stack((torch.arange(10) * 0.5, -torch.arange(10).float()), 1).half()


def test_logits_are_computed_once(tmp_path: Path):
    for calls in (5, 0):
        teacher = Teacher()
        assert torch.equal(cached_logits(tmp_path, "t", 2, Rows(), teacher), WANTED)
        assert teacher.calls == calls
    for sha, rows in (("another", Rows()), ("t", Rows("other titles"))):
        teacher = Teacher()
        cached_logits(tmp_path, sha, 2, rows, teacher)
        assert teacher.calls == 5


def test_a_stopped_teacher_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(teacher_cache, "SAVE_SECONDS", 0)
    with pytest.raises(KeyboardInterrupt):
        cached_logits(tmp_path, "t", 2, Rows(), Teacher(stop_at=3))
    teacher = Teacher()
    assert torch.equal(cached_logits(tmp_path, "t", 2, Rows(), teacher), WANTED)
    assert teacher.calls == 2


@pytest.mark.parametrize("damage", ["half", "flipped", "foreign", "shape"])
def test_a_damaged_cache_is_computed_again(damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    cached_logits(tmp_path, "t", 2, Rows(), Teacher())
    (path,) = tmp_path.glob("*.pt")
    content = bytearray(path.read_bytes())
    if damage == "half":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        place = content.index(WANTED.numpy().tobytes())
        content[place] ^= 1
        path.write_bytes(content)
    else:
        checkpoint.write_tensors(path, {"logits": WANTED[:5]} if damage == "shape" else {"x": 1})
    teacher = Teacher()
    assert torch.equal(cached_logits(tmp_path, "t", 2, Rows(), teacher), WANTED)
    assert teacher.calls == 5 and "are damaged: computing them again" in capsys.readouterr().out


def test_a_teacher_that_gives_no_numbers(tmp_path: Path):
    with pytest.raises(UserError, match="logits that are not numbers"):
        cached_logits(tmp_path, "t", 2, Rows(), lambda batch: torch.full((2, 2), torch.nan))


# The stages

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
    stage.main(stage_args(teacher, data, tmp_path, "--num-epochs", "20"))
    assert not stale.exists()
    _, meta = checkpoint.load(tmp_path / "save" / name)
    _, teacher_meta = checkpoint.load(teacher)
    assert meta["metrics"]["test"]["accuracy"] > 0.8 and meta["metrics"]["dev"]["n"] == 20
    assert meta["stage"] == name.split("_")[1] and meta["parent_sha256"] == sha256(teacher)
    for key in ("labels", "vocab", "max_length", "truncation"):
        assert meta[key] == teacher_meta[key]
    texts = read_titles(data / "test.txt", LABELS).texts
    answers = NewsClassifier.load(tmp_path / "save" / name).predict(texts)
    assert NewsClassifier.load(tmp_path / "save" / name).predict(["球赛夺冠军胜"])[0].pred_class == "体育"
    onnx = (tmp_path / "save" / name).with_suffix(".onnx")
    assert onnx_model.load(onnx, "cpu")[0].items() >= meta.items()
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
    hard_label_distillation.main(stage_args(teacher, data, tmp_path, "--num-epochs", "20"))
    assert checkpoint.load(tmp_path / "save" / HARD)[1]["metrics"]["test"]["accuracy"] > 0.8
    soft_label_distillation.main(stage_args(teacher, data, tmp_path, "--num-epochs", "20", "--alpha", "0"))
    assert checkpoint.load(tmp_path / "save" / SOFT)[1]["metrics"]["test"]["accuracy"] < 0.8  # alone: the labels


def test_a_stopped_distillation_resumes_to_the_same_weights(
    teacher: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    teacher = Path(shutil.copy(teacher, tmp_path))
    soft_label_distillation.main(stage_args(teacher, data, tmp_path / "whole"))
    real_step, steps = Updater.step, itertools.count(1)

    def step_and_press(*args):
        if next(steps) == 7:
            signal.raise_signal(signal.SIGINT)
        return real_step(*args)

    monkeypatch.setattr(Updater, "step", step_and_press)
    with pytest.raises(UserError, match="stopped at step 7 of 32"):
        soft_label_distillation.main(stage_args(teacher, data, tmp_path / "cut"))
    with pytest.raises(UserError, match="had temperature = 2.0, this one has 3.0"):
        soft_label_distillation.main(stage_args(teacher, data, tmp_path / "cut", "--resume", "--temperature", "3"))
    earlier, (weights, meta) = teacher.read_bytes(), checkpoint.load(teacher)
    checkpoint.save(teacher, weights, {**meta, "seed": 7})
    with pytest.raises(UserError, match="had teacher_sha256 = .*repeat its flags and data"):
        soft_label_distillation.main(stage_args(teacher, data, tmp_path / "cut", "--resume"))
    teacher.write_bytes(earlier)
    soft_label_distillation.main(stage_args(teacher, data, tmp_path / "cut", "--resume"))
    one, two = (checkpoint.load(tmp_path / name / "save" / SOFT)[0] for name in ("whole", "cut"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    capsys.readouterr()
    soft_label_distillation.main(stage_args(teacher, data, tmp_path / "cut", "--resume"))
    assert "nothing to resume" in capsys.readouterr().out


def test_a_shallow_bert_has_layers_of_its_teacher_and_a_file_of_its_own(
    teacher: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    soft_label_distillation.main(stage_args(teacher, data, tmp_path, "--num-epochs", "1", "--bert-layers", "1"))
    made = tmp_path / "save" / "bert_soft_distill.pth"
    assert not (tmp_path / "save" / SOFT).exists()
    meta = checkpoint.load(made)[1]
    assert meta["architecture"]["bert_config"]["num_hidden_layers"] == 1
    assert meta["config"]["learning_rate"] == 5e-3  # the teacher's
    for file in (made, made.with_suffix(".onnx")):
        assert NewsClassifier.load(file).predict(["球赛"])[0].pred_class in LABELS
    with pytest.raises(UserError, match="--bert-layers 3 is more than the 2 layers"):
        soft_label_distillation.main(stage_args(teacher, data, tmp_path, "--bert-layers", "3"))


def test_the_layers_of_a_shallow_bert_are_evenly_spaced(tmp_path: Path):
    deep = train.BertClassifier.from_pretrained(write_bert(tmp_path, num_hidden_layers=6), 3)
    for layers, kept in ((1, [0]), (2, [0, 3]), (3, [0, 2, 4]), (4, [0, 1, 3, 4]), (6, list(range(6)))):
        student = distillation.build_student(deep, layers)
        found = [layer.attention.self.query.weight for layer in student.bert.encoder.layer]
        wanted = [deep.bert.encoder.layer[index].attention.self.query.weight for index in kept]
        assert len(found) == layers and all(map(torch.equal, found, wanted))
        assert torch.equal(student.classifier.weight, deep.classifier.weight)


def test_a_shallow_student_of_a_pruned_teacher(tmp_path: Path):
    whole = train.BertClassifier.from_pretrained(write_bert(tmp_path, num_hidden_layers=4), 3)
    layers = [{"heads": 1 + index % 2, "ffn": 10 + index} for index in range(4)]
    pruned = train.BertClassifier.from_architecture({**whole.architecture, "layers": layers})
    student = distillation.build_student(pruned, 2)
    assert student.architecture["layers"] == [layers[0], layers[2]]
    weights = [model.bert.encoder.layer[index].output.dense.weight for model, index in ((student, 1), (pruned, 2))]
    assert torch.equal(*weights)
    train.BertClassifier.from_architecture(student.architecture, student.state_dict())


def test_epochs_follow_the_batches():
    assert distillation.default_epochs(11) == 40
    assert distillation.default_epochs(400) == 10
    assert distillation.default_epochs(1172) == distillation.default_epochs(100_000) == 4


# Bad input


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--alpha", "1.5"], "--alpha is 1.5: it must be 0 to 1"),
        (["--alpha", "nan"], "--alpha is nan"),
        (["--temperature", "0"], "--temperature is 0.0: it must be above 0"),
        (["--augment", "-1"], "--augment is -1"),
        (["--bert-layers", "0"], "--bert-layers is 0"),
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
    with pytest.raises(
        UserError, match="(?s)names other classes.*teacher:   体育 财经 科技\n.*class.txt: 体育 财经 娱乐"
    ):
        hard_label_distillation.main(stage_args(teacher, other, tmp_path))
    other = shutil.copytree(data, tmp_path / "script")
    write_titles(other / "train.txt", *(f"деловые новости\t{label}" for label in range(3)))
    with pytest.raises(UserError, match="does not know .* of the characters"):
        hard_label_distillation.main(stage_args(teacher, other, tmp_path))


def test_a_student_cannot_teach(teacher: Path, data: Path, tmp_path: Path):
    hard_label_distillation.main(stage_args(teacher, data, tmp_path, "--max-steps", "1"))
    with pytest.raises(UserError, match="is a student itself \\(hard\\): distil from a BERT"):
        soft_label_distillation.main(stage_args(tmp_path / "save" / HARD, data, tmp_path))
    with pytest.raises(UserError, match="can only predict: give the checkpoint"):
        soft_label_distillation.main(stage_args((tmp_path / "save" / HARD).with_suffix(".onnx"), data, tmp_path))
    model, meta = load_module(teacher)
    int8 = {**meta, "architecture": {**meta["architecture"], "quantization": SCHEME}}
    checkpoint.save(tmp_path / "int8.pt", quantize(model).state_dict(), int8)
    with pytest.raises(UserError, match="is INT8: distil from the FP32 checkpoint"):
        soft_label_distillation.main(stage_args(tmp_path / "int8.pt", data, tmp_path))


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
        hard_label_distillation.main(stage_args(tmp_path / "none.pt", data, tmp_path, "--unlabeled", str(path)))


# The comparison


def test_the_comparison_is_made_once_and_goes_on_where_it_was(
    teacher: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    trained = []
    real = comparison.train_student

    def train_student(row, seed, *args):
        if len(trained) == 4:
            raise KeyboardInterrupt
        trained.append((row, seed))
        return real(row, seed, *args)

    monkeypatch.setattr(comparison, "train_student", train_student)
    titles = write_titles(
        tmp_path / "titles.txt", *("".join(pair) for pair in zip(WORDS["体育"], COMMON, strict=False))
    )
    flags = ["--model", str(teacher), "--data-dir", str(data), "--output", str(tmp_path / "out"), "--seeds", "2"]
    flags += ["--save-dir", str(tmp_path / "save"), "--unlabeled", str(titles), "--augment", "1", "--updates", "9"]
    flags += ["--batch-size", "16", "--device", "cpu", "--learning-rates", "2e-3", "1e-2"]
    with pytest.raises(KeyboardInterrupt):
        comparison.main(flags)
    before = list(trained)
    trained.clear()
    monkeypatch.setattr(comparison, "train_student", lambda *args: (trained.append(args[:2]), real(*args)))
    timed, compare_speed = [], comparison.compare_speed
    monkeypatch.setattr(
        comparison, "compare_speed", lambda *args: (timed.append(len(args[0])), compare_speed(*args))[1]
    )
    comparison.main(flags)
    # two learning rates with the first seed, the better one with the second, for each of five students
    assert before + trained == [(row, seed) for row in comparison.STUDENTS for seed in (1, 1, 2)]
    assert timed == [len(comparison.STUDENTS) + 1]  # the teacher and all students take turns

    report = json.loads((tmp_path / "out" / "distillation.json").read_text(encoding="utf-8"))
    names = ["majority", "linear", *comparison.STUDENTS, "teacher"]
    assert [row["name"] for row in report["rows"]] == names
    rows = {row["name"]: row for row in report["rows"]}
    assert rows["linear"]["accuracy"] > rows["majority"]["accuracy"]
    assert rows["teacher"]["accuracy"] == pytest.approx(checkpoint.load(teacher)[1]["metrics"]["test"]["accuracy"])
    for name in comparison.STUDENTS:
        assert len(rows[name]["accuracy_each"]) == len(rows[name]["predicted"]) == 2
        assert rows[name]["p95_ms"] >= rows[name]["p50_ms"] > 0 and rows[name]["size_mb"] > 0
        assert 0 < rows[name]["params"] < rows["teacher"]["params"]
        runs = [run for run in report["runs"] if run["row"] == name]
        best = max(run["dev_macro_f1"] for run in runs if run["seed"] == 1)
        assert rows[name]["factor"] in [run["factor"] for run in runs if run["dev_macro_f1"] == best]
    assert {(found["of"], found["against"]) for found in report["comparisons"]} >= {
        ("BiLSTM, soft + transfer", "BiLSTM alone"),
        ("BiLSTM, soft + transfer", "linear"),
    }
    table = (tmp_path / "out" / "distillation.md").read_text(encoding="utf-8")
    assert all(f"| {name} |" in table for name in names) and "of the teacher's accuracy" in table
    assert (tmp_path / "out" / "distillation.png").read_bytes().startswith(b"\x89PNG")
    students = list((tmp_path / "save" / "benchmark").rglob("*.pth"))
    assert len(students) == 15
    for file in students:
        meta = checkpoint.load(file)[1]
        assert meta["metrics"]["test"] is None  # the trainings did not look at test.txt
        assert meta["training"]["step"] <= meta["config"]["max_steps"] == 9

    trained.clear()
    comparison.main(flags)
    assert not trained
    with pytest.raises(UserError, match="was made with another updates: delete it"):
        comparison.main([*flags, "--updates", "10"])
    (tmp_path / "out" / "distillation.json").write_text("[]", encoding="utf-8")
    with pytest.raises(UserError, match="is damaged: delete it"):
        comparison.main(flags)


def test_the_figures_of_the_comparison():
    true = [0, 1] * 50
    half = summarise("half", true, [[0] * 100, true], ["a", "b"])
    assert half["accuracy_each"] == [0.5, 1.0] and half["accuracy"] == 0.75
    assert half["macro_f1"] == pytest.approx((1 / 3 + 1) / 2)
    found = compare([half, summarise("teacher", true, [true], ["a", "b"])], true, [("half", "teacher")])
    assert found["ratio_to_teacher"] == 0.75
    (pair,) = found["comparisons"]
    assert pair["difference"] == -0.25 and pair["low"] < -0.25 < pair["high"] < 0 and pair["p"] < 0.001


@pytest.mark.parametrize("flags", [["--seeds", "0"], ["--limit", "0"], ["--augment", "0"], ["--learning-rates", "0"]])
def test_nothing_to_compare(flags: list[str]):
    with pytest.raises(UserError):
        comparison.main(flags)
