import pandas as pd
import pyarrow as pa
import pytest

from {{ cookiecutter.__package }}.adoption.columns import columns, number_format
from {{ cookiecutter.__package }}.adoption.form import PLAIN
from {{ cookiecutter.__package }}.table import moments


def column(*values, name="x", p=PLAIN, dated=None, kind=None):
    """Return what a column of these texts, or of another Arrow type, is."""
    (found,) = columns(pa.table({name: pa.array(values, kind)}), p, dated)
    return found


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "2", "3"], "integer"),
        (["1.0", "2.0", ""], "integer"),
        (["1.50", "2.00"], "number"),
        (["1.5", "2"], "number"),
        (["true", "False"], "boolean"),
        (["yes", "no"], "category"),
        (["01067", "01069"], "category"),
        (["2024-05-31", "2024-06-01T10:00:00"], "datetime"),
        (["31.05.2024", "01.06.2024"], "datetime"),
        (["May 31, 2024", "June 1, 2024"], "datetime"),
        (["1", "two", "3"], "category"),
        ([1, 2], "integer"),
        ([1.5, None], "number"),
        ([True, None], "boolean"),
        ([pd.Timestamp("2024-01-01")], "datetime"),
        ([[1], [2]], "nested"),
    ],
)
def test_a_column_is_the_most_special_type_that_fits(values, kind):
    assert column(*values).kind == kind


def test_integers_beyond_64_bits_are_numbers():
    assert column(1, 2**63 - 1, kind=pa.uint64()).kind == "integer"
    assert column(1, 2**64 - 1, kind=pa.uint64()).values.tolist() == [1.0, 2.0**64]


def test_marks_of_missing_values_are_known_and_told():
    found = column("1", "n/a", "-", "", "5")
    assert (found.kind, found.marks, found.missing) == ("integer", ("-", "n/a"), 0.6)
    assert column("none", "car", "-").values.isna().tolist() == [False, False, True]


def test_a_rare_text_among_numbers_counts_as_missing_and_is_told_with_its_row():
    found = column(*map(str, range(100)), "oops")
    assert (found.kind, found.strays, found.missing) == ("integer", {"oops": 100}, pytest.approx(1 / 101))


def test_a_fraction_among_whole_numbers_makes_numbers():
    assert column(*map(str, range(100)), "2.5").kind == "number"


@pytest.mark.parametrize(
    ("values", "unit"), [(["1 %", "2%"], "%"), (["€1.50", "€2"], "€"), (["-$1", "$2"], "$"), (["1", "2"], "")]
)
def test_a_sign_that_all_numbers_bear_is_their_unit(values, unit):
    assert column(*values).unit == unit


@pytest.mark.parametrize(
    ("values", "form"),
    [
        (["01/31/2024", "02/01/2024"], "%m/%d/%Y"),
        (["31/01/2024", "01/02/2024"], "%d/%m/%Y"),
        (["01/02/2024", "03/04/2024"], "%m/%d/%Y"),
        (["31.01.2024 10:30", "01.02.2024 09:00"], "%d.%m.%Y %H:%M"),
        (["2024-01-31"], "ISO8601"),
    ],
)
def test_dates_are_read_by_the_format_that_fits_all_of_them(values, form):
    assert column(*values).form == form


def test_where_points_are_commas_the_day_comes_first():
    german = PLAIN.model_copy(update={"decimal": ",", "delimiter": ";"})
    assert column("01/02/2024", "03/04/2024", p=german).form == "%d/%m/%Y"


def test_days_and_epochs_in_integers_are_times_by_their_name_alone():
    assert column("20240131", "20240201", name="order_date").kind == "datetime"
    assert column("20240131", "20240201", name="amount").kind == "integer"
    assert column("1700000000", "1700090000", name="t", dated="t").form == "epoch seconds"


@pytest.mark.parametrize(
    ("values", "semicolon", "form"),
    [
        (["1.5", "2"], False, (".", "")),
        (["1,234.5", "7"], False, (".", ",")),
        (["1,5", "2"], True, (",", "")),
        (["1.234,5", "2"], True, (",", ".")),
        (["1 234,5"], True, (",", " ")),
    ],
)
def test_decimals_and_groups_of_digits_are_found(values, semicolon, form):
    assert number_format(pa.table({"x": values}), semicolon) == form


def test_a_thousand_is_a_number_though_it_is_rare():
    texts = [f"{k}.50" for k in range(97)] + ["1,048.80", "2,000.00", "3,100.25"]
    assert number_format(pa.table({"price": texts, "n": [str(k) for k in range(100)]}), False) == (".", ",")


def test_days_that_pandas_wrote_as_floats_are_days():
    found = column("20240531.0", "20240601.0", "", name="order_date")
    assert (found.kind, found.form) == ("datetime", "%Y%m%d")
    assert moments(pa.array(["20240531.0", "20240601"]), "%Y%m%d").notna().all()


def test_an_odd_text_among_days_in_digits_is_told():
    found = column(*[str(20240501 + k) for k in range(30)], "pending", name="order_date")
    assert (found.kind, list(found.strays)) == ("datetime", ["pending"])


@pytest.mark.parametrize("values", [["1.5", "1e400"], [1.5, 1.7e308], ["1.5", "-1e39"]])
def test_a_number_beyond_single_precision_is_none(values):
    assert column(*values * 1, *[values[0]] * 40).values.abs().max() == 1.5
