"""Clients that mean no good, or are many: those of an attack on the server of this machine."""

import asyncio
import contextlib
import http.client
import json
import random
import signal
import socket
import time
from collections import Counter
from collections.abc import Sequence
from subprocess import Popen
from typing import Any
from urllib.parse import urlsplit

from experiments.servers import watched_memory

HEAD = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
KINDS = ("idle", "slow head", "slow body", "slow reader")
ECHOED = 300_000  # characters of a title that is too long: nothing to compute, and echoed; more than a socket keeps
SETTLE = 5.0  # seconds, or as long as the crowd stays, in which the server takes it in before the normal client comes
PATIENCE = 15.0  # seconds that a client waits for an answer


def place_of(url: str) -> tuple[str, int]:
    """Host and port of an address."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 80


def ask(url: str, body: bytes, key: str = "") -> tuple[int, dict[str, Any], float]:
    """POST a body to /predict: status, JSON and seconds; status 0 where there was no answer."""
    started = time.monotonic()
    connection = http.client.HTTPConnection(*place_of(url), timeout=PATIENCE)
    try:
        connection.request(
            "POST", "/predict", body, {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        )
        response = connection.getresponse()
        return response.status, json.loads(response.read()), time.monotonic() - started
    except (OSError, http.client.HTTPException, ValueError):
        return 0, {}, time.monotonic() - started
    finally:
        connection.close()


def hostile_bodies(count: int, seed: int) -> list[bytes]:
    """Bodies that are almost right: cut, with bits turned, of wrong types, too deep, too long, not JSON at all."""
    rng = random.Random(seed)
    values = [
        None,
        True,
        7,
        -1e308,
        "",
        " ",
        "\ud800",
        "科技" * 20_000,
        [],
        [[]],
        {},
        ["科技"] * 1_001,
        [None, 3, ""],
        "\x00",
    ]
    bodies = []
    for _ in range(count):
        names = rng.choices(["text", "top_k", "model", "min_confidence", "__class__"], k=rng.randint(0, 3))
        body = bytearray(json.dumps({name: rng.choice(values) for name in names}).encode())
        kind = rng.randrange(5)
        if kind == 1:
            body = body[: rng.randint(0, len(body))]
        if kind == 2:
            for _ in range(rng.randint(1, 8)):
                body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
        if kind == 3:
            body = bytearray(rng.choice([b"[", b'{"text":', b'{"a":['])) * rng.randint(1, 50_000)
        if kind == 4:
            body = bytearray(rng.randbytes(rng.randint(0, 300)))
        bodies.append(bytes(body))
    return bodies


def crowd_of(url: str, kind: str, count: int) -> list[socket.socket]:
    """Connections whose clients do next to nothing, or take nothing of their answers."""
    asked = json.dumps({"text": ["a" * ECHOED]}).encode()
    first = {
        "idle": b"",
        "slow head": HEAD + b"X: ",
        "slow body": HEAD + b"Content-Length: 9999\r\n\r\n{",
        "slow reader": HEAD + b"Content-Length: %d\r\n\r\n" % len(asked) + asked,
    }[kind]
    crowd = []
    for _ in range(count):
        client = socket.socket(socket.AF_INET6 if ":" in place_of(url)[0] else socket.AF_INET)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(PATIENCE)
        with contextlib.suppress(OSError):
            client.connect(place_of(url))
            client.sendall(first)
        crowd.append(client)
    return crowd


def still_open(client: socket.socket) -> bool:
    """Whether the server has not closed a connection."""
    client.setblocking(False)
    try:
        while client.recv(1 << 16):
            pass
        return False
    except BlockingIOError:
        return True
    except OSError:
        return False


def beside(url: str, process: Popen, kind: str, count: int, seconds: float) -> dict[str, Any]:
    """A normal client beside a crowd, once a second: its slowest answer; the memory; how many of the crowd are left."""
    with watched_memory(process.pid) as memory:
        ask(url, b'{"text": "a"}')
        before = memory[-1] if memory else None
        crowd = crowd_of(url, kind, count)
        time.sleep(min(SETTLE, seconds))
        slowest, answered, asked = 0.0, 0, 0
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            status, _, taken = ask(url, b'{"text": "a"}')
            slowest, answered, asked = max(slowest, taken), answered + (status == 200), asked + 1
            for client in crowd if kind in ("slow head", "slow body") else ():
                with contextlib.suppress(OSError):
                    client.send(b"a")
            time.sleep(1)
    left = sum(map(still_open, crowd))
    for client in crowd:
        client.close()
    return {
        "connections": count,
        "asked": asked,
        "answered": answered,
        "slowest_s": round(slowest, 2),
        "before_mb": before,
        "most_mb": max(memory),
        f"open_after_{seconds:g}_s": left,
    }


async def restart_under_load(url: str, process: Popen, clients: int, keep: bool, wait: float) -> dict[str, Any]:
    """SIGTERM while many clients ask: what became of the requests that were sent before it, by the clients' clock."""
    body = '{"text": "央行下调存款准备金率"}'.encode()
    question = HEAD + (b"" if keep else b"Connection: close\r\n") + b"Content-Length: %d\r\n\r\n" % len(body) + body
    statuses: Counter[str] = Counter()
    lost: list[str] = []
    signalled = 0.0

    async def one() -> None:
        reader = writer = None
        while True:
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection(*place_of(url))
                writer.write(question)
                sent = time.monotonic()
                if writer.transport.get_write_buffer_size():
                    await writer.drain()
                    sent = time.monotonic()
            except OSError:
                if signalled:
                    return
                writer = None
                await asyncio.sleep(0.01)
                continue
            try:
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                await asyncio.wait_for(reader.readexactly(length), PATIENCE)
                if not signalled or sent < signalled:
                    statuses[head.split()[1].decode()] += 1
                is_last = not keep or b"connection: close" in head.lower()
            except (OSError, EOFError, TimeoutError, ValueError, IndexError) as fault:
                if not signalled or sent < signalled:
                    lost.append(type(fault).__name__)
                is_last = True
            if is_last:
                writer.close()
                writer = None
            if signalled and time.monotonic() > signalled:
                if writer is not None:
                    writer.close()
                return

    crowd = [asyncio.create_task(one()) for _ in range(clients)]
    started = time.monotonic()
    while sum(statuses.values()) <= clients and time.monotonic() < started + PATIENCE:  # until they are at it
        await asyncio.sleep(0.05)
    await asyncio.sleep(wait)
    signalled = time.monotonic()
    process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(asyncio.gather(*crowd), 60)
    seconds = time.monotonic() - signalled
    return {"keep_alive": keep, "answers": dict(statuses), "lost": dict(Counter(lost)), "seconds": round(seconds, 2)}


def unread_bodies(url: str, count: int, size: int) -> list[int]:
    """Start bodies of so many bytes without a key, and send them as far as they are taken: the status of each."""

    async def one() -> int:
        try:
            reader, writer = await asyncio.open_connection(*place_of(url))
            answer = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
            writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % size)
            with contextlib.suppress(OSError, TimeoutError):
                for _ in range(size // 100_000):
                    if answer.done():
                        break
                    writer.write(b" " * 100_000)
                    await asyncio.wait_for(writer.drain(), 1)
            head = await asyncio.wait_for(answer, PATIENCE)
            writer.close()
            return int(head.split()[1])
        except (OSError, EOFError, TimeoutError):
            return 0

    async def all_of_them() -> Sequence[int]:
        return await asyncio.gather(*(one() for _ in range(count)))

    return list(asyncio.run(all_of_them()))
