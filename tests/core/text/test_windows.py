"""Windows over a long sequence: what each answers for."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from core.text.windows import Window, cut_windows


def test_what_fits_is_one_window_and_what_does_not_overlaps():
    assert list(cut_windows([], 4)) == []
    assert list(cut_windows([1, 2, 1], 4)) == [Window(0, 3, 0, 3)]
    assert list(cut_windows([1] * 10, 8)) == [Window(0, 8, 0, 7), Window(6, 10, 7, 10)]


@given(st.lists(st.integers(1, 12), max_size=80), st.integers(12, 40))
def test_each_word_is_told_once_by_a_window_that_holds_it(sizes: list[int], room: int):
    windows = list(cut_windows(sizes, room))
    assert [word for window in windows for word in range(window.first, window.last)] == list(range(len(sizes)))
    for window in windows:
        assert sum(sizes[window.start : window.end]) <= room
        assert window.start <= window.first < window.last <= window.end
    for one, other in itertools.pairwise(windows):
        assert sum(sizes[other.start : one.end]) <= room / 4  # what they share
        assert abs(one.end - one.last - (one.last - other.start)) <= 1  # told where it stands farthest from the ends
