"""What bulk_predict.py does on this machine, beside predict_fun.py, and what kills cost it.

    python -m experiments.bulk --titles titles.txt --model soft_int8                       # 1 and 5 million titles
    python -m experiments.bulk --titles titles.txt --model soft_int8 --rows 200000 --kills 4

The titles are repeated, each with a number behind it, in CSV files of 100,000 rows. predict_fun.py, pinned to one core,
and bulk_predict.py with one and with two workers score the same file folder in turn; then a run is killed (SIGKILL) at
random moments, the last time one of its workers, and resumed; its rows must be those of the input, once each, with the
classes of predict_fun.py. At last a cluster of two nodes on this machine, the second of which comes later, scores them.
Steps that are done are kept: a run that was stopped goes on. Writes bulk.json and bulk.md to the output folder. Not for
Windows.

    python -m experiments.bulk --titles titles.txt --rows 5000000 --parts 2                # this part alone
"""

import csv
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import psutil

from config import PROJECT
from core.console import UserError, parse, run
from core.files import sha256, write_json
from core.text.decode import open_text
from core.training.device import measured_on
from experiments.bulk_report import table
from experiments.trials import open_report, write_views

FILE_ROWS = 100_000
SECONDS_OF_A_NODE = 12  # until it is there
EVERY = 0.2  # seconds between two looks at a process
PARTS = ("predict_fun", "1", "2", "killed", "nodes")
NODE = ("--num-cpus", "1", "--object-store-memory", "268435456", "--disable-usage-stats", "--block")


@dataclass
class BulkTrialConfig:
    """Knobs of the measurement."""

    titles: Path = Path("titles.txt")
    """Titles, one a line; what stands behind a tab is left out."""
    model: str = "soft_int8"
    """Name or path of the model."""
    rows: tuple[int, ...] = (1_000_000, 5_000_000)
    """How many titles are scored, step by step."""
    parts: tuple[Literal["predict_fun", "1", "2", "killed", "nodes"], ...] = PARTS
    """What is measured: predict_fun.py; one or two workers; a run that is killed; two nodes."""
    kills: int = 10
    """How often a run is killed."""
    work: Path = Path("reports/bulk")
    """Folder for inputs and outputs, which go when a step is done."""
    output: Path = Path("reports")
    """Folder for bulk.json and bulk.md."""

    def __post_init__(self) -> None:
        if os.name != "posix":
            raise UserError("this measurement kills processes as Linux and macOS do: run it there")
        if min(self.rows, default=0) < 1 or self.kills < 0:
            raise UserError("--rows must be 1 or more, --kills 0 or more")


def write_input(config: BulkTrialConfig, rows: int) -> Path:
    """So many titles in CSV files, each of them different."""
    folder = config.work / f"input_{rows}"
    if (folder / "done").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with open_text(config.titles) as text:
        titles = [line.partition("\t")[0] for line in text.lines() if line.strip()]
    for start in range(0, rows, FILE_ROWS):
        with (folder / f"{start // FILE_ROWS:05}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("id", "title"))
            for row in range(start, min(start + FILE_ROWS, rows)):
                writer.writerow((row, f"{titles[row % len(titles)]} {row // len(titles)}"))
    (folder / "done").touch()
    return folder


def watched(command: Sequence[str], one_core: bool = False) -> dict[str, Any]:
    """Run a command; its seconds, and the most memory of its own process in MB."""
    process = psutil.Popen([sys.executable, "-X", "utf8", *command], cwd=PROJECT, stdout=subprocess.DEVNULL)
    if one_core and hasattr(process, "cpu_affinity"):
        process.cpu_affinity(process.cpu_affinity()[:1])
    started, most = time.perf_counter(), 0
    while process.poll() is None:
        try:
            most = max(most, process.memory_info().rss)
        except psutil.Error:
            break
        time.sleep(EVERY)
    if code := process.wait():
        raise UserError(f"{' '.join(command)} ended with {code}: see what it says by itself")
    return {"seconds": time.perf_counter() - started, "driver_mb": most / 1e6}


def bulk(config: BulkTrialConfig, given: Path, output: Path, workers: int, *more: str) -> list[str]:
    """The command that scores a folder."""
    flags = ["--input", str(given), "--output", str(output), "--model", config.model, "--workers", str(workers)]
    return ["bulk_predict.py", *flags, *more]


def manifest(output: Path) -> dict[str, Any]:
    """What a run has said of itself."""
    return json.loads((output / "_manifest.json").read_text(encoding="utf-8"))


def measure(config: BulkTrialConfig, rows: int, what: str) -> dict[str, Any]:
    """One way to score so many titles: "predict_fun", or the number of workers."""
    given = write_input(config, rows)
    output = config.work / f"{what}_{rows}"
    shutil.rmtree(output, ignore_errors=True)
    if what == "predict_fun":
        output.mkdir(parents=True)
        found: dict[str, Any] = {"seconds": 0.0, "driver_mb": 0.0}
        for file in sorted(given.glob("*.csv")):  # one file a process, as a user would
            flags = ["--file", str(file), "--output", str(output / file.name), "--model", config.model]
            each = watched(["predict_fun.py", *flags], one_core=True)
            found = {
                "seconds": found["seconds"] + each["seconds"],
                "driver_mb": max(found["driver_mb"], each["driver_mb"]),
            }
    else:
        found = watched(bulk(config, given, output, int(what)))
        told = manifest(output)
        found |= {"to_first_part_s": told["seconds_to_first_part"], "rows_out": told["rows_out"]}
    return {"what": what, "rows": rows, **found, "titles_per_s": rows / found["seconds"]}


def kill(config: BulkTrialConfig, rows: int, rng: random.Random) -> dict[str, Any]:
    """Kill a run at random moments, the last time one of its workers; then count and compare its rows."""
    import pyarrow.parquet

    given, output = write_input(config, rows), config.work / f"killed_{rows}"
    shutil.rmtree(output, ignore_errors=True)
    lived = []
    for number in range(config.kills):
        process = psutil.Popen(
            [sys.executable, "-X", "utf8", *bulk(config, given, output, 2, "--resume", "--rows", "5120")],
            cwd=PROJECT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ray ends the whole group of a driver that died
        )
        until = time.monotonic() + rng.uniform(5, 30)
        while time.monotonic() < until and process.poll() is None:
            time.sleep(EVERY)
        lived.append(len(list(output.glob("*.parquet"))))
        own = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        workers = [child for child in own if "Scorer" in " ".join(child.cmdline())] if own else []
        if number == config.kills - 1 and workers:
            workers[0].send_signal(signal.SIGKILL)
            process.wait()
        elif process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
            time.sleep(2.0)  # its workers end by themselves
    watched(bulk(config, given, output, 2, "--resume", "--rows", "5120"))
    classes: dict[str, str] = {}
    twice = 0
    for path in output.glob("*.parquet"):
        table = pyarrow.parquet.read_table(path, columns=["id", "类别"])
        for name, found in zip(*(table.column(column).to_pylist() for column in ("id", "类别")), strict=True):
            twice += name in classes
            classes[name] = found
    other = compared = 0
    for path in (config.work / f"predict_fun_{rows}").glob("*.csv"):
        with path.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file):
                compared += 1
                other += classes.get(row["id"]) != row["类别"]
    found = {"kills": config.kills, "parts_at_each": lived, "lost": rows - len(classes), "twice": twice}
    return {"what": "killed", "rows": rows, **found, "compared": compared, "other_classes": other}


@contextmanager
def node(token: str, *flags: str) -> Iterator[None]:
    """A Ray node on this machine, with one core; those of one token make a cluster."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *flags, *NODE]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    process = psutil.Popen(command, cwd=PROJECT, start_new_session=True, env=environment, **quiet)
    try:
        time.sleep(SECONDS_OF_A_NODE)
        yield
    finally:
        for each in [*process.children(recursive=True), process]:
            each.kill()
        process.wait()


def two_nodes(config: BulkTrialConfig, rows: int) -> dict[str, Any]:
    """Score with a node, and with one that joins it; how many rows each has taken."""
    given, output = write_input(config, rows), config.work / f"nodes_{rows}"
    shutil.rmtree(output, ignore_errors=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    address, token = f"127.0.0.1:{port}", secrets.token_hex(32)
    with (
        node(token, "--head", "--port", port, "--include-dashboard", "false"),
        node(token, "--address", address),
        patch.dict(os.environ, {"RAY_AUTH_TOKEN": token}),
    ):
        found = watched(bulk(config, given, output, 2, "--address", address))
    told = manifest(output)
    shares = sorted(told["rows_by_node"].values())
    return {"what": "nodes", "rows": rows, **found, "rows_out": told["rows_out"], "rows_by_node": shares}


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(BulkTrialConfig, argv, __doc__)
    path = config.output / "bulk.json"
    report = open_report(path, {"model": config.model, "titles": sha256(config.titles)}, ["cells"])
    rng = random.Random(0)
    for rows in config.rows:
        for what in config.parts:
            if any((cell["what"], cell["rows"]) == (what, rows) for cell in report["cells"]):
                continue
            print(f"{what}, {rows:,} titles", flush=True)
            ways = {"killed": partial(kill, config, rows, rng), "nodes": partial(two_nodes, config, rows)}
            cell = ways.get(what, partial(measure, config, rows, what))()
            report |= {**measured_on(), "cells": [*report["cells"], cell]}
            write_json(path, report)
            print(f"  {cell}", flush=True)
        if config.work.is_dir():
            shutil.rmtree(config.work)
    write_views(report, path, table)


if __name__ == "__main__":
    run(main)
