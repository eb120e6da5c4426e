import json

import numpy as np
import pandas as pd
import pytest
from rows import BINARY, MULTICLASS, REGRESSION, valid_rows

from {{ cookiecutter.__package }}.encoding import encode, encoded_names


def numbers(kind, values):
    return encode([{"name": "x", "type": kind}], {"x": values})[0]


@pytest.mark.parametrize(
    ("kind", "value", "dtype"), [("number", 1.5, "float64"), ("integer", 1, "Int64"), ("boolean", True, "boolean")]
)
def test_a_missing_number_is_nan_in_a_list_and_in_a_frame(kind, value, dtype):
    for column in ([value, None], pd.Series([value, None], dtype=dtype)):
        np.testing.assert_array_equal(numbers(kind, column), [[value], [np.nan]])


def test_a_missing_text_is_empty_in_a_list_and_in_a_frame():
    for column in (["a", None], pd.Series(["a", None], dtype="str"), ["a", float("nan")]):
        assert encode([{"name": "x", "type": "category"}], {"x": column})[1].tolist() == [["a"], [""]]


@pytest.mark.parametrize(
    ("moment", "days", "month", "weekday", "hour"),
    [
        ("2000-01-01T00:00:00", 0, 1, 5, 0),
        ("1999-12-31T18:30:00", -1 + 18.5 / 24, 12, 4, 18.5),
        ("1969-07-20T20:17:00", -11122 + (20 + 17 / 60) / 24, 7, 6, 20 + 17 / 60),
        ("2024-02-29T06:00:00", 8825.25, 2, 3, 6),
        ("2024-03-01T00:00:00", 8826, 3, 4, 0),
        (None, np.nan, np.nan, np.nan, np.nan),
    ],
)
def test_a_date_becomes_days_month_weekday_and_hour(moment, days, month, weekday, hour):
    for column in ([moment], pd.Series([moment], dtype="datetime64[us]")):
        np.testing.assert_allclose(numbers("datetime", column), [[days, month, weekday, hour]], rtol=1e-6)


def test_numbers_are_rounded_to_float32_and_beyond_it_infinite():
    drawn = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, 10_000).tolist()
    values = [0.1, 16777217.0, 1e300, 2**53 + 1, *drawn]
    for column in (values, pd.Series(values)):
        found = numbers("number", column)
        assert found.dtype == np.float32
        assert found[:3, 0].tolist() == [float(np.float32(0.1)), 16777216.0, np.inf]
        np.testing.assert_array_equal(found[3:, 0], np.array(values[3:], dtype=np.float64).astype(np.float32))


@pytest.mark.parametrize("contract", [BINARY, MULTICLASS, REGRESSION])
def test_a_row_is_encoded_alike_as_json_and_as_a_parquet_frame(contract, tmp_path):
    rows = valid_rows(contract, 40)
    rows.to_parquet(tmp_path / "rows.parquet", index=False)
    frame = pd.read_parquet(tmp_path / "rows.parquet")
    lines = frame.to_json(orient="records", lines=True, date_format="iso", double_precision=15).splitlines()
    features = json.loads(json.dumps(contract.to_json()))["features"]
    columns = {feature["name"]: [json.loads(line)[feature["name"]] for line in lines] for feature in features}
    for ours, theirs in zip(encode(features, columns), encode(features, frame), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("contract", [BINARY, MULTICLASS, REGRESSION])
def test_every_encoded_column_has_a_name(contract):
    features = contract.to_json()["features"]
    widths = [part.shape for part in encode(features, valid_rows(contract, 3))]
    assert widths == [(3, len(names)) for names in encoded_names(features)]
