"""From the logits of units to entities, in numpy alone: the likeliest tags that obey BIO."""

from collections.abc import Sequence
from functools import cache

import numpy as np

from ner.tags import OUTSIDE, Entity

NEVER = -1e9  # the score of a transition that does not exist


@cache
def _may_follow(tags: tuple[str, ...]) -> np.ndarray:
    """(tags + 1, tags) whether a tag may follow another; the last row is the beginning of a text.

    I- follows B- and I- of its own type alone.
    """
    before = [*tags, OUTSIDE]
    return np.array([[not tag.startswith("I-") or tag[2:] == other[2:] for tag in tags] for other in before])


def best_path(logits: np.ndarray, tags: Sequence[str]) -> np.ndarray:
    """(units,) the ids of the likeliest tags, together, among those that obey BIO (Viterbi 1967).

    Args:
        logits: (units, tags) float.
        tags: in the order of their ids.
    """
    legal = _may_follow(tuple(tags))
    path = logits.argmax(1)
    if not len(path):
        return path
    # Where each unit's likeliest tag obeys already, nothing is likelier.
    broken = ~legal[np.concatenate(([len(tags)], path[:-1])), path]
    if not broken.any():
        return path
    scores = np.where(legal[-1], logits[0], NEVER).astype(np.float64)
    cost = np.where(legal[:-1], 0.0, NEVER)
    came_from = np.empty((len(path), len(tags)), dtype=np.int64)
    for unit in range(1, len(path)):
        joint = scores[:, None] + cost  # (tag before, tag)
        came_from[unit] = joint.argmax(0)
        scores = joint.max(0) + logits[unit]
    path[-1] = scores.argmax()
    for unit in range(len(path) - 1, 0, -1):
        path[unit - 1] = came_from[unit, path[unit]]
    return path


def entities_of(path: np.ndarray, tags: Sequence[str]) -> list[Entity]:
    """The entities, over the units, that a path that obeys BIO tells of."""
    found: list[Entity] = []
    start, label = 0, ""
    for unit, tag in enumerate([*(tags[index] for index in path.tolist()), OUTSIDE]):
        if label and not tag.startswith("I-"):
            found.append(Entity(start, unit, label))
            label = ""
        if tag.startswith("B-"):
            start, label = unit, tag[2:]
    return found
