"""Distillation from BERT teachers: all that hard_label_distillation.py and soft_label_distillation.py share.

The teachers' logits are computed once and cached; then the student is trained by `fit`, with the loss that the stage
gives, on the labelled titles and, where there is one, a transfer set: unlabelled titles and augmented copies.
Several teachers teach what they say together: the student stands in for their ensemble (Hinton et al. 2015).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bert_classifer_model import BertClassifier
from bilstm_classifier import BiLSTMClassifier
from config import BEST_BY, MODELS, Config
from core.compression.distil import DistilLoss, Start, start_student, taught
from core.compression.export import export, import_onnx
from core.compression.teacher_cache import RowLogits
from core.console import UserError, require_one_or_more
from core.measure.calibration import fit_temperature
from core.measure.metrics import in_words, metrics_table
from core.model_files import lineage
from core.model_files.facts import new_facts
from core.model_files.names import ONNX, made_from
from core.tables.split import unseen
from core.text.decode import open_text
from core.text.names import name_key
from core.training.batches import Batches
from core.training.device import Devices
from core.training.loop import fit, forward_rows
from core.training.resume import RunState, finish
from core.training.stage import run_stage, schedule
from core.training.units import row_units
from teachers import Questions, Teachers, ask, open_teachers
from utils import Titles, read_data, score_module, title_batches

STUDENT_RATE = 2e-3  # peak learning rate of a BiLSTM
# A student is trained for so many updates, be its titles few or many, within so many passes over them.
UPDATES, MIN_EPOCHS, MAX_EPOCHS = 4000, 4, 40


@dataclass
class DistillConfig(Config):
    """Knobs of distillation."""

    # The first teacher brings its tokenizer and its length: these are no flags here.
    bert_path: None = field(init=False, default=None)
    max_length: int = field(init=False, default=Config.max_length)
    teacher_sha256: tuple[str, ...] = field(init=False, default=())  # a run is not resumed with other teachers
    logits_dir: Path | None = field(init=False, default=None)  # where the teachers' logits are kept; None: in save_dir

    model: tuple[str, ...] = ("teacher",)
    """Teachers: names (teacher, pruned) or paths of BERTs, and `linear`, the linear model, which is fitted at once. The
    student starts from the first BERT; of several, what they say together is learned."""
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
    """What a student learns from: `batches` of titles, and what the teachers say of them together, row by row."""

    teachers: Teachers
    weights: dict[str, float]  # what each of them counts for
    titles: dict[str, Titles]
    batches: Batches
    logits: RowLogits
    data_sha256: str  # of the labelled titles


def default_epochs(batches: int) -> int:
    """The passes over so many batches that suit a student."""
    return min(MAX_EPOCHS, max(MIN_EPOCHS, round(UPDATES / batches)))


def read_unlabeled(path: Path, labels: Sequence[str], titles: dict[str, Titles]) -> list[str]:
    """Read titles, one a line; repeated ones and those that stand in the labelled files are left out, near ones too.

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
    texts = unseen(lines, (text for split in titles.values() for text in split.texts))
    if not texts:
        raise UserError(f"{path} has no title that the labelled files lack: write others into it, one a line")
    left_out = len(lines) - len(texts)
    print(f"{path}: {len(texts)} titles ({left_out} left out: repeated, or in the labelled files, near ones too)")
    return texts


def prepare(config: DistillConfig, devices: Devices) -> Lesson:
    """Read data and teachers, and have them judge all titles, unless the cache has their answers.

    Raises:
        UserError: a file is missing or does not suit the others.
    """
    labels, titles = read_data(config.data_dir, config.limit)
    unlabeled = read_unlabeled(config.unlabeled, labels, titles) if config.unlabeled else []
    questions = Questions(titles, unlabeled, config.augment, config.seed, config.batch_size)
    teachers = open_teachers(config.model, config.data_dir, questions)
    layers = teachers.first.module.bert.config.num_hidden_layers
    if config.bert_layers and config.bert_layers > layers:
        raise UserError(f"--bert-layers {config.bert_layers} is more than the {layers} of {config.model[0]}: lower it")
    config.teacher_sha256, config.max_length = teachers.sha256, teachers.first.facts["max_length"]
    cache = config.logits_dir or config.save_dir / "teacher_logits"
    parts, logits, weights = ask(teachers, questions, cache, devices)
    columns = {name: [value for part in parts for value in part.columns[name]] for name in parts[0].columns}
    batches = Batches(columns, parts[0].pads, config.batch_size, config.seed)
    fingerprint = lineage.data_fingerprint(labels, parts[0].sha256())
    return Lesson(teachers, weights, titles, batches, logits, fingerprint)


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
    run_stage(config, artefact, artefact.stem, partial(_distil, config, stage, loss, deploy))


def _distil(
    config: DistillConfig, stage: str, loss: DistilLoss, deploy: bool, run_state: RunState, devices: Devices
) -> None:
    artefact = run_state.artefact
    started = time.perf_counter()
    lesson = prepare(config, devices)
    teacher, titles, batches = lesson.teachers.first, lesson.titles, lesson.batches
    of_teacher, tokenizer = teacher.facts, teacher.tokenizer
    config.num_epochs = config.num_epochs or default_epochs(len(batches))
    config.learning_rate = config.learning_rate or (
        of_teacher["config"]["learning_rate"] if config.bert_layers else STUDENT_RATE
    )
    torch.manual_seed(config.seed)
    student = build_student(teacher.module, config.bert_layers, config.start).to(devices.device)
    if config.gradient_checkpointing and config.bert_layers:
        student.bert.activation_checkpointing_enable()
    size, teacher_size = (sum(p.numel() for p in model.parameters()) for model in (student, teacher.module))
    rows = len(batches.lengths)
    print(f"student of {size:,} parameters, {size / teacher_size:.0%} of the teacher's; {rows} titles, ")
    print(schedule(config, devices))
    preparing = time.perf_counter() - started

    names = ("dev", "test") if deploy and "test" in titles else ("dev",)
    held_out = {name: title_batches(titles[name], tokenizer, config.batch_size) for name in names}

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
        name, student, of_teacher["labels"], tokenizer, config.plain(), metrics, training, parent, BEST_BY
    )
    facts |= {"data_sha256": lesson.data_sha256, "lineage": of_teacher.get("lineage")}
    facts |= {"licence": lesson.teachers.licence, "teachers": lesson.weights}
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
    for bert in lesson.teachers.berts:
        if (theirs := bert.facts["metrics"].get(split)) is not None:
            print(f"the teacher {bert.name}: {split} {in_words(theirs, BEST_BY)}")
