"""What a student learns from: texts without labels, and a teacher's logits at the student's own tokens.

Teacher and student may read a text as different tokens; both tag its units (characters, words), so it is there that the
logits of one are put before the other.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from core.compression.losses import NO_LABEL
from core.compression.teacher_cache import RowLogits, cached_logits, logits_of
from core.console import UserError
from core.model_files.facts import Facts
from core.tables.split import unseen
from core.text.decode import open_text
from core.text.tokenizer import Tokenizer
from core.training.batches import Batches
from core.training.device import Devices
from ner.data import Sentences, first_pieces
from ner.model import BertTagger
from ner.predict import unit_logits
from ner.units import Encoded, encode


def read_unlabeled(path: Path, splits: dict[str, Sentences]) -> list[str]:
    """Texts, one a line, without repeats, near ones too, and those that stand in the labelled files.

    Raises:
        UserError: the file is missing, binary, or without a text of its own.
    """
    with open_text(path) as file:
        lines = [line for each in file.lines() if (line := each.strip())]
    texts = unseen(lines, (text for split in splits.values() for text in split.items))
    if not texts:
        raise UserError(f"{path} has no text that the labelled files lack: write others into it, one a line")
    left_out = len(lines) - len(texts)
    print(f"{path}: {len(texts)} texts ({left_out} left out: repeated, or in the labelled files, near ones too)")
    return texts


def add_unlabeled(rows: Batches, texts: Sequence[str], tokenizer: Tokenizer) -> Batches:
    """Labelled rows, and behind them those of texts whose units have no label."""
    encoded = encode(texts, tokenizer)
    pairs = zip(encoded.words, encoded.sentences, strict=True)
    labels = [first_pieces(words, [NO_LABEL] * len(encoded.units[sentence])) for words, sentence in pairs]
    columns = {name: [*rows.columns[name], *more] for name, more in {"labels": labels, **encoded.columns}.items()}
    return Batches(columns, rows.pads, rows.batch_size, rows.seed)


def judge(teacher: BertTagger, sha: str, facts: Facts, texts: Sequence[str], folder: Path, devices: Devices) -> list:
    """[(units, tags)] a teacher's logits of the units of each text, whatever tokens it reads them as."""
    rows = encode(texts, Tokenizer.from_facts(facts))
    source = Batches(rows.columns, {}, 64)
    logits = cached_logits(folder, sha, (len(facts["labels"]),), source, logits_of(teacher, devices), per_token=True)
    values = logits.values.float().numpy()
    of_text: list[tuple[list, list]] = [([], []) for _ in texts]
    for row, (words, sentence) in enumerate(zip(rows.words, rows.sentences, strict=True)):
        of_text[sentence][0].append(words)
        of_text[sentence][1].append(values[logits.starts[row] : logits.starts[row + 1]])
    return [unit_logits(*its, len(units)) for its, units in zip(of_text, rows.units, strict=True)]


def spread_out(units: Sequence[np.ndarray], rows: Encoded) -> RowLogits:
    """The logits of units at the tokens of a student: zeros where a token is no first piece, which no loss looks at."""
    found, sizes = [], []
    for words, sentence in zip(rows.words, rows.sentences, strict=True):
        values = np.zeros((len(words), units[0].shape[1]), np.float32)
        at = np.array(first_pieces(words, range(len(rows.units[sentence]))))
        values[at >= 0] = units[sentence][at[at >= 0]]
        found.append(values)
        sizes.append(len(words))
    starts = nn.functional.pad(torch.tensor(sizes).cumsum(0), (1, 0))
    return RowLogits(torch.from_numpy(np.concatenate(found)), starts)
