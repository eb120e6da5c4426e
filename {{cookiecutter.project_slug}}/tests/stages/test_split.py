import numpy as np
import pandas as pd
import pytest
from rows import BINARY, MULTICLASS, valid_rows

from {{ cookiecutter.__package }} import UserError
from {{ cookiecutter.__package }}.metrics import content
from {{ cookiecutter.__package }}.params import SplitParams
from {{ cookiecutter.__package }}.stages.split import split


def p(**changes):
    plain = {"test_share": 1 / 3, "max_test_days": 30, "min_test_rows": 1, "seed": 7}
    return SplitParams(**(plain | changes))


def batch(start, days, seed, per_day=4):
    """Return rows over so many days."""
    times = pd.date_range(start, periods=days).repeat(per_day).as_unit("us")
    return valid_rows(BINARY, len(times), seed).assign(day=times)


def days(rows):
    return rows["day"].dt.normalize().nunique()


def test_every_test_row_is_of_a_later_day_and_no_row_is_lost():
    rows = batch("2024-01-01", 30, 0)
    shuffled = rows.sample(frac=1, random_state=1)
    train, test = split([shuffled], BINARY, p())
    assert (days(train), days(test)) == (20, 10)
    assert train["day"].max().normalize() < test["day"].min().normalize()
    assert sorted([*train["row"], *test["row"]]) == sorted(rows["row"])


def test_the_test_set_is_the_newest_third_of_the_newest_batch():
    history, back = batch("2024-01-01", 90, 0), batch("2024-04-01", 31, 1)
    _, test = split([history, back], BINARY, p())
    assert str(test["day"].min().date()) == "2024-04-22"
    assert days(test) == 10


def test_a_third_of_three_weeks_is_a_week_by_0_3333_too():
    _, test = split([batch("2024-01-01", 90, 0), batch("2024-04-01", 21, 1)], BINARY, p(test_share=0.3333))
    assert days(test) == 7


def test_the_newest_batch_is_the_one_with_the_newest_rows_whatever_its_place():
    history, back = batch("2024-01-01", 90, 0), batch("2024-04-01", 31, 1)
    assert days(split([back, history], BINARY, p())[1]) == 10


def test_a_row_of_a_wrong_clock_makes_its_batch_no_newer():
    history, back = batch("2024-01-01", 90, 0), batch("2024-04-01", 31, 1)
    history.loc[0, "day"] = pd.Timestamp("2999-01-01")
    _, test = split([history, back], BINARY, p())
    assert str(test["day"].min().date()) == "2024-04-22"


def test_the_test_set_covers_at_most_max_test_days():
    assert days(split([batch("2024-01-01", 300, 0)], BINARY, p())[1]) == 30
    assert days(split([batch("2024-01-01", 300, 0)], BINARY, p(max_test_days=5))[1]) == 5


def test_a_batch_of_one_day_is_tested_on_that_day():
    _, test = split([batch("2024-01-01", 30, 0), batch("2024-02-01", 1, 1)], BINARY, p())
    assert days(test) == 1


def test_with_too_few_rows_the_window_reaches_back_over_earlier_batches():
    batches = [batch("2024-01-01", 30, 0), batch("2024-01-31", 3, 1)]
    _, test = split(batches, BINARY, p(min_test_rows=30))
    assert len(test) == 32
    assert str(test["day"].min().date()) == "2024-01-26"


def test_where_all_rows_are_too_few_the_newest_days_stay_the_test_set():
    train, test = split([batch("2024-01-01", 30, 0)], BINARY, p(min_test_rows=10_000))
    assert (days(train), days(test)) == (20, 10)


def test_one_day_at_least_stays_for_training():
    train, _ = split([batch("2024-01-01", 3, 0)], BINARY, p(min_test_rows=12))
    assert days(train) == 1


def test_one_day_alone_cannot_be_split():
    with pytest.raises(UserError, match="4 rows leave none for training; bring more of them, or days"):
        split([batch("2024-01-01", 1, 0)], BINARY, p())


def test_without_times_the_share_is_met_and_the_seed_decides():
    rows = valid_rows(MULTICLASS, 3000)
    train, test = split([rows], MULTICLASS, p())
    assert len(train) + len(test) == 3000
    assert 900 < len(test) < 1100
    assert len(split([rows], MULTICLASS, p(seed=8))[1].merge(test)) < 500


def test_without_times_identical_rows_fall_on_one_side():
    rows = valid_rows(MULTICLASS, 100)
    train, test = split([rows, rows, rows.tail(50)], MULTICLASS, p())
    plain = MULTICLASS.to_json()
    assert not np.isin(content(train, plain), content(test, plain)).any()


def test_without_times_a_row_stays_on_its_side_when_data_grow():
    rows, more, plain = valid_rows(MULTICLASS, 200), valid_rows(MULTICLASS, 300, seed=1), MULTICLASS.to_json()
    before, after = split([rows], MULTICLASS, p()), split([more, rows], MULTICLASS, p())
    for old, new in zip(before, after, strict=True):
        assert np.isin(content(old, plain), content(new, plain)).all()


def test_what_a_row_came_to_has_no_say_in_its_side():
    rows = pd.concat([valid_rows(MULTICLASS, 200)] * 2, ignore_index=True)
    rows[MULTICLASS.target] = [MULTICLASS.classes[k // 200] for k in range(400)]  # the same rows, each with two classes
    for part in split([rows], MULTICLASS, p()):
        assert part[MULTICLASS.target].value_counts().nunique() == 1


def test_rows_that_are_all_alike_cannot_be_split():
    row = valid_rows(MULTICLASS, 1)
    with pytest.raises(UserError, match="3 rows leave none for"):
        split([pd.concat([row, row, row])], MULTICLASS, p())
