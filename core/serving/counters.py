"""Counters of the HTTP API, in the text format of Prometheus; those of several workers are summed.

Workers keep theirs in files of a folder that they share, which prometheus_client does where the environment's
PROMETHEUS_MULTIPROC_DIR names one when it is imported.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
CONFIDENCES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
SHARES = (0, 0.02, 0.05, 0.1, 0.2, 0.5)
FOLDER = "PROMETHEUS_MULTIPROC_DIR"


class HttpMetrics:
    """Counters of one application."""

    def __init__(self) -> None:
        self._folder = os.environ.get(FOLDER)
        self._registry = CollectorRegistry()
        registry: dict[str, Any] = {"registry": self._registry}
        requests = Counter("news_requests", "Requests answered.", ["route", "status"], **registry)
        seconds = Histogram("news_request_seconds", "Seconds to an answer.", ["route"], buckets=SECONDS, **registry)
        classes = Counter("news_predictions", "Texts classified.", ["model", "pred_class"], **registry)
        confidences = Histogram(
            "news_confidence", "Confidence in the class of a text.", ["model"], buckets=CONFIDENCES, **registry
        )
        unknown = Histogram(
            "news_unknown_characters",
            "Share of a text's different characters that the model's vocabulary does not have.",
            ["model"],
            buckets=SHARES,
            **registry,
        )
        self._batches = Histogram("news_batch_size", "Texts in a forward pass.", buckets=SIZES, **registry)
        self._depth = Gauge(
            "news_queue_depth", "Requests being answered or waiting.", multiprocess_mode="livesum", **registry
        )
        # `labels` looks its counter up under a lock at each call.
        self._requests, self._seconds, self._classes = (
            cache(requests.labels),
            cache(seconds.labels),
            cache(classes.labels),
        )
        self._confidences, self._unknown = cache(confidences.labels), cache(unknown.labels)
        self._queue_depth: Callable[[], float] = lambda: 0
        self._characters: dict[str, set[str]] = {}

    def watch(self, queue_depth: Callable[[], float], facts: Mapping[str, Mapping[str, Any]]) -> None:
        """Say how many requests are inside, and what each model is."""
        self._queue_depth = queue_depth
        self._characters = {
            name: set("".join(each["vocab"])) | {" "} for name, each in facts.items() if "vocab" in each
        }

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Count an answer; `route` must be one of few."""
        self._requests(route, status).inc()
        self._seconds(route).observe(seconds)

    def count_batch(self, size: int) -> None:
        """Count a forward pass."""
        self._batches.observe(size)

    def count_prediction(self, model: str, pred_class: str, confidence: float | None, echo: Mapping[str, Any]) -> None:
        """Count an answered text, and what shows that texts are no longer those that the model was trained on."""
        self._classes(model, pred_class).inc()
        if confidence is not None:
            self._confidences(model).observe(confidence)
        if (known := self._characters.get(model)) and isinstance(text := echo.get("text"), str):
            characters = set(text.lower())
            self._unknown(model).observe(len(characters - known) / len(characters))

    def sample(self) -> None:
        """Note what only this process knows."""
        self._depth.set(self._queue_depth())

    def text(self) -> bytes:
        """All counters, in the format that Prometheus reads."""
        self.sample()
        if self._folder is None:
            registry = self._registry
            processes: Iterable[int] = [os.getpid()]
        else:
            registry = CollectorRegistry()
            MultiProcessCollector(registry, path=self._folder)
            processes = workers(Path(self._folder))
        return generate_latest(registry) + generate_latest(Processes(processes))


def workers(folder: Path) -> Iterator[int]:
    """The processes that keep their counters in a folder; of one that has ended the gauges are gone."""
    return (int(path.stem.rpartition("_")[2]) for path in sorted(folder.glob("gauge_livesum_*.db")))


class Processes:
    """Memory, CPU time and open files of some processes together, on Linux."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._pids = list(pids)

    def collect(self) -> Iterator[Any]:
        """The metrics of prometheus_client's ProcessCollector, each the sum over the processes."""
        found: dict[str, Any] = {}
        for pid in self._pids:
            for metric in _metrics_of(pid):
                total = found.setdefault(metric.name, metric)
                if total is not metric and not metric.name.endswith(("start_time_seconds", "max_fds")):
                    total.samples = [
                        one._replace(value=one.value + other.value)
                        for one, other in zip(total.samples, metric.samples, strict=True)
                    ]
        return iter(found.values())


def _metrics_of(pid: int) -> Iterable[Any]:
    return ProcessCollector(pid=lambda: pid, registry=None).collect()
