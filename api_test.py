"""Ask the server for the class of one title: the client to copy into your own program.

Start `python api.py` in another terminal, then:

    python api_test.py --text "SpaceX 星舰今日成功发射，开启火星移民新篇章"
    python api_test.py --url http://192.168.1.20:8004 --model student
    python api_test.py --load --clients 16 --seconds 10       # how many requests a second, how fast

A server that asks for a key gets the environment's NEWS_API_KEY.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import requests

from config import parse
from core.console import UserError, run
from core.serving.load import load, predict_bodies


@dataclass
class ClientConfig:
    """What is asked, and whom."""

    text: str = "SpaceX 星舰今日成功发射，开启火星移民新篇章"
    """The title to classify."""
    url: str = field(default_factory=lambda: os.environ.get("NEWS_API_URL") or "http://127.0.0.1:8004")
    """Address of the server; the default is NEWS_API_URL, where it is set."""
    model: str | None = None
    """Name of one of the models that the server has. None: its first one."""
    timeout: float = 10.0
    """Seconds to wait for an answer."""
    load: bool = False
    """Ask again and again, and measure."""
    clients: int = 16
    """With --load: clients that ask at a time."""
    seconds: float = 10.0
    """With --load: how long."""

    def __post_init__(self) -> None:
        if min(self.timeout, self.clients, self.seconds) <= 0:
            raise UserError("--timeout, --clients and --seconds must be above 0")


def predict(text: str, url: str, timeout: float, model: str | None = None) -> dict:
    """Classify one title.

    Returns:
        The server's answer: text, pred_class, confidence (0 to 1), top_k, model, truncated, elapsed_ms, request_id.

    Raises:
        UserError: no server there, no answer in time, or an answer that is an error.
    """
    question = {"text": text} if model is None else {"text": text, "model": model}
    headers = {"Authorization": f"Bearer {key}".encode()} if (key := os.environ.get("NEWS_API_KEY", "").strip()) else {}
    try:
        with requests.Session() as session:
            # A proxy named in the environment cannot reach this machine's own loopback address.
            session.trust_env = urlsplit(url).hostname not in {"127.0.0.1", "localhost", "::1"}
            response = session.post(f"{url.rstrip('/')}/predict", json=question, headers=headers, timeout=timeout)
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


def measure(config: ClientConfig) -> None:
    """Put the server under load, and print what came of it."""
    key = os.environ.get("NEWS_API_KEY", "").strip()
    bodies = predict_bodies([config.text], config.model)
    report = load(config.url, bodies, config.clients, config.seconds, key=key, timeout=config.timeout)
    print("clients  requests/s   p50 ms   p95 ms   p99 ms  answers and errors")
    times = "".join(f"{report[name] or float('nan'):9.2f}" for name in ("p50_ms", "p95_ms", "p99_ms"))
    counts = "  ".join(f"{name}: {count}" for name, count in {**report["statuses"], **report["errors"]}.items())
    print(f"{report['clients']:7d} {report['requests_per_s']:11.1f}{times}  {counts}")
    if report["statuses"].keys() != {"200"} or report["errors"]:
        raise UserError("not every request was answered 200, see above: is the server there, and are there too many?")


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(ClientConfig, argv, __doc__)
    answer = predict(config.text, config.url, config.timeout, config.model)
    if config.load:
        measure(config)
        return
    print(f"{answer['pred_class']}  {answer['confidence']:.1%}")
    print(json.dumps(answer, ensure_ascii=False, indent=2))


if __name__ == "__main__":
    run(main)
