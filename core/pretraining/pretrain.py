"""Masked-language-model pretraining of a BERT: from scratch, or further on the texts that it is to work on."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from core.bert.folder import finetune_defaults, fingerprint, read_tokenizer
from core.console import UserError, require_one_or_more
from core.files import atomic_write
from core.pretraining.corpus import Corpus, CorpusBatches, encode_corpus
from core.pretraining.masked_lm import (
    MaskedLM,
    Masks,
    count_masked,
    masked_lm_loss,
    read_bert,
    score_masked_lm,
    write_bert,
)
from core.text.tokenizer import Tokenizer
from core.training.device import Devices, measured_on
from core.training.knobs import LoopConfig
from core.training.loop import fit
from core.training.resume import Progress, RunState, has_finished

HELD_OUT = 2_000  # texts, at most a twentieth, that training never sees
MIN_TEXTS = 20
PATIENCE = 20  # evaluations of an adaptation without gain: on few texts each epoch ends in one


@dataclass
class PretrainKnobs(LoopConfig):
    """Knobs of masked language modelling."""

    num_epochs: int | None = 1
    """Passes over the corpus, unless --minutes is given."""
    evals_per_epoch: int = 20
    """Evaluations on held-out texts in an epoch."""
    batch_tokens: int = 2048
    """Tokens in a training step, padding included."""
    max_length: int | None = None
    """Tokens of a text; a longer one is cut into several. None: 256, or the positions of a BERT that has fewer."""
    mask_share: float = 0.3
    """Share of the tokens to predict: 80 % of them hidden by [MASK], 10 % replaced, 10 % kept."""
    character_share: float = 0.25
    """Share of the steps in which words are split into their characters, for tasks that need them; 0 for none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_or_more(self, "batch_tokens")
        if not 0 < self.mask_share < 1:
            raise UserError(f"--mask-share is {self.mask_share}: it must be between 0 and 1")
        if not 0 <= self.character_share <= 1:
            raise UserError(f"--character-share is {self.character_share}: it must be 0 to 1")
        if self.max_length is not None and self.max_length < 5:
            raise UserError(f"--max-length is {self.max_length}: it must be 5 or more")


def pretrain(
    bert_for_mlm: nn.Module,
    corpus: Corpus,
    tokenizer: Tokenizer,
    knobs: PretrainKnobs,
    devices: Devices,
    run_state: RunState,
    reports: Path,
) -> Progress:
    """Train a BERT on a corpus but for some held-out texts, and leave it with the weights that know these best.

    Args:
        bert_for_mlm: a `BertForMaskedLM`.
        corpus: the encoded texts.
        tokenizer: that encoded them.
        knobs: `learning_rate` is a number here.
        devices: what to compute on.
        run_state: where the state to resume from lies.
        reports: the folder for the log and its picture.

    Raises:
        UserError: the corpus is too small, or what `fit` raises.
    """
    texts = len(corpus.lengths)
    if texts < MIN_TEXTS:
        raise UserError(f"the corpus has {texts} usable texts: give at least {MIN_TEXTS}, one a line")
    print(f"{texts:,} texts of up to {knobs.max_length} tokens, {len(corpus.ids):,} tokens; {devices}")
    model = MaskedLM(bert_for_mlm).to(devices.device)
    if devices.device.type == "cpu":
        bert_for_mlm.set_attn_implementation("eager")  # PyTorch's fused attention is slow for many short texts on a CPU
    if knobs.gradient_checkpointing:
        bert_for_mlm.bert.activation_checkpointing_enable()
    held_out = np.linspace(0, texts - 1, min(HELD_OUT, -(-texts // 20))).astype(int)
    rows = np.setdiff1d(np.arange(texts), held_out)
    positions = bert_for_mlm.config.max_position_embeddings
    batches = CorpusBatches(corpus, rows, tokenizer, knobs.batch_tokens, knobs.seed, knobs.character_share, positions)
    train = Masks(batches, tokenizer, knobs.mask_share)
    unseen = CorpusBatches(corpus, held_out, tokenizer, knobs.batch_tokens, positions=positions)
    dev = Masks(unseen, tokenizer, knobs.mask_share, seed=0)
    score = partial(score_masked_lm, held_out=dev, devices=devices)
    return fit(
        model, train, masked_lm_loss, score, knobs, devices, run_state, reports, "log_likelihood", units=count_masked
    )


def adapt(
    bert_path: Path,
    texts: Sequence[str],
    max_length: int,
    minutes: float,
    config: LoopConfig,
    save_dir: Path,
    devices: Devices,
) -> Path:
    """Pretrain a BERT further on the texts of a task before it is fine-tuned, and return its new folder.

    Gururangan et al. 2020, "Don't Stop Pretraining: Adapt Language Models to Domains and Tasks".

    Args:
        bert_path: folder of the BERT, which has a masked-language-model head.
        texts: without labels.
        max_length: tokens that the task reads at once, so that each of their positions is trained.
        minutes: how long.
        config: its seed, precision and folder for reports are taken, and whether to resume.
        save_dir: the folder of the model to be fine-tuned; the adapted BERT goes to `adapted_bert` in it.
        devices: what to compute on.

    Raises:
        UserError: the BERT has no such head or no [MASK], the texts are too few, or several processes are at work.
    """
    if devices.world > 1:
        raise UserError("--adapt-minutes is for one process: adapt with pretrain_mlm.py --init, then use torchrun")
    folder = save_dir / "adapted_bert"
    artefact = folder / "model.safetensors"
    if config.resume and has_finished(artefact):
        return folder
    shared = ("output", "seed", "device", "precision", "gradient_accumulation", "gradient_checkpointing")
    knobs = PretrainKnobs(
        **{name: getattr(config, name) for name in (*shared, "resume", "save_minutes")},
        minutes=minutes,
        learning_rate=finetune_defaults(bert_path, len(texts))[1],
        max_length=max_length,
        character_share=0.0,
        evals_per_epoch=1,
        patience=PATIENCE,
    )
    tokenizer = read_tokenizer(bert_path, max_length)
    require_mask(tokenizer, bert_path)
    bert_for_mlm = read_bert(bert_path, with_head=True)
    run_state = RunState(artefact, {"encoder": fingerprint(bert_path)})
    with run_state.claim(config.output / "adapt"):
        lines = folder / "texts.txt"
        content = "".join(" ".join(text.split()) + "\n" for text in texts)
        atomic_write(lines, lambda file: file.write(content.encode("utf-8", "replace")))
        corpus = encode_corpus([lines], tokenizer, folder / "corpus")
        torch.manual_seed(knobs.seed)
        fitted = pretrain(bert_for_mlm, corpus, tokenizer, knobs, devices, run_state, config.output / "adapt")
        first, best = fitted.log[0], fitted.best["metrics"]
        card = (
            f"# {folder.name}\n\n{bert_path}, adapted to {len(texts):,} texts in {fitted.seconds / 60:.1f} minutes "
            f"({fitted.tokens:,} tokens): held-out loss {best['loss']:.3f}, {best['accuracy']:.1%} of the masked "
            f"tokens right. {measured_on(devices.device)['machine']}\n"
        )
        recipe = bert_path / "finetune.json"
        write_bert(folder, bert_for_mlm, tokenizer, recipe if recipe.is_file() else None, card)
        run_state.drop()
    del corpus  # Windows removes no file that is mapped
    shutil.rmtree(folder / "corpus", ignore_errors=True)
    lines.unlink(missing_ok=True)
    print(f"adapted {bert_path} to the texts: held-out loss {first['dev_loss']:.3f} -> {best['loss']:.3f}")
    return folder


def require_mask(tokenizer: Tokenizer, folder: Path) -> None:
    """Refuse a vocabulary that cannot hide a token."""
    if "[MASK]" not in tokenizer.vocab:
        raise UserError(f"the vocabulary of {folder} has no [MASK]: this BERT cannot be pretrained with masks")
