"""Training of the positions of a BERT that its pretraining never reached, and of nothing else.

    python -m experiments.positions --corpus corpus --init bert-mini-chinese --reached 128

A BERT that was pretrained on short texts has positions it has never seen, as random as they began: what stands there
is read as if it were shuffled. Everything else is frozen, so that texts within the reached positions give the very
same states as before. Texts of the corpus are put at random places that end beyond what was reached (Kiyono et al.
2021, "SHAPE: Shifted Absolute Position Embedding for Transformers"), whole paragraphs best. Writes the folder of the
BERT to save_models/bert_positions, and positions.json with the loss at early and late places, before and after.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from config import BUNDLED_BERT
from core.bert.folder import fingerprint, read_tokenizer
from core.console import UserError, parse, run
from core.files import atomic_write, write_json
from core.pretraining.corpus import CorpusBatches, encode_corpus, read_texts
from core.pretraining.masked_lm import (
    NOT_WANTED,
    MaskedLM,
    Masks,
    count_masked,
    masked_lm_loss,
    predict_masked,
    read_bert,
    write_bert,
)
from core.training.device import Devices, measured_on
from core.training.knobs import LoopConfig
from core.training.loop import fit
from core.training.resume import RunState
from core.training.stage import run_stage
from pretrain_mlm import find_files

WEIGHTS = "bert_for_mlm.bert.embeddings.position_embeddings.weight"
CHARACTERS = 64, 640  # of the texts that lines are joined to
HELD_OUT = 500  # texts
MASK_SHARE = 0.3


@dataclass
class PositionsConfig(LoopConfig):
    """Knobs of the training of positions."""

    corpus: tuple[Path, ...] = ()
    """Text files, or folders of .txt files, with one text a line; lines that follow each other are joined."""
    init: Path = BUNDLED_BERT
    """Folder of the BERT."""
    reached: int = 128
    """Positions that its pretraining reached, which stay as they are."""
    save_dir: Path = Path("save_models/bert_positions")
    """Folder that the BERT is written to."""
    learning_rate: float | None = 0.01
    """Peak learning rate: high, since nothing but some vectors is learned."""
    minutes: float | None = 18
    """Minutes of training."""
    batch_tokens: int = 4096
    """Tokens in a training step, padding included."""
    evals_per_epoch: int = 16
    """Evaluations on held-out texts in an epoch."""


class LatePositions(nn.Module):
    """A masked language model of which the positions from `reached` on can be trained, and nothing else.

    In training a text stands at a random place that ends in late positions, in evaluation at the first one.

    Args:
        model: predicts the masked tokens.
        reached: positions that stay as they are.
    """

    def __init__(self, model: MaskedLM, reached: int) -> None:
        super().__init__()
        self._frozen = (model.requires_grad_(False),)  # in a tuple: no part of this module
        weights = model.get_parameter(WEIGHTS).detach()
        self.register_buffer("early", weights[:reached].clone())
        self.late = nn.Parameter(weights[reached:].clone())

    def table(self) -> torch.Tensor:
        """The vectors of all positions, (positions, hidden size)."""
        return torch.cat((self.early, self.late))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """Logits at the chosen places of (batch, seq): (chosen, vocab) float32."""
        table, length = self.table(), input_ids.shape[1]
        if self.training:
            place = int(torch.randint(max(0, len(self.early) - length + 1), len(table) - length + 1, ()))
            table = torch.cat((table[:1], table[1:].roll(-place, 0)))  # [CLS] is always the first
        return functional_call(self._frozen[0], {WEIGHTS: table}, (input_ids, attention_mask, chosen))


def join_lines(files: Sequence[Path], path: Path) -> None:
    """Write texts that are lines joined to some length, one a line: titles alone would teach no late position.

    Args:
        files: with one text a line.
        path: the file to write.
    """
    rng = np.random.default_rng(0)

    def write(out: BinaryIO) -> None:
        for file in files:
            joined, wanted = "", 0
            for line in chain(read_texts([file]), [""]):
                joined += line
                if len(joined) >= wanted or not line:
                    out.write(f"{joined}\n".encode("utf-8", "replace"))
                    joined, wanted = "", rng.integers(*CHARACTERS)

    atomic_write(path, write)


def score_by_place(model: nn.Module, held_out: Masks, reached: int, devices: Devices) -> dict[str, float]:
    """Loss of the masked tokens, in nats, and the share that is right, before and from the position `reached` on."""
    model.eval()
    places: list[list[torch.Tensor]] = [[], []]
    with torch.inference_mode(), devices.autocast():
        for batch in held_out.epoch():
            logits, wanted = predict_masked(model, {name: t.to(devices.device) for name, t in batch.items()})
            each = torch.stack(
                (F.cross_entropy(logits, wanted, reduction="none"), (logits.argmax(1) == wanted).float())
            )
            late = ((batch["wanted"] != NOT_WANTED).nonzero()[:, 1] >= reached).to(each.device)
            places[0].append(each[:, ~late])
            places[1].append(each[:, late])
    (early, early_right), (late, late_right) = (torch.cat(each, 1).mean(1).tolist() for each in places)
    scores = {"early_loss": early, "early_accuracy": early_right, "late_loss": late, "late_accuracy": late_right}
    return {**scores, "log_likelihood": -late}


def train_positions(config: PositionsConfig, run_state: RunState, devices: Devices) -> None:
    """Train the late positions of a BERT, and write its folder and what was measured."""
    bert_for_mlm = read_bert(config.init, with_head=True)
    positions = bert_for_mlm.config.max_position_embeddings
    if not 0 < config.reached < positions:
        raise UserError(f"--reached is {config.reached}: it must be 1 to {positions - 1}")
    tokenizer = read_tokenizer(config.init, positions)
    working = config.save_dir / "corpus"
    files = find_files(config.corpus)
    join_lines(files, working / "joined.txt")
    corpus = encode_corpus([working / "joined.txt"], tokenizer, working)
    long = np.flatnonzero(corpus.lengths + 2 > (config.reached + positions) / 2)
    if len(long) < 2:
        raise UserError(f"--corpus has no text that reaches far beyond position {config.reached}: give paragraphs")
    held_out = long[:: max(2, len(long) // HELD_OUT)]
    rows = np.setdiff1d(np.arange(len(corpus.lengths)), held_out)
    train, dev = (CorpusBatches(corpus, each, tokenizer, config.batch_tokens, config.seed) for each in (rows, held_out))
    if devices.device.type == "cpu":
        bert_for_mlm.set_attn_implementation("eager")
    model = LatePositions(MaskedLM(bert_for_mlm).to(devices.device), config.reached).to(devices.device)
    score = partial(
        score_by_place, held_out=Masks(dev, tokenizer, MASK_SHARE, seed=0), reached=config.reached, devices=devices
    )
    before = score(model)
    run_state.identity["encoder"] = fingerprint(config.init)
    masks, reports = Masks(train, tokenizer, MASK_SHARE), config.output / "positions"
    fitted = fit(
        model, masks, masked_lm_loss, score, config, devices, run_state, reports, "log_likelihood", count_masked
    )
    after = fitted.best["metrics"]
    with torch.no_grad():
        bert_for_mlm.bert.embeddings.position_embeddings.weight.copy_(model.table())
    recipe, card = config.init / "finetune.json", (config.init / "README.md").read_text(encoding="utf-8")
    write_bert(config.save_dir, bert_for_mlm, tokenizer, recipe if recipe.is_file() else None, card)
    knobs = {name: config.plain()[name] for name in ("reached", "minutes", "learning_rate", "batch_tokens", "seed")}
    report = {"before": before, "after": after, "tokens": fitted.tokens, "steps": fitted.step, **knobs}
    report |= {"held_out_texts": len(held_out), "corpus": [file.name for file in files], **measured_on(devices.device)}
    write_json(config.save_dir / "positions.json", report)
    run_state.drop()
    for place in ("late", "early"):
        losses = " -> ".join(f"{each[f'{place}_loss']:.3f}" for each in (before, after))
        print(f"loss at {place} positions {losses}")
    print(f"saved {config.save_dir}")


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(PositionsConfig, argv, __doc__)
    run_stage(config, config.save_dir / "model.safetensors", "positions", partial(train_positions, config))


if __name__ == "__main__":
    run(main)
