"""Reviews as a model reads them: cleaned, converted, in windows where they are longer than it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from core.console import UserError
from core.text.tokenizer import Tokenizer

# Line breaks, and what was meant as one but is written out: a backslash, or two, and a letter.
BREAKS = re.compile(r"(?:\s|\\{1,2}[nrt](?![A-Za-z]))+")
WHOLE = "whole"
LONG_TEXTS = (WHOLE, "end", "head_tail")  # all of it in windows; or one, the end or the middle cut off


class Encoded(NamedTuple):
    """Reviews as rows of token ids; a long one has several. `reviews` is the index of the review of each row."""

    input_ids: list[list[int]]
    reviews: list[int]


def clean(text: str) -> str:
    """A review on one line, whatever breaks lines in it."""
    return BREAKS.sub(" ", text).strip()


def simplified(texts: Sequence[str]) -> list[str]:
    """Traditional characters as simplified ones.

    Raises:
        UserError: OpenCC is not installed.
    """
    try:
        from opencc import OpenCC
    except ImportError as fault:
        raise UserError(
            "traditional characters are converted by OpenCC: run `pip install -r requirements-aspect.txt`"
        ) from fault
    return list(map(OpenCC("t2s").convert, texts))


class ReviewTokenizer(Tokenizer):
    """The tokenizer of a model of reviews.

    Args:
        vocab: tokens in the order of their ids.
        max_length: tokens that the model reads at once, [CLS] and [SEP] included.
        long_texts: what becomes of a longer review: "whole", windows of like length; "end" or "head_tail", what is cut.
        convert: whether traditional characters become simplified ones first.
    """

    def __init__(self, vocab: Sequence[str], max_length: int, long_texts: str = WHOLE, convert: bool = False) -> None:
        super().__init__(vocab, max_length, "end" if long_texts == WHOLE else long_texts)
        self.long_texts, self.convert = long_texts, convert

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "ReviewTokenizer":
        """The tokenizer of a model, from the facts in its file."""
        architecture = facts["architecture"]
        reading = architecture.get("long_texts", WHOLE), architecture.get("convert", False)
        return cls(facts["vocab"], facts["max_length"], *reading)

    def with_vocab(self, vocab: Sequence[str]) -> "ReviewTokenizer":
        """The same with another vocabulary."""
        return ReviewTokenizer(vocab, self.max_length, self.long_texts, self.convert)

    @property
    def reading(self) -> dict[str, Any]:
        """What the facts of a model say of how it reads reviews, beside the length."""
        return {"long_texts": self.long_texts, "convert": self.convert}


def encode(texts: Sequence[str], tokenizer: Tokenizer) -> Encoded:
    """Encode reviews; by a tokenizer of another kind, whole and as they are."""
    convert, long_texts = getattr(tokenizer, "convert", False), getattr(tokenizer, "long_texts", WHOLE)
    texts = list(map(clean, simplified(texts) if convert else texts))
    if long_texts != WHOLE:
        return Encoded(tokenizer.encode(texts).input_ids, list(range(len(texts))))
    rows: list[list[int]] = []
    reviews: list[int] = []
    for index, text in enumerate(texts):
        pieces = list(tokenizer.encode_pieces([text])) or [[]]
        rows += [[tokenizer.cls_id, *ids, tokenizer.sep_id] for ids in pieces]
        reviews += [index] * len(pieces)
    return Encoded(rows, reviews)
