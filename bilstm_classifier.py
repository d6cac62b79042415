"""The student: a bidirectional LSTM over token embeddings, small and fast enough for a CPU.

    model = BiLSTMClassifier.from_embeddings(teacher.bert.get_input_embeddings().weight, num_labels=10)
    logits = model(input_ids, attention_mask)

Tang et al. 2019, "Distilling Task-Specific Knowledge from BERT into Simple Neural Networks"; pooling as in Conneau et
al. 2017, "Supervised Learning of Universal Sentence Representations from Natural Language Inference Data".
"""

from typing import Any

import torch
from torch import nn

EMBEDDING_DIM = 320  # at most: BERT-base's embedding alone would hold a sixth of its parameters
HIDDEN_SIZE = 256
DROPOUT = 0.3


class BiLSTMClassifier(nn.Module):
    """Embedding -> an LSTM in each direction -> maximum and mean over the real tokens -> linear.

    Padding stands at the end of a title. The forward LSTM comes to it last; the backward one reads the tokens of each
    title in reverse with the padding still at the end. So neither sees padding before a token, and no packing is
    needed, which is slower in training and has no counterpart in ONNX.

    Args:
        vocab_size: rows of the embedding.
        num_labels: number of classes.
        embedding_dim: width of the embedding.
        hidden_size: width of the LSTM in each direction.
        dropout: share of the embedded and of the pooled features dropped in training.
    """

    def __init__(
        self,
        vocab_size: int,
        num_labels: int,
        embedding_dim: int = EMBEDDING_DIM,
        hidden_size: int = HIDDEN_SIZE,
        dropout: float = DROPOUT,
    ) -> None:
        super().__init__()
        self.architecture = {
            "type": "bilstm",
            "vocab_size": vocab_size,
            "num_labels": num_labels,
            "embedding_dim": embedding_dim,
            "hidden_size": hidden_size,
            "dropout": dropout,
        }
        self.embedding = nn.Embedding(vocab_size, embedding_dim)
        self.forward_lstm = nn.LSTM(embedding_dim, hidden_size, batch_first=True)
        self.backward_lstm = nn.LSTM(embedding_dim, hidden_size, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(4 * hidden_size, num_labels)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Logits of a batch; padding does not change them.

        Args:
            input_ids: (batch, seq) int64.
            attention_mask: (batch, seq), 1 for tokens and, after them, 0 for padding.

        Returns:
            (batch, num_labels) float32.
        """
        position = torch.arange(input_ids.shape[1], device=input_ids.device).unsqueeze(0)  # (1, seq)
        from_end = attention_mask.sum(1, keepdim=True) - 1 - position  # (batch, seq), below 0 in the padding
        reversed_ids = input_ids.gather(1, torch.where(from_end >= 0, from_end, position))
        forward_states, _ = self.forward_lstm(self.dropout(self.embedding(input_ids)))  # (batch, seq, hidden)
        backward_states, _ = self.backward_lstm(self.dropout(self.embedding(reversed_ids)))
        states = torch.cat((forward_states, backward_states), dim=-1).float()
        mask = attention_mask.unsqueeze(-1)  # (batch, seq, 1)
        largest = states.masked_fill(mask == 0, -1.0).amax(1)  # no state of an LSTM is below -1
        mean = (states * mask).sum(1) / mask.sum(1)
        return self.classifier(self.dropout(torch.cat((largest, mean), dim=-1))).float()

    @classmethod
    def from_embeddings(cls, embeddings: torch.Tensor, num_labels: int) -> "BiLSTMClassifier":
        """Start from the token embeddings of a teacher, scaled to a variance of 1; all else starts at random.

        Embeddings wider than `EMBEDDING_DIM` are turned to their principal axes, and the first ones kept.

        Args:
            embeddings: (vocab_size, width).
            num_labels: number of classes.
        """
        embeddings = embeddings.detach().float().cpu()
        embeddings = embeddings - embeddings.mean(0)
        if embeddings.shape[1] > EMBEDDING_DIM:
            axes = torch.linalg.eigh(embeddings.T @ embeddings).eigenvectors  # columns, least variance first
            embeddings = embeddings @ axes[:, -EMBEDDING_DIM:]
        model = cls(embeddings.shape[0], num_labels, embedding_dim=embeddings.shape[1])
        with torch.no_grad():
            model.embedding.weight.copy_(embeddings / embeddings.std())
        return model

    @classmethod
    def from_architecture(cls, architecture: dict[str, Any]) -> "BiLSTMClassifier":
        """Rebuild the module, weights at random, from what `self.architecture` said."""
        return cls(**{name: value for name, value in architecture.items() if name not in ("type", "quantization")})
