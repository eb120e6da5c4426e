import pytest

from {{ cookiecutter.__package }}.adoption.sizes import clamp, sizes


@pytest.mark.parametrize("history", [24, 120, 1_000, 10_000, 800_000])
def test_the_numbers_stay_within_what_a_statistician_accepts(history):
    value = {name: number for name, (number, _) in sizes(history, 0, None, False).items()}
    assert 30 <= value["split.min_test_rows"] <= 1000
    assert value["split.min_test_rows"] <= max(30, 0.25 * history)
    assert 5 <= value["train.min_samples_leaf"] <= 200
    assert value["evaluate.slice_min_rows"] >= 30
    assert 30 <= value["monitor.min_rows"] <= value["monitor.window_rows"] <= 1000
    assert value["monitor.fresh_labels"] >= value["monitor.window_rows"]


def test_thirty_rows_are_too_few_for_the_gate_and_a_hundred_and_fifty_are_not():
    assert sizes(24, 0, None, False)["split.min_test_rows"][0] > 24 / 3
    assert sizes(120, 0, None, False)["split.min_test_rows"][0] < 120 / 3


def test_a_rare_class_must_be_met_ten_times_in_the_test():
    assert sizes(8_000, 0, 0.01, True)["split.min_test_rows"][0] == 1000
    assert sizes(8_000, 0, 0.005, True)["split.min_test_rows"][0] == 2000
    assert sizes(8_000, 0, 0.01, True)["train.threshold"][0] == "f1"


def test_every_number_has_a_reason():
    assert all(len(reason) > 20 for _, reason in sizes(1000, 400, 0.3, False).values())
    assert sizes(1000, 400, 0.3, False)["split.max_test_days"][0] == 80


def test_two_digits_are_enough():
    assert clamp(30, 2387, 10_000) == 2400
