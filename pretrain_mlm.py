"""Pretrain a BERT on unlabelled text: go on with one, or train a small one from scratch.

    python pretrain_mlm.py --corpus titles.txt --init bert-base-chinese        # a text a line; adapt a BERT to them
    python pretrain_mlm.py --corpus news/ --minutes 60                         # a small BERT of your own
    python pretrain_mlm.py --corpus news/ --minutes 60 --resume                # after Ctrl-C, a kill or a power cut
    python train.py --bert-path save_models/bert                               # then use it

Masked language modelling (Devlin et al. 2019) with masks drawn anew each time (Liu et al. 2019, RoBERTa), more of
them than the usual 15 % (Wettig et al. 2023), computed on the masked positions only. A BERT from scratch gets a
vocabulary of Chinese words built from the corpus, and token embeddings that start from its word statistics
(core/pretraining/word_vectors.py). Writes a Hugging Face folder that `BertModel` and `AutoTokenizer` open with
`from_pretrained`, with a README that says how it was made; log and curves go to reports/pretrain/.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from config import BUNDLED_BERT
from core.bert.folder import finetune_defaults, fingerprint, read_bert_config, read_tokenizer, require_files
from core.console import UserError, parse, quoted, require_one_or_more, run
from core.files import atomic_write
from core.pretraining.corpus import Corpus, build_vocab, encode_corpus, read_texts
from core.pretraining.masked_lm import HEAD_SIZE, new_bert, read_bert, write_bert
from core.pretraining.pretrain import PretrainKnobs, pretrain, require_mask
from core.pretraining.word_vectors import ppmi_vectors
from core.text.tokenizer import SPECIAL_TOKENS, Tokenizer, check_coverage, read_vocab
from core.training.device import Devices, measured_on
from core.training.resume import Progress, RunState
from core.training.stage import run_stage

MAX_LENGTH = 256
MIN_POSITIONS = 64  # what titles are cut at
REACHED = 100  # texts that a position must be in, for a new BERT to have it


@dataclass
class PretrainConfig(PretrainKnobs):
    """Knobs of pretraining."""

    corpus: tuple[Path, ...] = ()
    """Text files, or folders of .txt files, with one text a line."""
    init: Path | None = None
    """Folder of the BERT to go on with. None: a small one from scratch, with the sizes below."""
    save_dir: Path = Path("save_models/bert")
    """Folder that the BERT is written to."""

    learning_rate: float | None = None
    """Peak learning rate. None: 8e-4 from scratch; with --init what the encoder's finetune.json says, else 5e-5."""

    vocab_size: int = 20_000
    """From scratch: tokens of the vocabulary."""
    num_layers: int = 4
    """From scratch: layers."""
    hidden_size: int = 320
    """From scratch: width, a multiple of 64."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_or_more(self, "num_layers")
        if not self.corpus:
            raise UserError("--corpus is missing: name text files, or folders of .txt files, with one text a line")
        if self.hidden_size % HEAD_SIZE or self.hidden_size < HEAD_SIZE:
            raise UserError(f"--hidden-size is {self.hidden_size}: it must be a multiple of {HEAD_SIZE}")
        if self.vocab_size < 100:
            raise UserError(f"--vocab-size is {self.vocab_size}: it must be 100 or more")


def find_files(corpus: Sequence[Path]) -> list[Path]:
    """The files of a corpus, folders replaced by the .txt files in them and in their folders.

    Raises:
        UserError: a folder has none, or a path is a pipe.
    """
    files: list[Path] = []
    for path in corpus:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise UserError(f"{path} is a pipe or a device, and a corpus is read more than once: save it to a file")
        inside = [path]
        if path.is_dir():
            found = (each for each in path.rglob("*") if each.suffix.lower() == ".txt" and each.is_file())
            inside = sorted(each for each in found if each.name != "vocab.txt")  # of a BERT, no text
        if not inside:
            raise UserError(f"{path} holds no .txt file: name the files, or a folder of them")
        files += inside
    return files


def find_tokenizer(files: Sequence[Path], config: PretrainConfig, built: Path, resumed: bool) -> Tokenizer:
    """The tokenizer of `--init`, else one with a vocabulary built from the corpus, kept in `built` for a resumed run.

    Raises:
        UserError: `--init` lacks a file, its vocabulary does not fit its weights or the corpus, or has no [MASK].
    """
    if config.init:
        tokenizer = read_tokenizer(config.init, config.max_length)
        check_coverage(tokenizer, list(islice(read_texts(files), 20_000)), config.init)
        require_mask(tokenizer, config.init)
        return tokenizer
    if not (resumed and built.is_file()):
        vocab = build_vocab(files, config.vocab_size)
        atomic_write(built, lambda file: file.write(("\n".join(vocab) + "\n").encode("utf-8")))
    return Tokenizer(read_vocab(built), config.max_length)


def positions_reached(corpus: Corpus) -> int:
    """Positions that some texts reach: those behind would stay random, and be noise to all that is longer."""
    return int(np.sort(corpus.lengths)[-min(REACHED, len(corpus.lengths))]) + 2  # [CLS] and [SEP]


def model_card(config: PretrainConfig, fitted: Progress, bert_for_mlm: nn.Module, facts: dict[str, Any]) -> str:
    """How a BERT was made, for its README."""
    shape, last, best = bert_for_mlm.config, fitted.log[-1], fitted.best["metrics"]
    command = " ".join(["python pretrain_mlm.py", *map(quoted, facts["flags"])])
    rows = {
        "shape": f"{shape.num_hidden_layers} layers, width {shape.hidden_size}, {shape.num_attention_heads} heads, "
        f"FFN {shape.intermediate_size}, vocabulary {shape.vocab_size:,}, {shape.max_position_embeddings} positions; "
        f"{sum(p.numel() for p in bert_for_mlm.bert.parameters()) / 1e6:.1f} M parameters",
        "started from": config.init or "word statistics of the corpus (embeddings) and random numbers",
        "objective": f"masked language model, {config.mask_share:.0%} of the tokens, drawn anew each time",
        "corpus": f"{facts['files']} file(s), {facts['texts']:,} texts, {facts['corpus_tokens']:,} tokens",
        "run": f"{fitted.tokens:,} tokens ({last['epoch']} epochs) in {fitted.step:,} steps of up to "
        f"{config.batch_tokens} tokens, {fitted.seconds / 60:.0f} minutes",
        "speed": f"{fitted.tokens / fitted.seconds:,.0f} tokens/s, the evaluations included",
        "hardware": f"{facts['machine']}, {facts['date']}",
        "held-out texts": f"loss {best['loss']:.3f}, {best['accuracy']:.1%} of the masked tokens right",
        "command": f"`{command}`",
    }
    table = "".join(f"| {name} | {value} |\n" for name, value in rows.items())
    return f"# {config.save_dir.name}\n\n| | |\n|---|---|\n{table}"


def main(argv: Sequence[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    config = parse(PretrainConfig, argv, __doc__)
    config.learning_rate = config.learning_rate or (finetune_defaults(config.init, 0)[1] if config.init else 8e-4)
    positions = MAX_LENGTH
    if config.init:
        require_files(config.init)
        positions = read_bert_config(config.init)["max_position_embeddings"]
    config.max_length = config.max_length or min(MAX_LENGTH, positions)
    artefact = config.save_dir / "model.safetensors"
    run_stage(config, artefact, "pretrain", partial(write_pretrained, config, argv, find_files(config.corpus)))


def write_pretrained(
    config: PretrainConfig, argv: Sequence[str], files: Sequence[Path], run_state: RunState, devices: Devices
) -> None:
    """Train a BERT on a corpus, and write its folder."""
    working = config.save_dir / "corpus"
    tokenizer = find_tokenizer(files, config, working / "vocab.txt", config.resume and run_state.exists())
    corpus = encode_corpus(files, tokenizer, working)
    torch.manual_seed(config.seed)
    if config.init:
        bert_for_mlm = read_bert(config.init)
        run_state.identity["encoder"] = fingerprint(config.init)
    else:
        vectors = ppmi_vectors(corpus, len(tokenizer.vocab), config.hidden_size, len(SPECIAL_TOKENS) + 1, config.seed)
        positions = max(MIN_POSITIONS, positions_reached(corpus))
        print(f"{positions} positions: as many as {REACHED} texts reach, at least {MIN_POSITIONS}")
        bert_for_mlm = new_bert(config.num_layers, config.hidden_size, positions, vectors)
    fitted = pretrain(bert_for_mlm, corpus, tokenizer, config, devices, run_state, config.output / "pretrain")

    recipe = (config.init or BUNDLED_BERT) / "finetune.json"
    facts = {
        "files": len(files),
        "texts": len(corpus.lengths),
        "corpus_tokens": len(corpus.ids),
        **measured_on(devices.device),
    }
    facts["flags"] = [part for part in argv if part != "--resume"]
    card = model_card(config, fitted, bert_for_mlm, facts)
    write_bert(config.save_dir, bert_for_mlm, tokenizer, recipe if recipe.is_file() else None, card)
    run_state.drop()
    metrics = fitted.best["metrics"]
    print(f"held-out loss {metrics['loss']:.3f}, {metrics['accuracy']:.1%} of the masked tokens right; ", end="")
    print(f"{fitted.tokens:,} tokens in {fitted.seconds / 60:.1f} minutes; saved {config.save_dir}")
    print(f"next: python train.py --bert-path {quoted(config.save_dir)}   ({working} may be deleted)")


if __name__ == "__main__":
    run(main)
