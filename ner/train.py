"""Fine-tune a BERT that finds named entities.

    python -m ner.train                                        # on the bundled sentences
    python -m ner.train --data-dir my_data --num-epochs 5      # on your own train, dev and test
    python -m ner.train --bert-path bert-base-chinese
    python -m ner.train --resume                               # go on after Ctrl-C, a kill or a power cut

Writes save_models/ner/bert_ner.pt (the state with the best entity F1 on dev), and the log and learning curve of the run
to reports/ner_train/. `python evaluate.py --model save_models/ner/bert_ner.pt --data FILE` judges it;
bert_model_quantization.py, custom_pruning.py, benchmark.py and api.py take it by that path too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from config import BUNDLED_BERT, Config
from core.bert.folder import find_bert, find_weights, finetune_defaults, fingerprint, read_tokenizer
from core.bert.hub import read_licence
from core.console import UserError, parse, run
from core.files import sha256
from core.measure.metrics import in_words, metrics_table
from core.model_files import lineage
from core.model_files.facts import Facts, new_facts
from core.model_files.names import made_from
from core.text.tokenizer import Tokenizer, check_coverage
from core.training.device import Devices
from core.training.loop import MAY_CHANGE, fit, run_on
from core.training.recipes import cross_entropy
from core.training.resume import RunState, finish
from core.training.stage import run_stage, schedule
from core.training.units import count_labels, token_units
from ner.data import BUNDLED_DATA, Sentences, batches, read_data
from ner.metrics import BEST_BY, entity_metrics, found_in, strings
from ner.model import BertTagger, Reads
from ner.names import MODELS, TEACHER
from ner.predict import NAME, TASK, NerPredictor
from ner.tags import tags_of

FEW = 3000  # sentences, up to which there are at least so many epochs: more than titles need
EPOCHS_OF_FEW = 16


@dataclass
class TrainConfig(Config):
    """Knobs of fine-tuning."""

    data_dir: Path = BUNDLED_DATA
    """Folder with train, dev and, where there is one, test; see ner/data.py."""
    save_dir: Path = TEACHER.parent
    """Folder that the trained model is written to."""
    num_epochs: int | None = None
    """Passes over the training data. None: 30 for up to 300 sentences, 16 for 3,000, 4 for 12,000, 2 for more."""
    batch_size: int = 32
    """Sentences in a training step."""
    max_length: int = 128
    """Tokens of a window, [CLS] and [SEP] included; a longer sentence is read in several, which overlap."""
    reads: Literal["auto", "characters", "words", "both"] = "auto"
    """What the encoder reads: characters, words whose states go to their characters, or both. auto: both if it can."""


def choose_reads(tokenizer: Tokenizer, asked: str, best: Reads = "both") -> Reads:
    """What an encoder reads that is asked to, for "auto" the best, which without words in its vocabulary is characters.

    Raises:
        UserError: words are asked for, and it has none of Chinese.
    """
    has_words = tokenizer.reads_words
    if asked in ("words", "both") and not has_words:
        raise UserError(f"--reads {asked}: this encoder's vocabulary has no words of Chinese; take --reads characters")
    return asked if asked != "auto" else best if has_words else "characters"


def score_split(model: nn.Module, facts: Facts, split: Sentences, devices: Devices, **more: Any) -> dict[str, Any]:
    """`entity_metrics` of a module on labelled sentences, in the arithmetic of training."""
    predictor = NerPredictor(facts, run_on(model, devices))
    return entity_metrics(split.items, split.entities, found_in(predictor, split.items), predictor.types, **more)


def main(argv: Sequence[str] | None = None) -> None:
    fine_tune(parse(TrainConfig, argv, __doc__))


def fine_tune(config: TrainConfig, score_test: bool = True) -> None:
    """Train a model and write its checkpoint; without `score_test`, test is not read for its scores."""
    work = partial(_fine_tune, config, score_test)
    run_stage(config, config.save_dir / TEACHER.name, "ner_train", work, alone=False)


def _fine_tune(config: TrainConfig, score_test: bool, run_state: RunState, devices: Devices) -> None:
    types, splits = read_data(config.data_dir, config.limit)
    train, labels = splits["train"], tags_of(types)
    config.bert_path = bert_path = find_bert(config.bert_path, Config.bert_path, BUNDLED_BERT)
    licence, tokenizer = read_licence(bert_path), read_tokenizer(bert_path, config.max_length)
    check_coverage(tokenizer, train.items, bert_path)
    epochs, rate = finetune_defaults(bert_path, len(train))
    config.num_epochs = config.num_epochs or (max(epochs, EPOCHS_OF_FEW) if len(train) <= FEW else epochs)
    config.learning_rate = config.learning_rate or rate
    reads = choose_reads(tokenizer, config.reads)
    print(f"the encoder reads {'both words and characters' if reads == 'both' else reads}; ", end="")
    print(schedule(config, devices))

    torch.manual_seed(config.seed)
    model = BertTagger.from_pretrained(bert_path, len(labels), reads).to(devices.device)
    if config.gradient_checkpointing:
        model.bert.activation_checkpointing_enable()
    parent, rows = sha256(find_weights(bert_path)), batches(train, tokenizer, config.batch_size, config.seed)
    facts = new_facts("teacher", model, labels, tokenizer, config.plain(), {}, None, parent, BEST_BY, NAME)
    run_state.identity |= {"tags": labels, "encoder": fingerprint(bert_path)}
    run_state.identity["dev rows"] = batches(splits["dev"], tokenizer, config.batch_size).sha256()

    def on_dev(model: nn.Module) -> dict[str, Any]:
        return score_split(model, facts, splits["dev"], devices)

    reports, loss = config.output / "ner_train", cross_entropy(token_units)
    fitted = fit(model, rows, loss, on_dev, config, devices, run_state, reports, BEST_BY, count_labels)
    known, judged = (
        strings(train),
        [name for name in ("dev", "test") if name in splits and (name == "dev" or score_test)],
    )
    facts["metrics"] = {"dev": None, "test": None}
    facts["metrics"] |= {name: score_split(model, facts, splits[name], devices, known=known) for name in judged}
    facts["licence"] = licence
    facts["temperature"] = TASK.temperature(NerPredictor(facts, run_on(model, devices)), splits["dev"])
    facts["training"] = {"rows": len(train), "step": fitted.best["step"], "seconds": round(fitted.seconds, 1)}
    facts["data_sha256"] = data = lineage.data_fingerprint(labels, rows.sha256())
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
    unseen = f", F1 of entities that train lacks {metrics['unseen_f1']:.4f}" if "unseen_f1" in metrics else ""
    print(f"{split} entity {in_words(metrics, BEST_BY)}{unseen}; {what}")


if __name__ == "__main__":
    run(main)
