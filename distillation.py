"""Distillation from BERT teachers: all that hard_label_distillation.py and soft_label_distillation.py share.

The teachers' logits are computed once and cached; then the student is trained by `train.fit`, with the loss that the
stage gives, on the labelled titles and, where there is one, a transfer set: unlabelled titles and augmented copies.
Several teachers (as a rule the same training with other seeds) teach the mean of their logits: the student stands in
for their ensemble (Hinton et al. 2015).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bert_classifer_model import BertClassifier
from bilstm_classifier import BiLSTMClassifier
from config import ONNX, Config, find_model, made_from, require_one_or_more
from core.compression import export
from core.compression.losses import NO_LABEL
from core.compression.structured_pruning import keep_layers, layer_shapes, spread
from core.compression.teacher_cache import cached_logits, logits_of
from core.console import UserError
from core.files import detect_encoding, read_lines, sha256
from core.measure.metrics import metrics_table
from core.model_files import checkpoint
from core.text.augment import augment
from core.text.tokenizer import Encoder, check_coverage
from core.training.device import Devices
from core.training.resume import RunState, has_finished
from core.training.updater import Batch
from predict_fun import load_module
from train import evaluate, fit
from utils import Batches, Titles, read_data

STUDENT_RATE = 2e-3  # peak learning rate of a BiLSTM
# A student is trained for so many updates, be its titles few or many, within so many passes over them.
UPDATES, MIN_EPOCHS, MAX_EPOCHS = 4000, 4, 40

ENCODING = ("vocab", "max_length", "truncation")  # what of a teacher's `meta` says how it reads a title

# (student's logits, teacher's logits, labels with NO_LABEL where there is none) -> (mean loss, {name: part})
DistilLoss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, dict[str, torch.Tensor]]]


@dataclass
class DistillConfig(Config):
    """Knobs of distillation."""

    # The first teacher brings its encoder and its length: these are no flags here.
    bert_path: None = field(init=False, default=None)
    max_length: int = field(init=False, default=Config.max_length)
    teacher_sha256: tuple[str, ...] = field(init=False, default=())  # a run is not resumed with other teachers
    logits_dir: Path | None = field(init=False, default=None)  # where the teachers' logits are kept; None: in save_dir

    model: tuple[str, ...] = ("teacher",)
    """Name (teacher, pruned) or path of the BERT to learn from; of several, the mean of their logits is learned."""
    save_dir: Path = Path("models_save")
    """Folder that the student is written to."""
    num_epochs: int | None = None
    """Passes over the titles. None: as many as 4,000 updates take, but at least 4 and at most 40."""
    learning_rate: float | None = None
    """Peak learning rate. None: 2e-3 for a BiLSTM, the teacher's own for a BERT."""
    unlabeled: Path | None = None
    """Further titles to learn from, one a line, without labels (UTF-8 or GB18030): the teacher labels them."""
    augment: int = 0
    """Changed copies to learn from of each labelled title (masked, cut, swapped); the teacher labels them."""
    bert_layers: int | None = None
    """Train a BERT with so many of the teacher's layers, evenly spaced, in place of a BiLSTM."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.augment < 0:
            raise UserError(f"--augment is {self.augment}: it must be 0 or more")
        require_one_or_more(self, "bert_layers")


@dataclass
class Lesson:
    """What a student learns from: `batches` of titles, and the teachers' mean `logits` of them, row by row."""

    teacher: BertClassifier  # the first, which the student starts from
    teacher_metas: list[dict[str, Any]]
    encoder: Encoder
    titles: dict[str, Titles]
    batches: Batches
    logits: torch.Tensor


def default_epochs(batches: int) -> int:
    """The passes over so many batches that suit a student."""
    return min(MAX_EPOCHS, max(MIN_EPOCHS, round(UPDATES / batches)))


def read_teacher(path: Path, config: DistillConfig, labels: Sequence[str]) -> tuple[BertClassifier, dict[str, Any]]:
    """Open a teacher and check that it suits the data; returns it and its `meta`.

    Raises:
        UserError: it is no FP32 BERT, has too few layers for the student, or knows other classes.
    """
    teacher, meta = load_module(path)
    if not isinstance(teacher, BertClassifier):
        raise UserError(f"{path} is a student itself ({meta['stage']}): distil from a BERT, such as --model teacher")
    if meta["architecture"].get("quantization"):
        raise UserError(f"{path} is INT8: distil from the FP32 checkpoint that it was made from")
    if meta["labels"] != labels:
        raise UserError(
            f"{config.data_dir / 'class.txt'} names other classes than the teacher {path}: take the data it was "
            "trained on, or train a teacher on these with `python train.py`\n"
            f"  teacher:   {' '.join(meta['labels'])}\n  class.txt: {' '.join(labels)}"
        )
    layers = teacher.bert.config.num_hidden_layers
    if config.bert_layers and config.bert_layers > layers:
        raise UserError(f"--bert-layers {config.bert_layers} is more than the {layers} layers of {path}: lower it")
    print(f"teacher: {path}")
    return teacher, meta


def read_unlabeled(path: Path, labels: Sequence[str], titles: dict[str, Titles]) -> list[str]:
    """Read titles, one a line; repeated ones and those that stand in the labelled files are left out.

    Raises:
        UserError: the file is missing, binary, without a title of its own, or a labelled file.
    """
    encoding = detect_encoding(path)
    with path.open("rb") as file:
        lines = [line.strip() for line in read_lines(file, encoding)]
    lines = [line for line in lines if line]
    answers = {*labels, *map(str, range(len(labels)))}
    if lines and all("\t" in line and line.rpartition("\t")[2].strip() in answers for line in lines):
        raise UserError(f"{path} is a labelled file: --unlabeled takes titles alone, one a line")
    known = {text for split in titles.values() for text in split.texts}
    texts = [text for text in dict.fromkeys(lines) if text not in known]
    if not texts:
        raise UserError(f"{path} has no title that the labelled files lack: write others into it, one a line")
    left_out = len(lines) - len(texts)
    print(f"{path}: {len(texts)} titles ({left_out} left out: repeated, or in the labelled files)")
    return texts


def prepare(config: DistillConfig, devices: Devices) -> Lesson:
    """Read data and teachers, and have them judge all titles, unless the cache has their answers.

    Raises:
        UserError: a file is missing or does not suit the others.
    """
    labels, titles = read_data(config.data_dir, config.limit)
    unlabeled = read_unlabeled(config.unlabeled, labels, titles) if config.unlabeled else []
    paths = [find_model(name, onnx=False) for name in config.model]
    teachers, metas = map(list, zip(*(read_teacher(path, config, labels) for path in paths), strict=True))
    if any(meta[key] != metas[0][key] for meta in metas for key in ENCODING):
        raise UserError(
            "the teachers do not read titles alike: take trainings of one BERT with one --max-length and truncation"
        )
    config.teacher_sha256, config.max_length = tuple(map(sha256, paths)), metas[0]["max_length"]
    encoder = Encoder.from_meta(metas[0])
    check_coverage(encoder, titles["train"].texts + unlabeled, paths[0])
    labelled = Batches(titles["train"], encoder, config.batch_size)
    parts = [labelled]
    if unlabeled:
        parts.append(Batches(Titles(unlabeled, [NO_LABEL] * len(unlabeled)), encoder, config.batch_size))
    if config.augment:
        copies = augment(labelled.input_ids, config.augment, encoder.mask_id, config.seed)
        parts.append(labelled.with_rows(copies, [NO_LABEL] * len(copies)))

    def judge(teacher: BertClassifier, teacher_sha256: str) -> torch.Tensor:
        cache, logits_fn = config.logits_dir or config.save_dir / "teacher_logits", logits_of(teacher, devices)
        return torch.cat([cached_logits(cache, teacher_sha256, len(labels), part, logits_fn) for part in parts])

    logits = torch.stack([judge(*each) for each in zip(teachers, config.teacher_sha256, strict=True)])
    input_ids = [ids for part in parts for ids in part.input_ids]
    batches = labelled.with_rows(input_ids, [label for part in parts for label in part.labels], config.seed)
    return Lesson(teachers[0], metas, encoder, titles, batches, logits.float().mean(0))


def build_student(teacher: BertClassifier, bert_layers: int | None) -> nn.Module:
    """A BiLSTM that starts from the teacher's token embeddings, or a BERT of evenly spaced layers of the teacher.

    Half of the layers: every other one, as DistilBERT has them (Sanh et al. 2019).
    """
    if bert_layers is None:
        embeddings = teacher.bert.get_input_embeddings().weight
        return BiLSTMClassifier.from_embeddings(embeddings, teacher.classifier.out_features)
    kept = spread(len(layer_shapes(teacher.architecture)), bert_layers)
    weights, architecture = keep_layers(teacher.state_dict(), teacher.architecture, kept)
    return BertClassifier.from_architecture(architecture, weights)


def distil(config: DistillConfig, stage: str, loss: DistilLoss, deploy: bool = True) -> None:
    """Train a student, write its files, and say how good it is.

    Args:
        config: the knobs; what is None in it is filled in.
        stage: "hard" or "soft".
        loss: what the student lessens.
        deploy: False for a student that is only to be compared: no ONNX file is made, and test.txt is not read.
    """
    if deploy:
        export.import_onnx()
    artefact = config.save_dir / f"{'bert' if config.bert_layers else 'bilstm'}_{stage}_distill.pth"
    run_state = RunState(artefact, {})
    if config.resume and has_finished(artefact):
        return

    devices = Devices.alone(config.device, config.precision)
    started = time.perf_counter()
    lesson = prepare(config, devices)
    meta, titles, batches = lesson.teacher_metas[0], lesson.titles, lesson.batches
    config.num_epochs = config.num_epochs or default_epochs(len(batches))
    config.learning_rate = config.learning_rate or (
        meta["config"]["learning_rate"] if config.bert_layers else STUDENT_RATE
    )
    torch.manual_seed(config.seed)
    student = build_student(lesson.teacher, config.bert_layers).to(devices.device)
    if config.gradient_checkpointing and config.bert_layers:
        student.bert.activation_checkpointing_enable()
    size, teacher_size = (sum(p.numel() for p in model.parameters()) for model in (student, lesson.teacher))
    print(f"student of {size:,} parameters, {size / teacher_size:.0%} of the teacher's; {len(batches.labels)} titles, ")
    print(f"{config.num_epochs} epochs, peak learning rate {config.learning_rate:g}, {devices}")
    preparing = time.perf_counter() - started

    logits = lesson.logits.to(devices.device)
    dev_batches = Batches(titles["dev"], lesson.encoder, config.batch_size)

    def loss_fn(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return loss(model(batch["input_ids"], batch["attention_mask"]), logits[batch["row"]], batch["labels"])

    def score(candidate: nn.Module) -> dict[str, Any]:
        return evaluate(candidate, dev_batches, meta["labels"], devices)

    fitted = fit(student, batches, loss_fn, score, config, devices, artefact, config.output / artefact.stem)
    metrics = {"dev": fitted.best["metrics"], "test": None}
    if deploy and "test" in titles:
        test_batches = Batches(titles["test"], lesson.encoder, config.batch_size)
        metrics["test"] = evaluate(student, test_batches, meta["labels"], devices)
    student_meta = {name: meta[name] for name in ("labels", *ENCODING)}
    student_meta |= {
        "stage": stage,
        "architecture": student.architecture,
        "config": config.plain(),
        "metrics": metrics,
        "training": {
            "rows": len(batches.labels),
            "step": fitted.best["step"],
            "seconds": round(fitted.seconds),
            "preparing": round(preparing),
        },
        "parent_sha256": config.teacher_sha256[0],
        "seed": config.seed,
        **checkpoint.provenance(),
    }
    onnx = artefact.with_suffix(ONNX)
    for stale in made_from(artefact):  # of another student, they would be preferred to this one's checkpoint
        stale.unlink(missing_ok=True)
    checkpoint.save(artefact, student.state_dict(), student_meta)
    if deploy:
        export.export(student, onnx, student_meta)
    run_state.drop()

    split = "test" if metrics["test"] else "dev"
    print(metrics_table(metrics[split]))
    print(f"{split} accuracy {metrics[split]['accuracy']:.4f}, macro-F1 {metrics[split]['macro_f1']:.4f}; ", end="")
    saved = f"{artefact} and {onnx.name}" if deploy else artefact
    print(f"trained in {fitted.seconds:.0f} s; saved {saved} (step {fitted.best['step']}, the best on dev)")
    for teacher in lesson.teacher_metas:
        if (theirs := teacher["metrics"].get(split)) is not None:
            print(f"the teacher: {split} accuracy {theirs['accuracy']:.4f}, macro-F1 {theirs['macro_f1']:.4f}")
