"""Stage `validate`: batches -> valid rows and a report of every failure, with column, rule, count and examples.

Pandera checks, strictly and without coercion, by rules that derive from the contract. Structure comes first (columns
and types, where nothing can be made good), then values, where single rows may be quarantined if `params.yaml` says so.
"""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from .. import UserError, folder, read_rows, run, write, write_json
from ..contract import WIDEST, Contract, Feature
from ..params import ValidateParams, load
from ..schema import CONTRACT

Failure = dict[str, Any]
RULES = {
    "column_in_schema": "no unexpected column",
    "column_in_dataframe": "no missing column",
    "column_ordered": "the contract's order of columns",
    "not_nullable": "no missing value",
    "field_uniqueness": "no duplicate",
}


def structure(contract: Contract) -> pa.DataFrameSchema:
    """Return the schema that holds columns, their order and their types, to the unit of a time."""
    columns = {
        name: pa.Column(
            checks=pa.Check(lambda column, dtype=dtype: str(column.dtype) == dtype, error=f"type {dtype}"),
            nullable=True,
        )
        for name, dtype in contract.dtypes.items()
    }
    return pa.DataFrameSchema(columns, strict=True, ordered=True, coerce=False)


def values(contract: Contract) -> pa.DataFrameSchema:
    """Return the schema that holds ranges, categories and missing values: what the service asks of a row too."""
    columns = {f.name: pa.Column(checks=_check(f), nullable=f.missing > 0) for f in contract.features}
    known = pa.Check.isin(contract.classes, error=f"one of {list(contract.classes)}") if contract.classes else _finite()
    columns |= {contract.target: pa.Column(checks=known)}
    columns |= {name: pa.Column() for name in (contract.id, contract.time) if name}
    return pa.DataFrameSchema(columns, coerce=False)


def once(contract: Contract) -> pa.DataFrameSchema:
    """Return the schema that holds an id to one row."""
    unique = pa.Column(unique=True, report_duplicates="exclude_first")
    return pa.DataFrameSchema({contract.id: unique} if contract.id else {}, coerce=False)


def _check(feature: Feature) -> pa.Check | None:
    if feature.range:
        low, high = feature.range
        return pa.Check.in_range(low, high, error=f"{low} to {high} {feature.unit}".strip())
    if feature.type == "category" and feature.unknown == "refuse":
        return pa.Check.isin(feature.categories, error=f"one of {', '.join(feature.categories)}")
    if feature.type == "category":
        return pa.Check(lambda column: column != "", error="a text that is not empty")
    return _finite() if feature.type == "number" else None


def _finite() -> pa.Check:
    return pa.Check(lambda column: column.abs() <= WIDEST, error="a finite number of single precision")


def failures(schema: pa.DataFrameSchema, rows: pd.DataFrame) -> pd.DataFrame:
    """Return every failure: `column`, `rule`, `value` and `index` of the row (none where a whole column fails)."""
    try:
        schema.validate(rows, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases
    else:
        return pd.DataFrame(columns=["column", "rule", "value", "index"])
    column = cases["column"].where(~cases["check"].str.startswith("column_"), cases["failure_case"])
    rules = [RULES.get(check, check) for check in cases["check"]]
    value = [
        _dtype(rows[name]) if rule.startswith("type ") else value
        for name, rule, value in zip(column, rules, cases["failure_case"], strict=True)
    ]
    return pd.DataFrame({"column": column, "rule": rules, "value": value, "index": cases["index"]})


def _dtype(column: "pd.Series[Any]") -> str:
    """Return the type of a column, and what often explains it."""
    missing = int(column.isna().sum())
    return str(column.dtype) + (f", {missing:,} of them missing" if missing else "")


def summary(batch: str, found: pd.DataFrame, examples: int, whole: int = 0) -> list[Failure]:
    """Return one entry for each column and rule, with a count (`whole`, if columns fail) and some distinct values."""
    return [
        _failure(batch, column, rule, whole or len(cases), cases["value"].unique()[:examples])
        for (column, rule), cases in found.groupby(["column", "rule"], sort=False)
    ]


def _failure(batch: Any, column: Any, rule: Any, count: int, examples: Any = ()) -> Failure:
    return {"batch": batch, "column": column, "rule": rule, "count": count, "examples": [*map(str, examples)]}


def bursts(batch: str, rows: pd.DataFrame, contract: Contract) -> list[Failure]:
    """Return the columns that lack more values than the contract allows, beyond chance in a small batch.

    Source: the lower end of a 95 % interval by Wilson (1927), JASA 22:209-212.
    """
    found, n, z = [], len(rows), 1.96
    for feature in contract.features:
        missing = int(rows[feature.name].isna().sum())
        share = missing / n
        spread = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
        if feature.missing and (share + z**2 / (2 * n) - spread) / (1 + z**2 / n) > feature.missing:
            rule = f"at most a share of {feature.missing} missing"
            found.append(_failure(batch, feature.name, rule, missing, [f"{share:.3f}"]))
    return found


def validate(
    batches: dict[str, pd.DataFrame], contract: Contract, p: ValidateParams
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the report, and for each batch which of its rows are bad (none where whole columns are)."""
    fatal = [_failure(name, "", "at least one row", 0) for name, rows in batches.items() if rows.empty]
    for name, rows in batches.items():
        fatal += summary(name, failures(structure(contract), rows), p.examples, len(rows))
    count = sum(map(len, batches.values()))
    report: dict[str, Any] = {"rows": count, "bad_rows": 0, "identical_rows": 0, "decision": "refused"}
    report["failures"] = fatal
    if fatal:
        return report, {}
    rows = pd.concat(list(batches.values()), ignore_index=True)
    batch = pd.Series([name for name in batches for _ in range(len(batches[name]))], dtype="str")
    cases = failures(values(contract), rows)
    good = rows[~rows.index.isin(cases["index"])]
    others = failures(once(contract), good)  # a bad row may come again, corrected
    cases = pd.concat([cases, others], ignore_index=True)
    is_bad = rows.index.isin(cases["index"])
    report["bad_rows"], allowed = int(is_bad.sum()), p.max_bad_share * count if p.bad_rows == "quarantine" else 0
    target = rows.loc[~is_bad if report["bad_rows"] <= allowed else slice(None), contract.target]
    if len(target) and target.nunique() < 2:
        rule = "more than one class" if contract.classes else "more than one value"
        fatal.append(_failure("all", contract.target, rule, len(target), target.unique()))
    for name in batches:
        fatal += bursts(name, batches[name], contract)
    report["identical_rows"] = int(rows.duplicated([*(f.name for f in contract.features), contract.target]).sum())
    if not fatal and report["bad_rows"] <= allowed:
        report["decision"] = "quarantined" if report["bad_rows"] else "passed"
    for of, found in cases.groupby(batch.reindex(cases["index"]).to_numpy(), sort=False):
        fatal += summary(str(of), found, p.examples)
    return report, {name: is_bad[batch == name] for name in batches}


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: none where it is missing, a text where it is infinite or a time."""
    if pd.isna(value):
        return None
    holds = isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))
    return value if holds else str(value)


def main(batches_dir: Path, valid_dir: Path, quarantine_dir: Path, report_path: Path) -> str:
    """Write the report; then the valid rows and the quarantined ones, or nothing of either."""
    batches = {path.stem: read_rows(path) for path in sorted(batches_dir.glob("*.parquet"))}
    p = load(ValidateParams)
    report, bad = validate(batches, CONTRACT, p)
    write_json(report_path, report)
    if report["decision"] == "refused":
        told = [
            f"column {f['column']!r} of batch {f['batch']!r} breaks the rule `{f['rule']}` in {f['count']:,} rows, "
            f"for instance {', '.join(f['examples']) or 'all'}"
            for f in report["failures"]
        ]
        if p.bad_rows == "quarantine" and report["bad_rows"] > p.max_bad_share * report["rows"]:
            told.append(f"bad are {report['bad_rows']:,} of {report['rows']:,} rows, beyond validate.max_bad_share")
        raise UserError("\n".join([*told, f"refused; the rules stand in schema.py, the whole report in {report_path}"]))
    with folder(valid_dir) as scratch:
        for name, rows in batches.items():
            if not bad[name].any():
                shutil.copyfile(batches_dir / f"{name}.parquet", scratch / f"{name}.parquet")
            elif not bad[name].all():
                rows[~bad[name]].to_parquet(scratch / f"{name}.parquet", index=False)
    lines = [
        json.dumps({"batch": name, "row": {column: plain(value) for column, value in row.items()}}) + "\n"
        for name, rows in batches.items()
        for row in rows[bad[name]].to_dict("records")
    ]
    with folder(quarantine_dir) as scratch:
        if lines:
            write(scratch / "rows.jsonl", "".join(lines))
    return (
        f"{report['rows']:,} rows in {len(batches)} batches, {report['bad_rows']:,} quarantined, "
        f"{report['identical_rows']:,} identical to an earlier one"
    )


if __name__ == "__main__":
    run(main)
