"""The tagger: a BERT encoder with a linear classifier on each token.

    model = BertTagger.from_pretrained(Path("bert-mini-chinese"), num_labels=7)
    logits = model(input_ids, attention_mask)

Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers", section 5.3.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.bert.encoder import build_bert, pretrained_bert
from core.bert.folder import read_bert_config


class BertTagger(nn.Module):
    """BERT encoder -> dropout -> linear, token by token.

    Args:
        bert_config: the keys of a Hugging Face `config.json` of a BERT.
        num_labels: number of tags.
        layers: the shapes of a pruned encoder; see `build_bert`.

    Raises:
        ValueError: `layers` does not fit bert_config.
    """

    per_token = True

    def __init__(
        self, bert_config: dict[str, Any], num_labels: int, layers: list[dict[str, int]] | None = None
    ) -> None:
        super().__init__()
        self.architecture = {"type": "bert_tagger", "bert_config": bert_config, "num_labels": num_labels}
        if layers is not None:
            self.architecture["layers"] = layers
        self.bert = build_bert(bert_config, pooler=False, layers=layers)
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
            (batch, seq, num_labels) float32.
        """
        states = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self.classifier(self.dropout(states)).float()

    @classmethod
    def from_pretrained(cls, folder: Path, num_labels: int) -> "BertTagger":
        """Take the encoder from a Hugging Face folder; the classifier starts at random.

        Raises:
            UserError: the weights are damaged or do not fit `config.json`.
        """
        model = cls(read_bert_config(folder), num_labels)
        model.bert, _ = pretrained_bert(folder)
        model.bert.pooler = None
        return model

    @classmethod
    def from_architecture(
        cls, architecture: dict[str, Any], weights: dict[str, torch.Tensor] | None = None
    ) -> "BertTagger":
        """Rebuild the module from what `self.architecture` said, with a state dict or with weights at random."""
        model = cls(architecture["bert_config"], architecture["num_labels"], architecture.get("layers"))
        if weights is not None:
            model.load_state_dict(weights)
        return model
