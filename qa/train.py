"""Fine-tune a BERT that answers questions from passages.

    python -m qa.train                                        # on the bundled questions
    python -m qa.train --data-dir my_data --num-epochs 3      # on your own train.json, dev.json and test.json
    python -m qa.train --bert-path bert-base-chinese --max-length 384
    python -m qa.train --adapt-minutes 10                     # let the BERT read the passages first
    python -m qa.train --cloze 0                              # no made questions first; see qa/cloze.py
    python -m qa.train --resume                               # go on after Ctrl-C, a kill or a power cut

Writes save_models/qa/bert_qa.pt (the state with the best F1 on dev), and the log and learning curve of the run to
reports/qa_train/. `python evaluate.py --model save_models/qa/bert_qa.pt --data FILE` judges it, and so do
bert_model_quantization.py, custom_pruning.py, benchmark.py and api.py take it by that path.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import nn

from config import BUNDLED_BERT, Config
from core.bert.folder import find_bert, find_weights, finetune_defaults, fingerprint, read_tokenizer
from core.bert.hub import read_licence
from core.console import UserError, parse, run
from core.files import sha256
from core.measure.metrics import metrics_table
from core.model_files import lineage
from core.model_files.checkpoint import load
from core.model_files.facts import Facts, new_facts
from core.model_files.names import made_from
from core.pretraining.pretrain import adapt
from core.tables.split import unseen
from core.text.tokenizer import check_coverage
from core.training.device import Devices
from core.training.loop import MAY_CHANGE, fit, run_on
from core.training.recipes import cross_entropy
from core.training.resume import RunState, finish
from core.training.stage import run_stage, schedule
from core.training.units import count_labels
from qa.cloze import make_questions, write_questions
from qa.data import (
    BUNDLED_DATA,
    Questions,
    batches,
    longest_answer,
    read_data,
    require_length,
    span_units,
    what_it_reads,
)
from qa.fitting import fit_on
from qa.metrics import BEST_BY, score
from qa.model import LABELS, BertReader
from qa.names import MODELS, TEACHER
from qa.predict import NAME, QaPredictor

MADE = 10  # questions of each passage


@dataclass
class TrainConfig(Config):
    """Knobs of fine-tuning."""

    data_dir: Path = BUNDLED_DATA
    """Folder with train.json, dev.json and, where there is one, test.json; see qa/formats.py."""
    save_dir: Path = TEACHER.parent
    """Folder that the trained model is written to."""
    batch_size: int = 32
    """Windows in a training step."""
    max_length: int = 256
    """Tokens of a window, question, [CLS] and twice [SEP] included; a longer passage is read in several."""
    limit: int | None = None
    """Train on the first N questions only, to try things out; dev and test stay whole."""
    evals_per_epoch: int = 1
    """Evaluations on the dev data in an epoch, the one at its end included."""
    adapt_minutes: float | None = None
    """Pretrain the BERT so many minutes further on the training passages and questions first."""
    cloze: int | None = None
    """Train first, one epoch, on so many questions made of each training passage; see qa/cloze.py. None: 10, where they
    are Chinese and --minutes is not given; 0: none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_length(self.max_length)
        if self.cloze is not None and self.cloze < 0:
            raise UserError(f"--cloze is {self.cloze}: it must be 0 or more")
        if self.adapt_minutes is not None and not self.adapt_minutes > 0:
            raise UserError(f"--adapt-minutes is {self.adapt_minutes}: it must be above 0")


def prepare(model: BertReader, config: TrainConfig, devices: Devices) -> None:
    """Move a module to its device and make it ready to be trained."""
    model.to(devices.device)
    if devices.device.type == "cpu":
        model.bert.set_attn_implementation("eager")  # a tenth faster there than PyTorch's fused attention
    if config.gradient_checkpointing:
        model.bert.activation_checkpointing_enable()


def judge_on_dev(model: nn.Module, facts: Facts, splits: dict[str, Questions], devices: Devices) -> dict[str, Any]:
    """The metrics of a module on dev, in the arithmetic of training; what is fitted there is put into its facts."""
    null = any(split.has_null for name, split in splits.items() if name != "test")
    fitted = fit_on(QaPredictor(facts, run_on(model, devices)), splits["dev"], null)
    facts["answers"]["threshold"], facts["temperature"] = fitted.threshold, fitted.temperature
    return fitted.metrics


def complete(
    facts: Facts, model: nn.Module, splits: dict[str, Questions], devices: Devices, score_test: bool = True
) -> None:
    """Add to the facts of a trained module what is fitted on dev, and its scores on dev and, if there is one, test."""
    facts["metrics"] = {"dev": judge_on_dev(model, facts, splits, devices), "test": None}
    if score_test and "test" in splits:
        facts["metrics"]["test"] = score(QaPredictor(facts, run_on(model, devices)), splits["test"])


def tell(facts: Facts, what: str) -> None:
    """Print how good a model is, and what was done."""
    split = "test" if facts["metrics"]["test"] else "dev"
    metrics = facts["metrics"][split]
    print(metrics_table(metrics))
    print(f"{split} EM {metrics['em']:.4f}, F1 {metrics['f1']:.4f} ({metrics['measure']}, n {metrics['n']}); {what}")


def learn_made(config: TrainConfig, splits: dict[str, Questions], devices: Devices) -> Path | None:
    """Train a reader on questions made of the training passages, judged on dev, and return its checkpoint.

    None where `config.cloze` is 0, or None and none can be made, the time is limited or several processes work.

    Raises:
        UserError: they are asked for, but none can be made, or several processes work.
    """
    wanted = config.cloze
    if wanted and devices.world > 1:
        raise UserError("--cloze is for one process")
    if wanted == 0 or (wanted is None and (devices.world > 1 or config.minutes)):
        return None
    folder = config.save_dir / "cloze"
    judged = (item.context for name, split in splits.items() if name != "train" for item in split.items)
    passages = unseen((item.context for item in splits["train"].items), judged)
    made = list(chain.from_iterable(make_questions(passages, wanted or MADE, config.seed)))
    if not (made or wanted):
        return None
    count = write_questions(made, config.seed, folder / "train.json")
    shutil.copyfile(splits["dev"].path, folder / "dev.json")
    print(f"first, an epoch on {count} questions made of {len(passages)} passages (--cloze 0 leaves them out)")
    shared = {"data_dir": folder, "save_dir": folder, "output": config.output / "cloze"}
    own = {"cloze": 0, "adapt_minutes": None, "limit": None, "num_epochs": 1, "minutes": None}
    fine_tune(replace(config, **shared, **own), score_test=False)
    return folder / TEACHER.name


def main(argv: Sequence[str] | None = None) -> None:
    fine_tune(parse(TrainConfig, argv, __doc__))


def fine_tune(config: TrainConfig, score_test: bool = True) -> None:
    """Train a model and write its checkpoint; without `score_test`, test is not read for its scores."""
    work = partial(_fine_tune, config, score_test)
    run_stage(config, config.save_dir / TEACHER.name, "qa_train", work, alone=False)


def _fine_tune(config: TrainConfig, score_test: bool, run_state: RunState, devices: Devices) -> None:
    splits = read_data(config.data_dir, config.limit)
    train = splits["train"]
    config.bert_path = bert_path = find_bert(config.bert_path, Config.bert_path, BUNDLED_BERT)
    licence, tokenizer = read_licence(bert_path), read_tokenizer(bert_path, config.max_length)
    texts = list(dict.fromkeys(text for item in train.items for text in item))
    check_coverage(tokenizer, texts, bert_path)
    if config.adapt_minutes:
        judged = (text for name in splits if name != "train" for item in splits[name].items for text in item)
        texts = unseen(texts, judged)
        config.bert_path = bert_path = adapt(
            bert_path, texts, config.max_length, config.adapt_minutes, config, config.save_dir, devices
        )
    epochs, rate = finetune_defaults(bert_path, len(train))
    config.num_epochs = config.num_epochs or epochs
    config.learning_rate = config.learning_rate or rate
    rows = batches(train, tokenizer, config.batch_size, config.seed)
    reads, windows = what_it_reads(tokenizer), len(rows.lengths)
    print(f"the encoder reads {reads}; {windows} windows of up to {config.max_length} of them; ", end="")
    print(schedule(config, devices))

    made = learn_made(config, splits, devices)
    torch.manual_seed(config.seed)
    model = BertReader.from_pretrained(bert_path, reads)
    if made:
        model.load_state_dict(load(made)[0])
    prepare(model, config, devices)
    parent = sha256(find_weights(bert_path))
    facts = new_facts("teacher", model, LABELS, tokenizer, config.plain(), {}, None, parent, BEST_BY, NAME)
    facts["answers"] = {"longest": longest_answer(train), "threshold": None}
    run_state.identity |= {"longest answer": facts["answers"]["longest"], "encoder": fingerprint(bert_path)}
    run_state.identity["dev rows"] = batches(splits["dev"], tokenizer, config.batch_size).sha256()
    reports = config.output / "qa_train"
    judge = partial(judge_on_dev, facts=facts, splits=splits, devices=devices)
    loss = cross_entropy(span_units)
    fitted = fit(model, rows, loss, judge, config, devices, run_state, reports, BEST_BY, count_labels)
    complete(facts, model, splits, devices, score_test)
    facts["licence"] = licence
    facts["training"] = {"rows": len(train), "step": fitted.best["step"], "seconds": round(fitted.seconds, 1)}
    facts["data_sha256"] = data = lineage.data_fingerprint(LABELS, rows.sha256())
    knobs = {name: value for name, value in config.plain().items() if name not in MAY_CHANGE}
    facts["lineage"] = lineage.new_lineage(data, parent, knobs)
    artefact = run_state.artefact
    if devices.is_main:
        begin = partial(lineage.begin, MODELS, artefact, facts)
        finish(artefact, model, facts, run_state, made_from(artefact, MODELS), begin)
    devices.leave()
    tell(facts, f"trained in {fitted.seconds:.0f} s; saved {artefact} (step {fitted.best['step']})")


if __name__ == "__main__":
    run(main)
