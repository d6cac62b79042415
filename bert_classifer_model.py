"""The teacher: a BERT encoder with a linear classifier on top.

    model = BertClassifier.from_pretrained(Path("bert-base-chinese"), num_labels=10)
    logits = model(input_ids, attention_mask)

Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding".
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.bert.encoder import build_bert, pretrained_bert
from core.bert.folder import read_bert_config


class BertClassifier(nn.Module):
    """BERT encoder -> one vector a text -> dropout -> linear.

    The vector is BERT's pooler output where the pretrained weights carry a pooler, else the mean of the states of the
    real tokens.

    Args:
        bert_config: the keys of a Hugging Face `config.json` of a BERT.
        num_labels: number of classes.
        pooling: "pooler" or "mean".
        layers: the shapes of a pruned encoder; see `build_bert`.

    Raises:
        ValueError: `layers` does not fit bert_config.
    """

    def __init__(
        self, bert_config: dict[str, Any], num_labels: int, pooling: str, layers: list[dict[str, int]] | None = None
    ) -> None:
        super().__init__()
        self.architecture = {
            "type": "bert",
            "bert_config": bert_config,
            "num_labels": num_labels,
            "pooling": pooling,
        }
        if layers is not None:
            self.architecture["layers"] = layers
        self.pooling = pooling
        self.bert = build_bert(bert_config, pooling == "pooler", layers)
        config = self.bert.config
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, num_labels)
        nn.init.normal_(self.classifier.weight, std=config.initializer_range)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Logits of a batch; padding does not change them.

        Args:
            input_ids: (batch, seq) int64.
            attention_mask: (batch, seq), 1 for tokens and 0 for padding.

        Returns:
            (batch, num_labels) float32.
        """
        output = self.bert(input_ids=input_ids, attention_mask=attention_mask)
        if self.pooling == "pooler":
            pooled = output.pooler_output  # (batch, hidden)
        else:
            states = output.last_hidden_state.float()  # (batch, seq, hidden)
            mask = attention_mask.unsqueeze(-1).float()  # (batch, seq, 1)
            pooled = (states * mask).sum(1) / mask.sum(1)
        return self.classifier(self.dropout(pooled)).float()

    @classmethod
    def from_pretrained(cls, folder: Path, num_labels: int) -> "BertClassifier":
        """Take the encoder from a Hugging Face folder; the classifier starts at random.

        Raises:
            UserError: the weights are damaged or do not fit `config.json`.
        """
        bert_config = read_bert_config(folder)
        bert, pooler = pretrained_bert(folder)
        model = cls(bert_config, num_labels, "pooler" if pooler else "mean")
        model.bert = bert
        return model

    @classmethod
    def from_architecture(
        cls, architecture: dict[str, Any], weights: dict[str, torch.Tensor] | None = None
    ) -> "BertClassifier":
        """Rebuild the module from what `self.architecture` said, with a state dict or with weights at random."""
        names = ("bert_config", "num_labels", "pooling")
        model = cls(*(architecture[name] for name in names), architecture.get("layers"))
        if weights is not None:
            model.load_state_dict(weights)
        return model
