"""Ask the server for the class of one title: the client to copy into your own program.

Start `python api.py` in another terminal, then:

    python api_test.py --text "SpaceX 星舰今日成功发射，开启火星移民新篇章"
    python api_test.py --url http://192.168.1.20:8004
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import requests

from config import parse
from core.console import UserError, run


@dataclass
class ClientConfig:
    """What is asked, and whom."""

    text: str = "SpaceX 星舰今日成功发射，开启火星移民新篇章"
    """The title to classify."""
    url: str = field(default_factory=lambda: os.environ.get("NEWS_API_URL") or "http://127.0.0.1:8004")
    """Address of the server; the default is NEWS_API_URL, where it is set."""
    timeout: float = 10.0
    """Seconds to wait for an answer."""


def predict(text: str, url: str, timeout: float) -> dict:
    """Classify one title.

    Returns:
        The server's answer: text, pred_class, confidence (0 to 1), top_k, model, truncated, elapsed_ms, request_id.

    Raises:
        UserError: no server there, no answer in time, or an answer that is an error.
    """
    try:
        with requests.Session() as session:
            # A proxy named in the environment cannot reach this machine's own loopback address.
            session.trust_env = urlsplit(url).hostname not in {"127.0.0.1", "localhost", "::1"}
            response = session.post(f"{url.rstrip('/')}/predict", json={"text": text}, timeout=timeout)
            answer = response.json()
    except requests.Timeout as fault:
        raise UserError(f"no answer from {url} within {timeout:g} s: try again, or with a longer --timeout") from fault
    except requests.ConnectionError as fault:
        raise UserError(f"no server at {url}: start it with `python api.py`, or give its address with --url") from fault
    except (requests.RequestException, ValueError):
        answer = None
    if not isinstance(answer, dict) or not {"pred_class", "error"} & answer.keys():
        raise UserError(f"{url} is not the address of this API: try --url http://127.0.0.1:8004")
    if "error" in answer:
        raise UserError(f"the server at {url} refused the request ({response.status_code}): {answer['error']}")
    return answer


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(ClientConfig, argv, __doc__)
    answer = predict(config.text, config.url, config.timeout)
    print(f"{answer['pred_class']}  {answer['confidence']:.1%}")
    print(json.dumps(answer, ensure_ascii=False, indent=2))


if __name__ == "__main__":
    run(main)
