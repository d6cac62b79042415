"""Counters of the HTTP API, in the text format of Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class HttpMetrics:
    """Counters of one application.

    Args:
        queue_depth: says how many requests are being answered or wait for it.
    """

    def __init__(self, queue_depth: Callable[[], float]) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)  # memory, CPU time and open files, on Linux
        registry = {"registry": self._registry}
        self._requests = Counter("news_requests", "Requests answered.", ["route", "status"], **registry)
        self._seconds = Histogram(
            "news_request_seconds", "Seconds to an answer.", ["route"], buckets=SECONDS, **registry
        )
        self._batches = Histogram("news_batch_size", "Texts in a forward pass.", buckets=SIZES, **registry)
        self._classes = Counter("news_predictions", "Texts classified.", ["model", "pred_class"], **registry)
        Gauge("news_queue_depth", "Requests being answered or waiting.", **registry).set_function(queue_depth)

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Count an answer; `route` must be one of few."""
        self._requests.labels(route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def count_batch(self, size: int) -> None:
        """Count a forward pass."""
        self._batches.observe(size)

    def count_prediction(self, model: str, pred_class: str) -> None:
        """Count a classified text."""
        self._classes.labels(model, pred_class).inc()

    def text(self) -> bytes:
        """All counters, in the format that Prometheus reads."""
        return generate_latest(self._registry)
