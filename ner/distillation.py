"""Distil a trained tagger into a smaller one: the student learns the teacher's probabilities of the tags.

    python -m ner.distillation                                         # half of the teacher's layers, evenly spread
    python -m ner.distillation --bert-layers 2 --start first           # its first two layers; or: random
    python -m ner.distillation --start distilbert-base-cased           # a Hugging Face folder: any BERT or DistilBERT
    python -m ner.distillation --unlabeled news.txt                    # texts that the teacher labels
    python -m ner.distillation --alpha 0 --save-dir models_save/alone  # no teacher: the same student, to compare with
    python -m ner.distillation --resume                                # go on after Ctrl-C, a kill or a power cut

The loss, the mean over the units (characters, words), is alpha · T² · KL(teacher / T || student / T) + (1 - alpha) ·
cross-entropy to the true tags, and to the teacher's where there are none (Hinton et al. 2015). The teachers' logits are
computed once and kept; several teachers (as a rule the same training with other seeds) teach their mean. Writes
models_save/ner/bert_soft_distill.pth (the state with the best entity F1 on dev), and the same as .onnx, which predicts
without torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from core.bert.folder import finetune_defaults, read_tokenizer, require_files
from core.bert.hub import located, read_licence
from core.compression.distil import start_student, taught
from core.compression.export import export, import_onnx
from core.compression.losses import distillation_loss
from core.console import UserError, parse, require_one_or_more, run
from core.files import sha256
from core.measure.metrics import in_words
from core.model_files import lineage
from core.model_files.facts import Facts, licence_of, new_facts
from core.model_files.find import find_model
from core.model_files.module import load_module
from core.model_files.names import ONNX, made_from
from core.text.tokenizer import Tokenizer, check_coverage
from core.training.device import Devices
from core.training.loop import fit, run_on
from core.training.resume import RunState, finish
from core.training.stage import run_stage, schedule
from core.training.units import count_labels, token_units
from ner.data import batches, read_data
from ner.lesson import add_unlabeled, judge, read_unlabeled, spread_out
from ner.metrics import BEST_BY, strings
from ner.model import BertTagger
from ner.names import MODELS, STUDENT
from ner.predict import NAME, TASK, NerPredictor
from ner.tags import types_of
from ner.train import TrainConfig, choose_reads, score_split, tell
from ner.units import encode

STARTS = ("random", "first", "spread")
LONGER = 2  # a student learns for so many of the teacher's epochs (Beyer et al. 2022, "A good teacher is patient")


@dataclass
class DistillConfig(TrainConfig):
    """Knobs of distillation."""

    # The teacher, or the folder that a student starts from, brings its tokenizer and its length: no flags here.
    bert_path: None = field(init=False, default=None)
    max_length: int = field(init=False, default=TrainConfig.max_length)
    teacher_sha256: tuple[str, ...] = field(init=False, default=())  # a run is not resumed with other teachers
    logits_dir: Path | None = field(init=False, default=None)  # where teachers' logits are kept; None: in save_dir

    num_epochs: int | None = None
    """Passes over the training data. None: twice as many as the teacher's."""
    model: tuple[str, ...] = ("teacher",)
    """Name (teacher) or path of the tagger to learn from; of several, the mean of their logits is learned."""
    save_dir: Path = STUDENT.parent
    """Folder that the student is written to."""
    bert_layers: int | None = None
    """Layers of the student. None: half of the teacher's, or all of a folder's."""
    reads: Literal["auto", "characters", "words", "both"] = "auto"
    """What the student reads, whatever its teacher does. auto: words if it can, which is the fastest."""
    start: str = "spread"
    """What the student starts from: random, the teacher's first layers, evenly spread ones, or a folder with a BERT."""
    unlabeled: Path | None = None
    """Further texts to learn from, one a line, without labels (UTF-8 or GB18030): the teacher labels them."""
    temperature: float = 2.0
    """T: both models' logits are divided by it; 2 to 5 show more of the unlikely tags."""
    alpha: float = 0.7
    """Weight of the soft loss, 0 to 1; the rest is that of the true tags. 0: the student learns alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_or_more(self, "bert_layers")
        if not 0 < self.temperature < float("inf"):
            raise UserError(f"--temperature is {self.temperature}: it must be above 0; 2 to 5 are usual")
        if not 0 <= self.alpha <= 1:
            raise UserError(f"--alpha is {self.alpha}: it must be 0 to 1; 0.5 to 0.9 are usual")


def read_teacher(path: Path, types: Sequence[str]) -> tuple[BertTagger, Facts]:
    """Open a teacher and check that it suits the data.

    Raises:
        UserError: it is INT8, of another task, or knows other types.
    """
    model, facts = load_module(path, NerPredictor.builds)
    NerPredictor.check_task(facts, path)
    if facts["architecture"].get("quantization"):
        raise UserError(f"{path} is INT8: distil from the FP32 checkpoint that it was made from")
    if set(types) - set(own := types_of(facts["labels"])):
        raise UserError(f"{path} knows the types {' '.join(own)}, the data has {' '.join(types)}: take data that fit")
    print(f"teacher: {path}")
    return model, facts


def build_student(config: DistillConfig, teacher: BertTagger, facts: Facts) -> tuple[BertTagger, Tokenizer]:
    """The student as it begins, and its tokenizer.

    Raises:
        UserError: the start is none, or has fewer layers than are asked for.
    """
    present = teacher.bert.config.num_hidden_layers
    if config.start in STARTS:
        config.bert_layers = layers = config.bert_layers or max(1, present // 2)
        _require_layers(layers, present, "the teacher")
        tokenizer = Tokenizer.from_facts(facts)
        weights, architecture = start_student(teacher.state_dict(), teacher.architecture, layers, config.start)
        architecture["reads"] = choose_reads(tokenizer, config.reads, "words")
        student = BertTagger.from_architecture(architecture)
        if weights is not None:  # of parts that only one of them has, it takes none
            own = student.state_dict()
            student.load_state_dict(own | {name: value for name, value in weights.items() if name in own})
        return student, tokenizer
    if not (folder := located(Path(config.start))).is_dir():
        raise UserError(f"--start is {config.start}: it must be {', '.join(STARTS)}, or a folder with a BERT")
    require_files(folder)
    config.start = folder.as_posix()
    tokenizer = read_tokenizer(folder, facts["max_length"])
    student = BertTagger.from_pretrained(folder, len(facts["labels"]), choose_reads(tokenizer, config.reads, "words"))
    if config.bert_layers:
        _require_layers(config.bert_layers, student.bert.config.num_hidden_layers, str(folder))
        cut = start_student(student.state_dict(), student.architecture, config.bert_layers, "spread")
        student = BertTagger.from_architecture(cut[1], cut[0])
    return student, tokenizer


def _require_layers(asked: int, present: int, what: str) -> None:
    if asked > present:
        raise UserError(f"--bert-layers {asked} is more than the {present} layers of {what}: lower it")


def main(argv: Sequence[str] | None = None) -> None:
    distil(parse(DistillConfig, argv, __doc__))


def distil(config: DistillConfig, deploy: bool = True) -> None:
    """Train a student and write its files.

    Args:
        config: the knobs; what is None in it is filled in.
        deploy: False for a student that is only to be compared: no ONNX file is made, and test is not read.
    """
    if deploy:
        import_onnx()
    artefact = config.save_dir / STUDENT.name
    run_stage(config, artefact, f"ner_{artefact.stem}", partial(_distil, config, deploy))


def _distil(config: DistillConfig, deploy: bool, run_state: RunState, devices: Devices) -> None:
    artefact = run_state.artefact
    types, splits = read_data(config.data_dir, config.limit)
    paths = [find_model(name, MODELS, onnx=False) for name in config.model]
    teachers, all_facts = map(list, zip(*(read_teacher(path, types) for path in paths), strict=True))
    facts, labels = all_facts[0], all_facts[0]["labels"]
    if any(other["labels"] != labels for other in all_facts):
        raise UserError("the teachers know different tags: take trainings on the same data")
    for split in splits.values():
        split.labels = labels
    config.teacher_sha256 = tuple(map(sha256, paths))
    torch.manual_seed(config.seed)
    student, tokenizer = build_student(config, teachers[0], facts)
    config.max_length = tokenizer.max_length
    texts = splits["train"].items + (read_unlabeled(config.unlabeled, splits) if config.unlabeled else [])
    check_coverage(tokenizer, texts, Path(config.start if config.start not in STARTS else paths[0]))

    cache = config.logits_dir or config.save_dir / "teacher_logits"
    judged = [
        judge(*each, texts, cache, devices) for each in zip(teachers, config.teacher_sha256, all_facts, strict=True)
    ]
    logits = spread_out([np.mean(each, axis=0) for each in zip(*judged, strict=True)], encode(texts, tokenizer))
    rows = batches(splits["train"], tokenizer, config.batch_size, config.seed)
    own = rows.sha256()
    if config.unlabeled:
        rows = add_unlabeled(rows, texts[len(splits["train"]) :], tokenizer)
    size, whole = (sum(p.numel() for p in model.parameters()) for model in (student, teachers[0]))
    epochs, rate = LONGER * (facts["config"].get("num_epochs") or 4), facts["config"].get("learning_rate") or 5e-5
    if config.start not in STARTS:
        rate = finetune_defaults(Path(config.start), len(texts))[1]
    config.num_epochs, config.learning_rate = config.num_epochs or epochs, config.learning_rate or rate
    print(f"student of {size:,} parameters, {size / whole:.0%} of the teacher's; {len(texts)} texts, ", end="")
    print(schedule(config, devices))

    student.to(devices.device)
    if config.gradient_checkpointing:
        student.bert.activation_checkpointing_enable()
    parent = config.teacher_sha256[0]
    made = new_facts("soft", student, labels, tokenizer, config.plain(), {}, None, parent, BEST_BY, NAME)
    dev_rows = batches(splits["dev"], tokenizer, config.batch_size)
    run_state.identity |= {"tags": labels, "dev rows": dev_rows.sha256()}
    loss = partial(distillation_loss, temperature=config.temperature, alpha=config.alpha)

    def on_dev(model: nn.Module) -> dict[str, Any]:
        return score_split(model, made, splits["dev"], devices)

    loss_fn, reports = taught(loss, logits.to(devices.device), token_units), config.output / f"ner_{artefact.stem}"
    fitted = fit(student, rows, loss_fn, on_dev, config, devices, run_state, reports, BEST_BY, count_labels)
    names, known = (
        [name for name in ("dev", "test") if name in splits and (deploy or name == "dev")],
        strings(splits["train"]),
    )
    scores = {name: score_split(student, made, splits[name], devices, known=known) for name in names}
    made["metrics"] = {"dev": None, "test": None} | scores
    made["temperature"] = TASK.temperature(NerPredictor(made, run_on(student, devices)), splits["dev"])
    made["training"] = {"rows": len(texts), "step": fitted.best["step"], "seconds": round(fitted.seconds, 1)}
    licences = [
        *map(licence_of, all_facts),
        *((read_licence(Path(config.start)),) if config.start not in STARTS else ()),
    ]
    made |= {"data_sha256": lineage.data_fingerprint(labels, own), "lineage": facts.get("lineage")}
    made["licence"] = " and ".join(dict.fromkeys(licences))
    onnx = artefact.with_suffix(ONNX)

    def then() -> None:
        export(student, onnx, made)
        lineage.descend(MODELS, artefact, made)

    finish(artefact, student, made, run_state, made_from(artefact, MODELS), then if deploy else None)
    saved = f"{artefact} and {onnx.name}" if deploy else artefact
    tell(made, names[-1], f"trained in {fitted.seconds:.0f} s; saved {saved} (step {fitted.best['step']})")
    for other in all_facts:
        if (theirs := other["metrics"].get(names[-1])) is not None:
            print(f"the teacher: {names[-1]} entity {in_words(theirs, BEST_BY)}")


if __name__ == "__main__":
    run(main)
