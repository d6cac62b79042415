"""Windows: a sequence that is too long for a model in parts that overlap."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

OVERLAP = 0.25  # of the room of a window is shared with the next one


class Window(NamedTuple):
    """A part of a sequence of words, from `start` to before `end`; it answers for those from `first` to before `last`.

    Each word is answered for by one window, in which it stands farthest from the ends.
    """

    start: int
    end: int
    first: int
    last: int


def cut_windows(sizes: Sequence[int], room: int, overlap: float = OVERLAP) -> Iterator[Window]:
    """Cut words, none of which is split, into windows that overlap; none for no word.

    Args:
        sizes: of each word in tokens, 1 to `room`.
        room: tokens that a window holds.
        overlap: share of the room, up to which a window has words of the next one.
    """
    start = first = 0
    while first < len(sizes):
        end, used = start, 0
        while end < len(sizes) and used + sizes[end] <= room:
            used += sizes[end]
            end += 1
        if end == len(sizes):
            yield Window(start, end, first, end)
            return
        following, shared = end, 0
        most = min(overlap * room, room - sizes[end])  # so that the next word fits behind what is shared
        while following - 1 > first and shared + sizes[following - 1] <= most:
            following -= 1
            shared += sizes[following]
        last = (following + end + 1) // 2
        yield Window(start, end, first, last)
        start, first = following, last
