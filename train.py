"""Fine-tune a BERT teacher on labelled titles.

    python train.py                                        # on data/
    python train.py --data-dir my_data --num-epochs 3      # on your own class.txt, train.txt, dev.txt, test.txt
    python train.py --resume                               # go on after Ctrl-C, a kill or a power cut

Writes save_models/test_bertclassifer_model.pt (the state with the best macro-F1 on dev.txt), and the log and learning
curve of the run to reports/train/. The loop, `fit`, is the one that every training stage of this project uses: it knows
a model, batches and a loss, and neither BERT nor text.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from bert_classifer_model import BertClassifier, find_bert, find_weights, finetune_defaults, read_bert_encoder
from config import MODELS, Config, parse
from core import checkpoint
from core.console import UserError, run
from core.encoding import check_coverage
from core.files import sha256
from core.resume import drop_state, hold_ctrl_c, load_state, save_state, state_path
from core.training_log import TrainingLog
from utils import Batches, autocast, classification_metrics, metrics_table, pick_device, read_data

Batch = dict[str, torch.Tensor]
LossFn = Callable[[nn.Module, Batch], tuple[torch.Tensor, dict[str, torch.Tensor]]]
# A run may be resumed although these have changed.
MAY_CHANGE = ("resume", "save_minutes", "output", "save_dir", "data_dir", "bert_path", "device")


def fit(
    model: nn.Module,
    batches: Batches,
    loss_fn: LossFn,
    score: Callable[[nn.Module], dict[str, Any]],
    config: Config,
    artefact: Path,
    reports: Path,
) -> dict[str, Any]:
    """Train a model and leave it with the weights that scored best.

    AdamW (Loshchilov & Hutter 2019) with linear warm-up and decay, clipped gradients, and evaluation
    `config.evals_per_epoch` times an epoch. The run can be stopped at any moment and resumed.

    Args:
        model: on its device already.
        batches: the training data; `batches.epoch(n, skip)` yields dicts of tensors.
        loss_fn: (model, batch) -> (loss, {name: part}); the parts are logged.
        score: model -> metrics with `macro_f1`, higher being better; plain numbers among them are logged.
        config: the knobs; `num_epochs` and `learning_rate` are numbers here.
        artefact: the file that the caller will write; the state to resume from lies in `resume/` beside it.
        reports: the folder for `log.jsonl` and `learning_curve.png`.

    Returns:
        {"metrics": those of the best state, "step": its step, "steps": all, "seconds": spent training}.

    Raises:
        UserError: Ctrl-C (the state is saved), out of memory, or a loss that is not a number.
    """
    steps = len(batches) * config.num_epochs
    eval_every = -(-len(batches) // config.evals_per_epoch)
    optimizer = make_optimizer(model, config)
    state_file = state_path(artefact)
    identity = {key: value for key, value in config.plain().items() if key not in MAY_CHANGE}
    identity["training rows"] = len(batches.labels)
    step, seconds, best, entries = 0, 0.0, {"metrics": {"macro_f1": -1.0}}, []

    if state_file.is_file() and config.resume:
        state = load_state(state_file, identity)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, seconds, best, entries = state["step"], state["seconds"], state["best"], state["log"]
        print(f"resumed at step {step} of {steps}")
    elif state_file.is_file():
        print("a stopped run is discarded (--resume would have gone on with it)")

    def save() -> None:
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "seconds": spent()}
        save_state(state_file, identity, {**state, "best": best, "log": log.entries})

    def spent() -> float:
        return round(seconds + time.perf_counter() - started, 1)

    log = TrainingLog(reports, entries)
    losses: dict[str, list[float]] = {}
    started = saved = time.perf_counter()
    model.train()
    bar = tqdm(total=steps, initial=step, desc="training", unit="step", mininterval=1.0, dynamic_ncols=True)
    with hold_ctrl_c() as ctrl_c, bar:
        while step < steps:
            epoch, done = divmod(step, len(batches))
            for batch in batches.epoch(epoch, skip=done):
                rate = learning_rate(step, steps, config)
                parts = train_step(model, batch, loss_fn, optimizer, rate, config)
                step += 1
                for name, part in parts.items():
                    losses.setdefault(name, []).append(part)
                bar.set_postfix(loss=f"{parts['loss']:.3f}", lr=f"{rate:.1e}", refresh=False)
                bar.update()

                end_of_epoch = step % len(batches) == 0
                if end_of_epoch or step % len(batches) % eval_every == 0:
                    metrics = score(model)
                    model.train()
                    entry = {"step": step, "epoch": round(step / len(batches), 3), "learning_rate": rate}
                    entry |= {name: sum(values) / len(values) for name, values in losses.items()}
                    entry |= {f"dev_{name}": value for name, value in metrics.items() if isinstance(value, float)}
                    losses.clear()
                    better = metrics["macro_f1"] > best["metrics"]["macro_f1"]
                    if better:
                        weights = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
                        best = {"metrics": metrics, "step": step, "weights": weights}
                    bar.write(log.add({**entry, "seconds": spent()}) + ("  best so far" if better else ""))
                if ctrl_c.is_set():
                    save()
                    raise UserError(f"stopped by Ctrl-C at step {step} of {steps}: go on with the same flags, --resume")
                if (end_of_epoch and step < steps) or time.perf_counter() - saved > config.save_minutes * 60:
                    save()
                    saved = time.perf_counter()

    model.load_state_dict(best.pop("weights"))
    log.draw()
    return {**best, "steps": steps, "seconds": spent()}


def train_step(
    model: nn.Module, batch: Batch, loss_fn: LossFn, optimizer: torch.optim.Optimizer, rate: float, config: Config
) -> dict[str, float]:
    """One update of the weights. Returns the loss and its parts as numbers."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    try:
        with autocast(batch["labels"].device, config.precision):
            loss, parts = loss_fn(model, batch)
        numbers = {"loss": loss.item(), **{name: part.item() for name, part in parts.items()}}
        if not torch.isfinite(loss):
            rows = ", ".join(str(row) for row in batch["row"].tolist()[:20])
            raise UserError(f"the loss is {numbers['loss']} on training rows {rows} …: lower --learning-rate")
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as fault:
        if isinstance(fault, RuntimeError) and "memory" not in str(fault).lower():
            raise
        smaller = max(1, len(batch["labels"]) // 2)
        raise UserError(f"out of memory at batch size {len(batch['labels'])}: try --batch-size {smaller}") from fault
    return numbers


def make_optimizer(model: nn.Module, config: Config) -> torch.optim.AdamW:
    """AdamW that decays matrices but neither biases nor LayerNorm weights."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=0.0)


def learning_rate(step: int, steps: int, config: Config) -> float:
    """Linear from 0 to the peak over the warm-up, then linear to 0."""
    warmup = config.warmup_ratio * steps
    share = (step + 1) / warmup if step + 1 < warmup else (steps - step) / max(1.0, steps - warmup)
    return config.learning_rate * min(1.0, share)


def predict_logits(model: nn.Module, batches: Batches, precision: str) -> torch.Tensor:
    """Logits of all titles in the order of the data, (rows, num_labels) float32 on the CPU."""
    model.eval()
    rows, logits = [], []
    with torch.inference_mode(), autocast(batches.device, precision):
        for batch in batches.epoch():
            logits.append(model(batch["input_ids"], batch["attention_mask"]).float().cpu())
            rows.append(batch["row"].cpu())
    order = torch.cat(rows).argsort()
    return torch.cat(logits)[order]


def evaluate(model: nn.Module, batches: Batches, labels: Sequence[str], precision: str) -> dict[str, Any]:
    """`classification_metrics` of a model on labelled batches, and its mean cross-entropy as `loss`."""
    logits = predict_logits(model, batches, precision)
    metrics = classification_metrics(batches.labels, logits.argmax(1).tolist(), labels)
    return {**metrics, "loss": F.cross_entropy(logits, torch.tensor(batches.labels)).item()}


def cross_entropy(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss of plain fine-tuning."""
    return F.cross_entropy(model(batch["input_ids"], batch["attention_mask"]), batch["labels"]), {}


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(Config, argv, __doc__)
    artefact = config.save_dir / MODELS["teacher"].path.name
    if config.resume and artefact.is_file() and not state_path(artefact).is_file():
        print(f"nothing to resume: the run that made {artefact} has finished")
        return

    device = pick_device(config.device)
    labels, titles = read_data(config.data_dir, config.limit)
    bert_path = find_bert(config.bert_path)
    encoder = read_bert_encoder(bert_path, config.max_length)
    check_coverage(encoder, titles["train"].texts, bert_path)
    epochs, rate = finetune_defaults(bert_path, len(titles["train"].texts))
    config.num_epochs = config.num_epochs or epochs
    config.learning_rate = config.learning_rate or rate
    print(f"{config.num_epochs} epochs, peak learning rate {config.learning_rate:g}, on {device}")

    torch.manual_seed(config.seed)
    model = BertClassifier.from_pretrained(bert_path, len(labels)).to(device)
    train_batches = Batches(titles["train"], encoder, config.batch_size, device, seed=config.seed)
    dev_batches = Batches(titles["dev"], encoder, config.batch_size, device)

    def score(candidate: nn.Module) -> dict[str, Any]:
        return evaluate(candidate, dev_batches, labels, config.precision)

    result = fit(model, train_batches, cross_entropy, score, config, artefact, config.output / "train")
    metrics = {"dev": result["metrics"], "test": None}
    if "test" in titles:
        test_batches = Batches(titles["test"], encoder, config.batch_size, device)
        metrics["test"] = evaluate(model, test_batches, labels, config.precision)
    meta = {
        "stage": "teacher",
        "architecture": model.architecture,
        "labels": labels,
        "vocab": encoder.vocab,
        "max_length": config.max_length,
        "truncation": "end",
        "config": config.plain(),
        "metrics": metrics,
        "training": {"rows": len(titles["train"].texts), **{key: result[key] for key in ("step", "steps", "seconds")}},
        "parent_sha256": sha256(find_weights(bert_path)),
        "seed": config.seed,
        **checkpoint.provenance(),
    }
    checkpoint.save(artefact, model.state_dict(), meta)
    drop_state(state_path(artefact))

    split = "test" if "test" in titles else "dev"
    print(metrics_table(metrics[split]))
    print(f"{split} accuracy {metrics[split]['accuracy']:.4f}, macro-F1 {metrics[split]['macro_f1']:.4f}; ", end="")
    print(f"trained in {result['seconds']:.0f} s; saved {artefact} (best of step {result['step']} on dev)")


if __name__ == "__main__":
    run(main)
