"""What an API server may do."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """What an application may do; the flags of the same names have the defaults.

    Attributes:
        key: that requests must bear; "" for none.
        batch_size: items of concurrent requests that share a forward pass.
        queue: requests that may be waiting.
        timeout: seconds that a request may take.
        max_chars: characters allowed in a text.
        max_texts: texts allowed in a list.
        max_body: bytes allowed in a request.
        cors: origin whose pages may ask from a browser; None for none.
    """

    key: str
    batch_size: int
    queue: int
    timeout: float
    max_chars: int
    max_texts: int
    max_body: int
    cors: str | None


def environment_key() -> str:
    """The key that requests must carry, "" for none."""
    return os.environ.get("NEWS_API_KEY", "").strip()
