"""Distillation from BERT teachers: all that hard_label_distillation.py and soft_label_distillation.py share.

The teachers' logits are computed once and cached; then the student is trained by `fit`, with the loss that the stage
gives, on the labelled titles and, where there is one, a transfer set: unlabelled titles and augmented copies.
Several teachers (as a rule the same training with other seeds) teach the mean of their logits: the student stands in
for their ensemble (Hinton et al. 2015).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bert_classifer_model import BertClassifier
from bilstm_classifier import BiLSTMClassifier
from config import BEST_BY, MODELS, Config
from core.compression.distil import DistilLoss, Start, start_student, taught
from core.compression.export import export, import_onnx
from core.compression.losses import NO_LABEL
from core.compression.teacher_cache import RowLogits, cached_logits, logits_of
from core.console import UserError, require_one_or_more
from core.files import sha256
from core.measure.calibration import fit_temperature
from core.measure.metrics import in_words, metrics_table
from core.model_files import lineage
from core.model_files.facts import Facts, licence_of, new_facts
from core.model_files.find import find_model
from core.model_files.module import load_module
from core.model_files.names import ONNX, made_from
from core.text.augment import augment
from core.text.decode import open_text
from core.text.names import name_key
from core.text.tokenizer import Tokenizer, check_coverage
from core.training.batches import Batches
from core.training.device import Devices
from core.training.loop import fit, forward_rows
from core.training.resume import RunState, finish, has_finished
from core.training.units import row_units
from predict_fun import TASK, NewsClassifier
from utils import Titles, read_data, score_module, title_batches

STUDENT_RATE = 2e-3  # peak learning rate of a BiLSTM
# A student is trained for so many updates, be its titles few or many, within so many passes over them.
UPDATES, MIN_EPOCHS, MAX_EPOCHS = 4000, 4, 40

ENCODING = ("vocab", "max_length", "truncation")  # what of a teacher's facts says how it reads a title


@dataclass
class DistillConfig(Config):
    """Knobs of distillation."""

    # The first teacher brings its tokenizer and its length: these are no flags here.
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
    """Train a BERT with so many layers, in place of a BiLSTM."""
    start: Start = "spread"
    """With --bert-layers: start from evenly spaced layers of the teacher, from its first ones, or at random."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.augment < 0:
            raise UserError(f"--augment is {self.augment}: it must be 0 or more")
        require_one_or_more(self, "bert_layers")
        if self.start != "spread" and self.bert_layers is None:
            raise UserError("--start goes with --bert-layers: a BiLSTM starts from the teacher's token embeddings")


@dataclass
class Lesson:
    """What a student learns from: `batches` of titles, and the teachers' mean `logits` of them, row by row."""

    teacher: BertClassifier  # the first, which the student starts from
    teacher_facts: list[Facts]
    tokenizer: Tokenizer
    titles: dict[str, Titles]
    batches: Batches
    logits: RowLogits
    data_sha256: str  # of the labelled titles


def default_epochs(batches: int) -> int:
    """The passes over so many batches that suit a student."""
    return min(MAX_EPOCHS, max(MIN_EPOCHS, round(UPDATES / batches)))


def read_teacher(path: Path, config: DistillConfig) -> tuple[BertClassifier, Facts]:
    """Open a teacher and check that it suits the data; returns it and its facts.

    Raises:
        UserError: it is no FP32 BERT, has too few layers for the student, or knows other classes.
    """
    teacher, facts = load_module(path, NewsClassifier.builds)
    if "bert_config" not in facts["architecture"]:
        raise UserError(f"{path} is a student itself ({facts['stage']}): distil from a BERT, such as --model teacher")
    if facts["architecture"].get("quantization"):
        raise UserError(f"{path} is INT8: distil from the FP32 checkpoint that it was made from")
    TASK.check_labels(facts, config.data_dir)
    layers = teacher.bert.config.num_hidden_layers
    if config.bert_layers and config.bert_layers > layers:
        raise UserError(f"--bert-layers {config.bert_layers} is more than the {layers} layers of {path}: lower it")
    print(f"teacher: {path}")
    return teacher, facts


def read_unlabeled(path: Path, labels: Sequence[str], titles: dict[str, Titles]) -> list[str]:
    """Read titles, one a line; repeated ones and those that stand in the labelled files are left out.

    Raises:
        UserError: the file is missing, binary, without a title of its own, or a labelled file.
    """
    with open_text(path) as file:
        lines = [line for each in file.lines() if (line := each.strip())]
    for warning in file.warnings:
        print(f"warning: {path}: {warning}")
    answers = {name_key(name) for name in (*labels, *map(str, range(len(labels))))}
    if lines and all("\t" in line and name_key(line.rpartition("\t")[2]) in answers for line in lines):
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
    paths = [find_model(name, MODELS, onnx=False) for name in config.model]
    teachers, all_facts = map(list, zip(*(read_teacher(path, config) for path in paths), strict=True))
    first = all_facts[0]
    if any(facts[key] != first[key] for facts in all_facts for key in ENCODING):
        raise UserError(
            "the teachers do not read titles alike: take trainings of one BERT with one --max-length and truncation"
        )
    config.teacher_sha256, config.max_length = tuple(map(sha256, paths)), first["max_length"]
    tokenizer = Tokenizer.from_facts(first)
    check_coverage(tokenizer, titles["train"].texts + unlabeled, paths[0])
    labelled = title_batches(titles["train"], tokenizer, config.batch_size)
    parts = [labelled]
    if unlabeled:
        without = Titles(unlabeled, [NO_LABEL] * len(unlabeled))
        parts.append(title_batches(without, tokenizer, config.batch_size))
    if config.augment:
        copies = augment(labelled.columns["input_ids"], config.augment, tokenizer.mask_id, config.seed)
        columns = {"labels": [NO_LABEL] * len(copies), "input_ids": copies}
        parts.append(Batches(columns, labelled.pads, config.batch_size))

    def judge(teacher: BertClassifier, teacher_sha256: str) -> RowLogits:
        cache, logits_fn = config.logits_dir or config.save_dir / "teacher_logits", logits_of(teacher, devices)
        return RowLogits.join([cached_logits(cache, teacher_sha256, (len(labels),), part, logits_fn) for part in parts])

    logits = RowLogits.mean([judge(*each) for each in zip(teachers, config.teacher_sha256, strict=True)])
    columns = {name: [value for part in parts for value in part.columns[name]] for name in labelled.columns}
    batches = Batches(columns, labelled.pads, config.batch_size, config.seed)
    fingerprint = lineage.data_fingerprint(labels, labelled.sha256())
    return Lesson(teachers[0], all_facts, tokenizer, titles, batches, logits, fingerprint)


def build_student(teacher: BertClassifier, bert_layers: int | None, start: Start) -> nn.Module:
    """A BiLSTM that starts from the teacher's token embeddings, or a BERT of fewer layers (see `start_student`)."""
    if bert_layers is None:
        embeddings = teacher.bert.get_input_embeddings().weight
        return BiLSTMClassifier.from_embeddings(embeddings, teacher.classifier.out_features)
    weights, architecture = start_student(teacher.state_dict(), teacher.architecture, bert_layers, start)
    return BertClassifier.from_architecture(architecture, weights)


def distil(config: DistillConfig, stage: str, loss: DistilLoss, deploy: bool = True) -> None:
    """Train a student, write its files, and say how good it is.

    Args:
        config: the knobs; what is None in it is filled in.
        stage: "hard" or "soft".
        loss: of the student's and the teachers' logits.
        deploy: False for a student that is only to be compared: no ONNX file is made, and test.txt is not read.
    """
    if deploy:
        import_onnx()
    artefact = config.save_dir / f"{'bert' if config.bert_layers else 'bilstm'}_{stage}_distill.pth"
    if config.resume and has_finished(artefact):
        return
    devices = Devices.alone(config.device, config.precision)
    run_state = RunState(artefact)
    with run_state.claim(config.output / artefact.stem):
        _distil(config, stage, loss, deploy, run_state, devices)


def _distil(
    config: DistillConfig, stage: str, loss: DistilLoss, deploy: bool, run_state: RunState, devices: Devices
) -> None:
    artefact = run_state.artefact
    started = time.perf_counter()
    lesson = prepare(config, devices)
    of_teacher, titles, batches = lesson.teacher_facts[0], lesson.titles, lesson.batches
    config.num_epochs = config.num_epochs or default_epochs(len(batches))
    config.learning_rate = config.learning_rate or (
        of_teacher["config"]["learning_rate"] if config.bert_layers else STUDENT_RATE
    )
    torch.manual_seed(config.seed)
    student = build_student(lesson.teacher, config.bert_layers, config.start).to(devices.device)
    if config.gradient_checkpointing and config.bert_layers:
        student.bert.activation_checkpointing_enable()
    size, teacher_size = (sum(p.numel() for p in model.parameters()) for model in (student, lesson.teacher))
    rows = len(batches.lengths)
    print(f"student of {size:,} parameters, {size / teacher_size:.0%} of the teacher's; {rows} titles, ")
    print(f"{config.num_epochs} epochs, peak learning rate {config.learning_rate:g}, {devices}")
    preparing = time.perf_counter() - started

    names = ("dev", "test") if deploy and "test" in titles else ("dev",)
    held_out = {name: title_batches(titles[name], lesson.tokenizer, config.batch_size) for name in names}

    def score(model: nn.Module, split: str = "dev") -> dict[str, Any]:
        return score_module(model, held_out[split], of_teacher["labels"], devices)

    run_state.identity |= {"class names": of_teacher["labels"], "dev rows": held_out["dev"].sha256()}
    loss_fn = taught(loss, lesson.logits.to(devices.device), row_units)
    fitted = fit(student, batches, loss_fn, score, config, devices, run_state, config.output / artefact.stem, BEST_BY)
    metrics = {"dev": fitted.best["metrics"], "test": score(student, "test") if "test" in held_out else None}
    training = {"rows": rows, "step": fitted.best["step"], "seconds": round(fitted.seconds)}
    training["preparing"] = round(preparing)
    name, parent = f"{stage}_bert" if config.bert_layers else stage, config.teacher_sha256[0]
    facts = new_facts(
        name, student, of_teacher["labels"], lesson.tokenizer, config.plain(), metrics, training, parent, BEST_BY
    )
    licence = " and ".join(dict.fromkeys(map(licence_of, lesson.teacher_facts)))
    facts |= {"data_sha256": lesson.data_sha256, "lineage": of_teacher.get("lineage"), "licence": licence}
    facts["temperature"] = fit_temperature(forward_rows(student, held_out["dev"], devices), held_out["dev"], row_units)
    onnx = artefact.with_suffix(ONNX)

    def then() -> None:
        export(student, onnx, facts)
        lineage.descend(MODELS, artefact, facts)

    finish(artefact, student, facts, run_state, made_from(artefact, MODELS), then if deploy else None)
    split = "test" if metrics["test"] else "dev"
    print(metrics_table(metrics[split]))
    print(f"{split} {in_words(metrics[split], BEST_BY)}; trained in {fitted.seconds:.0f} s; ", end="")
    saved = f"{artefact} and {onnx.name}" if deploy else artefact
    print(f"saved {saved} (step {fitted.best['step']}, the best on dev)")
    for teacher in lesson.teacher_facts:
        if (theirs := teacher["metrics"].get(split)) is not None:
            print(f"the teacher: {split} {in_words(theirs, BEST_BY)}")
