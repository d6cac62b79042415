"""Augmentation of texts on token ids, for a teacher to label: what a copy is about may have changed.

Each copy has one of four changes, drawn at random:

    mask     a tenth of its tokens become [MASK] (Tang et al. 2019, arXiv 1903.12136)
    n-gram   a run of its tokens is all that is left (the same)
    swap     a tenth of its tokens change places with others (EDA, Wei & Zou 2019)
    delete   a tenth of its tokens go (the same)

EDA's synonyms, and Tang's replacements by part of speech, would need a dictionary and a tagger: left out.
"""

from collections.abc import Sequence

import numpy as np

CHANGED_SHARE = 0.1  # of the tokens of a title, at least one
NGRAM = (3, 12)  # tokens of a run, from … to


def augment(rows: Sequence[np.ndarray], copies: int, mask_id: int, seed: int) -> list[np.ndarray]:
    """Changed copies of encoded texts, the same ones for the same seed.

    Args:
        rows: token ids, [CLS] first and [SEP] last; those two stay where they are.
        copies: of each text.
        mask_id: the id of [MASK], or of [UNK] where the vocabulary has no [MASK].
        seed: of the random draws.

    Returns:
        `copies` times the texts in their order; each has one token beside [CLS] and [SEP] at least, if it had one.
    """
    rng = np.random.default_rng(seed)
    changes = (_mask, _ngram, _swap, _delete)
    changed = []
    for ids in list(rows) * copies:
        inner = ids[1:-1].copy()
        if len(inner) > 1:
            inner = changes[rng.integers(len(changes))](inner, mask_id, rng)
        changed.append(np.concatenate((ids[:1], inner, ids[-1:])))
    return changed


def _pick(inner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The places of a tenth of the tokens."""
    return rng.choice(len(inner), size=max(1, round(CHANGED_SHARE * len(inner))), replace=False)


def _mask(inner: np.ndarray, mask_id: int, rng: np.random.Generator) -> np.ndarray:
    inner[_pick(inner, rng)] = mask_id
    return inner


def _ngram(inner: np.ndarray, _mask_id: int, rng: np.random.Generator) -> np.ndarray:
    length = min(len(inner) - 1, int(rng.integers(*NGRAM, endpoint=True)))
    start = rng.integers(len(inner) - length + 1)
    return inner[start : start + length]


def _swap(inner: np.ndarray, _mask_id: int, rng: np.random.Generator) -> np.ndarray:
    for one in _pick(inner, rng):
        other = rng.integers(len(inner))
        inner[[one, other]] = inner[[other, one]]
    return inner


def _delete(inner: np.ndarray, _mask_id: int, rng: np.random.Generator) -> np.ndarray:
    return np.delete(inner, _pick(inner, rng))
