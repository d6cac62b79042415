"""Fine-tune a BERT that reads the sentiment of many aspects at once.

    python -m aspect_sentiment.train                                        # on the bundled reviews
    python -m aspect_sentiment.train --data-dir my_data --num-epochs 8      # on your own train, dev and test
    python -m aspect_sentiment.train --bert-path bert-base-chinese
    python -m aspect_sentiment.train --pooling mean --long-texts head_tail --max-length 128    # to compare with
    python -m aspect_sentiment.train --resume                               # go on after Ctrl-C, a kill or a power cut

Writes save_models/aspect_sentiment/bert_aspects.pt (the state with the best pooled F1 on dev, with a temperature and
decision offsets fitted there), and the log and learning curve of the run to reports/aspect_train/. `python evaluate.py
--model save_models/aspect_sentiment/bert_aspects.pt --data FILE` judges it; bert_model_quantization.py,
custom_pruning.py, benchmark.py and api.py take it by that path too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from aspect_sentiment.data import BUNDLED_DATA, Reviews, batches, read_data
from aspect_sentiment.decisions import choose_offsets
from aspect_sentiment.losses import balanced_weights, pair_loss, r_drop
from aspect_sentiment.metrics import BEST_BY, MEANS
from aspect_sentiment.model import BertAspects, Pooling
from aspect_sentiment.names import MODELS, NAME, TEACHER
from aspect_sentiment.predict import TASK, SentimentPredictor
from aspect_sentiment.report import score
from aspect_sentiment.texts import WHOLE, ReviewTokenizer, encode, simplified
from config import BUNDLED_BERT, Config
from core.bert.folder import find_bert, find_weights, finetune_defaults, fingerprint, read_bert_config, read_tokenizer
from core.bert.hub import read_licence
from core.console import UserError, parse, run
from core.files import sha256
from core.measure.metrics import metrics_table, readable
from core.model_files import lineage
from core.model_files.facts import Facts, new_facts
from core.model_files.names import made_from
from core.text.tokenizer import check_coverage
from core.training.device import Devices
from core.training.loop import MAY_CHANGE, fit, run_on
from core.training.resume import RunState, finish
from core.training.stage import run_stage, schedule
from core.training.units import count_labels
from core.training.updater import LossFn

MOST_TOKENS, STEP = 1024, 64  # that a model reads at once where nobody says how many, a multiple of STEP
HELD = 0.98  # of the training reviews fit then
LOSSES = ("plain", "class_weights", "focal", "r_drop")


@dataclass
class TrainConfig(Config):
    """Knobs of fine-tuning."""

    data_dir: Path = BUNDLED_DATA
    """Folder with train, dev and, where there is one, test; see aspect_sentiment/data.py."""
    save_dir: Path = TEACHER.parent
    """Folder that the trained model is written to."""
    batch_size: int = 16
    """Reviews in a training step."""
    max_length: int | None = None
    """Tokens that the model reads at once. None: what holds 98 of 100 training reviews, 1024 at most."""
    long_texts: Literal["whole", "end", "head_tail"] = WHOLE
    """What becomes of a longer review: read whole, in windows; or its end, or its middle (head_tail), is cut off."""
    pooling: Pooling = "attention"
    """An aspect's vector: a mean of the tokens that it learns to weigh (attention), or the plain one (mean)."""
    loss: Literal["plain", "class_weights", "focal", "r_drop"] = "plain"
    """plain, or: rare states of an aspect weigh more; what is sure weighs less; two dropout masks must agree."""
    convert: bool = False
    """Read traditional characters as simplified ones (needs requirements-aspect.txt); the model remembers it."""

    def __post_init__(self) -> None:
        length, self.max_length = self.max_length, Config.max_length if self.max_length is None else self.max_length
        super().__post_init__()
        self.max_length = length


def choose_length(config: TrainConfig, folder: Path, texts: Sequence[str]) -> ReviewTokenizer:
    """The tokenizer, of the length that is asked for or suits the training reviews.

    Raises:
        UserError: the vocabulary does not fit the encoder, or does not know the characters.
    """
    vocab = read_tokenizer(folder, 3).vocab
    tokenizer = ReviewTokenizer(vocab, 10**6, WHOLE, config.convert)
    try:
        check_coverage(tokenizer, simplified(texts) if config.convert else texts, folder)
    except UserError as fault:
        hint = "" if config.convert else ", or, where they are traditional Chinese, --convert"
        raise UserError(f"{fault}{hint}") from fault
    length = config.max_length
    if length is None:
        lengths = list(map(len, encode(texts, tokenizer).input_ids))
        needed = STEP * -(-int(np.quantile(lengths, HELD)) // STEP)
        length = (
            min(needed, MOST_TOKENS)
            if config.long_texts == WHOLE
            else read_bert_config(folder)["max_position_embeddings"]
        )
    return ReviewTokenizer(vocab, length, config.long_texts, config.convert)


def start_from_shares(model: BertAspects, train: Reviews) -> None:
    """Let a new model begin with each state as likely as it is in training, which it would learn first of all."""
    counts = np.stack([(train.states == state).sum(0) for state in range(len(train.labels))], axis=1) + 1.0
    with torch.no_grad():
        model.bias.copy_(torch.from_numpy(np.log(counts / counts.sum(1, keepdims=True))))


def make_loss(name: str, train: Reviews) -> LossFn:
    """The loss of a name among LOSSES."""
    if name == "r_drop":
        return r_drop(1.0)
    weights = None
    if name == "class_weights":
        weights = balanced_weights(torch.from_numpy(train.states), len(train.labels))
    return pair_loss(weights, 2.0 if name == "focal" else 0.0)


def predictor_of(model: nn.Module, facts: Facts, devices: Devices) -> SentimentPredictor:
    """A module ready to answer, in the arithmetic of training."""
    return SentimentPredictor(facts, run_on(model, devices))


def fit_decisions(model: nn.Module, facts: Facts, dev: Reviews, devices: Devices) -> None:
    """Fit a model's temperature and its decision offsets on dev, and put them into its facts; say what was chosen."""
    facts["architecture"].pop("offsets", None)
    predictor = predictor_of(model, facts, devices)
    facts["temperature"] = predictor.temperature = TASK.temperature(predictor, dev)
    rows = predictor.encode(dev.items)
    own: list[list[np.ndarray]] = [[] for _ in dev.items]
    for item, values in zip(rows.item_of_row, predictor.logits(rows.columns), strict=True):
        own[item].append(values)
    offsets, found = choose_offsets(np.stack(list(map(predictor.shares, own))), dev.states)
    facts["architecture"]["offsets"] = offsets.round(4).tolist()
    told = ", ".join(f"{scheme} {value:.4f}" for scheme, value in found.items())
    print(f"decision offsets, pooled F1 on dev by cross-validation: {told}")


def main(argv: Sequence[str] | None = None) -> None:
    fine_tune(parse(TrainConfig, argv, __doc__))


def fine_tune(config: TrainConfig, score_test: bool = True) -> None:
    """Train a model and write its checkpoint; without `score_test`, test is not read for its scores."""
    work = partial(_fine_tune, config, score_test)
    run_stage(config, config.save_dir / TEACHER.name, "aspect_train", work, alone=False)


def _fine_tune(config: TrainConfig, score_test: bool, run_state: RunState, devices: Devices) -> None:
    splits = read_data(config.data_dir, config.limit)
    train, labels = splits["train"], splits["train"].labels
    config.bert_path = bert_path = find_bert(config.bert_path, Config.bert_path, BUNDLED_BERT)
    licence, tokenizer = read_licence(bert_path), choose_length(config, bert_path, train.items)
    config.max_length = tokenizer.max_length
    epochs, rate = finetune_defaults(bert_path, len(train))
    config.num_epochs = config.num_epochs or epochs
    config.learning_rate = config.learning_rate or rate
    longer = "read in windows" if config.long_texts == WHOLE else f"cut, --long-texts {config.long_texts}"
    print(f"{tokenizer.max_length} tokens at once, longer reviews {longer}; ", end="")
    print(schedule(config, devices))

    torch.manual_seed(config.seed)
    sizes = (len(labels), config.pooling, tokenizer.max_length)
    model = BertAspects.from_pretrained(bert_path, train.aspects, *sizes).to(devices.device)
    start_from_shares(model, train)
    model.architecture |= tokenizer.reading
    if config.gradient_checkpointing:
        model.bert.activation_checkpointing_enable()
    parent, rows = sha256(find_weights(bert_path)), batches(train, tokenizer, config.batch_size, config.seed)
    facts = new_facts("teacher", model, labels, tokenizer, config.plain(), {}, None, parent, BEST_BY, NAME)
    run_state.identity |= {"states": labels, "aspects": train.aspects, "encoder": fingerprint(bert_path)}
    run_state.identity["dev rows"] = batches(splits["dev"], tokenizer, config.batch_size).sha256()

    def on_dev(model: nn.Module) -> dict[str, Any]:
        return score(predictor_of(model, facts, devices), splits["dev"])

    reports, loss = config.output / "aspect_train", make_loss(config.loss, train)
    fitted = fit(model, rows, loss, on_dev, config, devices, run_state, reports, BEST_BY, count_labels)
    fit_decisions(model, facts, splits["dev"], devices)
    judged = [name for name in ("dev", "test") if name in splits and (name == "dev" or score_test)]
    predictor = predictor_of(model, facts, devices)
    facts["metrics"] = {"dev": None, "test": None} | {name: score(predictor, splits[name]) for name in judged}
    facts["licence"] = licence
    facts["training"] = {"rows": len(train), "step": fitted.best["step"], "seconds": round(fitted.seconds, 1)}
    facts["data_sha256"] = data = lineage.data_fingerprint([*labels, *train.aspects], rows.sha256())
    knobs = {name: value for name, value in config.plain().items() if name not in MAY_CHANGE}
    facts["lineage"] = lineage.new_lineage(data, parent, knobs)
    artefact = run_state.artefact
    if devices.is_main:
        begin = partial(lineage.begin, MODELS, artefact, facts)
        finish(artefact, model, facts, run_state, made_from(artefact, MODELS), begin)
    devices.leave()
    tell(facts, judged[-1], f"trained in {fitted.seconds:.0f} s; saved {artefact} (step {fitted.best['step']})")


def tell(facts: Facts, split: str, what: str) -> None:
    """Print how good a model is on a split, and what was done."""
    metrics = facts["metrics"][split]
    print(metrics_table(metrics))
    shown = ", ".join(f"{readable(name)} {metrics[name]:.4f}" for name in MEANS if name in metrics)
    print(f"{split} {shown}; {what}")


if __name__ == "__main__":
    run(main)
