"""Text -> token ids, with the `tokenizers` library alone: no torch, no transformers."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Regex
from tokenizers import Tokenizer as FastTokenizer
from tokenizers.models import Model, WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer, FixedLength, Split
from tokenizers.pre_tokenizers import Sequence as PreTokenizers
from tokenizers.processors import TemplateProcessing

from core.console import UserError
from core.text.decode import open_text
from core.text.stub import refuse_stub
from core.text.tokenizer_json import read_tokenizer_json

MAX_UNKNOWN_SHARE = 0.02  # of the characters; far more with another language's vocabulary
CHUNK = 10_000  # texts encoded at a time, to keep memory small
CHARACTERS_A_TOKEN = 128  # of a text are looked at for each token that is kept: a word of more is one [UNK]
LONGEST_RUN = 32  # characters between spaces and punctuation that words are matched in; longer runs are cut
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
# What is kept of a text that is too long: the share of the tokens that are from its head; the others are its last ones.
HEAD_SHARES = {"end": 1.0, "head_tail": 0.25}


@dataclass
class Encoded:
    """Token ids of some texts, [CLS] first and [SEP] last, not padded; `truncated` tells which were cut."""

    input_ids: list[list[int]]
    truncated: list[bool]


class Tokenizer:
    """WordPiece encoding as BERT does it; of text longer than `max_length` tokens something is cut.

    A vocabulary of Chinese words, which has no pieces marked `##`, is matched longest first anywhere between spaces and
    punctuation (as WoBERT does, Su 2020); any other one sees Chinese characters one by one.

    Args:
        vocab: tokens in the order of their ids.
        max_length: tokens kept, [CLS] and [SEP] included.
        truncation: what is cut: "end", or with "head_tail" the middle, so that a quarter of what is kept is the head of
            the text and the rest its tail (Sun et al. 2019, "How to Fine-Tune BERT for Text Classification?").
        characters: the other view of a text, each visible character by itself, as `core.text.words` encodes characters.

    Raises:
        ValueError: the truncation or the vocabulary is not one.
    """

    def __init__(
        self, vocab: Sequence[str], max_length: int, truncation: str = "end", characters: bool = False
    ) -> None:
        if truncation not in HEAD_SHARES:
            raise ValueError(f"an unknown truncation, {truncation}")
        self.vocab = list(vocab)
        self.max_length = max_length
        self.truncation = truncation
        self._room = max_length - 2  # beside [CLS] and [SEP]
        self._tail = self._room - round(HEAD_SHARES[truncation] * self._room)
        self._longest = CHARACTERS_A_TOKEN * max_length  # characters
        ids = {token: index for index, token in enumerate(self.vocab)}
        self.pad_id, self.unknown_id, self.cls_id, self.sep_id = (ids[token] for token in SPECIAL_TOKENS)
        self.mask_id = ids.get("[MASK]", self.unknown_id)
        self.reads_words = words = is_word_vocab(self.vocab)
        known = {token for token in self.vocab if len(token) == 1}
        model = WordPiece(ids, unk_token="[UNK]", continuing_subword_prefix="" if words else "##")
        # A vocabulary without capitals belongs to a lower-casing BERT, whatever its tokenizer_config.json says.
        self.tokenizer = build_tokenizer(model, words, "A" not in ids, known, 1 if characters else LONGEST_RUN)

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "Tokenizer":
        """The tokenizer of a model, from the facts in its file."""
        return cls(facts["vocab"], facts["max_length"], facts.get("truncation", "end"))

    @property
    def pads(self) -> dict[str, int]:
        """What fills up shorter rows, by the name of the column."""
        return {"input_ids": self.pad_id}

    def with_vocab(self, vocab: Sequence[str]) -> "Tokenizer":
        """The same with another vocabulary."""
        return Tokenizer(vocab, self.max_length, self.truncation)

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Encode texts of any content: what UTF-8 cannot hold (lone surrogates) counts as U+FFFD."""
        encoded = Encoded([], [])
        for start in range(0, len(texts), CHUNK):
            part = texts[start : start + CHUNK]
            chunk = [replace_surrogates(text if len(text) <= self._longest else self._shorten(text)) for text in part]
            for text, encoding in zip(part, self.tokenizer.encode_batch_fast(chunk), strict=True):
                encoded.truncated.append(len(encoding.ids) > self._room or len(text) > self._longest)
                encoded.input_ids.append([self.cls_id, *self._cut(encoding.ids), self.sep_id])
        return encoded

    def _shorten(self, text: str) -> str:
        """The characters of a long text that its kept tokens are from."""
        tail = CHARACTERS_A_TOKEN * self._tail
        return text[: self._longest - tail] + text[len(text) - tail :]

    def _cut(self, ids: list[int]) -> list[int]:
        """The ids that are kept of a text, all of them if they fit."""
        return ids if len(ids) <= self._room else ids[: self._room - self._tail] + ids[len(ids) - self._tail :]

    def encode_pieces(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """Token ids of texts without [CLS] and [SEP]; a text of more than fits is cut where it is full."""
        for encoding in self.tokenizer.encode_batch_fast([replace_surrogates(text) for text in texts]):
            for start in range(0, len(encoding.ids), self._room):
                yield encoding.ids[start : start + self._room]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """The place of each token in a text, none of which is cut: its first character and the one after its last."""
        return [span for span in self.tokenizer.encode(replace_surrogates(text)).offsets if span[0] < span[1]]

    def to_json(self) -> str:
        """The content of a `tokenizer.json` with which Hugging Face's AutoTokenizer gives the same ids."""
        tokenizer = FastTokenizer.from_str(self.tokenizer.to_str())
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


def build_tokenizer(
    model: Model, words: bool, lowercase: bool, known: Collection[str] = (), longest: int = LONGEST_RUN
) -> FastTokenizer:
    """The tokenizer of a BERT.

    Args:
        model: finds the tokens in a run of characters.
        words: whether Chinese characters stay together in runs, or each is apart.
        lowercase: whether capitals are lowered and accents dropped.
        known: with `words`, the characters of the vocabulary; any other stands apart, so that only it becomes [UNK].
        longest: characters that a token may have: 1 sets each one apart.
    """
    tokenizer = FastTokenizer(model)
    tokenizer.normalizer = BertNormalizer(lowercase=lowercase, handle_chinese_chars=not words)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    if longest == 1:
        tokenizer.pre_tokenizer = PreTokenizers([BertPreTokenizer(), FixedLength(1)])
    elif words:
        others = [Split(Regex(f"[^{re.escape(''.join(sorted(known)))}]"), "isolated")] if known else []
        tokenizer.pre_tokenizer = PreTokenizers([BertPreTokenizer(), *others, FixedLength(longest)])
    return tokenizer


def is_word_vocab(vocab: Sequence[str]) -> bool:
    """Whether a vocabulary holds Chinese words instead of single characters and pieces marked `##`."""
    pieces = any(token.startswith("##") for token in vocab)
    return not pieces and any(len(token) > 1 and all("\u4e00" <= c <= "\u9fff" for c in token) for token in vocab)


def replace_surrogates(text: str) -> str:
    """`text` with lone surrogates, which no encoding can carry, replaced by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def read_vocab(path: Path) -> list[str]:
    """Read a BERT `vocab.txt`, one token a line, or a `tokenizer.json`, which counts where the `vocab.txt` is missing.

    Raises:
        UserError: the file is missing, repeats a token, or lacks one of [PAD] [UNK] [CLS] [SEP].
    """
    if not path.is_file() and path.with_name("tokenizer.json").is_file():
        path = path.with_name("tokenizer.json")
    refuse_stub(path)
    if path.suffix == ".json":
        vocab = read_tokenizer_json(path)
    else:
        with open_text(path) as text:
            vocab = list(text.lines())
    while vocab and not vocab[-1]:
        vocab.pop()
    missing = [token for token in SPECIAL_TOKENS if token not in vocab]
    if missing:
        raise UserError(f"{path} is not a BERT vocabulary: it lacks {' '.join(missing)}; fetch it again")
    if len(set(vocab)) < len(vocab):
        raise UserError(f"{path} is damaged: it holds {len(vocab) - len(set(vocab))} tokens twice; fetch it again")
    return vocab


def check_coverage(tokenizer: Tokenizer, texts: Sequence[str], source: Path) -> None:
    """Refuse a vocabulary that does not know the characters of the training texts.

    Args:
        tokenizer: the vocabulary at work.
        texts: the training texts; of many, a sample is looked at.
        source: the folder that the vocabulary is from, for the message.

    Raises:
        UserError: more than 2 % of the characters map to [UNK].
    """
    unknown = tokenizer.unknown_share(texts[:: 1 + len(texts) // 20_000])
    if unknown > MAX_UNKNOWN_SHARE:
        raise UserError(
            f"the vocabulary of {source} does not know {unknown:.1%} of the characters in the training titles (more "
            f"than {MAX_UNKNOWN_SHARE:.0%}): is it another language's, or a mismatched vocab.txt? Take a BERT that fits"
        )
