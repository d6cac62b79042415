"""The tagger: a BERT encoder with a linear classifier on each token.

    model = BertTagger.from_pretrained(Path("bert-mini-chinese"), num_labels=7, reads="both")
    logits = model(input_ids, attention_mask, word_ids, word_of)

Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers", section 5.3.
"""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional as F

from core.bert.encoder import build_bert, pretrained_bert
from core.bert.folder import read_bert_config
from core.bert.spread import NEAR, PLACES, neighbours, places_in_words, spread_words, word_mask

Reads = Literal["characters", "words", "both"]


class BertTagger(nn.Module):
    """BERT encoder -> dropout -> linear, token by token.

    An encoder that was pretrained on words of Chinese may read words, although entities end within them: the state of a
    word goes to each of its characters, with their place in it, and a narrow convolution joins neighbours. It may read
    the characters too, which takes more than twice the time; where it does not, each has its own vector beside the
    word's state. `python -m experiments.ner` measures what these are worth.

    Args:
        bert_config: the keys of a Hugging Face `config.json` of a BERT.
        num_labels: number of tags.
        reads: what the encoder reads: "characters", which are pieces of words in other languages, "words", or "both".
        layers: the shapes of a pruned encoder; see `build_bert`.

    Raises:
        ValueError: `layers` does not fit bert_config.
    """

    per_token = True
    axes = {"word_ids": "words"}  # the inputs that have a length of their own

    def __init__(
        self,
        bert_config: dict[str, Any],
        num_labels: int,
        reads: Reads = "characters",
        layers: list[dict[str, int]] | None = None,
    ) -> None:
        super().__init__()
        self.architecture = {"type": "bert_tagger", "bert_config": bert_config, "num_labels": num_labels}
        self.architecture["reads"] = self.reads = reads
        if layers is not None:
            self.architecture["layers"] = layers
        self.inputs = ("input_ids", "attention_mask", *(("word_ids", "word_of") if reads != "characters" else ()))
        self.bert = build_bert(bert_config, pooler=False, layers=layers)
        config = self.bert.config
        width = config.hidden_size
        if reads == "both":
            self.mix = nn.Linear(2 * width, width)
        if reads != "characters":
            self.place = nn.Embedding(PLACES, width)
            self.near = nn.Linear(NEAR * width, width)
            self.norm = nn.LayerNorm(width)
            nn.init.normal_(self.place.weight, std=config.initializer_range)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(width, num_labels)
        nn.init.normal_(self.classifier.weight, std=config.initializer_range)
        nn.init.zeros_(self.classifier.bias)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        word_ids: torch.Tensor | None = None,
        word_of: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Logits of a batch; padding does not change them.

        Args:
            input_ids: (batch, seq) int64.
            attention_mask: (batch, seq), 1 for tokens and 0 for padding.
            word_ids: (batch, words) the same texts as words; whatever stands behind them is not looked at.
            word_of: (batch, seq) which of the words each token stands in; [SEP] in the last one.

        Returns:
            (batch, seq, num_labels) float32.
        """
        characters = None
        if self.reads != "words":
            characters = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        states = characters if self.reads == "characters" else self._spread(word_ids, word_of)
        if self.reads == "words":
            states = states + self.bert.embeddings.word_embeddings(input_ids)
        elif self.reads == "both":
            states = self.mix(torch.cat((states, characters), dim=-1))
        if self.reads != "characters":
            states = states * attention_mask.unsqueeze(-1).to(states.dtype)  # behind a text stands nothing
            states = self.norm(states + F.gelu(self.near(neighbours(states))))
        return self.classifier(self.dropout(states)).float()

    def _spread(self, word_ids: torch.Tensor, word_of: torch.Tensor) -> torch.Tensor:
        """(batch, seq, hidden) the states of words at each of their characters, with the place of these in them."""
        states = self.bert(input_ids=word_ids, attention_mask=word_mask(word_ids, word_of)).last_hidden_state
        return spread_words(states, word_of) + self.place(places_in_words(word_of))

    @classmethod
    def from_pretrained(cls, folder: Path, num_labels: int, reads: Reads = "characters") -> "BertTagger":
        """Take the encoder from a Hugging Face folder; what stands on it starts at random.

        Raises:
            UserError: the weights are damaged or do not fit `config.json`.
        """
        model = cls(read_bert_config(folder), num_labels, reads)
        model.bert, _ = pretrained_bert(folder)
        model.bert.pooler = None
        return model

    @classmethod
    def from_architecture(
        cls, architecture: dict[str, Any], weights: dict[str, torch.Tensor] | None = None
    ) -> "BertTagger":
        """Rebuild the module from what `self.architecture` said, with a state dict or with weights at random."""
        names = ("bert_config", "num_labels", "reads")
        model = cls(*(architecture[name] for name in names), architecture.get("layers"))
        if weights is not None:
            model.load_state_dict(weights)
        return model
