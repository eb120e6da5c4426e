import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables import orders, plan_of, planned

from {{ cookiecutter.__package }} import UserError
from {{ cookiecutter.__package }}.adoption.plan import span

ROWS = "\n".join(f"{k * 37 % 101 / 7:.2f},{k * 13 % 9},{'no' if k * 7 % 5 < 2 else 'yes'}" for k in range(120))


def rows(line, n=120):
    return "\n".join(line(k) for k in range(n))


@pytest.mark.parametrize(
    ("text", "wanted", "told"),
    [
        ("a,b,left\n", {}, "holds names and no rows"),
        ("a,b,z\n" + ROWS, {}, "has no column 'left', which TARGET names; its columns are a, b, z"),
        ("a,b,lfet\n" + ROWS, {}, "did you mean 'lfet'"),
        ("a,b,left\n" + rows(lambda k: f"{k},{k % 3},yes"), {}, "column 'left' (TARGET) has one value, 'yes'"),
        (
            "a,left\n" + rows(lambda k: f"{k % 7},{'+-'[k % 2]}"),
            {},
            "one value, '+', in every row ('-' count as missing)",
        ),
        ("a,b,left\ncm,kg,-\n" + ROWS, {}, "line 2 is a second header (cm, kg, -)"),
        ("a,b,left\na,b,left\n" + ROWS, {}, "line 2 is a second header"),
        ("a,b,left\n" + ROWS + "\n1,2\n", {}, "line 122: 2 values where the first line names 3 columns"),
        ("a, a ,left\n" + ROWS, {}, "line 1: columns 1 and 2 have the same name, 'a'"),
        ("a,b,left\n" + rows(lambda k: f"{k},{k % 3},2024-01-{k % 28 + 1:02}"), {}, "holds dates"),
        ("a,b,left\n" + rows(lambda k: f"{k},{k % 3},{'abc' if k == 7 else k * 1.5}"), {}, "line 9, column 'left'"),
        ("t,b,left\n" + rows(lambda k: f"x{k},{k % 3},{k % 2}"), {"TIME": "t"}, "line 2, column 't' (TIME): 'x0'"),
        (
            "t,b,left\n" + rows(lambda k: f"{'soon' if k == 9 else f'2024-01-{k % 28 + 1:02}'},{k % 3},{k % 2}"),
            {"TIME": "t"},
            "line 11, column 't' (TIME): 'soon' is no time",
        ),
        ("t,b,left\n" + rows(lambda k: f"2024-01-01,{k % 3},{k % 2}"), {"TIME": "t"}, "spans 1 days"),
        (
            "i,b,left\n" + rows(lambda k: f"{k % 110},{k % 3},{k % 2}"),
            {"ID": "i"},
            "line 112, column 'i' (ID): value '0'",
        ),
        (
            "x,left\n" + rows(lambda k: f"c,{k % 2}"),
            {},
            "leaves no column to predict 'left' from: x is 'c' in every row",
        ),
        (
            "x,left\n" + rows(lambda k: f"1,{k % 2}"),
            {},
            "leaves no column to predict 'left' from: x is '1' in every row",
        ),
        ("a,b,left\n" + ROWS, {"ID": "left"}, "TARGET, TIME and ID name 'left', 'left'; name another column by each"),
        (
            "i,b,left\n" + rows(lambda k: f"u{k}@example.org,{k % 3},{k % 2}"),
            {"ID": "i"},
            "column 'i' (ID) is an e-mail address by its name or its values, and ids stand in the logs",
        ),
        ("a,b,left\n" + ROWS, {"KEEP": "q"}, "has no column 'q', which KEEP names"),
        ("a,b,left\n" + ROWS, {"TASK": "both"}, "TASK is 'both'; use classes or number"),
        ("a,b,left\n" + ROWS, {"POSITIVE": "maybe"}, "POSITIVE is 'maybe'; 'left' has no and yes"),
        ("a,b,left\n" + rows(lambda k: f"{k % 7},{k % 3},t{k}", 150), {}, "150 different values"),
    ],
)
def test_an_unusable_table_is_refused_in_one_sentence(tmp_path, text, wanted, told):
    with pytest.raises(UserError) as refusal:
        plan_of(text, tmp_path, **wanted)
    assert told in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("kind", [pa.float32(), pa.string_view()])
def test_parquet_needs_no_texts_and_may_hold_views_of_them(tmp_path, kind):
    table = pa.Table.from_pandas(orders()[["amount", "visits"]].assign(left=lambda t: t["amount"] > 110))
    path = tmp_path / "table.parquet"
    pq.write_table(table.set_column(0, "amount", table["amount"].cast(kind)), path)
    found = planned(path, "left", KEEP="amount").contract
    assert [feature.name for feature in found.features] == ["amount", "visits"]


def test_ids_that_differ_beyond_float_precision_are_different(tmp_path):
    assert plan_of(orders().assign(i=lambda t: 2**62 + t.index), tmp_path, ID="i").contract.id == "i"


def test_a_column_without_values_in_the_oldest_rows_is_left_out_whatever_the_order_of_the_file(tmp_path):
    table = orders().assign(when=pd.date_range("2024-01-01", periods=400, freq="6h"), new=lambda t: t.index % 7)
    table["new"] = table["new"].where(table.index > 200)
    backwards = table[::-1]
    said = {d.column: d.why for d in plan_of(backwards, tmp_path, TIME="when").decisions if d.role == "empty"}
    assert said == {"new": "has no value in the oldest rows, which train"}
    found = plan_of(table.drop(columns="when"), tmp_path).contract.features  # without times any row may train
    assert "new" in [feature.name for feature in found]


def test_what_is_missing_on_the_command_line_is_told(tmp_path):
    with pytest.raises(UserError, match=r"TARGET is missing; say make adopt DATA=orders\.csv TARGET=churned"):
        planned(tmp_path, "")


@pytest.mark.parametrize(
    ("values", "wanted", "task", "classes"),
    [
        (lambda k: ["no", "yes"][k % 2], {}, "binary", ("no", "yes")),
        (lambda k: [True, False][k % 2], {}, "binary", (False, True)),
        (lambda k: k % 2, {}, "binary", (0, 1)),
        (lambda k: k % 2 + 0.0 if k % 9 else None, {}, "binary", (0, 1)),
        (lambda k: "abc"[k % 3], {}, "multiclass", ("a", "b", "c")),
        (lambda k: k % 4 + 3, {}, "multiclass", (3, 4, 5, 6)),
        (lambda k: k % 4 + 3, {"TASK": "number"}, "regression", ()),
        (lambda k: k * 7 % 90, {}, "regression", ()),
        (lambda k: [1, 2, 4, 9][k % 4], {}, "regression", ()),
        (lambda k: [1, 2, 4, 9][k % 4], {"TASK": "classes"}, "multiclass", (1, 2, 4, 9)),
        (lambda k: k / 7, {}, "regression", ()),
    ],
)
def test_the_task_follows_from_the_target(tmp_path, values, wanted, task, classes):
    table = orders().assign(left=[values(k) for k in range(400)])
    contract = plan_of(table, tmp_path, **wanted).contract
    assert (contract.task, contract.classes) == (task, classes)
    assert contract.positive == (classes[-1] if task == "binary" else None)


def test_the_rarer_class_is_positive_unless_its_name_or_the_user_says_otherwise(tmp_path):
    table = orders().assign(left=lambda t: np.where(t.index % 5 == 0, "blue", "red"))
    assert plan_of(table, tmp_path).contract.positive == "blue"
    assert plan_of(table, tmp_path, POSITIVE="red").contract.positive == "red"
    assert plan_of(table.assign(left=np.where(table.index % 5, "yes", "no")), tmp_path).contract.positive == "yes"


def test_roles_are_told_with_their_reasons(tmp_path):
    table = orders().assign(
        order=range(400),
        email=[f"a{k}@example.org" for k in range(400)],
        land="DE",
        note=["so it came to be " + "x" * k for k in range(400)],
    )
    table["when"] = pd.date_range("2024-01-01", periods=400, freq="6h")
    table["gone"] = None
    made = plan_of(table, tmp_path, TIME="when")
    roles = {decision.column: decision.role for decision in made.decisions}
    assert roles == dict.fromkeys(("amount", "visits", "region"), "feature") | {
        "left": "target", "order": "identifier", "email": "personal", "land": "constant", "note": "free text",
        "when": "time", "gone": "empty",
    }  # fmt: skip
    assert made.contract.personal == ("email",)
    assert made.params.stream_from == "2024-03-20"


def test_categories_are_closed_unless_one_is_met_once_or_they_are_many(tmp_path):
    table = orders().assign(few=lambda t: t.index % 3, many=lambda t: [f"m{k % 60}" for k in t.index])
    table["few"] = table["few"].map({0: "a", 1: "b", 2: "c"})
    table["once"] = table["few"].where(table.index != 5, "d")
    found = {feature.name: feature for feature in plan_of(table, tmp_path).contract.features}
    assert (found["few"].categories, found["few"].unknown) == (("a", "b", "c"), "refuse")
    assert (found["once"].categories, found["once"].unknown) == (("a", "b", "c", "d"), "accept")
    assert (found["many"].categories, found["many"].unknown) == ((), "accept")


@pytest.mark.parametrize(
    ("low", "high", "whole", "unit", "found"),
    [
        (1, 74, True, "", (0, 93)),
        (0, 1, True, "", (0, 1)),
        (4.3, 7.9, False, "", (3.4, 8.8)),
        (-3.2, 3.7, False, "", (-5.0, 5.5)),
        (-9, -2, True, "", (-11, 0)),
        (2.5, 40.0, False, "%", (0, 100)),
        (5, 5, True, "", (3, 7)),
    ],
)
def test_a_range_reaches_a_quarter_further_and_never_across_zero(low, high, whole, unit, found):
    assert span(low, high, whole, unit) == found


def test_what_is_left_out_and_counted_is_told(tmp_path):
    table = pd.concat([orders(), orders().head(7)], ignore_index=True)
    table.loc[:2, "left"] = None
    notes = "\n".join(plan_of(table, tmp_path).notes)
    assert "rows have no label in 'left' and are left out" in notes
    assert "rows are identical to an earlier one" in notes


def test_a_rare_positive_class_is_told_with_what_is_done(tmp_path):
    random = np.random.default_rng(0)
    table = pd.DataFrame({"x": random.normal(0, 1, 9000), "left": random.random(9000) < 0.01})
    made = plan_of(table, tmp_path)
    assert any("none is re-weighted" in note and "F1" in note for note in made.notes)
    assert made.numbers["split.min_test_rows"][0] >= 1000


def test_too_few_rows_are_foretold(tmp_path):
    assert any("expect a refusal" in note for note in plan_of(orders(30), tmp_path).notes)
