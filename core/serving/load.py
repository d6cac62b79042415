"""Load test of an HTTP server: many clients that keep their connections, in one thread, which leaves it the CPU.

    python -m core.serving.load                                                    # api.py on this machine
    python -m core.serving.load http://127.0.0.1:8010 --clients 64 --seconds 30 --text "央行下调存款准备金率"

A server that asks for a key gets the environment's NEWS_API_KEY.
"""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from tyro.conf import Positional

from core.console import UserError, parse, run

PERCENTILES = (50, 95, 99)


class Client:
    """One client of the API with one connection, opened again where it was lost."""

    def __init__(self, url: str, key: str = "") -> None:
        try:
            parts = urlsplit(url)
            self._place = parts.hostname, parts.port or 80
        except ValueError:
            parts = urlsplit("")
        if parts.scheme != "http" or not parts.hostname:
            raise UserError(f"{url} cannot be put under load: give an address such as http://127.0.0.1:8004")
        self._path = parts.path.rstrip("/")
        self._headers = f"Host: {parts.netloc}\r\nContent-Type: application/json\r\n"
        if key:
            self._headers += f"Authorization: Bearer {key}\r\n"
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, body: bytes) -> tuple[int, bytes]:
        """POST a body to /predict; its status and answer. OSError or EOFError where the connection fails."""
        try:
            if self._connection is None:
                self._connection = await asyncio.open_connection(*self._place)
            reader, writer = self._connection
            head = f"POST {self._path}/predict HTTP/1.1\r\n{self._headers}Content-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode("utf-8") + body)
            start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().splitlines()
            headers = dict(line.split(": ", 1) for line in lines if line)
            answer = await reader.readexactly(int(headers["content-length"]))
            if headers.get("connection") == "close":
                self.close()
            return int(start.split()[1]), answer
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Drop the connection."""
        if self._connection is not None:
            self._connection[1].close()
            self._connection = None


def predict_bodies(texts: Sequence[str], model: str | None = None) -> list[bytes]:
    """The JSON that asks for each of some texts."""
    choice = {} if model is None else {"model": model}
    return [json.dumps({"text": text, **choice}, ensure_ascii=False).encode("utf-8") for text in texts]


def measure_load(
    url: str,
    bodies: Sequence[bytes],
    clients: int,
    seconds: float,
    rate: float | None = None,
    key: str = "",
    timeout: float = 60.0,
) -> dict[str, Any]:
    """Rate, latencies and answers of clients that ask again and again, each as soon as it has its answer.

    Args:
        url: the server.
        bodies: what is asked, in turn.
        clients: how many ask at a time.
        seconds: how long.
        rate: requests a second of all clients together; None: as many as they get.
        key: the bearer token.
        timeout: seconds after which an answer counts as none.

    Returns:
        clients, seconds, requests_per_s and p50_ms, p95_ms, p99_ms, max_ms of answers 200; statuses {status: answers};
        errors {kind: requests without an answer}.
    """
    statuses: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    times: list[float] = []
    turns = cycle(bodies)

    async def ask_on(client: Client, number: int, end: float) -> None:
        due = time.perf_counter() + (number / rate if rate else 0)
        while (now := time.perf_counter()) < end:
            if rate and now < due:
                await asyncio.sleep(min(due, end) - now)
                continue
            due += clients / rate if rate else 0
            try:
                status, _ = await asyncio.wait_for(client.ask(next(turns)), timeout)
                statuses[str(status)] += 1
                if status == 200:
                    times.append(time.perf_counter() - now)
            except (OSError, EOFError, ValueError, KeyError) as fault:
                errors[type(fault).__name__] += 1
                await asyncio.sleep(0.1)
        client.close()

    async def all_clients() -> float:
        crowd = [Client(url, key) for _ in range(clients)]
        started = time.perf_counter()
        await asyncio.gather(*(ask_on(client, number, started + seconds) for number, client in enumerate(crowd)))
        return time.perf_counter() - started

    taken = asyncio.run(all_clients())
    report: dict[str, float | None] = {"clients": clients, "seconds": round(taken, 2)}
    report["requests_per_s"] = round(len(times) / taken, 1)
    for share in PERCENTILES:
        report[f"p{share}_ms"] = round(1e3 * float(np.percentile(times, share)), 2) if times else None
    report["max_ms"] = round(1e3 * max(times), 2) if times else None
    return {**report, "statuses": dict(statuses), "errors": dict(errors)}


def ask_all(url: str, bodies: Sequence[bytes], clients: int) -> list[tuple[int, bytes]]:
    """Ask each body once, so many at a time; status and answer of each, in order."""
    answers: list[tuple[int, bytes]] = [(0, b"")] * len(bodies)

    async def work(client: Client, rows: Iterator[int]) -> None:
        for row in rows:
            answers[row] = await client.ask(bodies[row])
        client.close()

    async def all_clients() -> None:
        rows = iter(range(len(bodies)))  # one iterator for all: who is free takes the next
        await asyncio.gather(*(work(Client(url), rows) for _ in range(clients)))

    asyncio.run(all_clients())
    return answers


@dataclass
class LoadConfig:
    """Knobs of the load."""

    url: Positional[str] = "http://127.0.0.1:8004"
    """Address of the server."""
    text: str = "SpaceX 星舰今日成功发射，开启火星移民新篇章"
    """The text that is asked again and again."""
    model: str | None = None
    """Name of one of the models that the server has. None: its first one."""
    clients: int = 16
    """Clients that ask at a time."""
    seconds: float = 10.0
    """How long."""
    timeout: float = 10.0
    """Seconds after which an answer counts as none."""

    def __post_init__(self) -> None:
        if min(self.timeout, self.clients, self.seconds) <= 0:
            raise UserError("--timeout, --clients and --seconds must be above 0")


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(LoadConfig, argv, __doc__)
    key = os.environ.get("NEWS_API_KEY", "").strip()
    bodies = predict_bodies([config.text], config.model)
    report = measure_load(config.url, bodies, config.clients, config.seconds, key=key, timeout=config.timeout)
    print("clients  requests/s   p50 ms   p95 ms   p99 ms  answers and errors")
    times = "".join(f"{report[name] or float('nan'):9.2f}" for name in ("p50_ms", "p95_ms", "p99_ms"))
    counts = "  ".join(f"{name}: {count}" for name, count in {**report["statuses"], **report["errors"]}.items())
    print(f"{report['clients']:7d} {report['requests_per_s']:11.1f}{times}  {counts}")
    if report["statuses"].keys() != {"200"} or report["errors"]:
        raise UserError("not every request was answered 200, see above: is the server there, and are there too many?")


if __name__ == "__main__":
    run(main)
