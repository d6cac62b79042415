"""Fine-tune a BERT teacher on labelled titles.

    python train.py                                        # on data/
    python train.py --data-dir my_data --num-epochs 3      # on your own class.txt, train.txt, dev.txt, test.txt
    python train.py --recipe class_weights                 # more than plain fine-tuning: core/training/recipes.py
    python train.py --resume                               # go on after Ctrl-C, a kill or a power cut

Writes save_models/test_bertclassifer_model.pt (the state with the best macro-F1 on dev.txt), and the log and learning
curve of the run to reports/train/. The loop, `fit`, is the one that every training stage of this project uses: it knows
a model, batches and a loss, and neither BERT nor text.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from bert_classifer_model import BertClassifier, find_bert, find_weights, finetune_defaults, read_bert_encoder
from config import MODELS, Config, LoopConfig, made_from, parse
from core.console import UserError, run
from core.files import sha256
from core.measure.metrics import classification_metrics, metrics_table
from core.model_files import checkpoint
from core.text.tokenizer import check_coverage
from core.training.device import Devices
from core.training.log import TrainingLog
from core.training.recipes import PLAIN, Recipe
from core.training.resume import Progress, RunState, has_finished, hold_ctrl_c, rng_state, set_rng_state
from core.training.updater import Batch, BatchSource, LossFn, Updater, learning_rate
from utils import Batches, read_data

# A run may be resumed although these have changed.
MAY_CHANGE = ("resume", "minutes", "save_minutes", "output", "save_dir", "data_dir", "device")

SAVE_SECONDS = 20.0  # at least between two saves of the state at the ends of epochs: short epochs need none each


@dataclass
class TrainConfig(Config):
    """Knobs of fine-tuning."""

    recipe: str = PLAIN
    """What to add to plain fine-tuning, joined by commas: class_weights, class_balanced, fgm, head_tail."""

    def __post_init__(self) -> None:
        super().__post_init__()
        Recipe.read(self.recipe)


def fit(
    model: nn.Module,
    batches: BatchSource,
    loss_fn: LossFn,
    score: Callable[[nn.Module], dict[str, Any]],
    config: LoopConfig,
    devices: Devices,
    artefact: Path,
    reports: Path,
    best_by: str = "macro_f1",
) -> Progress:
    """Train a model and leave it with the weights that scored best.

    AdamW with a learning rate that climbs and falls, clipped gradients, and evaluation `config.evals_per_epoch` times
    an epoch. The run can be stopped at any moment and resumed; on a CPU it then ends with the very weights of one that
    was not.

    Args:
        model: on its device already.
        batches: the training data.
        loss_fn: (model, batch) -> (mean loss, {name: part}); the parts are logged.
        score: model -> metrics; the floats among them are logged.
        config: the knobs; `num_epochs` and `learning_rate` are numbers here.
        devices: what to compute on.
        artefact: the file that the caller will write; the state to resume from lies in `resume/` beside it.
        reports: the folder for `log.jsonl` and `learning_curve.png`.
        best_by: the metric that is best when highest.

    Raises:
        UserError: Ctrl-C (the state is saved), out of memory, a loss that is not a number, or no minute left to train.
    """
    steps = min(10**12 if config.minutes else len(batches) * config.num_epochs, config.max_steps or 10**12)
    eval_every = -(-len(batches) // config.evals_per_epoch)
    of_steps = "" if config.minutes else f" of {steps}"
    patience = config.patience or 10**12
    knobs = config.gradient_accumulation, config.weight_decay, config.max_grad_norm
    updater = Updater(model, loss_fn, devices, *knobs)
    torch.manual_seed(config.seed + devices.rank)

    identity = {key: value for key, value in config.plain().items() if key not in MAY_CHANGE}
    run_state = RunState(artefact, {**identity, "data": batches.sha256(), "processes": devices.world})
    now = Progress()
    if config.resume and run_state.exists():
        state = run_state.load()
        model.load_state_dict(state["model"])
        updater.load_state_dict(state["updater"])
        set_rng_state(state["rng"][devices.rank])
        now = Progress(**state["progress"])
        print(f"resumed at step {now.step}{of_steps}")
    elif run_state.exists():
        print("a stopped run is discarded (--resume would have gone on with it)")

    def save() -> None:
        state = {"model": model.state_dict(), "updater": updater.state_dict(), "progress": vars(now)}
        state["rng"] = devices.gather(rng_state())
        if devices.is_main:
            run_state.save(state)

    log = TrainingLog(reports, now.log, devices.is_main)
    model.train()
    clock = saved = time.perf_counter()

    def position() -> tuple[float, float]:
        """How far the run is and where it ends: in seconds with --minutes, else in steps."""
        return (devices.gather(now.seconds)[0], config.minutes * 60) if config.minutes else (now.step, steps)

    at, end = position()
    if at >= end and not now.best:
        raise UserError(f"this run has trained {at / 60:.1f} minutes and was not scored yet: give more --minutes")
    looks = {"desc": "training", "unit": "step", "mininterval": 1.0, "disable": not devices.is_main}
    bar = tqdm(total=None if config.minutes else steps, initial=now.step, **looks)
    with hold_ctrl_c() as ctrl_c, bar:
        while at < end and now.step < steps and now.misses < patience:
            epoch, done = divmod(now.step, len(batches))
            for batch in batches.epoch(epoch, skip=done):
                rate = learning_rate(at, end, config.learning_rate, config.warmup_ratio)
                parts = updater.step(batch, rate)
                now.step += 1
                now.tokens += int(batch["attention_mask"].sum())
                now.seconds, clock = now.seconds + time.perf_counter() - clock, time.perf_counter()
                at, end = position()
                for name, part in parts.items():
                    now.losses.setdefault(name, []).append(part)
                bar.set_postfix(loss=f"{parts['loss']:.3f}", lr=f"{rate:.1e}", refresh=False)
                bar.update()

                last = at >= end or now.step == steps
                end_of_epoch = now.step % len(batches) == 0 or last
                if end_of_epoch or now.step % len(batches) % eval_every == 0:
                    metrics = score(model)
                    model.train()
                    better = not now.best or metrics[best_by] > now.best["metrics"][best_by]
                    now.misses = 0 if better else now.misses + 1
                    if better:
                        weights = {name: t.detach().cpu().clone() for name, t in model.state_dict().items()}
                        now.best = {"metrics": metrics, "step": now.step, "weights": weights}
                    entry = {"step": now.step, "epoch": round(now.step / len(batches), 3), "learning_rate": rate}
                    entry |= {name: sum(values) / len(values) for name, values in now.losses.items()}
                    entry |= {f"dev_{name}": value for name, value in metrics.items() if isinstance(value, float)}
                    entry["tokens"], entry["seconds"] = now.tokens, round(now.seconds, 1)
                    now.losses.clear()
                    bar.write(log.add(entry) + ("  best so far" if better else ""))
                if devices.any(ctrl_c.is_set()):
                    save()
                    raise UserError(f"stopped at step {now.step}{of_steps}: go on with the same flags and --resume")
                wait = config.save_minutes * 60
                if devices.any(clock - saved > (min(wait, SAVE_SECONDS) if end_of_epoch else wait)):
                    save()
                    saved = time.perf_counter()
                if last or now.misses >= patience:
                    break

    model.load_state_dict(now.best["weights"])
    if devices.is_main:
        log.draw()
    return now


def predict_logits(model: nn.Module, batches: Batches, devices: Devices) -> torch.Tensor:
    """Logits of all titles in the order of the data, (rows, num_labels) float32 on the CPU, in each process."""
    model.eval()
    rows, logits = [], []
    with torch.inference_mode(), devices.autocast():
        for batch in batches.epoch(skip=devices.rank, stride=devices.world):
            output = model(batch["input_ids"].to(devices.device), batch["attention_mask"].to(devices.device))
            logits.append(output.float().cpu())
            rows.append(batch["row"])
    parts = devices.gather((torch.cat(rows), torch.cat(logits)) if rows else None)
    order = torch.cat([part[0] for part in parts if part]).argsort()
    return torch.cat([part[1] for part in parts if part])[order]


def evaluate(model: nn.Module, batches: Batches, labels: Sequence[str], devices: Devices) -> dict[str, Any]:
    """`classification_metrics` of a model on labelled batches, and its mean cross-entropy as `loss`."""
    logits = predict_logits(model, batches, devices)
    metrics = classification_metrics(batches.labels, logits.argmax(1).tolist(), labels)
    return {**metrics, "loss": F.cross_entropy(logits, torch.tensor(batches.labels)).item()}


def cross_entropy(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss of plain fine-tuning."""
    return F.cross_entropy(model(batch["input_ids"], batch["attention_mask"]), batch["labels"]), {}


def main(argv: Sequence[str] | None = None) -> None:
    fine_tune(parse(TrainConfig, argv, __doc__))


def fine_tune(config: TrainConfig, score_test: bool = True) -> None:
    """Train a teacher and write its checkpoint; without `score_test`, test.txt is not read for its scores."""
    recipe = Recipe.read(config.recipe)
    artefact = config.save_dir / MODELS["teacher"].path.name
    run_state = RunState(artefact, {})
    if config.resume and has_finished(artefact):
        return

    devices = Devices.find(config.device, config.precision)
    labels, titles = read_data(config.data_dir, config.limit)
    config.bert_path = bert_path = find_bert(config.bert_path)
    encoder = read_bert_encoder(bert_path, config.max_length, recipe.truncation)
    check_coverage(encoder, titles["train"].texts, bert_path)
    epochs, rate = finetune_defaults(bert_path, len(titles["train"].texts))
    config.num_epochs = config.num_epochs or epochs
    config.learning_rate = config.learning_rate or rate
    print(f"{config.num_epochs} epochs, peak learning rate {config.learning_rate:g}, {devices}")

    torch.manual_seed(config.seed)
    model = BertClassifier.from_pretrained(bert_path, len(labels)).to(devices.device)
    if config.gradient_checkpointing:
        model.bert.activation_checkpointing_enable()
    train_batches = Batches(titles["train"], encoder, config.batch_size, seed=config.seed)
    loss_fn = recipe.loss_fn(cross_entropy, titles["train"].labels, len(labels), model.bert.get_input_embeddings())
    dev_batches = Batches(titles["dev"], encoder, config.batch_size)
    score = partial(evaluate, batches=dev_batches, labels=labels, devices=devices)
    fitted = fit(model, train_batches, loss_fn, score, config, devices, artefact, config.output / "train")
    metrics = {"dev": fitted.best["metrics"], "test": None}
    if score_test and "test" in titles:
        metrics["test"] = evaluate(model, Batches(titles["test"], encoder, config.batch_size), labels, devices)
    rows = len(titles["train"].labels)
    meta = {
        "stage": "teacher",
        "architecture": model.architecture,
        "labels": labels,
        "vocab": encoder.vocab,
        "max_length": config.max_length,
        "truncation": encoder.truncation,
        "config": config.plain(),
        "metrics": metrics,
        "training": {"rows": rows, "step": fitted.best["step"], "seconds": round(fitted.seconds, 1)},
        "parent_sha256": sha256(find_weights(bert_path)),
        "seed": config.seed,
        **checkpoint.provenance(),
    }
    if devices.is_main:
        for stale in made_from(artefact):
            stale.unlink(missing_ok=True)
        checkpoint.save(artefact, model.state_dict(), meta)
        run_state.drop()
    devices.leave()

    split = "test" if metrics["test"] else "dev"
    print(metrics_table(metrics[split]))
    print(f"{split} accuracy {metrics[split]['accuracy']:.4f}, macro-F1 {metrics[split]['macro_f1']:.4f}; ", end="")
    print(f"trained in {fitted.seconds:.0f} s; saved {artefact} (step {fitted.best['step']}, the best on dev)")


if __name__ == "__main__":
    run(main)
