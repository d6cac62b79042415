"""Fine-tune a BERT teacher on labelled titles.

    python train.py                                        # on data/
    python train.py --data-dir my_data --num-epochs 3      # on your own class.txt, train.txt, dev.txt, test.txt
    python train.py --adapt-minutes 10                     # let the BERT read your titles before it learns the classes
    python train.py --recipe class_weights                 # more than plain fine-tuning: core/training/recipes.py
    python train.py --resume                               # go on after Ctrl-C, a kill or a power cut

Writes save_models/test_bertclassifer_model.pt (the state with the best macro-F1 on dev.txt), and the log and learning
curve of the run to reports/train/.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bert_classifer_model import BertClassifier
from config import BEST_BY, BUNDLED_BERT, MODELS, Config
from core.bert.folder import find_bert, find_weights, finetune_defaults, fingerprint, read_tokenizer
from core.bert.hub import read_licence
from core.console import UserError, parse, run
from core.files import sha256
from core.measure.calibration import fit_temperature
from core.measure.metrics import in_words, metrics_table
from core.model_files import lineage
from core.model_files.facts import new_facts
from core.model_files.names import made_from
from core.pretraining.corpus import read_texts
from core.pretraining.pretrain import adapt
from core.tables.split import unseen
from core.text.tokenizer import check_coverage
from core.training.device import Devices
from core.training.loop import MAY_CHANGE, fit, forward_rows
from core.training.recipes import PLAIN, Recipe
from core.training.resume import RunState, finish
from core.training.stage import run_stage, schedule
from core.training.units import row_units
from utils import read_data, score_module, title_batches


@dataclass
class TrainConfig(Config):
    """Knobs of fine-tuning."""

    recipe: str = PLAIN
    """What to add to plain fine-tuning, joined by commas: class_weights, class_balanced, fgm, head_tail."""
    adapt_minutes: float | None = None
    """Pretrain the BERT so many minutes further on the training titles first, and those of --unlabeled."""
    unlabeled: Path | None = None
    """With --adapt-minutes: further titles without labels, one a line (UTF-8 or GB18030)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        Recipe.read(self.recipe)
        if self.adapt_minutes is not None and not self.adapt_minutes > 0:
            raise UserError(f"--adapt-minutes is {self.adapt_minutes}: it must be above 0")
        if self.unlabeled and not self.adapt_minutes:
            raise UserError("--unlabeled is for --adapt-minutes: give both, or neither")


def main(argv: Sequence[str] | None = None) -> None:
    fine_tune(parse(TrainConfig, argv, __doc__))


def fine_tune(config: TrainConfig, score_test: bool = True) -> None:
    """Train a teacher and write its checkpoint; without `score_test`, test.txt is not read for its scores."""
    recipe = Recipe.read(config.recipe)
    work = partial(_fine_tune, config, recipe, score_test)
    run_stage(config, config.save_dir / MODELS["teacher"].path.name, "train", work, alone=False)


def _fine_tune(config: TrainConfig, recipe: Recipe, score_test: bool, run_state: RunState, devices: Devices) -> None:
    labels, titles = read_data(config.data_dir, config.limit)
    config.bert_path = bert_path = find_bert(config.bert_path, Config.bert_path, BUNDLED_BERT)
    licence = read_licence(bert_path)
    tokenizer = read_tokenizer(bert_path, config.max_length, recipe.truncation)
    check_coverage(tokenizer, titles["train"].texts, bert_path)
    if config.adapt_minutes:
        more = read_texts([config.unlabeled]) if config.unlabeled else ()
        judged = (text for name in titles if name != "train" for text in titles[name].texts)
        texts = unseen([*titles["train"].texts, *more], judged)
        config.bert_path = bert_path = adapt(
            bert_path, texts, config.max_length, config.adapt_minutes, config, config.save_dir, devices
        )
    epochs, rate = finetune_defaults(bert_path, len(titles["train"].texts))
    config.num_epochs = config.num_epochs or epochs
    config.learning_rate = config.learning_rate or rate
    print(schedule(config, devices))

    torch.manual_seed(config.seed)
    model = BertClassifier.from_pretrained(bert_path, len(labels)).to(devices.device)
    if config.gradient_checkpointing:
        model.bert.activation_checkpointing_enable()
    parent = sha256(find_weights(bert_path))
    train_labels, embedding = titles["train"].labels, model.bert.get_input_embeddings()
    loss_fn = recipe.loss_fn(row_units, train_labels, len(labels), embedding)
    batches = title_batches(titles["train"], tokenizer, config.batch_size, config.seed)
    held_out = {name: title_batches(titles[name], tokenizer, config.batch_size) for name in titles if name != "train"}
    run_state.identity |= {"class names": labels, "dev rows": held_out["dev"].sha256()}
    run_state.identity["encoder"] = fingerprint(bert_path)

    def score(model: nn.Module, split: str = "dev") -> dict[str, Any]:
        return score_module(model, held_out[split], labels, devices)

    fitted = fit(model, batches, loss_fn, score, config, devices, run_state, config.output / "train", BEST_BY)
    metrics = {"dev": fitted.best["metrics"], "test": None}
    if score_test and "test" in titles:
        metrics["test"] = score(model, "test")
    training = {"rows": len(train_labels), "step": fitted.best["step"], "seconds": round(fitted.seconds, 1)}
    artefact = run_state.artefact
    facts = new_facts("teacher", model, labels, tokenizer, config.plain(), metrics, training, parent, BEST_BY)
    facts["licence"] = licence
    facts["temperature"] = fit_temperature(forward_rows(model, held_out["dev"], devices), held_out["dev"], row_units)
    facts["data_sha256"] = data = lineage.data_fingerprint(labels, batches.sha256())
    knobs = {name: value for name, value in config.plain().items() if name not in MAY_CHANGE}
    facts["lineage"] = lineage.new_lineage(data, parent, knobs)
    if devices.is_main:
        begin = partial(lineage.begin, MODELS, artefact, facts)
        finish(artefact, model, facts, run_state, made_from(artefact, MODELS), begin)
    devices.leave()

    split = "test" if metrics["test"] else "dev"
    print(metrics_table(metrics[split]))
    print(f"{split} {in_words(metrics[split], BEST_BY)}; trained in {fitted.seconds:.0f} s; ", end="")
    print(f"saved {artefact} (step {fitted.best['step']}, the best on dev)")


if __name__ == "__main__":
    run(main)
