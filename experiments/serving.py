"""Measurements of the HTTP server: its cost beside the model, its limits, and whether it answers as predict_fun does.

    python -m experiments.serving                                          # all but the soak
    python -m experiments.serving --random-bert-base --parts predictor server nothing flask
    python -m experiments.serving --parts overload soak --seconds 60 --minutes 60 --output results

predictor  titles a second of the predictor itself, in batches of 1 and of 16
server     requests a second of `python api.py`, from 1 and from 16 clients
nothing    the same of a model that does nothing: what HTTP, JSON and the queue cost
flask      the same of a minimal Flask development server around the FP32 model
overload   a crowd of clients: who is answered what, the memory, the time until all is as before
soak       --minutes at 80 % of the rate that 16 clients get: how much the memory grows
restart    kill -9, start again: seconds until /health is 200
equal      the classes of --titles titles asked by 16 clients, against predict_fun

Rates are medians of --rounds rounds in which the parts take turns. Writes api_benchmark.json to the output folder after
each part; what it holds of the same model's other parts stays.
"""

import json
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from config import MODELS, Config
from core.bert.encoder import BERT_BASE
from core.compression import export
from core.compression.quantize import VARIANTS, quantize_onnx
from core.console import UserError, parse, run
from core.files import sha256, write_json
from core.measure.latency import in_own_process
from core.model_files import checkpoint
from core.model_files.find import find_model
from core.serving.load import ask_all, measure_load, predict_bodies
from core.training.device import measured_on
from experiments.servers import api_server, running_function, serve_minimal, serve_nothing, watched_memory
from experiments.shapes import facts_of, quantized_facts, random_bert
from experiments.trials import open_report
from predict_fun import NewsClassifier
from utils import read_labels, read_titles

RATES = ("predictor", "server", "nothing", "flask")
CLIENTS = (1, 16)
SOAK_SHARE = 0.8
WARM_UP_SECONDS = 1.0
Part = Literal["predictor", "server", "nothing", "flask", "overload", "soak", "restart", "equal"]


@dataclass
class ServingConfig:
    """Knobs of the measurements."""

    parts: tuple[Part, ...] = (*RATES, "overload", "restart", "equal")
    """What to measure."""
    model: str | None = None
    """Name or path of the model that is served. None: NEWS_MODEL, else the first one present."""
    fp32: str = "teacher"
    """Name or path of the model that the minimal server has."""
    random_bert_base: bool = False
    """Instead of both, a BERT-base with weights at random: INT8 ONNX, and FP32 in the minimal server."""
    data_dir: Path = Config.data_dir
    """Folder with class.txt and the titles that are asked: test.txt, else dev.txt."""
    output: Path = Config.output
    """Folder for api_benchmark.json."""
    seconds: float = 10.0
    """Time that each measurement of a rate, and the overload, lasts."""
    rounds: int = 3
    """Times that each rate is measured."""
    crowd: int = 512
    """Clients of the overload."""
    minutes: float = 10.0
    """Time that the soak lasts."""
    titles: int = 1000
    """Titles that the answers are compared on."""

    def __post_init__(self) -> None:
        if min(self.seconds, self.rounds, self.crowd, self.minutes, self.titles) <= 0:
            raise UserError("--seconds, --rounds, --crowd, --minutes and --titles must be above 0")


def predictor_rates(path: Path, texts: Sequence[str], seconds: float) -> dict[str, Any]:
    """Titles a second of the predictor; runs in a process of its own."""
    classifier, rates = NewsClassifier.load(path, "cpu"), {}
    for size in CLIENTS:
        classifier.predict(texts[:size])
        done, started = 0, time.perf_counter()
        while (taken := time.perf_counter() - started) < seconds:
            done += len(classifier.predict([texts[(done + row) % len(texts)] for row in range(size)]))
        rates[f"batch of {size}"] = {"requests_per_s": round(done / taken, 1)}
    return rates


def warm(url: str, texts: Sequence[str]) -> Callable[..., dict[str, Any]]:
    """Load on a server that has been warmed up, as a function of clients and seconds."""
    ask = partial(measure_load, url, predict_bodies(texts))
    ask(max(CLIENTS), WARM_UP_SECONDS)
    return ask


def measure_rates(part: str, model: Path, fp32: Path, texts: Sequence[str], seconds: float) -> dict[str, Any]:
    """One round of one part."""
    if part == "predictor":
        return in_own_process(predictor_rates, model, texts, seconds)
    serve = (serve_nothing,) if part == "nothing" else (serve_minimal, fp32)
    with api_server(model) if part == "server" else running_function(*serve) as (url, _):
        ask = warm(url, texts)
        return {f"{clients} client(s)": ask(clients, seconds) for clients in CLIENTS}


def measure_overload(model: Path, texts: Sequence[str], config: ServingConfig) -> dict[str, Any]:
    """A crowd of clients, and one client before it and in the seconds after."""
    with api_server(model) as (url, process):
        ask = warm(url, texts)
        with watched_memory(process.pid) as before:
            calm = ask(1, 1.0)
        with watched_memory(process.pid) as during:
            crowd = ask(config.crowd, config.seconds)
        found = {"before": calm, "crowd": crowd, "second_after": ask(1, 1.0)}
        return {**found, "before_mb": before[-1], "during_mb": max(during)}


def measure_soak(model: Path, texts: Sequence[str], config: ServingConfig) -> dict[str, Any]:
    """Load below the limit for long; the memory after the first tenth of the time, at the end, and in between."""
    with api_server(model) as (url, process):
        ask = warm(url, texts)
        rate = SOAK_SHARE * ask(max(CLIENTS), config.seconds)["requests_per_s"]
        with watched_memory(process.pid) as memory:
            found = ask(max(CLIENTS), 60 * config.minutes, rate=rate)
    later = memory[len(memory) // 10 :]
    return {**found, "memory_mb": later[:: -(-len(later) // 100)], "growth_mb": round(later[-1] - later[0], 1)}


def measure_restart(model: Path, *_: Any) -> dict[str, float]:
    """Kill the server without warning, start it again."""
    with api_server(model) as (_, process):
        process.kill()
        process.wait()
    started = time.perf_counter()
    with api_server(model) as (url, _):
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        direct.open(f"{url}/health", timeout=60).close()
        return {"seconds_to_ready": round(time.perf_counter() - started, 2)}


def measure_equal(model: Path, texts: Sequence[str], *_: Any) -> dict[str, Any]:
    """Agreement of what concurrent clients are answered with what predict_fun gives for the same titles."""
    expected = NewsClassifier.load(model, "cpu").predict(texts)
    with api_server(model) as (url, _):
        answers = [json.loads(body) for _, body in ask_all(url, predict_bodies(texts), max(CLIENTS))]
    pairs = list(zip(answers, expected, strict=True))
    same = sum(ours.get("pred_class") == theirs.pred_class for ours, theirs in pairs)
    gap = max(abs(ours.get("confidence", 9) - theirs.confidence) for ours, theirs in pairs)
    return {"titles": len(texts), "same_class": same, "largest_confidence_gap": round(gap, 6)}


OTHERS = {"overload": measure_overload, "soak": measure_soak, "restart": measure_restart, "equal": measure_equal}


def random_bert_base(folder: Path) -> tuple[Path, Path]:
    """INT8 ONNX and FP32 PyTorch files of a BERT-base whose weights are random, the same ones each time."""
    model = random_bert(BERT_BASE)
    facts = facts_of("bert-base", model, BERT_BASE["vocab_size"])
    int8, fp32 = folder / "int8.onnx", folder / "fp32.pt"
    checkpoint.save(fp32, model.state_dict(), facts)
    export.write(int8, quantize_onnx(export.to_onnx(model, facts), VARIANTS["signed"]), quantized_facts(facts))
    return int8, fp32


def measure_all(config: ServingConfig, path: Path, folder: Path) -> dict[str, Any]:
    """All measurements that are asked for; the report is saved after each part.

    Raises:
        UserError: there is no such model, or the report is damaged or another model's.
    """
    labels = read_labels(config.data_dir / "class.txt")
    data = config.data_dir / "test.txt"
    texts = read_titles(data if data.is_file() else config.data_dir / "dev.txt", labels).items[: config.titles]
    if config.random_bert_base:
        (model, fp32), name = random_bert_base(folder), "bert-base at random, INT8"
    else:
        model = find_model(config.model, MODELS)
        fp32, name = find_model(config.fp32, MODELS) if "flask" in config.parts else model, model.name
    report = open_report(path, {"model": name, "sha256": sha256(model)}, [])
    report |= {"model": name, **measured_on(), "threads": torch.get_num_threads()}
    rounds: dict[str, list[dict[str, Any]]] = {part: [] for part in RATES if part in config.parts}
    for number in range(config.rounds if rounds else 0):
        for part, found in rounds.items():
            print(f"round {number + 1} of {config.rounds}: {part}", flush=True)
            found.append(measure_rates(part, model, fp32, texts, config.seconds))
    for part, found in rounds.items():  # of each way of asking the round in the middle
        middle = {ask: sorted((row[ask] for row in found), key=lambda row: row["requests_per_s"]) for ask in found[0]}
        report[part] = {ask: rows[(len(rows) - 1) // 2] for ask, rows in middle.items()}
    write_json(path, report)
    for part, measure in OTHERS.items():
        if part in config.parts:
            print(part, flush=True)
            report[part] = measure(model, texts, config)
            write_json(path, report)
    return report


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(ServingConfig, argv, __doc__)
    path = config.output / "api_benchmark.json"
    with tempfile.TemporaryDirectory() as folder:
        report = measure_all(config, path, Path(folder))
    for part in config.parts:
        for name, found in report[part].items():
            print(f"{part:<10} {name:<22} {json.dumps(found, ensure_ascii=False)[:160]}")
    print(f"wrote {path}")


if __name__ == "__main__":
    run(main)
