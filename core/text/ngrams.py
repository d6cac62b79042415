"""Character n-grams of a text as numbers, by the hashing trick: no vocabulary, no torch.

Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask Learning"; fastText hashes n-grams in the same way
(Joulin et al. 2017, "Bag of Tricks for Efficient Text Classification").
"""

from collections.abc import Sequence

import numpy as np

FIRST, SECOND, THIRD = (np.uint32(each) for each in (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D))  # odd, bits well spread


def ngram_buckets(text: str, buckets: int) -> np.ndarray:
    """The bucket of each 1-, 2- and 3-gram of the characters of a text, lower-cased: (n-grams,) int64 below `buckets`.

    Args:
        text: without lone surrogates.
        buckets: a power of two.
    """
    codes = np.frombuffer(text.lower().encode("utf-32-le"), np.uint32)
    ones = codes * FIRST  # modulo 2 to the 32
    twos = (ones[:-1] ^ (codes[1:] + SECOND)) * SECOND
    threes = (twos[:-1] ^ (codes[2:] + THIRD)) * THIRD
    mixed = np.concatenate((ones, twos, threes))
    mixed ^= mixed >> np.uint32(15)
    mixed *= SECOND
    mixed ^= mixed >> np.uint32(13)
    return (mixed & np.uint32(buckets - 1)).astype(np.int64)


def all_ngrams(texts: Sequence[str], buckets: int) -> list[np.ndarray]:
    """The n-grams of each text; see `ngram_buckets`."""
    return [ngram_buckets(text, buckets) for text in texts]
