"""What Prometheus reads at `/metrics`: the established names, and the few that are ours."""

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Counters:
    """All metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        count, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        seconds = partial(Histogram, buckets=SECONDS, registry=registry)
        told = ["http_request_method", "http_route", "http_response_status_code"]
        self.success = count("model_infer_request_success", "requests answered", ["model", "version"])
        self.failure = count("model_infer_request_failure", "requests refused", ["model", "status"])
        self.predict_s = seconds("request_predict_seconds", "model and encoding")
        self.request_s = seconds(
            "http_server_request_duration_seconds", "from a request's head to its answer's end", told
        )
        self.rows = count("model_predictions", "rows answered", ["version"])
        self.outside = count("model_feature_outside_training", "values beyond what training saw", ["feature"])
        self.model = gauge("model_info", "1 for the version that answers", ["name", "version"])
        self.promoted = gauge("model_promoted_timestamp_seconds", "when the pointer came to name it here", ["version"])
        self.decision = gauge("monitor_decision", "1 for what the last drift report decided", ["decision"])
        self.swaps = count("model_swaps", "versions taken up")
        self.refused = gauge("model_refused", "1 while another version is named than the one that answers")
        self.load_failures = count("model_load_failures", "versions refused")
        self.dropped = count("prediction_log_dropped", "lines that could not be written", ["kind"])
        self.labels = count("feedback_labels", "labels accepted")
        self.unmatched = count("feedback_unmatched", "of these, labels of an id that was never given")
        for kind in ("predictions", "labels"):
            self.dropped.labels(kind)  # at 0 from the start, so that an alert sees the first one

    def answered(self, name: str, version: str, rows: int, seconds: list[float]) -> None:
        """Count requests that a version answered; of each the seconds that the model took."""
        self.success.labels(name, version).inc(len(seconds))
        self.rows.labels(version).inc(rows)
        for taken in seconds:
            self.predict_s.observe(taken)
