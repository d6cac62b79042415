"""Word vectors that a small BERT's token embeddings can start from."""

import numpy as np

from core.pretraining.corpus import Corpus

WINDOW = 5
SMOOTHING = 0.75  # of the context counts, as in word2vec
MAX_TOKENS = 50_000_000  # of the corpus; more changes little
CHUNK = 5_000_000
STD = 0.02  # of BERT's own initial embeddings


def ppmi_vectors(corpus: Corpus, vocab_size: int, dim: int, special: int, seed: int) -> np.ndarray:
    """Truncated SVD of the positive pointwise mutual information of tokens that occur near each other.

    Levy & Goldberg 2014, "Neural Word Embedding as Implicit Matrix Factorization": what skip-gram approximates, in a
    minute of linear algebra. A masked language model that starts from it need not first learn which words are alike.

    Args:
        corpus: the encoded texts.
        vocab_size: rows of the embedding.
        dim: its width.
        special: ids below this one are special tokens, which get random vectors.
        seed: of the SVD and of the random vectors.

    Returns:
        (vocab_size, dim) float32, scaled to the standard deviation that BERT's embeddings start with.
    """
    from scipy.sparse import csr_matrix
    from sklearn.utils.extmath import randomized_svd

    counts = csr_matrix((vocab_size, vocab_size), dtype=np.float32)
    end = min(len(corpus.ids), MAX_TOKENS)
    for start in range(0, end, CHUNK):
        ids = np.asarray(corpus.ids[start : min(start + CHUNK, end)], dtype=np.int64)
        text = np.searchsorted(corpus.starts, np.arange(start, start + len(ids)), side="right")
        for distance in range(1, WINDOW + 1):
            left, right = ids[:-distance], ids[distance:]
            near = (text[:-distance] == text[distance:]) & (left >= special) & (right >= special)
            pairs, times = np.unique(left[near] * vocab_size + right[near], return_counts=True)
            weights = times * np.float32((WINDOW + 1 - distance) / WINDOW)
            counts += csr_matrix((weights, (pairs // vocab_size, pairs % vocab_size)), shape=counts.shape)
    counts = (counts + counts.T).tocoo()
    totals = np.asarray(counts.sum(axis=1)).ravel()
    contexts = totals**SMOOTHING / max((totals**SMOOTHING).sum(), 1e-9)
    information = np.log(np.maximum(counts.data, 1e-9) / np.maximum(totals[counts.row] * contexts[counts.col], 1e-9))
    positive = (information > 0) & (counts.data > 1)
    ppmi = csr_matrix(
        (information[positive], (counts.row[positive], counts.col[positive])), shape=counts.shape, dtype=np.float32
    )
    rank = min(dim, vocab_size - 1)
    left, scale, _ = randomized_svd(ppmi, rank, n_iter=3, random_state=seed)
    vectors = np.random.default_rng(seed).normal(0, STD, (vocab_size, dim)).astype(np.float32)
    known = np.asarray(ppmi.sum(axis=1)).ravel() > 0
    found = left[known] * np.sqrt(scale)
    found -= found.mean(axis=0)
    found *= STD * np.sqrt(dim) / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
    vectors[known, :rank] = found
    vectors[known, rank:] = 0
    return vectors
