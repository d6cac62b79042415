"""Prune a BERT: set weights to zero, or cut out what matters least and train the rest again.

    python custom_pruning.py                                  # unstructured: 30 % of the query weights become zero
    python custom_pruning.py --amount 0.5 --scope all         # … half of all matrices of the encoder
    python custom_pruning.py --keep-flops 0.5                 # structured: half the encoder's arithmetic, really faster
    python custom_pruning.py --keep-layers 2 --prune-vocab    # fewer layers, and only the tokens that train.txt has
    python custom_pruning.py --keep-flops 0.5 --resume        # go on after Ctrl-C, a kill or a power cut

Writes models_save/pruned_model.pth or models_save/structured_pruned_model.pth, and what it cost and gained to
reports/pruning/report.json; of another task's model models_save/ner/ and reports/pruning/ner/, say. `--keep-flops`,
`--keep-layers` and `--prune-vocab` combine. Heads and neurons go in rounds, each with a short recovery by training, the
last with a full one; the unpruned model is the teacher.
"""

import copy
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from torch import nn

from config import MODELS, Config
from core.bert.shape import Architecture, Weights, describe_layers, encoder_flops
from core.compression.distil import taught
from core.compression.layers import cut_at_once, token_ids
from core.compression.losses import distillation_loss
from core.compression.pruning_report import describe, figures, unknown_characters
from core.compression.structured_pruning import choose_units, cut_units, plan_budgets, unit_importance
from core.compression.teacher_cache import cached_logits, logits_of
from core.compression.unstructured_pruning import prune_weights
from core.console import UserError, parse, require_one_or_more, run
from core.files import sha256, write_json
from core.measure.latency import compare_speed, spread_sample
from core.model_files import checkpoint, lineage
from core.model_files.facts import Facts, inputs_of, is_per_token, licence_of, new_facts
from core.model_files.find import find_model
from core.model_files.module import build_module, restore_module
from core.model_files.names import made_from
from core.model_files.predictor import Predictor
from core.task import Task, texts_of
from core.text.tokenizer import Tokenizer
from core.training.device import Devices, measured_on
from core.training.loop import MAY_CHANGE, fit, run_on
from core.training.recipes import cross_entropy
from core.training.resume import RunState, finish
from core.training.stage import run_stage, schedule
from tasks import own_folder, task_of

ROUNDS = 6  # in which heads and neurons are cut, judged anew in each
SHORT_RECOVERY = 0.1  # of the steps of the last recovery, after each round but it
SCORED_ROWS = 512  # that heads and neurons are judged by in each round
TIMED_ITEMS = 50  # before and after
TEMPERATURE, ALPHA = 2.0, 0.7  # of the recovery's distillation loss: the unpruned model is the teacher
ARTEFACTS = {False: "pruned_model.pth", True: "structured_pruned_model.pth"}  # by whether something is cut out
recovery_loss = partial(distillation_loss, temperature=TEMPERATURE, alpha=ALPHA)


@dataclass
class PruneConfig(Config):
    """Knobs of pruning."""

    minutes: None = field(init=False, default=None)  # no flag: a pruning of several rounds is counted in steps
    data_dir: Path | None = None
    """Folder with the labelled files. None: data, or that of the model's task in it, such as data/ner."""
    save_dir: Path | None = None
    """Folder that the pruned model is written to. None: models_save, or that of the model's task in it."""
    num_epochs: int | None = None
    """Passes over train.txt in the last recovery. None: as many as the model itself was trained for."""
    learning_rate: float | None = None
    """Peak learning rate of the recoveries. None: the one that the model itself was trained with."""
    model: str = "teacher"
    """Name (teacher, pruned) or path of the BERT to prune."""
    amount: float = 0.3
    """Unstructured: share of the weights in scope to set to zero, the smallest ones."""
    scope: Literal["query", "attention", "all"] = "query"
    """Unstructured: the query matrices of all layers, all matrices of the attention, or those of the FFN too."""
    keep_flops: float | None = None
    """Structured: share of the encoder's FLOPs to keep by cutting out attention heads and FFN neurons."""
    keep_layers: int | None = None
    """Structured: how many layers to keep, evenly spread."""
    prune_vocab: bool = False
    """Structured: cut out the embeddings of tokens that train.txt does not have; ASCII characters stay."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.amount < 1:
            raise UserError(f"--amount is {self.amount}: it must be above 0 and below 1, the share of weights to drop")
        if self.keep_flops is not None and not 0 < self.keep_flops < 1:
            raise UserError(f"--keep-flops is {self.keep_flops}: it must be above 0 and below 1, the share to keep")
        require_one_or_more(self, "keep_layers")
        if self.structured and (self.amount, self.scope) != (PruneConfig.amount, PruneConfig.scope):
            raise UserError("--amount and --scope set weights to zero, --keep-… and --prune-vocab cut: give one kind")

    @property
    def structured(self) -> bool:
        """Whether something is cut out, rather than set to zero."""
        return bool(self.keep_flops or self.keep_layers or self.prune_vocab)


@dataclass
class Original:
    """The model that is pruned: its file, module, facts, the task that it is for, and the name of its reports."""

    path: Path
    sha256: str
    model: nn.Module
    facts: Facts
    task: Task
    reports: str

    @classmethod
    def open(cls, path: Path) -> "Original":
        """Open a checkpoint.

        Raises:
            UserError: the file is not a sound checkpoint of an FP32 BERT.
        """
        state_dict, facts = checkpoint.load(path)
        task = task_of(facts)
        model = restore_module(path, state_dict, facts, task.predictor.builds)
        if "bert_config" not in facts["architecture"]:
            raise UserError(f"{path} is a student ({facts['stage']}): only a BERT can be pruned, name one with --model")
        if facts["architecture"].get("quantization"):
            raise UserError(f"{path} holds INT8 weights: prune the FP32 model first, then quantize the pruned one")
        return cls(path, sha256(path), model, facts, task, own_folder(Path("pruning"), task).as_posix())

    def build(self, architecture: Architecture, weights: Weights, devices: Devices) -> nn.Module:
        """A module of what is left of this one, on its device."""
        model = build_module(architecture, self.task.predictor.builds)
        model.load_state_dict(weights)
        return model.to(devices.device)

    def predictor(self, model: nn.Module, tokenizer: Tokenizer, devices: Devices) -> Predictor:
        """Whatever was made of this model, ready to predict."""
        return self.task.predictor({**self.facts, "vocab": tokenizer.vocab}, run_on(model, devices))


def cut_and_recover(
    original: Original,
    tokenizer: Tokenizer,
    splits: dict[str, Any],
    config: PruneConfig,
    devices: Devices,
    run_state: RunState,
    score: Callable[[nn.Module, Tokenizer], dict[str, Any]],
    seq_len: int,
) -> tuple[nn.Module, Tokenizer, dict[str, Any]]:
    """Cut and recover, round by round, down to the shape that was asked for.

    Returns the pruned model, its tokenizer, and facts about the training. `run_state` holds the model as it was last
    cut; the recovery that follows has a state of its own within it.
    """
    task, teacher = original.task, original.model
    weights = {name: tensor.cpu() for name, tensor in teacher.state_dict().items()}
    texts = texts_of(splits["train"].items) if config.prune_vocab else None
    batches = task.batches(splits["train"], tokenizer, config.batch_size, config.seed)
    ids = token_ids(batches.columns, inputs_of(teacher)) if config.prune_vocab else ()
    asked = (config.keep_layers, texts, ids)
    weights, architecture, tokenizer = cut_at_once(weights, teacher.architecture, tokenizer, *asked)
    budgets = [float("inf")] if config.keep_layers else []  # a round to recover from the loss of layers
    if config.keep_flops:
        goal = config.keep_flops * encoder_flops(teacher.architecture, seq_len)
        budgets += plan_budgets(architecture, goal, ROUNDS, seq_len)
    done, seconds, best = 0, 0.0, {"step": 0}
    if budgets:
        print(f"last recovery: {schedule(config, devices)}")
        cache, judge = config.save_dir / "teacher_logits", logits_of(teacher, devices)
        shape = (*getattr(teacher, "parts", ()), teacher.architecture["num_labels"])
        logits = cached_logits(cache, original.sha256, shape, batches, judge, is_per_token(teacher))
        loss_fn = taught(recovery_loss, logits.to(devices.device), task.units)
        batches = task.batches(splits["train"], tokenizer, config.batch_size, config.seed)
    if config.resume and run_state.exists():
        state = run_state.load()
        done, weights, architecture, seconds = (state[key] for key in ("round", "weights", "architecture", "seconds"))
    elif run_state.exists():
        print("a stopped run is discarded (--resume would have gone on with it)")
        run_state.drop()

    for number, budget in enumerate(budgets, start=1):
        if number < done:
            continue
        if number > done:
            if budget < encoder_flops(architecture, seq_len):
                model = original.build(architecture, weights, devices)
                sample = islice(batches.epoch(number), -(-SCORED_ROWS // config.batch_size))
                scores = unit_importance(model, sample, cross_entropy(task.units), task.count, devices.device)
                units = choose_units(scores, architecture, budget, seq_len)
                weights, architecture = cut_units(weights, architecture, units)
            state = {"round": number, "weights": weights, "architecture": architecture, "seconds": seconds}
            run_state.save(state)
            RunState(run_state.folder / f"round_{number - 1}").drop()
        print(f"round {number} of {len(budgets)}: {describe_layers(architecture)}")
        model = original.build(architecture, weights, devices)
        if config.gradient_checkpointing:
            model.bert.activation_checkpointing_enable()
        steps = config.max_steps or len(batches) * config.num_epochs
        if number < len(budgets):
            steps = max(1, round(SHORT_RECOVERY * steps))
        knobs, name = replace(config, max_steps=steps), f"round_{number}"
        own, reports = partial(score, tokenizer=tokenizer), config.output / original.reports / name
        inner, by = RunState(run_state.folder / name), task.best_by
        fitted = fit(model, batches, loss_fn, own, knobs, devices, inner, reports, by, task.count)
        weights = {name: tensor.cpu() for name, tensor in model.state_dict().items()}
        seconds, best = seconds + fitted.seconds, fitted.best
    training = {"rows": len(batches.lengths), "step": best["step"], "seconds": round(seconds)}
    return original.build(architecture, weights, devices), tokenizer, training


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(PruneConfig, argv, __doc__)
    original = Original.open(find_model(config.model, MODELS, onnx=False))
    config.data_dir = config.data_dir or own_folder(Config.data_dir, original.task)
    config.save_dir = folder = config.save_dir or own_folder(Path("models_save"), original.task)
    run_stage(config, folder / ARTEFACTS[config.structured], original.reports, partial(prune, config, original))


def prune(config: PruneConfig, original: Original, run_state: RunState, devices: Devices) -> None:
    """Prune a model, recover it by training, write it, and say what that cost and gained."""
    artefact = run_state.artefact
    facts, task, reports = original.facts, original.task, config.output / original.reports
    task.check_labels(facts, config.data_dir)
    splits = task.read_splits(config.data_dir, facts["labels"], config.limit)
    config.num_epochs = config.num_epochs or facts.get("config", {}).get("num_epochs") or 2
    config.learning_rate = config.learning_rate or facts.get("config", {}).get("learning_rate") or 5e-5
    config.max_length = facts["max_length"]
    timed = spread_sample(splits["dev"].items, TIMED_ITEMS)  # refuses dev data without anything to answer
    before = task.predictor(facts, run_on(original.model.to(devices.device), devices))
    tokenizer = kept = before.tokenizer
    seq_len = round(statistics.median(map(len, before.encode(splits["dev"].items).columns["input_ids"])))
    run_state.identity = {key: value for key, value in config.plain().items() if key not in MAY_CHANGE}
    files = [task.file(config.data_dir, name) for name in ("train", "dev")]
    run_state.identity |= {file.name: sha256(file) for file in files} | {"parent": original.sha256}

    def score(model: nn.Module, tokenizer: Tokenizer) -> dict[str, Any]:
        return task.score(original.predictor(model, tokenizer, devices), splits["dev"], None)

    report: dict[str, Any] = {"method": "structured" if config.structured else "unstructured"}
    report["model"], training = original.path.as_posix(), None
    if config.structured:
        model, kept, training = cut_and_recover(original, tokenizer, splits, config, devices, run_state, score, seq_len)
        report |= {name: getattr(config, name) for name in ("keep_flops", "keep_layers", "prune_vocab")}
        report |= unknown_characters([tokenizer, kept], texts_of(splits["dev"].items))
    else:
        model = copy.deepcopy(original.model)
        report |= {"scope": config.scope, "amount": config.amount, **prune_weights(model, config.amount, config.scope)}
    after = original.predictor(model, kept, devices)
    fitted = task.refit(after, splits["dev"])
    after = task.predictor({**after.facts, **fitted}, after.run)
    metrics = {"test": None} | {name: task.score(after, splits[name], None) for name in splits if name != "train"}
    knobs, parent, by, name = config.plain(), original.sha256, task.best_by, artefact.stem.removesuffix("_model")
    made = new_facts(name, model, facts["labels"], kept, knobs, metrics, training, parent, by, before.task)
    made |= {name: facts[name] for name in facts.keys() - made.keys()} | {"licence": licence_of(facts)} | fitted
    descend = partial(lineage.descend, task.models, artefact, made)
    finish(artefact, model, made, run_state, made_from(artefact, task.models), descend)
    times = [found["p50_ms"] for found in compare_speed([before.predict, after.predict], timed)]
    report |= {"training": training, **measured_on(devices.device), "seq_len": seq_len}
    parent_mb, pruned_mb = (path.stat().st_size / 1e6 for path in (original.path, artefact))
    report["before"] = figures(original.model, score(original.model, tokenizer), by, parent_mb, seq_len, times[0])
    report["after"] = figures(model, metrics["dev"], by, pruned_mb, seq_len, times[1])
    report["best_by"], report["ratio_p50"] = by, round(times[0] / times[1], 3)
    write_json(reports / "report.json", report)
    print(f"{describe(report)}\nsaved {artefact}; report.json is in {reports}")


if __name__ == "__main__":
    run(main)
