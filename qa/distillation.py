"""Distil a trained reader into a smaller one: the student learns where the teacher thinks that answers begin and end.

    python -m qa.distillation                                         # half of the teacher's layers, evenly spread
    python -m qa.distillation --bert-layers 2 --start first           # its first two layers; or: random
    python -m qa.distillation --model a/bert_qa.pt b/bert_qa.pt       # several teachers: the mean of what they say
    python -m qa.distillation --alpha 0 --save-dir models_save/alone  # no teacher: the same student, to compare with
    python -m qa.distillation --resume                                # go on after Ctrl-C, a kill or a power cut

The loss, the mean over the starts and ends of all windows, is alpha · T² · KL(teacher / T || student / T) over the
places of the window + (1 - alpha) · cross-entropy to the true place (Hinton et al. 2015). The teachers' logits are
computed once and kept; several teachers are as a rule the same training with other seeds. Writes
models_save/qa/bert_soft_distill.pth (the state with the best F1 on dev), and the same as .onnx, which predicts without
torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from core.bert.folder import finetune_defaults, read_tokenizer, require_files
from core.bert.hub import located, read_licence
from core.compression.distil import start_student, taught
from core.compression.export import export, import_onnx
from core.compression.losses import distillation_loss
from core.compression.teacher_cache import RowLogits, cached_logits, logits_of
from core.console import UserError, parse, require_one_or_more, require_share, run
from core.files import sha256
from core.model_files import lineage
from core.model_files.facts import Facts, licence_of, new_facts
from core.model_files.find import find_model
from core.model_files.module import load_module
from core.model_files.names import ONNX, made_from
from core.text.tokenizer import Tokenizer
from core.training.device import Devices
from core.training.loop import fit
from core.training.resume import RunState, finish
from core.training.stage import run_stage, schedule
from core.training.units import count_labels
from qa.data import batches, read_data, span_units
from qa.metrics import BEST_BY
from qa.model import LABELS, BertReader
from qa.names import MODELS, STUDENT
from qa.predict import NAME, QaPredictor
from qa.train import TrainConfig, complete, judge_on_dev, prepare, tell

STARTS = ("random", "first", "spread")


@dataclass
class DistillConfig(TrainConfig):
    """Knobs of distillation."""

    # The teacher brings its tokenizer and its length: no flags here.
    bert_path: None = field(init=False, default=None)
    max_length: int = field(init=False, default=TrainConfig.max_length)
    adapt_minutes: None = field(init=False, default=None)
    cloze: int = field(init=False, default=0)
    teacher_sha256: tuple[str, ...] = field(init=False, default=())  # a run is not resumed with other teachers
    logits_dir: Path | None = field(init=False, default=None)  # where teachers' logits are kept; None: in save_dir

    model: tuple[str, ...] = ("teacher",)
    """Name (teacher) or path of the reader to learn from; of several, the mean of their logits is learned."""
    save_dir: Path = STUDENT.parent
    """Folder that the student is written to."""
    bert_layers: int | None = None
    """Layers of the student. None: half of the teacher's, or all of a folder's."""
    start: str = "spread"
    """What the student starts from: random, the teacher's first layers, evenly spread ones, or a folder with a BERT of
    the teacher's vocabulary."""
    temperature: float = 2.0
    """T: both models' logits are divided by it; 2 to 5 show more of the unlikely places."""
    alpha: float = 0.7
    """Weight of the soft loss, 0 to 1; the rest is that of the true places. 0: the student learns alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_or_more(self, "bert_layers")
        require_share(self, "alpha")
        if not 0 < self.temperature < float("inf"):
            raise UserError(f"--temperature is {self.temperature}: it must be above 0; 2 to 5 are usual")


def read_teacher(path: Path) -> tuple[BertReader, Facts]:
    """Open a teacher.

    Raises:
        UserError: it is INT8, or of another task.
    """
    model, facts = load_module(path, QaPredictor.builds)
    QaPredictor.check_task(facts, path)
    if facts["architecture"].get("quantization"):
        raise UserError(f"{path} is INT8: distil from the FP32 checkpoint that it was made from")
    print(f"teacher: {path}")
    return model, facts


def build_student(config: DistillConfig, teacher: BertReader, facts: Facts) -> BertReader:
    """The student as it begins.

    Raises:
        UserError: the start is none, has fewer layers than are asked for, or other tokens than the teacher.
    """
    if config.start in STARTS:
        source, what = teacher, "the teacher"
        config.bert_layers = layers = config.bert_layers or max(1, teacher.bert.config.num_hidden_layers // 2)
    else:
        if not (folder := located(Path(config.start))).is_dir():
            raise UserError(f"--start is {config.start}: it must be {', '.join(STARTS)}, or a folder with a BERT")
        require_files(folder)
        if read_tokenizer(folder, facts["max_length"]).vocab != facts["vocab"]:
            raise UserError(f"{folder} has another vocabulary than the teacher, so windows differ: take one with it")
        config.start, what = folder.as_posix(), str(folder)
        source = BertReader.from_pretrained(folder, teacher.reads)
        layers = config.bert_layers or source.bert.config.num_hidden_layers
    if layers > (present := source.bert.config.num_hidden_layers):
        raise UserError(f"--bert-layers {layers} is more than the {present} layers of {what}: lower it")
    start = config.start if config.start in STARTS else "spread"
    weights, architecture = start_student(source.state_dict(), source.architecture, layers, start)
    return BertReader.from_architecture(architecture, weights)


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
    run_stage(config, artefact, f"qa_{artefact.stem}", partial(_distil, config, deploy))


def _distil(config: DistillConfig, deploy: bool, run_state: RunState, devices: Devices) -> None:
    artefact = run_state.artefact
    splits = read_data(config.data_dir, config.limit)
    paths = [find_model(name, MODELS, onnx=False) for name in config.model]
    teachers, all_facts = map(list, zip(*map(read_teacher, paths), strict=True))
    facts = all_facts[0]
    if any((other["vocab"], other["max_length"]) != (facts["vocab"], facts["max_length"]) for other in all_facts):
        raise UserError("the teachers read other tokens or windows: take trainings of the same encoder and length")
    config.teacher_sha256, config.max_length = tuple(map(sha256, paths)), facts["max_length"]
    tokenizer = Tokenizer.from_facts(facts)
    torch.manual_seed(config.seed)
    student = build_student(config, teachers[0], facts)

    rows = batches(splits["train"], tokenizer, config.batch_size, config.seed)
    cache = config.logits_dir or config.save_dir / "teacher_logits"
    judged = [
        cached_logits(cache, sha, (len(LABELS),), rows, logits_of(teacher, devices), per_token=True)
        for teacher, sha in zip(teachers, config.teacher_sha256, strict=True)
    ]
    size, whole = (sum(p.numel() for p in model.parameters()) for model in (student, teachers[0]))
    epochs, rate = facts["config"].get("num_epochs") or 4, facts["config"].get("learning_rate") or 5e-5
    if config.start not in STARTS:
        rate = finetune_defaults(Path(config.start), len(splits["train"]))[1]
    config.num_epochs, config.learning_rate = config.num_epochs or epochs, config.learning_rate or rate
    print(f"student of {size:,} parameters, {size / whole:.0%} of the teacher's; {len(rows.lengths)} windows, ", end="")
    print(schedule(config, devices))

    prepare(student, config, devices)
    made = new_facts(
        "soft", student, LABELS, tokenizer, config.plain(), {}, None, config.teacher_sha256[0], BEST_BY, NAME
    )
    made["answers"] = dict(facts["answers"])
    run_state.identity["dev rows"] = batches(splits["dev"], tokenizer, config.batch_size).sha256()
    loss = partial(distillation_loss, temperature=config.temperature, alpha=config.alpha)
    loss_fn = taught(loss, RowLogits.mean(judged).to(devices.device), span_units)
    judge = partial(judge_on_dev, facts=made, splits=splits, devices=devices)
    reports = config.output / f"qa_{artefact.stem}"
    fitted = fit(student, rows, loss_fn, judge, config, devices, run_state, reports, BEST_BY, count_labels)
    complete(made, student, splits, devices, score_test=deploy)
    made["training"] = {
        "rows": len(splits["train"]),
        "step": fitted.best["step"],
        "seconds": round(fitted.seconds, 1),
    }
    licences = map(licence_of, all_facts)
    others = (read_licence(Path(config.start)),) if config.start not in STARTS else ()
    made |= {"data_sha256": lineage.data_fingerprint(LABELS, rows.sha256()), "lineage": facts.get("lineage")}
    made["licence"] = " and ".join(dict.fromkeys((*licences, *others)))
    onnx = artefact.with_suffix(ONNX)

    def then() -> None:
        export(student, onnx, made)
        lineage.descend(MODELS, artefact, made)

    finish(artefact, student, made, run_state, made_from(artefact, MODELS), then if deploy else None)
    saved = f"{artefact} and {onnx.name}" if deploy else artefact
    tell(made, f"trained in {fitted.seconds:.0f} s; saved {saved} (step {fitted.best['step']})")
    for other in all_facts:
        split = "test" if made["metrics"]["test"] else "dev"
        if theirs := other["metrics"].get(split):
            print(f"the teacher: {split} EM {theirs['em']:.4f}, F1 {theirs['f1']:.4f}")


if __name__ == "__main__":
    run(main)
