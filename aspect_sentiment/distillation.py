"""Distil trained models into a smaller one: the student learns what its teachers think of every aspect.

    python -m aspect_sentiment.distillation                               # half of the teacher's layers
    python -m aspect_sentiment.distillation --unlabeled reviews.csv       # reviews that the teachers label
    python -m aspect_sentiment.distillation --model a.pt b.pt linear      # several teach their mean
    python -m aspect_sentiment.distillation --alpha 0 --save-dir models_save/alone    # no teacher, to compare with
    python -m aspect_sentiment.distillation --resume                      # go on after Ctrl-C, a kill or a power cut

The loss, the mean over the pairs of review and aspect, is alpha · T² · KL(teacher / T || student / T) + (1 - alpha) ·
cross-entropy to the true state, and to the teacher's where there is none (Hinton et al. 2015). Writes
models_save/aspect_sentiment/bert_soft_distill.pth (the state with the best pooled F1 on dev), and the same as .onnx,
which predicts without torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from aspect_sentiment.data import Reviews, batches, read_data
from aspect_sentiment.lesson import LINEAR, Judged, check_teacher, judge, judge_linear, read_unlabeled, student_rows
from aspect_sentiment.metrics import BEST_BY
from aspect_sentiment.model import BertAspects
from aspect_sentiment.names import MODELS, NAME, STUDENT
from aspect_sentiment.predict import SentimentPredictor
from aspect_sentiment.report import score
from aspect_sentiment.texts import ReviewTokenizer
from aspect_sentiment.train import TrainConfig, fit_decisions, predictor_of, tell
from core.compression.distil import start_student, taught
from core.compression.export import export, import_onnx
from core.compression.losses import distillation_loss
from core.console import UserError, parse, require_one_or_more, require_share, run
from core.files import sha256
from core.model_files import checkpoint, lineage
from core.model_files.facts import Facts, licence_of, new_facts
from core.model_files.find import find_model
from core.model_files.module import load_module
from core.model_files.names import ONNX, made_from
from core.training.device import Devices
from core.training.loop import fit
from core.training.resume import RunState, finish
from core.training.stage import run_stage, schedule
from core.training.units import count_labels, token_units


@dataclass
class DistillConfig(TrainConfig):
    """Knobs of distillation."""

    # The teacher brings its tokenizer, its length and its pooling: no flags here.
    bert_path: None = field(init=False, default=None)
    max_length: None = field(init=False, default=None)
    long_texts: str = field(init=False, default=TrainConfig.long_texts)
    pooling: str = field(init=False, default=TrainConfig.pooling)
    loss: str = field(init=False, default=TrainConfig.loss)
    convert: bool = field(init=False, default=False)
    teacher_sha256: tuple[str, ...] = field(init=False, default=())  # a run is not resumed with other teachers

    model: tuple[str, ...] = ("teacher",)
    """Names (teacher, linear) or paths of the models to learn from; of several, the mean is learned. The first one is
    a BERT, which the student starts from."""
    save_dir: Path = STUDENT.parent
    """Folder that the student is written to."""
    bert_layers: int | None = None
    """Layers of the student. None: half of the teacher's."""
    start: Literal["random", "first", "spread"] = "spread"
    """What the student starts from: random, the teacher's first layers, or evenly spread ones."""
    unlabeled: Path | None = None
    """Further reviews to learn from, a table or a text file with one a line: the teachers label them."""
    min_confidence: float = 0.0
    """Of a review without labels, leave aspects out that the teachers are less sure of, 0 to 1."""
    temperature: float = 2.0
    """T: both models' logits are divided by it; 2 to 5 show more of the unlikely states."""
    alpha: float = 0.7
    """Weight of the soft loss, 0 to 1; the rest is that of the true states. 0: the student learns alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_or_more(self, "bert_layers")
        require_share(self, "alpha", "min_confidence")
        if not 0 < self.temperature < float("inf"):
            raise UserError(f"--temperature is {self.temperature}: it must be above 0; 2 to 5 are usual")
        if self.model[0] == LINEAR:
            raise UserError("--model begins with linear: name the BERT that the student starts from first")


def build_student(config: DistillConfig, teacher: nn.Module) -> BertAspects:
    """The student as it begins.

    Raises:
        UserError: it has more layers than its teacher.
    """
    present = teacher.bert.config.num_hidden_layers
    config.bert_layers = layers = config.bert_layers or max(1, present // 2)
    if layers > present:
        raise UserError(f"--bert-layers {layers} is more than the {present} layers of the teacher: lower it")
    weights, architecture = start_student(teacher.state_dict(), teacher.architecture, layers, config.start)
    architecture.pop("offsets", None)  # which are fitted to the student's own answers
    return BertAspects.from_architecture(architecture, weights)


def ask_teachers(
    config: DistillConfig, paths: Sequence[Path], texts: Sequence[str], splits: dict[str, Reviews], devices: Devices
) -> Any:
    """(texts, aspects, states) the mean of the teachers' log-probabilities."""
    judged, dev, left = Judged(), splits["dev"], list(zip(paths, config.teacher_sha256, strict=True))
    cache = config.save_dir / "teacher_logits"
    for name in config.model:
        if name == LINEAR:
            both = judge_linear(splits["train"], [*texts, *dev.items])
        else:
            path, sha = left.pop(0)
            both = judge(path, sha, [*texts, *dev.items], cache, devices)
        judged.add(both[: len(texts)], both[len(texts) :], name, dev)
    return judged.mean(dev)


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
    run_stage(config, artefact, f"aspect_{artefact.stem}", partial(_distil, config, deploy))


def _distil(config: DistillConfig, deploy: bool, run_state: RunState, devices: Devices) -> None:
    artefact = run_state.artefact
    splits = read_data(config.data_dir, config.limit)
    train, dev = splits["train"], splits["dev"]
    paths = [find_model(name, MODELS, onnx=False) for name in config.model if name != LINEAR]
    all_facts: list[Facts] = [checkpoint.load(path)[1] for path in paths]
    for path, found in zip(paths, all_facts, strict=True):
        check_teacher(found, path, train)
    config.teacher_sha256 = tuple(map(sha256, paths))
    facts, tokenizer = all_facts[0], ReviewTokenizer.from_facts(all_facts[0])
    more = read_unlabeled(config.unlabeled, splits) if config.unlabeled else []
    logs = ask_teachers(config, paths, [*train.items, *more], splits, devices)

    torch.manual_seed(config.seed)
    teacher = load_module(paths[0], SentimentPredictor.builds)[0]
    student = build_student(config, teacher).to(devices.device)
    sizes = (config.batch_size, config.seed)
    rows, logits = student_rows(train, more, logs, tokenizer, sizes, config.min_confidence)
    size, whole = (sum(p.numel() for p in model.parameters()) for model in (student, teacher))
    config.num_epochs = config.num_epochs or facts["config"].get("num_epochs") or 4
    config.learning_rate = config.learning_rate or facts["config"].get("learning_rate") or 5e-5
    print(f"student of {size:,} parameters, {size / whole:.0%} of the teacher's; {len(rows.lengths)} rows, ", end="")
    print(schedule(config, devices))
    if config.gradient_checkpointing:
        student.bert.activation_checkpointing_enable()
    made = new_facts(
        "soft", student, train.labels, tokenizer, config.plain(), {}, None, config.teacher_sha256[0], BEST_BY, NAME
    )
    run_state.identity |= {"states": train.labels, "aspects": train.aspects}
    run_state.identity["dev rows"] = batches(dev, tokenizer, config.batch_size).sha256()
    loss = partial(distillation_loss, temperature=config.temperature, alpha=config.alpha)
    loss_fn, reports = taught(loss, logits.to(devices.device), token_units), config.output / f"aspect_{artefact.stem}"

    def on_dev(model: nn.Module) -> dict[str, Any]:
        return score(predictor_of(model, made, devices), dev)

    fitted = fit(student, rows, loss_fn, on_dev, config, devices, run_state, reports, BEST_BY, count_labels)
    fit_decisions(student, made, dev, devices)
    names = [name for name in ("dev", "test") if name in splits and (deploy or name == "dev")]
    predictor = predictor_of(student, made, devices)
    made["metrics"] = {"dev": None, "test": None} | {name: score(predictor, splits[name]) for name in names}
    made["training"] = {"rows": len(train) + len(more), "step": fitted.best["step"]}
    made["training"]["seconds"] = round(fitted.seconds, 1)
    made["data_sha256"] = lineage.data_fingerprint([*train.labels, *train.aspects], rows.sha256())
    made["lineage"] = facts.get("lineage")
    made["licence"] = " and ".join(dict.fromkeys(map(licence_of, all_facts)))
    onnx = artefact.with_suffix(ONNX)

    def then() -> None:
        export(student, onnx, made)
        lineage.descend(MODELS, artefact, made)

    finish(artefact, student, made, run_state, made_from(artefact, MODELS), then if deploy else None)
    saved = f"{artefact} and {onnx.name}" if deploy else artefact
    tell(made, names[-1], f"trained in {fitted.seconds:.0f} s; saved {saved} (step {fitted.best['step']})")
    for other in all_facts:
        if (theirs := other["metrics"].get(names[-1])) is not None:
            print(f"the teacher: {names[-1]} pooled-F1 {theirs[BEST_BY]:.4f}")


if __name__ == "__main__":
    run(main)
