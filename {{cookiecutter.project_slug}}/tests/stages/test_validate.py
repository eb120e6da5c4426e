import json

import numpy as np
import pandas as pd
import pytest
from rows import BINARY, MULTICLASS, REGRESSION, valid_rows

from {{ cookiecutter.__package }} import UserError
from {{ cookiecutter.__package }}.contract import Contract, Feature
from {{ cookiecutter.__package }}.params import ValidateParams
from {{ cookiecutter.__package }}.stages.validate import main, validate

REFUSE = ValidateParams(bad_rows="refuse", max_bad_share=0.0, examples=2)
QUARANTINE = ValidateParams(bad_rows="quarantine", max_bad_share=0.05, examples=2)


def faults(rows, contract=BINARY, p=REFUSE, **others):
    """Return (column, rule, count) of every failure; nothing is refused without one."""
    report, _ = validate({"history": rows} | others, contract, p)
    assert (report["decision"] == "refused") == bool(report["failures"])
    return [(failure["column"], failure["rule"], failure["count"]) for failure in report["failures"]]


def changed(column, value, contract=BINARY, n=100):
    """Return valid rows with another value in the first."""
    rows = valid_rows(contract, n)
    rows.loc[0, column] = value
    return rows


@pytest.mark.parametrize("contract", [BINARY, MULTICLASS, REGRESSION])
def test_valid_rows_pass(contract):
    assert faults(valid_rows(contract, 100), contract) == []


@pytest.mark.parametrize(
    ("column", "dtype", "rule"),
    [
        ("petal length (cm)", "str", "type float64"),
        ("petal length (cm)", "float32", "type float64"),
        ("numbers", "Float64", "type Int64"),
        ("scores", "str", "type bool"),
        ("probabilities", "object", "type str"),
        ("day", "str", "type datetime64[us]"),
        ("day", "datetime64[ns]", "type datetime64[us]"),
    ],
)
def test_a_wrong_type_is_named_and_never_coerced(column, dtype, rule):
    rows = valid_rows(BINARY, 100)
    (found,) = faults(rows.astype({column: dtype}))
    assert found[0] == column
    assert found[1].startswith(rule)


def test_a_type_that_a_missing_value_has_changed_says_so():
    rows = valid_rows(MULTICLASS, 100).astype({"species": "float64"})
    rows.loc[3, "species"] = None
    report, _ = validate({"all": rows}, MULTICLASS, REFUSE)
    assert report["failures"][0]["rule"] == "type int64"
    assert report["failures"][0]["examples"] == ["float64, 1 of them missing"]


def test_a_value_out_of_range_is_named_with_its_unit():
    assert faults(changed("petal length (cm)", 10.5)) == [("petal length (cm)", "0 to 10 cm", 1)]
    assert faults(changed("numbers", -1)) == [("numbers", "0 to 100", 1)]


def test_a_unit_times_1000_is_out_of_range_in_most_rows():
    rows = valid_rows(BINARY, 100)
    rows["petal length (cm)"] *= 1000
    counts = {(column, rule): count for column, rule, count in faults(rows)}
    assert counts["petal length (cm)", "0 to 10 cm"] > 80


def test_an_unknown_category_is_refused_unless_the_contract_accepts_it():
    assert faults(changed("probabilities", "z")) == [("probabilities", "one of a, b, c", 1)]
    assert faults(changed("texts", "never seen", REGRESSION), REGRESSION) == []


def test_an_unknown_class_is_refused():
    ((column, rule, count),) = faults(changed("label", "maybe"))
    assert (column, rule, count) == ("label", "one of ['yes', 'no']", 1)


def test_a_missing_column_is_named():
    assert faults(valid_rows(BINARY, 9).drop(columns="scores")) == [("scores", "no missing column", 9)]


def test_a_renamed_column_is_named_under_both_names():
    found = faults(valid_rows(BINARY, 9).rename(columns={"scores": "score"}))
    assert {(column, rule) for column, rule, _ in found} >= {
        ("score", "no unexpected column"),
        ("scores", "no missing column"),
    }


def test_an_extra_column_is_named():
    assert faults(valid_rows(BINARY, 9).assign(extra=1)) == [("extra", "no unexpected column", 9)]


def test_another_order_of_columns_is_refused():
    found = faults(valid_rows(BINARY, 9)[[*reversed(BINARY.columns)]])
    assert {rule for _, rule, _ in found} == {"the contract's order of columns"}


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), 1e300])
@pytest.mark.parametrize("column", ["input: size", "price £"])
def test_a_number_that_no_model_can_hold_is_refused(column, value):
    rule = "a finite number of single precision"
    assert faults(changed(column, value, REGRESSION), REGRESSION) == [(column, rule, 1)]


@pytest.mark.parametrize("column", ["row", "day", "label"])
def test_id_time_and_target_are_never_missing(column):
    assert (column, "no missing value", 1) in faults(changed(column, None))


def test_a_missing_value_where_the_contract_allows_none_is_refused():
    assert faults(changed("label", np.nan, MULTICLASS), MULTICLASS) == [("label", "no missing value", 1)]


def test_duplicate_ids_are_refused_across_batches_too():
    rows = valid_rows(BINARY, 100)
    assert faults(changed("row", rows["row"][1])) == [("row", "no duplicate", 1)]
    report, _ = validate({"one": rows, "two": rows.head(3)}, BINARY, REFUSE)
    assert {failure["rule"] for failure in report["failures"]} == {"no duplicate"}


@pytest.mark.parametrize(("n", "missing", "refused"), [(1000, 300, True), (1000, 210, False), (10, 4, False)])
def test_a_burst_of_missing_values_is_refused_beyond_chance(n, missing, refused):
    rows = valid_rows(BINARY, n)
    rows["petal length (cm)"] = np.where(np.arange(n) < missing, np.nan, 1.0)
    expected = [("petal length (cm)", "at most a share of 0.2 missing", missing)] if refused else []
    assert faults(rows) == expected


def test_a_burst_in_one_batch_is_not_hidden_by_the_others():
    burst = valid_rows(BINARY, 60, seed=1)
    burst["petal length (cm)"] = np.nan
    report, _ = validate({"history": valid_rows(BINARY, 900), "new": burst}, BINARY, REFUSE)
    assert [failure["batch"] for failure in report["failures"]] == ["new"]


def test_an_empty_batch_is_refused_by_name():
    report, _ = validate({"history": valid_rows(BINARY, 9), "new": valid_rows(BINARY, 0)}, BINARY, REFUSE)
    assert [(f["batch"], f["rule"]) for f in report["failures"]] == [("new", "at least one row")]
    assert report["decision"] == "refused"


def test_one_class_alone_is_refused():
    assert faults(valid_rows(BINARY, 9).assign(label="no")) == [("label", "more than one class", 9)]


def test_a_constant_target_of_a_regression_is_refused():
    rows = valid_rows(REGRESSION, 9)
    rows["price £"] = 3.5
    assert faults(rows, REGRESSION) == [("price £", "more than one value", 9)]


def test_all_failures_are_told_at_once_with_examples():
    rows = changed("probabilities", "z")
    rows.loc[[1, 2, 3], "numbers"] = [101, 102, 103]
    report, _ = validate({"history": rows}, BINARY, REFUSE)
    told = {failure["column"]: failure for failure in report["failures"]}
    assert told["numbers"]["examples"] == ["101", "102"]
    assert told["probabilities"]["count"] == 1
    assert report["bad_rows"] == 4


def test_bad_rows_are_set_aside_up_to_the_share():
    report, bad = validate({"history": changed("numbers", 101)}, BINARY, QUARANTINE)
    assert (report["decision"], report["bad_rows"]) == ("quarantined", 1)
    assert bad["history"].tolist() == [True] + [False] * 99
    assert report["failures"][0]["column"] == "numbers"


def test_beyond_the_share_they_are_refused():
    rows = valid_rows(BINARY, 100)
    rows.loc[:5, "numbers"] = 101
    assert validate({"history": rows}, BINARY, QUARANTINE)[0]["decision"] == "refused"


def test_no_row_policy_mends_a_wrong_column():
    rows = valid_rows(BINARY, 100).drop(columns="scores")
    assert validate({"history": rows}, BINARY, QUARANTINE)[0]["decision"] == "refused"


def test_identical_rows_are_counted_and_kept():
    row = valid_rows(MULTICLASS, 3)
    report, bad = validate({"history": pd.concat([row, row.head(2)], ignore_index=True)}, MULTICLASS, REFUSE)
    assert (report["decision"], report["identical_rows"]) == ("passed", 2)
    assert not bad["history"].any()


def test_an_open_category_may_hold_any_text_but_not_nothing():
    contract = Contract(task="regression", target="y", features=(Feature("x", "category", unknown="accept"),))
    assert faults(changed("x", None, contract), contract) == [("x", "no missing value", 1)]
    assert faults(changed("x", "", contract), contract) == [("x", "a text that is not empty", 1)]


def test_a_bad_row_that_comes_again_corrected_takes_nothing_with_it():
    rows = valid_rows(BINARY, 100)
    report, bad = validate({"one": changed("numbers", 101), "two": rows.head(1)}, BINARY, QUARANTINE)
    assert report["bad_rows"] == 1
    assert (bad["one"].sum(), bad["two"].sum()) == (1, 0)


@pytest.fixture
def paths(tmp_path, monkeypatch):
    """What `main` reads and writes: a folder for batches, and outputs that are not there yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(f"{validate.__module__}.CONTRACT", BINARY)
    (tmp_path / "params.yaml").write_text("validate: {bad_rows: quarantine, max_bad_share: 0.05, examples: 2}")
    (tmp_path / "batches").mkdir()
    return [tmp_path / name for name in ("batches", "valid", "quarantine", "report.json")]


def test_a_refusal_names_column_and_rule_and_leaves_earlier_outputs(paths):
    batches, valid, _, report = paths
    rows = valid_rows(BINARY, 40)
    rows.to_parquet(batches / "history.parquet", index=False)
    main(*paths)
    rows.rename(columns={"label": "gone"}).to_parquet(batches / "history.parquet", index=False)
    with pytest.raises(UserError, match="column 'label' of batch 'history' breaks the rule `no missing column`"):
        main(*paths)
    assert len(pd.read_parquet(valid / "history.parquet")) == 40
    assert json.loads(report.read_text())["decision"] == "refused"


def test_a_refusal_beyond_the_share_names_the_share(paths):
    batches, *_ = paths
    rows = valid_rows(BINARY, 100)
    rows.loc[:39, "numbers"] = 101
    rows.to_parquet(batches / "history.parquet", index=False)
    with pytest.raises(UserError, match=r"bad are 40 of 100 rows, beyond validate\.max_bad_share"):
        main(*paths)


def test_quarantined_rows_go_to_a_file_that_tells_their_batch(paths):
    batches, valid, quarantine, _ = paths
    changed("numbers", 101).to_parquet(batches / "history.parquet", index=False)
    assert "1 quarantined" in main(*paths)
    (line,) = (quarantine / "rows.jsonl").read_text().splitlines()
    assert json.loads(line)["batch"] == "history"
    assert json.loads(line)["row"]["numbers"] == 101
    assert len(pd.read_parquet(valid / "history.parquet")) == 99


def test_a_quarantined_row_shows_what_was_wrong_with_it(paths):
    batches, _, quarantine, _ = paths
    changed("petal length (cm)", np.inf).to_parquet(batches / "history.parquet", index=False)
    main(*paths)
    row = json.loads((quarantine / "rows.jsonl").read_text())["row"]
    assert (row["petal length (cm)"], row["day"]) == ("inf", "2024-01-01 00:00:00")


def test_a_batch_without_a_valid_row_is_left_out(paths):
    batches, valid, _, _ = paths
    valid_rows(BINARY, 100).to_parquet(batches / "history.parquet", index=False)
    august = valid_rows(BINARY, 3, seed=1).assign(numbers=101).astype(BINARY.dtypes)
    august.to_parquet(batches / "august.parquet", index=False)
    assert "3 quarantined" in main(*paths)
    assert [path.name for path in valid.iterdir()] == ["history.parquet"]
