"""Stage `validate`: batches -> valid rows and a report of every failure, with column, rule, count and examples.

Pandera checks, strictly and without coercion; the rules come from the contract. Structure first (columns and types, where
nothing can be made good), then values, where single rows may be quarantined if `params.yaml` says so.
"""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaError, SchemaErrors

from ..contract import Contract, Feature
from ..errors import UserError
from ..files import folder, write, write_json
from ..params import ValidateParams, load
from ..schema import CONTRACT
from . import run

Failure = dict[str, Any]
RULES = {
    "column_in_schema": "unexpected column",
    "column_in_dataframe": "missing column",
    "column_ordered": "columns in another order",
    "not_nullable": "missing value",
    "field_uniqueness": "duplicate",
}


def structure(contract: Contract) -> pa.DataFrameSchema:
    """Return the schema that holds columns, their order and their types."""
    columns = {name: pa.Column(dtype, nullable=True) for name, dtype in contract.dtypes.items()}
    return pa.DataFrameSchema(columns, strict=True, ordered=True, coerce=False)


def values(contract: Contract) -> pa.DataFrameSchema:
    """Return the schema that holds ranges, categories, missing values and duplicates."""
    columns = {feature.name: pa.Column(checks=_checks(feature), nullable=feature.missing > 0) for feature in contract.features}
    finite = [pa.Check(lambda column: column.abs() != math.inf, name="a finite number")]
    known = [pa.Check.isin(list(contract.classes), error=f"one of {list(contract.classes)}")]
    columns[contract.target] = pa.Column(checks=known if contract.classes else finite)
    columns |= {contract.id: pa.Column(unique=True)} if contract.id else {}
    columns |= {contract.time: pa.Column()} if contract.time else {}
    return pa.DataFrameSchema(columns, coerce=False)


def _checks(feature: Feature) -> list[pa.Check]:
    if feature.range:
        low, high = feature.range
        return [pa.Check.in_range(low, high, error=f"{low} to {high} {feature.unit}".strip())]
    if feature.type == "number":
        return [pa.Check(lambda column: column.abs() != math.inf, name="a finite number")]
    if feature.type == "category" and feature.unknown == "refuse":
        return [pa.Check.isin(feature.categories, error=f"one of {', '.join(feature.categories)}")]
    return []


def failures(schema: pa.DataFrameSchema, rows: pd.DataFrame) -> pd.DataFrame:
    """Return every failure: columns `column`, `rule`, `value` and `index` (of the row, or none for a whole column)."""
    try:
        schema.validate(rows, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases
    except SchemaError as error:
        cases = pd.DataFrame([{"column": error.schema.name, "check": str(error.check), "failure_case": str(error), "index": None}])
    else:
        return pd.DataFrame(columns=["column", "rule", "value", "index"])
    whole = cases["check"].isin(["column_in_schema", "column_in_dataframe", "column_ordered"])
    return pd.DataFrame(
        {
            "column": cases["column"].where(~whole, cases["failure_case"]),
            "rule": [_rule(str(check)) for check in cases["check"]],
            "value": cases["failure_case"],
            "index": cases["index"],
        }
    )


def _rule(check: str) -> str:
    if check.startswith("dtype("):
        return f"type {check[7:-2]}"
    return RULES.get(check, check)


def summary(batch: str, found: pd.DataFrame, examples: int) -> list[Failure]:
    """Return one entry for each column and rule, with a count and some distinct values."""
    groups = found.groupby(["column", "rule"], sort=False)
    return [
        {"batch": batch, "column": column, "rule": rule, "count": len(cases), "examples": [str(x) for x in cases["value"].unique()[:examples]]}
        for (column, rule), cases in groups
    ]


def bursts(batch: str, rows: pd.DataFrame, contract: Contract) -> list[Failure]:
    """Return the columns that lack more values than the contract allows, beyond chance in a small batch.

    Source: the lower end of Wilson's 95 % interval; Wilson (1927), JASA 22:209-212.
    """
    found = []
    for feature in contract.features:
        n, missing = len(rows), int(rows[feature.name].isna().sum())
        share, z = missing / n, 1.96
        low = (share + z**2 / (2 * n) - z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))) / (1 + z**2 / n)
        if feature.missing and low > feature.missing:
            rule = f"missing share at most {feature.missing}"
            found.append({"batch": batch, "column": feature.name, "rule": rule, "count": missing, "examples": [f"{share:.3f}"]})
    return found


def target_failures(target: pd.Series, contract: Contract) -> list[Failure]:
    """Return what makes a target useless: nothing at all, one class only, a constant."""
    if target.nunique() > 1:
        return []
    rule = "more than one class" if contract.classes else "more than one value"
    return [{"batch": "all", "column": contract.target, "rule": rule, "count": len(target), "examples": [str(x) for x in target.unique()]}]


def validate(batches: dict[str, pd.DataFrame], contract: Contract, p: ValidateParams) -> tuple[dict[str, Any], dict[str, pd.Series]]:
    """Return the report, and for each batch which of its rows are bad (none where whole columns are wrong)."""
    found: list[Failure] = []
    for name, rows in batches.items():
        if rows.empty:
            found.append({"batch": name, "column": "", "rule": "at least one row", "count": 0, "examples": []})
        found += summary(name, failures(structure(contract), rows), p.examples)
    every = sum(map(len, batches.values()))
    report: dict[str, Any] = {"rows": every, "bad_rows": 0, "identical_rows": 0, "decision": "refused", "failures": found}
    if found:
        return report, {}
    whole = pd.concat(batches, ignore_index=True)
    names = pd.Series([name for name, rows in batches.items() for _ in range(len(rows))])
    cases = failures(values(contract), whole)
    at = cases["index"].dropna().astype("int64")
    for name, group in cases.groupby(names.reindex(at).to_numpy()) if len(at) else ():
        found += summary(str(name), group, p.examples)
    is_bad = pd.Series(data=False, index=whole.index)
    is_bad[at] = True
    fatal = [failure for name, rows in batches.items() for failure in bursts(name, rows, contract)]
    fatal += target_failures(whole.loc[~is_bad, contract.target], contract)
    allowed = p.max_bad_share * every if p.bad_rows == "quarantine" else 0
    report["bad_rows"] = int(is_bad.sum())
    report["identical_rows"] = int(whole.duplicated([f.name for f in contract.features] + [contract.target]).sum())
    report["decision"] = "refused" if fatal or is_bad.sum() > allowed else "quarantined" if is_bad.any() else "passed"
    report["failures"] = fatal + found
    return report, {name: is_bad[names == name].reset_index(drop=True) for name in batches}


def sentences(report: dict[str, Any]) -> str:
    """Return one sentence a failure."""
    lines = [
        f"{failure['column'] or 'table'!r} in batch {failure['batch']!r} breaks the rule `{failure['rule']}` "
        f"in {failure['count']:,} rows, for instance {', '.join(failure['examples']) or 'none at all'}"
        for failure in report["failures"]
    ]
    return "\n".join(lines)


def main(batches_dir: Path, valid_dir: Path, quarantine_path: Path, report_path: Path) -> str:
    """Write the report; then the valid rows and the quarantined ones, or nothing of either."""
    p = load(ValidateParams)
    paths = sorted(batches_dir.glob("*.parquet"))
    batches = {path.stem: pd.read_parquet(path) for path in paths}
    report, bad = validate(batches, CONTRACT, p)
    write_json(report_path, report)
    if report["decision"] == "refused":
        raise UserError(f"{sentences(report)}\nrefused; the whole report is in {report_path}, the rules in schema.py")
    with folder(valid_dir) as scratch:
        for path in paths:
            batches[path.stem][~bad[path.stem].to_numpy()].to_parquet(scratch / path.name, index=False)
    quarantined = [
        json.dumps({"batch": name, "row": json.loads(row)})
        for name, rows in batches.items()
        for row in rows[bad[name].to_numpy()].to_json(orient="records", lines=True, date_format="iso").splitlines()
        if row
    ]
    write(quarantine_path, "".join(line + "\n" for line in quarantined))
    return (
        f"{report['rows']:,} rows in {len(batches)} batches, {report['bad_rows']:,} quarantined, "
        f"{report['identical_rows']:,} identical to an earlier row; no rule of the contract broken"
        + (" by the rest" if quarantined else "")
    )


if __name__ == "__main__":
    run(main)
