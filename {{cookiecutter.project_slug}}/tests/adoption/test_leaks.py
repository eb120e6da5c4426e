import numpy as np
import pandas as pd
import pytest
from tables import orders, plan_of

from {{ cookiecutter.__package }}.adoption.columns import Column
from {{ cookiecutter.__package }}.adoption.leaks import leaks

RANDOM = np.random.default_rng(1)


def left_out(made):
    """Return column -> why, of those that give the target away."""
    return {decision.column: decision.why for decision in made.decisions if decision.role == "leak"}


def drives(n=600):
    """Return rows whose number `left` is honestly predicted by `km`, with R2 about 0.95."""
    km = RANDOM.uniform(1, 80, n)
    return pd.DataFrame(
        {"km": km.round(2), "stops": RANDOM.integers(0, 9, n), "left": (km * 2 + RANDOM.normal(0, 10, n)).round(2)}
    )


def test_a_strong_honest_column_is_not_left_out(tmp_path):
    assert left_out(plan_of(orders(), tmp_path)) == {}
    assert left_out(plan_of(drives(), tmp_path)) == {}


@pytest.mark.parametrize(
    ("name", "leak", "told"),
    [
        ("copy", lambda t: t["left"], "copy of the target"),
        ("renamed", lambda t: t["left"].map({"yes": "gone", "no": "here"}), "copy of the target"),
        ("flag", lambda t: (t["left"] == "yes").astype(int), "copy of the target"),
        (
            "sum",
            lambda t: (t["left"] == "yes") + t["amount"] + t["visits"],
            "is the target and amount and visits added up",
        ),
        (
            "fee",
            lambda t: (t["left"] == "yes") + t["amount"] + t["visits"] + RANDOM.uniform(0, 0.3, len(t)),
            "added up",
        ),
        ("score", lambda t: (t["left"] == "yes") + RANDOM.normal(0, 0.1, len(t)), "alone"),
        ("reason", lambda t: RANDOM.choice(["price", "moved"], len(t)), "only where the target is 'yes'"),
        ("day", lambda t: pd.date_range("2024-01-01", periods=len(t)), "only where the target is 'yes'"),
    ],
)
def test_what_gives_a_class_away_is_named(tmp_path, name, leak, told):
    table = orders()
    table["given away"] = leak(table)
    if name in ("reason", "day"):
        table.loc[table["left"] == "no", "given away"] = None
    found = left_out(plan_of(table, tmp_path))
    assert list(found) == ["given away"]
    assert told in found["given away"]


@pytest.mark.parametrize(
    ("leak", "told"),
    [
        (lambda t: t["left"], "copy in another unit"),
        (lambda t: t["left"].round(0), "another unit"),
        (lambda t: t["left"] * 1.19, "copy in another unit"),
        (lambda t: np.log(t["left"] + 50), "copy in another unit"),
        (lambda t: t["left"] + t["km"] + t["stops"], "is the target and km and stops added up"),
        (lambda t: t["left"] + t["km"] + t["stops"] + RANDOM.uniform(0, 5, len(t)), "is the target"),
    ],
)
def test_what_gives_a_number_away_is_named(tmp_path, leak, told):
    table = drives()
    table["given away"] = leak(table)
    found = left_out(plan_of(table, tmp_path))
    assert list(found) == ["given away"]
    assert told in found["given away"]


@pytest.mark.parametrize("names", [("no", "yes"), ("stayed", "churned")], ids=["1 comes last", "1 comes first"])
@pytest.mark.parametrize(
    "others", [["visits"], ["amount", "visits"], ["amount", "paid"], ["income", "visits"]], ids="+".join
)
def test_a_sum_with_a_class_is_named_whichever_class_counts_as_1(tmp_path, names, others):
    table = orders()
    table["paid"], table["income"] = RANDOM.random(len(table)) < 0.4, RANDOM.normal(0, 1e6, len(table)).round(2)
    table["given away"] = (table["left"] == "yes") + table[others].sum(axis=1)
    table["left"] = table["left"].map(dict(zip(("no", "yes"), names, strict=True)))
    assert list(left_out(plan_of(table, tmp_path))) == ["given away"]


def test_parts_that_add_up_to_the_target_are_named(tmp_path):
    table = drives()
    table["by day"] = RANDOM.uniform(0, 50, len(table)).round(2)
    table["by night"] = table["left"] - table["by day"]
    assert list(left_out(plan_of(table, tmp_path))) == ["by day", "by night"]


def test_an_honest_column_with_an_r2_of_0_99_is_not():
    random, table = np.random.default_rng(3), drives(2000)
    table["gauge"] = table["left"] + random.normal(0, 0.095 * table["left"].std(), 2000)
    labels = table["left"]
    columns = [Column(name, "number", table[name]) for name in ("gauge", "km", "stops")]
    assert list(leaks(columns, Column("left", "number", labels), labels, None)) == []


def test_honest_arithmetic_with_other_weights_is_not(tmp_path):
    table = drives()
    table["left"] = 2.5 * table["km"] + 7 * table["stops"]
    assert left_out(plan_of(table, tmp_path)) == {}


def test_a_number_that_follows_three_classes_is_named(tmp_path):
    table = orders(3000)
    classes = np.digitize(table["amount"] + RANDOM.normal(0, 40, 3000), [80, 140])
    table["left"], table["score"] = np.array(["low", "mid", "top"])[classes], classes + RANDOM.normal(0, 0.05, 3000)
    assert list(left_out(plan_of(table, tmp_path))) == ["score"]


def test_a_copy_a_renaming_and_a_sum_are_found_together(tmp_path):
    table = orders()
    table["copy"], table["gone"] = table["left"], table["left"] == "yes"
    table["sum"] = table["gone"] + table["amount"] + table["visits"]
    assert set(left_out(plan_of(table, tmp_path))) == {"copy", "gone", "sum"}


def test_dates_after_the_rows_own_are_named_and_earlier_ones_are_not(tmp_path):
    table = orders()
    when = pd.date_range("2024-01-01", periods=len(table), freq="6h")
    table["when"], table["before"], table["after"] = when, when - pd.Timedelta("3D"), when + pd.Timedelta("3D")
    found = left_out(plan_of(table, tmp_path, TIME="when"))
    assert list(found) == ["after"]
    assert "dates after when in 100% of the rows" in found["after"]


def test_keep_takes_a_column_in(tmp_path):
    made = plan_of(orders().assign(copy=lambda t: t["left"]), tmp_path, KEEP="copy")
    assert "copy" in [feature.name for feature in made.contract.features]


def test_the_hour_of_a_row_s_own_day_is_not_known_only_later(tmp_path):
    table = orders()
    day = pd.Timestamp("2024-01-01") + pd.to_timedelta(table.index // 4, unit="D")
    table["day"], table["called"] = day, day + pd.Timedelta(hours=13)
    assert "called" not in left_out(plan_of(table, tmp_path, time="day"))
