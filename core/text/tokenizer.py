"""Text -> token ids, with the `tokenizers` library alone: no torch, no transformers."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Regex, Tokenizer
from tokenizers.models import Model, WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer, FixedLength, Split
from tokenizers.pre_tokenizers import Sequence as PreTokenizers
from tokenizers.processors import TemplateProcessing

from core.console import UserError
from core.files import detect_encoding

MAX_UNKNOWN_SHARE = 0.02  # of the characters; far more with another language's vocabulary
CHUNK = 10_000  # texts encoded at a time, to keep memory small
LONGEST_RUN = 32  # characters between spaces and punctuation that words are matched in; longer runs are cut
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
# What is kept of a text that is too long: the share of the tokens that are from its head; the others are its last ones.
HEAD_SHARES = {"end": 1.0, "head_tail": 0.25}


@dataclass
class Encoded:
    """Token ids of some texts, [CLS] first and [SEP] last, not padded; `truncated` tells which were cut."""

    input_ids: list[list[int]]
    truncated: list[bool]


class Encoder:
    """WordPiece encoding as BERT does it; of text longer than `max_length` tokens something is cut.

    A vocabulary of Chinese words, which has no pieces marked `##`, is matched longest first anywhere between spaces and
    punctuation (as WoBERT does, Su 2020); any other one sees Chinese characters one by one.

    Args:
        vocab: tokens in the order of their ids.
        max_length: tokens kept, [CLS] and [SEP] included.
        truncation: what is cut: "end", or with "head_tail" the middle, so that a quarter of what is kept is the head of
            the text and the rest its tail (Sun et al. 2019, "How to Fine-Tune BERT for Text Classification?").

    Raises:
        ValueError: the truncation or the vocabulary is not one.
    """

    def __init__(self, vocab: Sequence[str], max_length: int, truncation: str = "end") -> None:
        if truncation not in HEAD_SHARES:
            raise ValueError(f"an unknown truncation, {truncation}")
        self.vocab = list(vocab)
        self.max_length = max_length
        self.truncation = truncation
        self._room = max_length - 2  # beside [CLS] and [SEP]
        self._tail = self._room - round(HEAD_SHARES[truncation] * self._room)
        ids = {token: index for index, token in enumerate(self.vocab)}
        self.pad_id, self.unknown_id, self.cls_id, self.sep_id = (ids[token] for token in SPECIAL_TOKENS)
        self.mask_id = ids.get("[MASK]", self.unknown_id)
        words = is_word_vocab(self.vocab)
        known = {token for token in self.vocab if len(token) == 1}
        model = WordPiece(ids, unk_token="[UNK]", continuing_subword_prefix="" if words else "##")
        # A vocabulary without capitals belongs to a lower-casing BERT, whatever its tokenizer_config.json says.
        self.tokenizer = build_tokenizer(model, words, "A" not in ids, known)

    @classmethod
    def from_meta(cls, meta: dict[str, Any]) -> "Encoder":
        """The encoder of a model, from the facts in its file."""
        return cls(meta["vocab"], meta["max_length"], meta.get("truncation", "end"))

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Encode texts of any content: what UTF-8 cannot hold (lone surrogates) counts as U+FFFD."""
        encoded = Encoded([], [])
        for start in range(0, len(texts), CHUNK):
            chunk = [replace_surrogates(text) for text in texts[start : start + CHUNK]]
            for encoding in self.tokenizer.encode_batch_fast(chunk):
                ids = encoding.ids
                encoded.truncated.append(len(ids) > self._room)
                if encoded.truncated[-1]:
                    ids = ids[: self._room - self._tail] + ids[len(ids) - self._tail :]
                encoded.input_ids.append([self.cls_id, *ids, self.sep_id])
        return encoded

    def encode_pieces(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """Token ids of texts without [CLS] and [SEP]; a text of more than fits is cut into several of like length."""
        for encoding in self.tokenizer.encode_batch_fast([replace_surrogates(text) for text in texts]):
            pieces = max(1, -(-len(encoding.ids) // self._room))
            size = max(1, -(-len(encoding.ids) // pieces))
            for start in range(0, len(encoding.ids), size):
                yield encoding.ids[start : start + size]

    def to_json(self) -> str:
        """The content of a `tokenizer.json` with which Hugging Face's AutoTokenizer gives the same ids."""
        tokenizer = Tokenizer.from_str(self.tokenizer.to_str())
        special = [("[CLS]", self.cls_id), ("[SEP]", self.sep_id)]
        tokenizer.post_processor = TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", special)
        return tokenizer.to_str()

    def unknown_share(self, texts: Sequence[str]) -> float:
        """The share of the visible characters, 0 to 1, that the vocabulary does not know ([UNK])."""
        unknown = total = 0
        encodings = self.tokenizer.encode_batch([replace_surrogates(text) for text in texts])
        for text, encoding in zip(texts, encodings, strict=True):
            total += sum(not character.isspace() for character in text)
            for token_id, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
                unknown += (end - start) * (token_id == self.unknown_id)
        return unknown / max(total, 1)


def build_tokenizer(model: Model, words: bool, lowercase: bool, known: Collection[str] = ()) -> Tokenizer:
    """The tokenizer of a BERT.

    Args:
        model: finds the tokens in a run of characters.
        words: whether Chinese characters stay together in runs, or each is apart.
        lowercase: whether capitals are lowered and accents dropped.
        known: with `words`, the characters of the vocabulary; any other stands apart, so that only it becomes [UNK].
    """
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = BertNormalizer(lowercase=lowercase, handle_chinese_chars=not words)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    if words:
        others = [Split(Regex(f"[^{re.escape(''.join(sorted(known)))}]"), "isolated")] if known else []
        tokenizer.pre_tokenizer = PreTokenizers([BertPreTokenizer(), *others, FixedLength(LONGEST_RUN)])
    return tokenizer


def is_word_vocab(vocab: Sequence[str]) -> bool:
    """Whether a vocabulary holds Chinese words instead of single characters and pieces marked `##`."""
    pieces = any(token.startswith("##") for token in vocab)
    return not pieces and any(len(token) > 1 and all("\u4e00" <= c <= "\u9fff" for c in token) for token in vocab)


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
