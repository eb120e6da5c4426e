"""What Prometheus reads at `/metrics`: the established names, and the few that are ours."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Counters:
    """All metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.success = Counter(
            "model_infer_request_success", "requests answered", ["model", "version"], registry=registry
        )
        self.failure = Counter(
            "model_infer_request_failure", "requests refused", ["model", "status"], registry=registry
        )
        self.predict_s = Histogram("request_predict_seconds", "model and encoding", buckets=SECONDS, registry=registry)
        self.request_s = Histogram(
            "http_server_request_duration_seconds",
            "from the request's head to its answer's end",
            ["http_request_method", "http_route", "http_response_status_code"],
            buckets=SECONDS,
            registry=registry,
        )
        self.rows = Counter("model_predictions", "rows answered", ["version"], registry=registry)
        self.outside = Counter(
            "model_feature_outside_training", "values beyond what training saw", ["feature"], registry=registry
        )
        self.model = Gauge("model_info", "1 for the version that answers", ["name", "version"], registry=registry)
        self.promoted = Gauge(
            "model_promoted_timestamp_seconds", "when the pointer came to name it here", ["version"], registry=registry
        )
        self.decision = Gauge(
            "monitor_decision", "1 for what the last drift report decided", ["decision"], registry=registry
        )
        self.swaps = Counter("model_swaps", "versions taken up", registry=registry)
        self.load_failures = Counter("model_load_failures", "versions refused", registry=registry)
        self.dropped = Counter("prediction_log_dropped", "lines that could not be written", ["kind"], registry=registry)
        self.labels = Counter("feedback_labels", "labels accepted", registry=registry)
        self.unmatched = Counter(
            "feedback_unmatched", "of these, labels of an id that was never given", registry=registry
        )
        for kind in ("predictions", "labels"):
            self.dropped.labels(kind)  # at 0 from the start, so that an alert sees the first one

    def answered(self, name: str, version: str, rows: int, seconds: list[float]) -> None:
        """Count requests that a version answered; of each the seconds that the model took."""
        self.success.labels(name, version).inc(len(seconds))
        self.rows.labels(version).inc(rows)
        for taken in seconds:
            self.predict_s.observe(taken)
