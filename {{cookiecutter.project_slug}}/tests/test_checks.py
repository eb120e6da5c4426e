import json
import math
import re
import string

import pytest
from pydantic import TypeAdapter, ValidationError
from rows import BINARY
from services import MARKER

from {{ cookiecutter.__package }} import UserError
from {{ cookiecutter.__package }}.checks import EVERY, MOMENT, Checks, sentence
from {{ cookiecutter.__package }}.contract import Contract, Feature

HUGE = 2**63
NO_MOMENTS = [None, True, 1380585600, "1380585600", "", "today", "10/01/2013", "2013-13-01", "2013-02-30", "2" * 50]
NO_MOMENTS += [f"2013-10-01T{time}" for time in ("06:30:00Z", "06:30+02:00", "06:30\x00", "25:00", "06:30 PM")]


def checks_of(*features, **more):
    return Checks(Contract(task="regression", target="y", features=features, **more).to_json())


def refusals(checks, name, value, row=()):
    """Return the sentences with which a value is refused in a column and in a row; a row of JSON is no other."""
    with pytest.raises(UserError) as of_column:
        checks.column(name, [value], "inputs[0]")
    with pytest.raises(UserError) as of_row:
        checks.one({**dict(row), name: value})
    with pytest.raises(ValidationError) as of_json:
        TypeAdapter(checks.row).validate_json(json.dumps({**dict(row), name: value}))
    assert sentence(of_json.value, checks.expected, 0) == str(of_row.value)
    return str(of_column.value), str(of_row.value)


@pytest.mark.parametrize(
    ("feature", "accepted", "refused"),
    [
        (Feature("x", "number"), [0, -1.5, 3e38, HUGE], [None, "1", True, 1e39, -1e39, math.nan, math.inf, [1], {}]),
        (Feature("x", "number", range=(-1, 2.5)), [-1, 2.5, -0.0], [-1.0000001, 2.5000001, 1e39]),
        (Feature("x", "integer"), [0, -HUGE, HUGE - 1, 22.0, -0.0], [None, 0.5, "1", False, HUGE, 10**400, 1e39]),
        (Feature("x", "integer", range=(0, 9)), [0, 9, 9.0], [-1, 10, 9.5, 10.0, 2**64]),
        (Feature("x", "boolean"), [True, False], [None, 0, 1, "true", 1.0]),
        (Feature("x", "category", categories=("a", "")), ["a", ""], [None, "b", "A", "a ", 1, True, ["a"]]),
        (Feature("x", "category", categories=("a",), unknown="accept"), ["a", "b", "é\U0001f600"], [None, "", 1]),
        (Feature("x", "number", missing=0.1), [None, 1], ["", "null"]),
        (Feature("x", "boolean", missing=0.1), [None, True], [0]),
        (Feature("x", "category", categories=("a",), missing=0.1), [None, "a"], ["", "b"]),
        (Feature("x", "datetime", missing=0.1), [None, "2024-02-29"], ["2023-02-29"]),
        (
            Feature("x", "datetime"),
            ["2013-10-01T06:30:00", "2013-10-01", "2013-10-01T06:30", "2013-10-01T06:30:00.123456"],
            NO_MOMENTS,
        ),
    ],
)
def test_each_type_accepts_and_refuses_the_same_in_a_row_and_in_a_column(feature, accepted, refused):
    checks = checks_of(feature)
    for value in accepted:
        row = TypeAdapter(checks.row).validate_json(json.dumps({"x": value}))
        assert checks.one({"x": value}) == row
        assert checks.column("x", [value], "here") == [row["x"]]
        assert type(row["x"]) is {"number": float, "integer": int}.get(feature.type, type(value)) or value is None
    for value in refused:
        words = checks.expected["x"]
        assert refusals(checks, "x", value) == (f"inputs[0][0]: {words} is expected", f"x: {words} is expected")


def test_a_moment_is_kept_in_one_spelling():
    assert checks_of(Feature("x", "datetime")).column("x", ["2013-10-01", "2013-10-01T06:30"], "") == [
        "2013-10-01T00:00:00",
        "2013-10-01T06:30:00",
    ]


@pytest.mark.parametrize(
    ("feature", "words"),
    [
        (Feature("x", "number", unit="cm", range=(0, 10), missing=0.2), "a number from 0 to 10 (cm), or null"),
        (Feature("x", "integer"), "an integer"),
        (Feature("x", "boolean"), "true or false"),
        (Feature("x", "category", categories=("a", "b")), "one of a, b"),
        (Feature("x", "category", unknown="accept"), "a text"),
        (Feature("x", "datetime"), "a time without zone, as in 2013-10-01T06:30:00"),
    ],
)
def test_what_is_expected_is_said_in_words(feature, words):
    assert checks_of(feature).expected["x"] == words


@pytest.mark.parametrize("feature", BINARY.features, ids=lambda feature: feature.name)
def test_a_sentence_names_the_place_and_never_the_value(feature):
    checks = Checks(BINARY.to_json())
    row = {"petal length (cm)": 1.5, "probabilities": "a", "numbers": 3, "scores": True}
    in_column, in_row = refusals(checks, feature.name, MARKER, row)
    assert in_column == f"inputs[0][0]: {checks.expected[feature.name]} is expected"
    assert in_row == f"{feature.name}: {checks.expected[feature.name]} is expected"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({}, f"x is missing{EVERY}"),
        ({"x": 1, MARKER: 1}, "the object has an unknown key; its keys are x, when, who"),
        ({"x": 1, "when": MARKER}, "when: a time without zone, as in 2013-10-01T06:30:00, or null is expected"),
        ({"x": 1, "who": 5}, "who: a text, or null is expected"),
    ],
)
def test_a_row_has_every_feature_and_no_other_key(row, words):
    with pytest.raises(UserError) as error:
        checks_of(Feature("x", "number"), time="when", id="who").one(row)
    assert str(error.value) == words


def test_time_and_id_may_be_left_out_or_null():
    checks = checks_of(Feature("x", "number"), time="when", id="who")
    for row in ({"x": 1}, {"x": 1, "when": None, "who": None}):
        assert checks.one(row) == row


def test_of_many_bad_values_the_first_is_told_and_no_other_looked_at():
    with pytest.raises(UserError, match=r"^inputs\[2\] \(x\)\[1\]: a number is expected$") as error:
        checks_of(Feature("x", "number")).column("x", [1, "a", "b"], "inputs[2] (x)")
    assert error.value.__cause__.error_count() == 1


AWKWARD = ["", " ", "a.b", "[0]", "ü£", 'quo"te', "new\nline", "self", "class", "__pydantic_config__", "model_config"]


def test_a_column_may_have_any_name():
    checks = checks_of(*(Feature(name, "number") for name in AWKWARD))
    row = dict.fromkeys(AWKWARD, 1.0)
    assert checks.one(row) == row
    for name in AWKWARD:
        assert refusals(checks, name, "1", row)[1].endswith(f"{name}: a number is expected")


def test_a_wide_contract_and_many_categories_are_checked_and_described():
    many = tuple(f"category {k}" for k in range(5000))
    names = [f"x{k}" for k in range(200)]
    checks = checks_of(*(Feature(name, "integer") for name in names), Feature("c", "category", categories=many))
    row = dict.fromkeys(names, 1) | {"c": many[-1]}
    assert checks.one(row) == row
    assert checks.expected["c"].endswith("category 29 and 4970 more")
    assert TypeAdapter(checks.row).json_schema()["properties"]["c"]["enum"] == list(many)


def test_the_schema_says_what_is_checked():
    checks = checks_of(Feature("n", "number", range=(0, 9)), Feature("d", "datetime"), time="when")
    schema = TypeAdapter(checks.row).json_schema()
    assert schema["required"] == ["n", "d"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["n"] | {"title": ""} == {"maximum": 9, "minimum": 0, "title": "", "type": "number"}
    assert schema["properties"]["d"]["pattern"] == MOMENT


def test_a_moment_that_fits_the_pattern_of_the_schema_is_accepted():
    checks = checks_of(Feature("x", "datetime"))
    ends = [f"{month:02}-{day:02}" for month in range(14) for day in range(33)]
    moments = [f"{year}-{end}{rest}" for year in (1000, 9999) for end in ends for rest in ("", "T23:59", "T00:00:59.5")]
    fitting = [moment for moment in moments if re.search(MOMENT, moment)]
    assert len(fitting) == 2 * 3 * 365
    assert len(checks.column("x", fitting, "")) == len(fitting)
    assert not [sign for sign in string.printable if re.search(MOMENT, f"2013-10-01{sign}06:30") and sign != "T"]
