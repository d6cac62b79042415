"""Masked language modelling: masks, loss and score, and the folder of a pretrained BERT on disk."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from core.bert.weights import read_pretrained
from core.console import UserError
from core.files import atomic_write, write_json
from core.pretraining.corpus import CorpusBatches
from core.text.tokenizer import SPECIAL_TOKENS, Tokenizer
from core.training.device import Devices
from core.training.units import Batch

HEAD_SIZE = 64  # of an attention head: smaller ones are slower on a CPU
NOT_WANTED = -100  # in place of a token that is not to be predicted
ROUND = 64  # tokens to predict come in multiples of it: sizes that recur are computed faster


def mask_tokens(
    ids: torch.Tensor,
    never: torch.Tensor,
    mask_id: int,
    vocab_size: int,
    share: float,
    generator: torch.Generator | None = None,
    word: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose the tokens to predict.

    Args:
        ids: (batch, seq) int64, on the CPU.
        never: ids that are never chosen ([PAD] and its like).
        mask_id: the id of [MASK].
        vocab_size: replacements are drawn below it.
        share: of the tokens to choose; one at least, and of many a multiple of 64.
        generator: of the random numbers, on the CPU; None: torch's own.
        word: (batch, seq), the index of the word that each token belongs to; the tokens of a word are chosen together
            (Cui et al. 2021, whole word masking), since the rest of a word gives a character
            away. None: each token is a word.

    Returns:
        The corrupted ids, and which positions to predict (bool), both (batch, seq).
    """
    draw, fate = (torch.rand(ids.shape, generator=generator) for _ in range(2))
    if word is not None:
        draw = draw.gather(1, word)
    draw = draw.masked_fill(torch.isin(ids, never), 2.0)
    count = max(1, round(share * int((draw < 2).sum())))
    count -= count % ROUND if count > ROUND else 0
    chosen = torch.zeros_like(ids, dtype=torch.bool)
    chosen.view(-1)[draw.view(-1).topk(count, largest=False).indices] = True
    others = torch.randint(vocab_size, ids.shape, generator=generator)
    corrupted = ids.masked_fill(chosen & (fate < 0.8), mask_id)
    return torch.where(chosen & (fate >= 0.9), others, corrupted), chosen


class MaskedLM(nn.Module):
    """A `BertForMaskedLM` that computes its head where there is something to predict only, and without dropout: small
    models on much text do not overfit."""

    def __init__(self, bert_for_mlm: nn.Module) -> None:
        super().__init__()
        self.bert_for_mlm = bert_for_mlm
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """Logits at the chosen positions of (batch, seq): (chosen, vocab) float32."""
        states = self.bert_for_mlm.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self.bert_for_mlm.cls(states[chosen]).float()


class Masks:
    """Masks of masked language modelling, batch by batch: `input_ids` with masks, and what to predict in `wanted`.

    Masks are drawn for a batch as a whole, before it is cut into pieces, so that the pieces give the same result.

    Args:
        batches: texts.
        tokenizer: its vocabulary holds [MASK].
        share: of the tokens to predict.
        seed: the same masks in each epoch, for evaluation; None: drawn anew from torch's own random numbers.
    """

    def __init__(self, batches: CorpusBatches, tokenizer: Tokenizer, share: float, seed: int | None = None) -> None:
        self.batches, self.share, self.seed = batches, share, seed
        ids = {token: index for index, token in enumerate(tokenizer.vocab)}
        self.mask_id, self.vocab_size = ids["[MASK]"], len(ids)
        never = {ids[token] for token in (*SPECIAL_TOKENS, "[MASK]")} - {tokenizer.unknown_id}
        self.never = torch.tensor(sorted(never))

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.batches)

    def sha256(self) -> str:
        """A fingerprint of the texts."""
        return self.batches.sha256()

    def epoch(self, number: int = 0, skip: int = 0) -> Iterator[Batch]:
        """The batches of epoch `number` from the one at `skip` on; `wanted` is NOT_WANTED at what is not hidden."""
        generator = None if self.seed is None else torch.Generator().manual_seed(self.seed)
        for batch in self.batches.epoch(number, skip):
            ids = batch["input_ids"]
            word = batch.pop("word", None)
            hidden, chosen = mask_tokens(ids, self.never, self.mask_id, self.vocab_size, self.share, generator, word)
            yield {**batch, "input_ids": hidden, "wanted": ids.masked_fill(~chosen, NOT_WANTED)}


def count_masked(batch: Batch) -> int:
    """The tokens of a batch that are to be predicted."""
    return int((batch["wanted"] != NOT_WANTED).sum())


def predict_masked(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of the tokens to predict, (tokens, vocab) float32, and what they were, (tokens,)."""
    chosen = batch["wanted"] != NOT_WANTED
    return model(batch["input_ids"], batch["attention_mask"], chosen), batch["wanted"][chosen]


def masked_lm_loss(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Cross-entropy of the tokens to predict, the mean over them."""
    return F.cross_entropy(*predict_masked(model, batch)), {}


def score_masked_lm(model: nn.Module, held_out: Masks, devices: Devices) -> dict[str, Any]:
    """`loss`, `log_likelihood` and `accuracy` over the masked tokens of held-out texts."""
    model.eval()
    loss = right = count = 0.0
    with torch.inference_mode(), devices.autocast():
        for batch in held_out.epoch():
            logits, wanted = predict_masked(model, {name: t.to(devices.device) for name, t in batch.items()})
            loss += F.cross_entropy(logits, wanted, reduction="sum").item()
            right += (logits.argmax(1) == wanted).sum().item()
            count += len(wanted)
    return {"loss": loss / count, "log_likelihood": -loss / count, "accuracy": right / count}


def new_bert(num_layers: int, hidden_size: int, positions: int, vectors: np.ndarray) -> nn.Module:
    """A `BertForMaskedLM` from random weights, but for its token embeddings, (vocab, hidden_size)."""
    from transformers import BertConfig, BertForMaskedLM

    bert_config = BertConfig(
        vocab_size=len(vectors),
        hidden_size=hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=hidden_size // HEAD_SIZE,
        intermediate_size=4 * hidden_size,
        max_position_embeddings=positions,
    )
    model = BertForMaskedLM(bert_config)
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight.copy_(torch.from_numpy(vectors))
    return model


def read_bert(folder: Path, with_head: bool = False) -> nn.Module:
    """The BERT of a folder, with its masked-language-model head where it has one.

    Args:
        folder: of the BERT.
        with_head: refuse one without such a head, which takes long to learn anew.

    Raises:
        UserError: the folder cannot be read, or lacks the head.
    """
    from transformers import BertForMaskedLM

    bert_for_mlm, missing = read_pretrained(BertForMaskedLM, folder)
    if with_head and "cls.predictions.transform.dense.weight" in missing:
        raise UserError(
            f"{folder} has no masked-language-model head, so a few minutes cannot adapt it: leave out --adapt-minutes, "
            "or pretrain it at length with pretrain_mlm.py --init"
        )
    return bert_for_mlm


def write_bert(folder: Path, bert_for_mlm: nn.Module, tokenizer: Tokenizer, recipe: Path | None, card: str) -> None:
    """Write a Hugging Face folder with weights in half precision.

    Args:
        folder: where it goes.
        bert_for_mlm: the model; what is tied to the embeddings is not written twice.
        tokenizer: its tokenizer, vocabulary included.
        recipe: the finetune.json to go with it, if there is one.
        card: its README.
    """
    from safetensors.torch import save

    weights = {name: t.half().contiguous() for name, t in bert_for_mlm.state_dict().items() if ".decoder." not in name}
    bert_config = {**bert_for_mlm.config.to_dict(), "architectures": ["BertForMaskedLM"], "dtype": "float32"}
    bert_config.pop("_name_or_path", None)
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": bert_config["max_position_embeddings"],
    }
    tokenizer_config |= {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    texts = {"vocab.txt": "\n".join(tokenizer.vocab) + "\n", "tokenizer.json": tokenizer.to_json(), "README.md": card}
    if recipe:
        texts["finetune.json"] = recipe.read_text(encoding="utf-8")
    # The weights come last: a kill on the way leaves none, rather than earlier ones beside another vocabulary.
    (folder / "model.safetensors").unlink(missing_ok=True)
    for name, text in texts.items():
        _write_text(folder / name, text)
    write_json(folder / "tokenizer_config.json", tokenizer_config)
    write_json(folder / "config.json", bert_config)
    atomic_write(folder / "model.safetensors", lambda file: file.write(save(weights, {"format": "pt"})))


def _write_text(path: Path, text: str) -> None:
    atomic_write(path, lambda file: file.write(text.encode("utf-8")))
