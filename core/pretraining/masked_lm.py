"""Masked language modelling: what to hide from a BERT, how well it guesses it, and its folder on disk."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from core.bert.folder import read_pretrained
from core.files import atomic_write, write_json
from core.pretraining.corpus import CorpusBatches
from core.text.tokenizer import SPECIAL_TOKENS, Encoder
from core.training.device import Devices
from core.training.updater import Batch

HEAD_SIZE = 64  # of an attention head: smaller ones are slower on a CPU
ROUND = 64  # tokens to predict come in multiples of it: sizes that recur are computed faster


def mask_tokens(
    ids: torch.Tensor,
    never: torch.Tensor,
    mask_id: int,
    vocab_size: int,
    share: float,
    generator: torch.Generator | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose the tokens to predict.

    Args:
        ids: (batch, seq) int64.
        never: ids that are never chosen ([PAD] and its like).
        mask_id: the id of [MASK].
        vocab_size: replacements are drawn below it.
        share: of the tokens to choose; one at least, and of many a multiple of 64.
        generator: of the random numbers, on the CPU; None: torch's own.

    Returns:
        The corrupted ids, and which positions to predict (bool), both (batch, seq).
    """
    draw, fate = (torch.rand(ids.shape, generator=generator).to(ids.device) for _ in range(2))
    draw = draw.masked_fill(torch.isin(ids, never), 2.0)
    count = max(1, round(share * int((draw < 2).sum())))
    count -= count % ROUND if count > ROUND else 0
    chosen = torch.zeros_like(ids, dtype=torch.bool)
    chosen.view(-1)[draw.view(-1).topk(count, largest=False).indices] = True
    others = torch.randint(vocab_size, ids.shape, generator=generator).to(ids.device)
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


class Objective:
    """What is to be predicted, and how well a model does it.

    Args:
        encoder: its vocabulary holds [MASK].
        share: of the tokens to predict.
        held_out: texts that a model is scored on.
        devices: what to compute on.
    """

    def __init__(self, encoder: Encoder, share: float, held_out: CorpusBatches, devices: Devices) -> None:
        ids = {token: index for index, token in enumerate(encoder.vocab)}
        self.mask_id = ids["[MASK]"]
        never = {ids[token] for token in (*SPECIAL_TOKENS, "[MASK]")} - {encoder.unknown_id}
        self.never = torch.tensor(sorted(never), device=devices.device)
        self.vocab_size = len(encoder.vocab)
        self.share = share
        self.held_out = held_out
        self.devices = devices

    def predict(
        self, model: nn.Module, batch: Batch, generator: torch.Generator | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of the tokens to predict, (chosen, vocab) float32, and what they were, (chosen,)."""
        ids = batch["input_ids"]
        corrupted, chosen = mask_tokens(ids, self.never, self.mask_id, self.vocab_size, self.share, generator)
        return model(corrupted, batch["attention_mask"], chosen), ids[chosen]

    def loss(self, model: nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The cross-entropy over the tokens to predict."""
        return F.cross_entropy(*self.predict(model, batch)), {}

    def score(self, model: nn.Module) -> dict[str, Any]:
        """`loss`, `log_likelihood` and `accuracy` over the held-out texts, with the same masks each time."""
        model.eval()
        generator = torch.Generator().manual_seed(0)
        loss = right = count = 0.0
        with torch.inference_mode(), self.devices.autocast():
            for batch in self.held_out.epoch():
                batch = {name: tensor.to(self.devices.device) for name, tensor in batch.items()}
                logits, targets = self.predict(model, batch, generator)
                loss += F.cross_entropy(logits, targets, reduction="sum").item()
                right += (logits.argmax(1) == targets).sum().item()
                count += len(targets)
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


def read_bert(folder: Path) -> nn.Module:
    """The BERT of a folder, with its masked-language-model head where it has one."""
    from transformers import BertForMaskedLM

    return read_pretrained(BertForMaskedLM, folder)[0]


def write_bert(folder: Path, bert_for_mlm: nn.Module, encoder: Encoder, recipe: Path | None, card: str) -> None:
    """Write a Hugging Face folder with weights in half precision.

    Args:
        folder: where it goes.
        bert_for_mlm: the model; what is tied to the embeddings is not written twice.
        encoder: its vocabulary and tokenizer.
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
    texts = {"vocab.txt": "\n".join(encoder.vocab) + "\n", "tokenizer.json": encoder.to_json(), "README.md": card}
    if recipe:
        texts["finetune.json"] = recipe.read_text(encoding="utf-8")
    # The weights come last: a kill on the way leaves none, rather than earlier ones beside another vocabulary.
    (folder / "model.safetensors").unlink(missing_ok=True)
    for name, text in texts.items():
        atomic_write(folder / name, lambda file, text=text: file.write(text.encode("utf-8")))
    write_json(folder / "tokenizer_config.json", tokenizer_config)
    write_json(folder / "config.json", bert_config)
    atomic_write(folder / "model.safetensors", lambda file: file.write(save(weights, {"format": "pt"})))
