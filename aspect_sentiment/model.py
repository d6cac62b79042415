"""The model: a BERT encoder, for each aspect an attention over the tokens, and a classifier of its states.

    model = BertAspects.from_pretrained(Path("bert-mini-chinese"), ["口味", "服务"], num_labels=4)
    logits = model(input_ids, attention_mask)

Label-wise attention: Mullenbach et al. 2018, "Explainable Prediction of Medical Codes from Clinical Text", section 2.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from core.bert.encoder import build_bert, pretrained_bert
from core.bert.folder import read_bert_config

Pooling = Literal["attention", "mean"]
POSITIONS = "embeddings.position_embeddings.weight"


class BertAspects(nn.Module):
    """BERT encoder -> a vector for each aspect -> dropout -> linear.

    The weights of a state are a part that all aspects share, as praise sounds alike whatever is praised, and one of the
    aspect's own.

    Args:
        bert_config: the keys of a Hugging Face `config.json` of a BERT.
        aspects: their names.
        num_labels: states of an aspect.
        pooling: how an aspect's vector is made of the states of the tokens: "attention", a mean weighted by how well
            each fits a vector that the aspect learns; "mean", the plain one, the same for all aspects.
        layers: the shapes of a pruned encoder; see `build_bert`.

    Raises:
        ValueError: `layers` does not fit bert_config.
    """

    def __init__(
        self,
        bert_config: dict[str, Any],
        aspects: Sequence[str],
        num_labels: int,
        pooling: Pooling = "attention",
        layers: list[dict[str, int]] | None = None,
    ) -> None:
        super().__init__()
        self.architecture = {"type": "bert_aspects", "bert_config": bert_config, "num_labels": num_labels}
        self.architecture |= {"aspects": list(aspects), "pooling": pooling}
        if layers is not None:
            self.architecture["layers"] = layers
        self.pooling = pooling
        self.parts = (len(aspects),)
        self.bert = build_bert(bert_config, pooler=False, layers=layers)
        config = self.bert.config
        width, std = config.hidden_size, config.initializer_range
        if pooling == "attention":
            self.key = nn.Linear(width, width)
            self.queries = nn.Parameter(torch.empty(width, len(aspects)).normal_(std=width**-0.5))
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.states = nn.Parameter(torch.empty(num_labels, width).normal_(std=std))
        self.classifier = nn.Parameter(torch.empty(len(aspects), num_labels, width).normal_(std=std))
        self.bias = nn.Parameter(torch.zeros(len(aspects), num_labels))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Logits of a batch; padding does not change them.

        Args:
            input_ids: (batch, seq) int64.
            attention_mask: (batch, seq), 1 for tokens and 0 for padding.

        Returns:
            (batch, aspects, states) float32.
        """
        states = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state.float()
        mask = attention_mask.unsqueeze(1).float()  # (batch, 1, seq)
        if self.pooling == "attention":
            fit = (torch.tanh(self.key(states)) @ self.queries).float().transpose(1, 2)  # (batch, aspects, seq)
            weights = torch.softmax(fit + (1 - mask) * -1e9, dim=-1)
        else:
            weights = mask / mask.sum(-1, keepdim=True)
        pooled = self.dropout(weights @ states)  # (batch, aspects or 1, hidden)
        return (pooled.unsqueeze(2).float() * (self.states + self.classifier)).sum(-1) + self.bias

    @classmethod
    def from_pretrained(
        cls, folder: Path, aspects: Sequence[str], num_labels: int, pooling: Pooling = "attention", positions: int = 0
    ) -> "BertAspects":
        """Take the encoder from a Hugging Face folder; what stands on it starts at random.

        Args:
            folder: of the encoder.
            aspects: their names.
            num_labels: states of an aspect.
            pooling: see the class.
            positions: tokens that it is to read at once; where the encoder has fewer positions, they are repeated, as
                Longformer's are (Beltagy et al. 2020, section 5).

        Raises:
            UserError: the weights are damaged or do not fit `config.json`.
        """
        bert_config = read_bert_config(folder)
        bert, _ = pretrained_bert(folder)
        weights = {name: tensor for name, tensor in bert.state_dict().items() if not name.startswith("pooler.")}
        if positions > bert_config["max_position_embeddings"]:
            bert_config = {**bert_config, "max_position_embeddings": positions}
            own = weights[POSITIONS]
            weights[POSITIONS] = own.repeat(-(-positions // len(own)), 1)[:positions]
        model = cls(bert_config, aspects, num_labels, pooling)
        model.bert.load_state_dict(weights)
        return model

    @classmethod
    def from_architecture(
        cls, architecture: dict[str, Any], weights: dict[str, torch.Tensor] | None = None
    ) -> "BertAspects":
        """Rebuild the module from what `self.architecture` said, with a state dict or with weights at random."""
        names = ("bert_config", "aspects", "num_labels", "pooling")
        model = cls(*(architecture[name] for name in names), architecture.get("layers"))
        # What the facts say beside the weights, of a model that has been trained: see `aspect_sentiment.predict`.
        model.architecture |= {name: value for name, value in architecture.items() if name not in model.architecture}
        if weights is not None:
            model.load_state_dict(weights)
        return model
