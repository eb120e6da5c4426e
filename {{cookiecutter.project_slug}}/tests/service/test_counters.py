from prometheus_client import generate_latest
from services import metric

from {{ cookiecutter.__package }}.service.counters import Counters


def test_requests_answered_together_are_counted_one_by_one():
    counters = Counters()
    counters.answered("demo", "v1", rows=5, seconds=[0.002, 0.002, 0.002])
    counters.answered("demo", "v1", rows=1, seconds=[0.3])
    assert metric(counters, "model_infer_request_success_total", model="demo", version="v1") == 4
    assert metric(counters, "model_predictions_total", version="v1") == 6
    assert metric(counters, "request_predict_seconds_count") == 4
    assert metric(counters, "request_predict_seconds_bucket", le="0.0025") == 3


def test_what_an_alert_watches_is_there_before_it_happens():
    text = generate_latest(Counters().registry).decode()
    for sample in ('dropped_total{kind="predictions"}', 'dropped_total{kind="labels"}'):
        assert f"prediction_log_{sample} 0.0" in text
    for name in ("model_load_failures", "model_swaps", "feedback_labels", "feedback_unmatched"):
        assert f"\n{name}_total 0.0" in text


def test_each_service_counts_for_itself():
    one, other = Counters(), Counters()
    one.swaps.inc()
    assert (metric(one, "model_swaps_total"), metric(other, "model_swaps_total")) == (1, 0)
