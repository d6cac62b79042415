"""Ask the server for the class of one title: the client to copy into your own program.

Start `python api.py` in another terminal, then:

    python api_test.py --text "SpaceX 星舰今日成功发射，开启火星移民新篇章"
    python api_test.py --url http://192.168.1.20:8004 --model student

A server that asks for a key gets the environment's NEWS_API_KEY. How many requests a second a server answers:
python -m core.serving.load
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from urllib.parse import urlsplit

import requests

ADDRESS = "http://127.0.0.1:8004"
LOOPBACK = {"127.0.0.1", "localhost", "::1"}  # where no proxy named in the environment can reach this machine


class ApiError(Exception):
    """No answer, or one that is an error; the message says what to do."""


def predict(text: str, url: str = ADDRESS, timeout: float = 10.0, model: str | None = None) -> dict:
    """Classify one title.

    Args:
        text: the title.
        url: address of the server.
        timeout: seconds to wait for an answer.
        model: name of one of the models that the server has. None: its first one.

    Returns:
        The server's answer: text, pred_class, confidence (0 to 1), top_k, model, truncated, elapsed_ms, request_id.

    Raises:
        ApiError: no server there, no answer in time, or an answer that is an error.
    """
    question = {"text": text} if model is None else {"text": text, "model": model}
    headers = {"Authorization": f"Bearer {key}".encode()} if (key := os.environ.get("NEWS_API_KEY", "").strip()) else {}
    try:
        with requests.Session() as session:
            session.trust_env = urlsplit(url).hostname not in LOOPBACK
            response = session.post(f"{url.rstrip('/')}/predict", json=question, headers=headers, timeout=timeout)
            answer = response.json()
    except requests.Timeout as fault:
        way = f" by way of the proxy {proxy_of(url)}" if proxy_of(url) else ""
        raise ApiError(
            f"no answer from {url} within {timeout:g} s{way}: try again, or with a longer --timeout"
        ) from fault
    except requests.ConnectionError as fault:
        if proxy := proxy_of(url):
            raise ApiError(
                f"the proxy {proxy} cannot be reached, or cannot reach {url}: {without_proxy(url)}"
            ) from fault
        raise ApiError(f"no server at {url}: start it with `python api.py`, or give its address with --url") from fault
    except (requests.RequestException, ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict) or not {"text", "error"} & answer.keys():
        if proxy := proxy_of(url):
            raise ApiError(f"the proxy {proxy} answered for {url}, with what is not of this API: {without_proxy(url)}")
        raise ApiError(f"{url} is not the address of this API: try --url {ADDRESS}")
    if "error" in answer:
        raise ApiError(f"the server at {url} refused the request ({response.status_code}): {answer['error']}")
    return answer


def proxy_of(url: str) -> str:
    """The proxy that the environment puts before an address, without its password; "" where there is none."""
    try:
        asked = urlsplit(url).hostname not in LOOPBACK
        found = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url)) if asked else None
    except ValueError:  # no address
        found = None
    return (found or "").rpartition("@")[2].rpartition("//")[2].strip("/")


def without_proxy(url: str) -> str:
    """What to do where a proxy stands in the way."""
    host = urlsplit(url).hostname
    return f"set the environment's no_proxy={host} to ask without it, or give another address with --url"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", default="SpaceX 星舰今日成功发射，开启火星移民新篇章", help="the title to classify")
    url = os.environ.get("NEWS_API_URL") or ADDRESS
    parser.add_argument("--url", default=url, help=f"address of the server; NEWS_API_URL where it is set ({url})")
    parser.add_argument("--model", help="one of the models that the server has; without it its first one")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds to wait for an answer (10)")
    args = parser.parse_args(argv)
    if not args.timeout > 0:
        parser.error("--timeout must be above 0")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a Windows console or pipe may know no Chinese
            stream.reconfigure(encoding="utf-8", errors="replace")
    try:
        answer = predict(args.text, args.url, args.timeout, args.model)
    except ApiError as fault:
        sys.exit(f"error: {fault}")
    if "pred_class" in answer:
        print(f"{answer['pred_class']}  {answer['confidence']:.1%}")
    print(json.dumps(answer, ensure_ascii=False, indent=2))


if __name__ == "__main__":
    main()
