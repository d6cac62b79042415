"""Prune a BERT: set weights to zero, or cut out what matters least and train the rest again.

    python custom_pruning.py                                  # unstructured: 30 % of the query weights become zero
    python custom_pruning.py --amount 0.5 --scope all         # … half of all matrices of the encoder
    python custom_pruning.py --keep-flops 0.5                 # structured: half the encoder's arithmetic, really faster
    python custom_pruning.py --keep-layers 2 --prune-vocab    # fewer layers, and only the tokens that train.txt has
    python custom_pruning.py --keep-flops 0.5 --resume        # go on after Ctrl-C, a kill or a power cut

Writes models_save/pruned_model.pth or models_save/structured_pruned_model.pth, and what it cost and gained to
reports/pruning/report.json. `--keep-flops`, `--keep-layers` and `--prune-vocab` combine. Heads and neurons go in
rounds, each with a short recovery by training, the last with a full one; the unpruned model is the teacher.
"""

import copy
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from bert_classifer_model import BertClassifier
from config import Config, find_model, made_from, parse, require_one_or_more
from core.answers import every
from core.compression.losses import distillation_loss
from core.compression.pruning_report import describe, figures, unknown_characters
from core.compression.structured_pruning import (
    choose_units,
    cut_at_once,
    cut_units,
    describe_layers,
    encoder_flops,
    plan_budgets,
    unit_importance,
)
from core.compression.teacher_cache import cached_logits, logits_of
from core.compression.unstructured_pruning import prune_weights
from core.console import UserError, run
from core.files import sha256, write_json
from core.measure.latency import compare_speed
from core.model_files import checkpoint
from core.text.tokenizer import Encoder
from core.training.device import Devices, measured_on
from core.training.resume import RunState, has_finished
from core.training.updater import Batch, LossFn
from predict_fun import NewsClassifier, load_module, module_logits
from train import MAY_CHANGE, evaluate, fit
from utils import Batches, Titles, read_data

ROUNDS = 6  # in which heads and neurons are cut, judged anew in each
SHORT_RECOVERY = 0.1  # of the steps of the last recovery, after each round but the last
SCORED_TITLES = 512  # that heads and neurons are judged by in each round
TIMED_TITLES = 50  # before and after
TEMPERATURE, ALPHA = 2.0, 0.7  # of the recovery's distillation loss
ARTEFACTS = {False: "pruned_model.pth", True: "structured_pruned_model.pth"}  # by whether something is cut out


@dataclass
class PruneConfig(Config):
    """Knobs of pruning."""

    minutes: None = field(init=False, default=None)  # no flag: a pruning of several rounds is counted in steps

    save_dir: Path = Path("models_save")
    """Folder that the pruned model is written to."""
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


def load_bert(path: Path) -> tuple[BertClassifier, dict[str, Any]]:
    """The model in a checkpoint, and its `meta`.

    Raises:
        UserError: the file is not a sound checkpoint of an FP32 BERT.
    """
    model, meta = load_module(path)
    if not isinstance(model, BertClassifier):
        raise UserError(f"{path} is a student ({meta['stage']}): only a BERT can be pruned, name one with --model")
    if meta["architecture"].get("quantization"):
        raise UserError(f"{path} holds INT8 weights: prune the FP32 model first, then quantize the pruned one")
    return model, meta


def recovery_loss(teacher_logits: torch.Tensor) -> LossFn:
    """Distillation from the unpruned model, whose logits of each row of the training data are given."""

    def loss_fn(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        logits = model(batch["input_ids"], batch["attention_mask"])
        return distillation_loss(logits, teacher_logits[batch["row"]], batch["labels"], TEMPERATURE, ALPHA)

    return loss_fn


def cut_and_recover(
    teacher: BertClassifier,
    teacher_sha256: str,
    encoder: Encoder,
    titles: dict[str, Titles],
    config: PruneConfig,
    devices: Devices,
    run_state: RunState,
    score: Callable[[nn.Module, Encoder], dict[str, Any]],
    seq_len: int,
) -> tuple[BertClassifier, Encoder, dict[str, Any]]:
    """Cut and recover, round by round, down to the shape that was asked for.

    `run_state` holds the model as it was last cut; the recovery that follows has a state of its own within it.

    Returns:
        The pruned model, its encoder, and facts about the training.
    """
    batches = Batches(titles["train"], encoder, config.batch_size, seed=config.seed)
    weights = {name: tensor.cpu() for name, tensor in teacher.state_dict().items()}
    texts = titles["train"].texts if config.prune_vocab else None
    weights, architecture, encoder = cut_at_once(weights, teacher.architecture, encoder, config.keep_layers, texts)
    budgets = [float("inf")] if config.keep_layers else []  # a round to recover from the loss of layers
    if config.keep_flops:
        goal = config.keep_flops * encoder_flops(teacher.architecture, seq_len)
        budgets += plan_budgets(architecture, goal, ROUNDS, seq_len)
    done, seconds, best = 0, 0.0, {"step": 0}
    if budgets:
        print(f"last recovery: {config.num_epochs} epochs, peak learning rate {config.learning_rate:g}, {devices}")
        cache, num_labels = config.save_dir / "teacher_logits", teacher.classifier.out_features
        logits = cached_logits(cache, teacher_sha256, num_labels, batches, logits_of(teacher, devices))
        loss_fn = recovery_loss(logits.to(devices.device))
        batches = Batches(titles["train"], encoder, config.batch_size, seed=config.seed)
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
                model = BertClassifier.from_architecture(architecture, weights).to(devices.device)
                sample = islice(batches.epoch(number), -(-SCORED_TITLES // config.batch_size))
                scores = unit_importance(model, sample, devices.device)
                units = choose_units(scores, architecture, budget, seq_len)
                weights, architecture = cut_units(weights, architecture, units)
            state = {"round": number, "weights": weights, "architecture": architecture, "seconds": seconds}
            run_state.save(state)
            RunState(run_state.folder / f"round_{number - 1}", {}).drop()
        print(f"round {number} of {len(budgets)}: {describe_layers(architecture)}")
        model = BertClassifier.from_architecture(architecture, weights).to(devices.device)
        if config.gradient_checkpointing:
            model.bert.activation_checkpointing_enable()
        steps = config.max_steps or len(batches) * config.num_epochs
        if number < len(budgets):
            steps = max(1, round(SHORT_RECOVERY * steps))
        knobs, name = replace(config, max_steps=steps), f"round_{number}"
        own, reports = partial(score, encoder=encoder), config.output / "pruning" / name
        fitted = fit(model, batches, loss_fn, own, knobs, devices, run_state.folder / name, reports)
        weights = {name: tensor.cpu() for name, tensor in model.state_dict().items()}
        seconds, best = seconds + fitted.seconds, fitted.best
    training = {"rows": len(batches.labels), "step": best["step"], "seconds": round(seconds)}
    return BertClassifier.from_architecture(architecture, weights).to(devices.device), encoder, training


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(PruneConfig, argv, __doc__)
    artefact = config.save_dir / ARTEFACTS[config.structured]
    if config.resume and has_finished(artefact):
        return
    devices = Devices.alone(config.device, config.precision)
    path = find_model(config.model, onnx=False)
    labels, titles = read_data(config.data_dir, config.limit)
    original, meta = load_bert(path)
    original.to(devices.device)
    if labels != meta["labels"]:
        raise UserError(
            f"{path} knows other classes than {config.data_dir / 'class.txt'}: prune it on the data it was trained on\n"
            f"  model:     {' '.join(meta['labels'])}\n  class.txt: {' '.join(labels)}"
        )
    parent_sha256, parent_mb, trained = sha256(path), path.stat().st_size / 1e6, meta.get("config", {})
    config.num_epochs = config.num_epochs or trained.get("num_epochs") or 2
    config.learning_rate = config.learning_rate or trained.get("learning_rate") or 5e-5
    config.max_length = meta["max_length"]
    encoder = kept = Encoder.from_meta(meta)
    seq_len = round(statistics.median(map(len, encoder.encode(titles["dev"].texts).input_ids)))
    identity = {key: value for key, value in config.plain().items() if key not in MAY_CHANGE}
    identity |= {"parent_sha256": parent_sha256, "train.txt": sha256(config.data_dir / "train.txt")}
    run_state = RunState(artefact, identity)

    def score(model: nn.Module, encoder: Encoder, split: str = "dev") -> dict[str, Any]:
        return evaluate(model, Batches(titles[split], encoder, config.batch_size), labels, devices)

    report: dict[str, Any] = {"method": "structured" if config.structured else "unstructured", "model": path.as_posix()}
    training = None
    if config.structured:
        model, kept, training = cut_and_recover(
            original, parent_sha256, encoder, titles, config, devices, run_state, score, seq_len
        )
        report |= {name: getattr(config, name) for name in ("keep_flops", "keep_layers", "prune_vocab")}
        report |= unknown_characters([encoder, kept], titles["dev"].texts)
    else:
        model = copy.deepcopy(original)
        report |= {"scope": config.scope, "amount": config.amount, **prune_weights(model, config.amount, config.scope)}
    before, after = score(original, encoder), score(model, kept)
    ours = {
        "stage": "pruned",
        "architecture": model.architecture,
        "vocab": kept.vocab,
        "config": config.plain(),
        "metrics": {"dev": after, "test": score(model, kept, "test") if "test" in titles else None},
        "training": training,
        "parent_sha256": parent_sha256,
        "seed": config.seed,
        **checkpoint.provenance(),
    }
    for stale in made_from(artefact):
        stale.unlink(missing_ok=True)
    checkpoint.save(artefact, model.state_dict(), {**meta, **ours})
    run_state.drop()
    pair = [(original, meta), (model, {**meta, **ours})]
    pair = [NewsClassifier(facts, module_logits(each, devices.device)).predict for each, facts in pair]
    times = [found["p50_ms"] for found in compare_speed(pair, every(titles["dev"].texts, TIMED_TITLES))]
    report |= {"training": training, **measured_on(devices.device), "seq_len": seq_len}
    report["before"] = figures(original, before, parent_mb, seq_len, times[0])
    report["after"] = figures(model, after, artefact.stat().st_size / 1e6, seq_len, times[1])
    report["ratio_p50"] = round(times[0] / times[1], 3)
    write_json(config.output / "pruning" / "report.json", report)
    print(f"{describe(report)}\nsaved {artefact}; report.json is in {config.output / 'pruning'}")


if __name__ == "__main__":
    run(main)
