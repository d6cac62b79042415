"""Text -> token ids, with the `tokenizers` library alone: no torch, no transformers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from core.console import UserError
from core.files import detect_encoding

MAX_UNKNOWN_SHARE = 0.02  # of the characters; far more with another language's vocabulary
CHUNK = 10_000  # texts encoded at a time, to keep memory small
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


@dataclass
class Encoded:
    """Token ids of some texts, [CLS] first and [SEP] last, not padded; `truncated` tells which were cut."""

    input_ids: list[list[int]]
    truncated: list[bool]


class Encoder:
    """WordPiece encoding as BERT does it; text longer than `max_length` tokens is cut at its end.

    Args:
        vocab: tokens in the order of their ids.
        max_length: tokens kept, [CLS] and [SEP] included.
    """

    def __init__(self, vocab: Sequence[str], max_length: int) -> None:
        self.vocab = list(vocab)
        self.max_length = max_length
        self._room = max_length - 2  # beside [CLS] and [SEP]
        ids = {token: index for index, token in enumerate(self.vocab)}
        self.pad_id, self.unknown_id, self.cls_id, self.sep_id = (ids[token] for token in SPECIAL_TOKENS)
        self._tokenizer = Tokenizer(WordPiece(ids, unk_token="[UNK]"))
        # A vocabulary without capitals belongs to a lower-casing BERT, whatever its tokenizer_config.json says.
        self._tokenizer.normalizer = BertNormalizer(lowercase="A" not in ids)
        self._tokenizer.pre_tokenizer = BertPreTokenizer()

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Encode texts of any content: what UTF-8 cannot hold (lone surrogates) counts as U+FFFD."""
        encoded = Encoded([], [])
        for start in range(0, len(texts), CHUNK):
            chunk = [replace_surrogates(text) for text in texts[start : start + CHUNK]]
            for encoding in self._tokenizer.encode_batch_fast(chunk):
                encoded.input_ids.append([self.cls_id, *encoding.ids[: self._room], self.sep_id])
                encoded.truncated.append(len(encoding.ids) > self._room)
        return encoded

    def unknown_share(self, texts: Sequence[str]) -> float:
        """The share of the visible characters, 0 to 1, that the vocabulary does not know ([UNK])."""
        unknown = total = 0
        encodings = self._tokenizer.encode_batch([replace_surrogates(text) for text in texts])
        for text, encoding in zip(texts, encodings, strict=True):
            total += sum(not character.isspace() for character in text)
            for token_id, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
                unknown += (end - start) * (token_id == self.unknown_id)
        return unknown / max(total, 1)


def pad(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Token ids of different lengths as `input_ids` and `attention_mask`, both (rows, longest) int64."""
    input_ids = np.full((len(rows), max(map(len, rows))), pad_id, dtype=np.int64)
    mask = np.zeros_like(input_ids)
    for index, ids in enumerate(rows):
        input_ids[index, : len(ids)] = ids
        mask[index, : len(ids)] = 1
    return input_ids, mask


def replace_surrogates(text: str) -> str:
    """`text` with lone surrogates, which no encoding can carry, replaced by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def read_vocab(path: Path) -> list[str]:
    """Read a BERT `vocab.txt`, one token a line.

    Raises:
        UserError: the file is missing, repeats a token, or lacks one of [PAD] [UNK] [CLS] [SEP].
    """
    with path.open(encoding=detect_encoding(path), errors="replace") as file:
        vocab = [line.rstrip("\n") for line in file]
    while vocab and not vocab[-1]:
        vocab.pop()
    missing = [token for token in SPECIAL_TOKENS if token not in vocab]
    if missing:
        raise UserError(f"{path} is not a BERT vocabulary: it lacks {' '.join(missing)}; fetch it again")
    if len(set(vocab)) < len(vocab):
        raise UserError(f"{path} is damaged: it holds {len(vocab) - len(set(vocab))} tokens twice; fetch it again")
    return vocab


def check_coverage(encoder: Encoder, texts: Sequence[str], source: Path) -> None:
    """Refuse a vocabulary that does not know the characters of the training texts.

    Args:
        encoder: the vocabulary at work.
        texts: the training texts; of many, a sample is looked at.
        source: the folder that the vocabulary is from, for the message.

    Raises:
        UserError: more than 2 % of the characters map to [UNK].
    """
    unknown = encoder.unknown_share(texts[:: 1 + len(texts) // 20_000])
    if unknown > MAX_UNKNOWN_SHARE:
        raise UserError(
            f"the vocabulary of {source} does not know {unknown:.1%} of the characters in the training titles (more "
            f"than {MAX_UNKNOWN_SHARE:.0%}): is it another language's, or a mismatched vocab.txt? Take a BERT that fits"
        )
