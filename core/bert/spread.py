"""The states of words at their characters, for encoders that read words where what is asked for ends within them."""

import torch
from torch.nn import functional as F

PLACES = 4  # that a token may have in its word: inside, last, first, or all of it
NEAR = 3  # tokens that the convolution over words' states sees


def word_mask(word_ids: torch.Tensor, word_of: torch.Tensor) -> torch.Tensor:
    """(batch, words) the attention mask of words: 1 up to the last that a token stands in.

    Args:
        word_ids: (batch, words) whatever stands behind the words of a row is not looked at.
        word_of: (batch, seq) which of the words each token stands in; [SEP] in the last one.
    """
    places = torch.arange(word_ids.shape[1], device=word_ids.device)
    return (places <= word_of.amax(1, keepdim=True)).to(word_ids.dtype)


def spread_words(states: torch.Tensor, word_of: torch.Tensor) -> torch.Tensor:
    """(batch, seq, hidden) the states of words, (batch, words, hidden), at each of their tokens."""
    return states.gather(1, word_of.unsqueeze(-1).expand(-1, -1, states.shape[-1]))


def places_in_words(word_of: torch.Tensor) -> torch.Tensor:
    """(batch, seq) int, one of `PLACES`: whether a token begins (2), and whether it ends (1), its word."""
    changes = F.pad((word_of[:, 1:] != word_of[:, :-1]).to(word_of.dtype), (1, 1), value=1)  # (batch, seq + 1)
    return 2 * changes[:, :-1] + changes[:, 1:]


def neighbours(states: torch.Tensor) -> torch.Tensor:
    """(batch, seq, `NEAR` * hidden) states and those beside them; a linear layer on these is a convolution.

    As one it becomes INT8, which a convolution does not. Beyond the ends stand zeros.
    """
    padded = F.pad(states, (0, 0, NEAR // 2, NEAR // 2))
    return torch.cat([padded[:, at : at + states.shape[1]] for at in range(NEAR)], dim=-1)
