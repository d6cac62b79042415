"""An attack on `python api.py` of this machine, bounded in count and time: what was tried, and what failed.

    python -m experiments.attack                          # all parts, under ten minutes
    python -m experiments.attack --parts restarts --restarts 4 --clients 128

bodies    --bodies bodies that are almost right: none may get a 5xx, or no answer
unread    100 unfinished bodies of 15.9 MB with a key set and none sent: refused before they are read
crowds    --connections that are idle, send a byte a second, or read nothing: a normal client beside them, the memory
workers   one of two workers is killed: it is replaced, the counters are summed, SIGTERM ends all
restarts  SIGTERM under load, with connections kept and one for each request: none that was sent before may be lost
files     model files with bits turned, and with code in a pickle: refused, nothing executed

The model is --model, or a small BERT of random weights. Writes attack.json to the output folder after each part.
"""

import asyncio
import json
import os
import pickle
import random
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

import tasks
from config import MODELS, Config
from core.compression import export
from core.compression.quantize import VARIANTS, quantize_onnx
from core.console import UserError, parse, run
from core.files import write_json
from core.model_files.find import find_model
from core.training.device import measured_on
from experiments.crowds import KINDS, ask, beside, hostile_bodies, restart_under_load, unread_bodies
from experiments.servers import api_server, watched_memory
from experiments.shapes import facts_of, quantized_facts, random_bert

BODY_BYTES = 15_900_000
SHAPE = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 256}
SHAPE |= {"vocab_size": 2000, "max_position_embeddings": 64}
FILES = 4096  # that this process may open
Part = Literal["bodies", "unread", "crowds", "workers", "restarts", "files"]


@dataclass
class AttackConfig:
    """What is tried, and how much of it."""

    parts: tuple[Part, ...] = ("bodies", "unread", "crowds", "workers", "restarts", "files")
    """What to try."""
    model: str | None = None
    """Name or path of the ONNX model that is served. None: a small BERT of random weights."""
    bodies: int = 3000
    """Hostile bodies."""
    connections: int = 2000
    """Connections of each crowd."""
    seconds: float = 40.0
    """Time beside each crowd."""
    restarts: int = 20
    """Restarts, half of them with connections that are kept."""
    clients: int = 512
    """Clients of each restart."""
    flips: int = 100
    """Damaged model files."""
    seed: int = 1
    """Of what is hostile."""
    output: Path = Config.output
    """Folder for attack.json."""

    def __post_init__(self) -> None:
        if min(self.bodies, self.connections, self.seconds, self.restarts, self.clients, self.flips) <= 0:
            raise UserError("--bodies, --connections, --seconds, --restarts, --clients and --flips must be above 0")


def try_bodies(model: Path, config: AttackConfig) -> dict[str, Any]:
    """Statuses of hostile bodies; failed are those without a proper answer."""
    statuses: Counter[int] = Counter()
    failed = 0
    with api_server(model, "--quiet") as (url, process), watched_memory(process.pid) as memory:
        for body in hostile_bodies(config.bodies, config.seed):
            status, answer, _ = ask(url, body)
            statuses[status] += 1
            failed += status == 0 or status >= 500 or answer.get("status") != status
    return {
        "tried": config.bodies,
        "failed": failed,
        "statuses": {str(status): count for status, count in sorted(statuses.items())},
        "most_mb": max(memory),
    }


def try_unread(model: Path, config: AttackConfig) -> dict[str, Any]:
    """Large bodies without a key; failed are those that were not refused by 401."""
    os.environ["NEWS_API_KEY"] = "key"
    try:
        with api_server(model, "--quiet") as (url, process), watched_memory(process.pid) as memory:
            statuses = unread_bodies(url, 100, BODY_BYTES)
            opened = [file.path for file in psutil.Process(process.pid).open_files()]
    finally:
        del os.environ["NEWS_API_KEY"]
    temporary = [path for path in opened if path.startswith(tempfile.gettempdir())]
    failed = sum(status != 401 for status in statuses) + len(temporary)
    return {
        "tried": len(statuses),
        "failed": failed,
        "statuses": dict(Counter(map(str, statuses))),
        "most_mb": max(memory),
    }


def try_crowds(model: Path, config: AttackConfig) -> dict[str, Any]:
    """A normal client beside each kind of crowd; failed are its requests that were not answered."""
    found = {}
    for kind in KINDS:
        with api_server(model, "--quiet") as (url, process):
            found[kind] = beside(url, process, kind, config.connections, config.seconds)
    tried = sum(each["asked"] for each in found.values())
    return {"tried": tried, "failed": tried - sum(each["answered"] for each in found.values()), **found}


def try_workers(model: Path, config: AttackConfig) -> dict[str, Any]:
    """Two workers, of which one is killed."""
    with api_server(model, "--quiet", "--workers", "2") as (url, process):
        workers = workers_of(process.pid)
        before = [ask(url, b'{"text": "a"}')[0] for _ in range(50)]
        workers[0].kill()
        killed = time.monotonic()
        after = []
        while time.monotonic() < killed + 30:
            after.append(ask(url, b'{"text": "a"}')[0])
            if len(alive := workers_of(process.pid)) == 2 and workers[0] not in alive:
                break
            time.sleep(0.1)
        replaced = time.monotonic() - killed
        after += [ask(url, b'{"text": "a"}')[0] for _ in range(50)]
        lines = urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{url}/metrics").read().decode()
        counted = next(
            float(line.split()[-1])
            for line in lines.splitlines()
            if line.startswith("news_requests_total") and '"200"' in line
        )
        family = workers_of(process.pid)
        process.terminate()
        ended = process.wait(30)
        left = [each for each in family if each.is_running()]
    answers = [*before, *after]
    lost = sum(status != 200 for status in answers)  # the one that the killed worker had accepted, at most
    failed = max(0, lost - 1) + (abs(counted - (len(answers) - lost)) > 1) + len(left) + (ended != 0)
    return {
        "tried": len(answers),
        "failed": int(failed),
        "replaced_s": round(replaced, 1),
        "counted": counted,
        "lost_with_the_killed": lost,
        "left_after_sigterm": len(left),
    }


def workers_of(pid: int) -> list[psutil.Process]:
    """The living workers of a server."""
    found = []
    for child in psutil.Process(pid).children():
        with suppress(psutil.Error):
            found += [child] if "spawn_main" in " ".join(child.cmdline()) else []
    return found


def try_restarts(model: Path, config: AttackConfig) -> dict[str, Any]:
    """Restarts under load; failed are requests that were sent before the signal and got no answer."""
    rounds = []
    for number in range(config.restarts):
        with api_server(model, "--quiet") as (url, process):
            keep = number % 2 == 0
            rounds.append(asyncio.run(restart_under_load(url, process, config.clients, keep, 1 + 0.03 * number)))
            rounds[-1]["exit"] = process.wait(30)
        print(f"  restart {number + 1} of {config.restarts}: {json.dumps(rounds[-1])}", flush=True)
    answered = sum(sum(each["answers"].values()) for each in rounds)
    lost = sum(sum(each["lost"].values()) for each in rounds)
    return {"tried": answered + lost, "failed": lost + sum(each["exit"] != 0 for each in rounds), "rounds": rounds}


class Touch:
    """What a hostile pickle holds: it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def try_files(model: Path, config: AttackConfig) -> dict[str, Any]:
    """Damaged and hostile model files; failed are those that opened, or did harm."""
    rng, content, failed = random.Random(config.seed), model.read_bytes(), 0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(config.flips):
            damaged = bytearray(content)
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
            failed += opens(Path(folder) / f"damaged{number}.onnx", bytes(damaged))
        trap = Path(folder) / "trap"
        for suffix in (".pt", ".pth", ".onnx"):
            failed += opens(Path(folder) / f"hostile{suffix}", pickle.dumps(Touch(trap))) + trap.exists()
    return {"tried": config.flips + 3, "failed": int(failed)}


def opens(path: Path, content: bytes) -> bool:
    """Whether a file is taken for a model, rather than refused in a sentence."""
    path.write_bytes(content)
    try:
        tasks.load(path, "cpu")
    except UserError:
        return False
    finally:
        path.unlink()
    return True


def random_model(folder: Path) -> Path:
    """A small INT8 ONNX file whose weights are random, the same ones each time."""
    model = random_bert(SHAPE)
    facts = facts_of("attacked", model, SHAPE["vocab_size"])
    path = folder / "attacked.onnx"
    export.write(path, quantize_onnx(export.to_onnx(model, facts), VARIANTS["signed"]), quantized_facts(facts))
    return path


TRY = {"bodies": try_bodies, "unread": try_unread, "crowds": try_crowds}
TRY |= {"workers": try_workers, "restarts": try_restarts, "files": try_files}


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(AttackConfig, argv, __doc__)
    if os.name != "nt":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(FILES, hard) if hard > 0 else FILES), hard))
    path = config.output / "attack.json"
    report: dict[str, Any] = {**measured_on(), "started": time.strftime("%Y-%m-%d %H:%M"), "parts": {}}
    with tempfile.TemporaryDirectory() as folder:
        model = find_model(config.model, MODELS) if config.model else random_model(Path(folder))
        report["model"] = model.name
        for part in config.parts:
            print(part, flush=True)
            started = time.monotonic()
            report["parts"][part] = TRY[part](model, config)
            report["parts"][part]["seconds"] = round(time.monotonic() - started, 1)
            write_json(path, report)
    print("part          tried  failed")
    for part, found in report["parts"].items():
        print(f"{part:<10} {found['tried']:8,} {found['failed']:7,}")
    print(f"wrote {path}")
    if any(found["failed"] for found in report["parts"].values()):
        raise UserError("something failed, see the table above and the file")


if __name__ == "__main__":
    run(main)
