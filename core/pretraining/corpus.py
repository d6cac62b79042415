"""Unlabelled text for pretraining: a vocabulary from it, its token ids in a memory-mapped file, batches of like length.

A corpus file has one text a line. It is encoded once, to a folder that later runs with the same text and vocabulary use
again; memory holds a chunk of it at a time.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer as FastTokenizer
from tokenizers.models import WordPiece
from tokenizers.trainers import WordPieceTrainer

from core.console import UserError, progress
from core.files import atomic_write, sha256, write_json
from core.text.collate import collate
from core.text.decode import open_text
from core.text.tokenizer import SPECIAL_TOKENS, Tokenizer, build_tokenizer

LONGEST_LINE = 10_000  # characters; a longer line is cut into several texts
CHUNK = 20_000  # texts encoded at a time
MIN_TOKENS = 3  # shorter texts have nothing to predict from


def read_texts(files: Sequence[Path]) -> Iterator[str]:
    """The lines of some text files (UTF-8 or GB18030) that are not blank."""
    for path in files:
        with open_text(path) as text:
            yield from (line for part in text.parts(LONGEST_LINE) if (line := part.strip()))


def build_vocab(files: Sequence[Path], size: int) -> list[str]:
    """A vocabulary of the commonest Chinese words, characters and Latin pieces of a corpus, all lower-cased.

    The pieces are found by WordPiece training (Schuster & Nakajima 2012) on the text between spaces and punctuation, so
    that frequent words are one token, as in WoBERT (Su 2020): fewer tokens than characters.
    """
    model = WordPiece(unk_token="[UNK]")
    tokenizer: FastTokenizer = build_tokenizer(model, words=True, lowercase=True)
    trainer = WordPieceTrainer(
        vocab_size=size,
        min_frequency=5,
        limit_alphabet=size // 3,
        special_tokens=[*SPECIAL_TOKENS, "[MASK]"],
        continuing_subword_prefix="",
        show_progress=False,
    )
    tokenizer.train_from_iterator(progress(read_texts(files), desc="vocabulary", unit="text"), trainer)
    return [token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])]


class Corpus:
    """Encoded texts without [CLS] and [SEP], one after the other: `ids` (memory-mapped) and where each one starts.

    Args:
        folder: a folder that `encode_corpus` filled.
    """

    def __init__(self, folder: Path) -> None:
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        self.key: str = facts["key"]
        self.starts = np.load(folder / "starts.npy")  # one more than there are texts
        self.ids = np.memmap(folder / "ids.bin", dtype=facts["dtype"], mode="r")
        self.lengths = np.diff(self.starts)

    def text(self, row: int) -> np.ndarray:
        """The token ids of a text."""
        return self.ids[self.starts[row] : self.starts[row + 1]]


def encode_corpus(files: Sequence[Path], tokenizer: Tokenizer, folder: Path) -> Corpus:
    """Encode a corpus, unless the folder holds it already. A text of more tokens than fit is cut into several.

    Raises:
        UserError: a file is missing or binary, or there is not one usable text.
    """
    digest = hashlib.sha256(repr((tokenizer.vocab, tokenizer.max_length)).encode("utf-8", "replace"))
    for path in files:
        with open_text(path) as text:  # refuses what is not text
            for warning in text.warnings:
                print(f"warning: {path}: {warning}", file=sys.stderr)
        digest.update(sha256(path).encode())
    key = digest.hexdigest()
    try:
        corpus = Corpus(folder)
        if corpus.key == key and len(corpus.ids) == corpus.starts[-1]:
            return corpus
        del corpus  # Windows lets no file be written that is mapped
    except (OSError, ValueError, KeyError):
        pass
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "facts.json").unlink(missing_ok=True)
    dtype = np.uint16 if len(tokenizer.vocab) < 2**16 else np.uint32
    lengths: list[int] = []
    with (folder / "ids.bin").open("wb") as out:
        for chunk in _chunks(progress(read_texts(files), desc="encoding", unit="text")):
            for ids in tokenizer.encode_pieces(chunk):
                if len(ids) >= MIN_TOKENS:
                    np.array(ids, dtype=dtype).tofile(out)
                    lengths.append(len(ids))
        out.flush()
        os.fsync(out.fileno())
    if not lengths:
        raise UserError(f"no text of {MIN_TOKENS} tokens or more in {', '.join(map(str, files))}: one text a line")
    starts = np.concatenate([[0], np.cumsum(lengths)])
    atomic_write(folder / "starts.npy", lambda file: np.save(file, starts))
    write_json(folder / "facts.json", {"key": key, "dtype": np.dtype(dtype).name})  # last: it says that all is there
    return Corpus(folder)


def _chunks(texts: Iterator[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    for text in texts:
        chunk.append(text)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    yield chunk


class Characters:
    """The characters of each token of a vocabulary, to encode texts anew without their strings.

    A token is itself where it is a single character, or one of its characters is unknown.

    Args:
        vocab: tokens in the order of their ids.
    """

    def __init__(self, vocab: Sequence[str]) -> None:
        ids = {token: index for index, token in enumerate(vocab)}
        apart = [[ids.get(character, -1) for character in token] for token in vocab]
        pieces = [[index] if -1 in split else split for index, split in enumerate(apart)]
        self._lengths = np.array([len(split) for split in pieces])
        self._starts = np.cumsum(self._lengths) - self._lengths
        self._pieces = np.concatenate(pieces)

    def split(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The ids of the characters of a text's tokens, and the index of the token that each is from."""
        lengths = self._lengths[ids]
        token = np.repeat(np.arange(len(ids)), lengths)
        place = np.arange(len(token)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return self._pieces[self._starts[ids][token] + place], token


class CorpusBatches:
    """Texts of a corpus in batches of about `batch_tokens` tokens, each batch of texts of like length.

    Args:
        corpus: the encoded texts.
        rows: which of them to use.
        tokenizer: knows [CLS], [SEP] and [PAD].
        batch_tokens: tokens in a batch, padding included; words count, though they may be split.
        seed: of the order; None keeps it, for evaluation.
        character_share: of the batches whose words are split into their characters; `word` then tells tokens of one
            word, 0 for [CLS].
        positions: tokens that the model has places for; of a longer text, or one split, the end is cut.
    """

    def __init__(
        self,
        corpus: Corpus,
        rows: np.ndarray,
        tokenizer: Tokenizer,
        batch_tokens: int,
        seed: int | None = None,
        character_share: float = 0.0,
        positions: int = 512,
    ) -> None:
        self.corpus = corpus
        self.rows = rows
        self.tokenizer = tokenizer
        self.seed = seed
        self.character_share = character_share
        self.positions = positions
        self._characters = Characters(tokenizer.vocab) if character_share else None
        # Sorted by length the cuts are the same in each epoch, whatever the order among texts of the same length.
        self._lengths = np.minimum(corpus.lengths[rows] + 2, positions)
        sorted_lengths = np.sort(self._lengths)
        self._cuts = [0]
        while (start := self._cuts[-1]) < len(rows):
            longest = sorted_lengths[min(start + batch_tokens // sorted_lengths[start], len(rows)) - 1]
            self._cuts.append(min(start + max(1, batch_tokens // longest), len(rows)))

    def sha256(self) -> str:
        """A fingerprint of the texts and the vocabulary."""
        return hashlib.sha256(f"{self.corpus.key} {len(self.rows)} {len(self._cuts)}".encode()).hexdigest()

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self._cuts) - 1

    def epoch(self, number: int = 0, skip: int = 0) -> Iterator[dict[str, torch.Tensor]]:
        """The batches of epoch `number` from the one at `skip` on."""
        batches = np.arange(len(self))
        order = np.argsort(self._lengths, kind="stable")
        if self.seed is not None:
            rng = np.random.default_rng((self.seed, number))
            order = np.lexsort((rng.random(len(self.rows)), self._lengths))
            rng.shuffle(batches)
        for batch in batches[skip:]:
            rows = self.rows[order[self._cuts[batch] : self._cuts[batch + 1]]]
            room = self.positions - 2
            ids = [self.corpus.text(row)[:room] for row in rows]
            columns: dict[str, list] = {}
            draw = np.random.default_rng((self.seed or 0, number, batch)).random()
            if self._characters is not None and draw < self.character_share:
                split = [self._characters.split(text) for text in ids]
                ids = [characters[:room] for characters, _ in split]
                columns["word"] = [[0, *(word[:room] + 1), word[:room][-1] + 2] for _, word in split]
            columns["input_ids"] = [[self.tokenizer.cls_id, *text.tolist(), self.tokenizer.sep_id] for text in ids]
            arrays = collate(columns, {"input_ids": self.tokenizer.pad_id}) | {"row": rows}
            yield {name: torch.from_numpy(array) for name, array in arrays.items()}
