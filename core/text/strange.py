"""Characters that no Chinese text has: what a wrong encoding makes of one."""

import re
from functools import cache

FOREIGN = {"big5": "Big5", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16"}
SAMPLE_BYTES = 1 << 16  # that an encoding is guessed from


def guess(sample: bytes) -> str | None:
    """The encoding, neither of the two, in which some bytes would be Chinese."""
    for encoding in FOREIGN:
        text = sample[:SAMPLE_BYTES].decode(encoding, "replace")
        beyond = len(text) - len(text.encode("ascii", "ignore"))
        if beyond and count_strange(text) * 5 <= beyond:
            return encoding
    return None


def count_strange(text: str) -> int:
    """How many characters of a text are none of Chinese, as those that a wrong encoding makes."""
    return len(_strange().findall(text))


@cache
def _strange() -> re.Pattern[str]:
    """Whatever is not ASCII, a character of GB 2312 or of Big5's first level, punctuation, or a symbol."""
    trails = bytes(range(0xA1, 0xFF))
    gb = "".join(bytes([lead, trail]).decode("gb2312", "ignore") for lead in range(0xB0, 0xF8) for trail in trails)
    trails += bytes(range(0x40, 0x7F))
    big5 = "".join(bytes([lead, trail]).decode("big5", "ignore") for lead in range(0xA4, 0xC7) for trail in trails)
    ranges = r"\t\n\r\f\x20-\x7e\xa0\xa7\xa8\xb0\xb1\xb7\xd7\xf7\u2010-\u2044\u20ac\u2100-\u24ff\u25a0-\u27bf"
    ranges += r"\u3000-\u303f\u3200-\u33ff\uff01-\uffee\U0001f000-\U0001faff"
    return re.compile(f"[^{ranges}{gb}{big5}]")
