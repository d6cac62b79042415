"""The reader: a BERT encoder with two scores for each token, of where an answer begins and of where it ends.

    model = BertReader.from_pretrained(Path("bert-mini-chinese"), reads="words")
    logits = model(input_ids, attention_mask, token_type_ids, word_ids, word_of)

Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers", section 4.2. Which tokens of a passage the
question has too is told beside them, as in Chen et al. 2017, "Reading Wikipedia to Answer Open-Domain Questions".
"""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional as F

from core.bert.encoder import build_bert, pretrained_bert
from core.bert.folder import read_bert_config
from core.bert.spread import NEAR, PLACES, neighbours, places_in_words, spread_words, word_mask
from core.text.pairs import KINDS

Reads = Literal["characters", "words"]
LABELS = ("start", "end")


class BertReader(nn.Module):
    """BERT encoder -> dropout -> linear, token by token.

    An encoder that was pretrained on words of Chinese may read words, although answers end within them: the state of a
    word goes to each of its characters, with their place in it and a vector of their own, and a narrow convolution
    joins neighbours. A window then holds half as much again of the passage, at the same cost.

    Args:
        bert_config: the keys of a Hugging Face `config.json` of a BERT, with `KINDS` types of tokens.
        num_labels: two, the start and the end.
        reads: what the encoder reads: "characters", which are pieces of words in other languages, or "words".
        layers: the shapes of a pruned encoder; see `build_bert`.

    Raises:
        ValueError: `layers` does not fit bert_config.
    """

    per_token = True

    def __init__(
        self,
        bert_config: dict[str, Any],
        num_labels: int = len(LABELS),
        reads: Reads = "characters",
        layers: list[dict[str, int]] | None = None,
    ) -> None:
        super().__init__()
        self.architecture = {"type": "bert_reader", "bert_config": bert_config, "num_labels": num_labels}
        self.architecture["reads"] = self.reads = reads
        if layers is not None:
            self.architecture["layers"] = layers
        words = reads == "words"
        self.inputs = ("input_ids", "attention_mask", "token_type_ids", *(("word_ids", "word_of") if words else ()))
        self.axes = {"token_type_ids": "words", "word_ids": "words"} if words else {}  # with a length of their own
        self.bert = build_bert(bert_config, pooler=False, layers=layers)
        config = self.bert.config
        width = config.hidden_size
        if words:
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
        token_type_ids: torch.Tensor,
        word_ids: torch.Tensor | None = None,
        word_of: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Logits of a batch; padding does not change them.

        Args:
            input_ids: (batch, seq) int64.
            attention_mask: (batch, seq), 1 for tokens and 0 for padding.
            token_type_ids: (batch, seq), or (batch, words) where these are read, which of `KINDS` each is.
            word_ids: (batch, words) the same texts as words; whatever stands behind them is not looked at.
            word_of: (batch, seq) which of the words each token stands in; [SEP] in the last one.

        Returns:
            (batch, seq, 2) float32.
        """
        if self.reads == "characters":
            types = {"token_type_ids": token_type_ids}
            states = self.bert(input_ids=input_ids, attention_mask=attention_mask, **types).last_hidden_state
            return self.classifier(self.dropout(states)).float()
        mask = word_mask(word_ids, word_of)
        words = self.bert(input_ids=word_ids, attention_mask=mask, token_type_ids=token_type_ids).last_hidden_state
        states = spread_words(words, word_of) + self.place(places_in_words(word_of))
        states = states + self.bert.embeddings.word_embeddings(input_ids)
        states = states * attention_mask.unsqueeze(-1).to(states.dtype)  # behind a text stands nothing
        states = self.norm(states + F.gelu(self.near(neighbours(states))))
        return self.classifier(self.dropout(states)).float()

    @classmethod
    def from_pretrained(cls, folder: Path, reads: Reads = "characters") -> "BertReader":
        """Take the encoder from a Hugging Face folder; what stands on it starts at random.

        Raises:
            UserError: the weights are damaged or do not fit `config.json`.
        """
        model = cls({**read_bert_config(folder), "type_vocab_size": KINDS}, reads=reads)
        bert, _ = pretrained_bert(folder)
        weights = {name: value for name, value in bert.state_dict().items() if not name.startswith("pooler.")}
        name = "embeddings.token_type_embeddings.weight"
        types = weights[name]  # what is shared starts as any other token of the second text
        weights[name] = torch.cat((types, types[-1:].expand(KINDS, -1)))[:KINDS]
        model.bert.load_state_dict(weights)
        return model

    @classmethod
    def from_architecture(
        cls, architecture: dict[str, Any], weights: dict[str, torch.Tensor] | None = None
    ) -> "BertReader":
        """Rebuild the module from what `self.architecture` said, with a state dict or with weights at random."""
        names = ("bert_config", "num_labels", "reads")
        model = cls(*(architecture[name] for name in names), architecture.get("layers"))
        if weights is not None:
            model.load_state_dict(weights)
        return model
