"""A raw table and the user's words -> the plan: a contract, how to read the file, numbers, and what was decided."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
from pydantic import BaseModel, Field, ValidationError

from .. import UserError
from ..contract import Contract, Feature
from ..params import TableParams
from ..table import FEW, is_parquet, is_text, parts, place, read, shaped
from . import form
from .columns import MARKS, NUMBER_MARKS, Column, columns, number_format
from .leaks import leaks
from .roles import FEATURE, free_text, identifier, personal
from .sizes import Numbers, sizes

MOST_CLASSES = 100
CLASS_VALUES = 20  # different integers at most that are taken for classes
CLASS_ROWS = 5  # of each class at least: the split must find some for training
LISTED = 50  # categories that the contract lists; more are open
MARGIN = 0.25  # of the range seen, on both sides
RARE = 0.2  # share of the positive class below which the threshold is chosen
HEADERS = 0.9  # of a column's texts below the second line are numbers: so that line is a header too
POSITIVE = ("yes", "y", "true", "t", "1", "ja", "oui", "si", "positive", "pos", "churned", "bad", "fraud", "default")


class Wanted(BaseModel):
    """What the user says; `data` is the variable DATA, and so on."""

    data: Path = Field(description="a CSV or Parquet file, or a folder of parts")
    target: str = Field(min_length=1)
    time: str | None = None
    id: str | None = None
    keep: str = Field("", description="columns to take in all the same, separated by ;")
    task: str = Field(
        "", pattern="^(|classes|number)$", description="classes or number, where integers could be either"
    )
    positive: str = ""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """Return what an environment says.

        Raises:
            UserError: DATA or TARGET is missing, or TASK is unknown.
        """
        given: Any = {name: environment[name.upper()] for name in cls.model_fields if environment.get(name.upper())}
        try:
            return cls(**given)
        except ValidationError as error:
            name = str(error.errors(include_url=False)[0]["loc"][0]).upper()
            if name == "TASK":
                raise UserError(f"TASK is {given['task']!r}; use classes or number") from error
            raise UserError(f"{name} is missing; say make adopt DATA=orders.csv TARGET=churned") from error

    @property
    def kept(self) -> list[str]:
        """Return the columns to take in all the same."""
        return [name.strip() for name in self.keep.split(";") if name.strip()]


@dataclass(frozen=True)
class Decision:
    """What becomes of a column: its role, what was seen of it, and why it is left out."""

    column: str
    kind: str
    role: str
    seen: str
    why: str = ""


@dataclass(frozen=True)
class Plan:
    """All that adopting writes, but for the files themselves."""

    source: Path
    contract: Contract
    params: TableParams
    numbers: Numbers
    decisions: tuple[Decision, ...]
    notes: tuple[str, ...]
    rows: pd.DataFrame = field(repr=False)


def plan(wanted: Wanted) -> Plan:
    """Return the plan for a file.

    Raises:
        UserError: it is no table that a model can be made from; the sentence says what and where.
    """
    p, table = _table(wanted.data)
    named = [("TARGET", wanted.target), ("TIME", wanted.time), ("ID", wanted.id)]
    for role, name in named + [("KEEP", kept) for kept in wanted.kept]:
        if name is not None and name not in table.column_names:
            near = get_close_matches(name, table.column_names, 1)
            told = f"did you mean {near[0]!r}?" if near else f"its columns are {', '.join(table.column_names[:20])}"
            raise UserError(f"{wanted.data} has no column {name!r}, which {role} names; {told}")
    special = [name for _, name in named if name]
    if len({*special}) < len(special):
        raise UserError(f"TARGET, TIME and ID name {', '.join(map(repr, special))}; name another column by each")
    found = {c.name: c for c in columns(table, p, wanted.time)}
    time, id = _time(wanted, found, p), _id(wanted, found, p)
    target, task, classes, positive, notes = _target(found[wanted.target], wanted, p)
    labels = target.values.dropna()
    labels = labels[labels.isin(classes)] if classes else labels
    if time is not None:
        labels = labels[time.values.loc[labels.index].dropna().sort_values(kind="stable").index]
    others = [c for name, c in found.items() if name not in (wanted.target, wanted.time, wanted.id)]
    roles = _roles(others, target, labels, time, wanted)
    features = tuple(_feature(c, len(labels)) for c in others if roles[c.name][0] == FEATURE)
    if not features:
        told = "; ".join(f"{name} {why}" for name, (_, why) in list(roles.items())[:5]) or "there is no other"
        raise UserError(f"{wanted.data} leaves no column to predict {wanted.target!r} from: {told}")
    private = tuple(name for name, (role, _) in roles.items() if role == "personal")
    said: Any = {"classes": classes, "positive": positive, "time": wanted.time, "id": wanted.id, "personal": private}
    contract = Contract(task=task, target=wanted.target, features=features, **said)
    p = _reading(p, [found[f.name] for f in features] + [c for c in (target, time, id) if c], contract, found)
    rows, counts = shaped(table, contract, p, wanted.data)
    p, days, more = _stream(rows, contract, p)
    history = len(rows) - int(len(rows) * p.stream_share)
    share = float((rows[contract.target] == positive).mean()) if task == "binary" else None
    rare = share is not None and share < RARE and share * history >= 50 and (not days or days >= 9)
    numbers = sizes(history, days, share, rare)
    notes += [*_read_as(wanted.data, p), *_odd(found, contract, wanted.data, p)]
    notes += [*_counted(rows, counts, contract, share, rare), *more, *_too_few(history, numbers, days)]
    decisions = tuple(_decision(c, wanted, roles, contract) for c in found.values())
    return Plan(wanted.data, contract, p, numbers, decisions, tuple(notes), rows)


def _table(path: Path) -> tuple[TableParams, pa.Table]:
    p = form.form_of(path)
    table = read(path, p)
    if not table.num_rows:
        raise UserError(f"{path} holds names and no rows; bring some rows")
    if table.num_columns < 2:
        raise UserError(f"{path} has one column; a model needs a target and at least one column to predict it from")
    _no_second_header(table, path)
    decimal, thousands = number_format(table, semicolon=p.delimiter == ";")
    return p.model_copy(update={"decimal": decimal, "thousands": thousands}), table


def _no_second_header(table: pa.Table, path: Path) -> None:
    """Refuse a second line of names or units: a text in every column whose other values are numbers."""
    texts = {name: table[name].slice(0, FEW).to_pylist() for name in table.column_names if is_text(table[name])}
    special = [name for name, column in texts.items() if _mostly_numbers(column[1:])]
    first = [column[0] for column in texts.values()]
    odd = [name for name in special if texts[name][0] and not _is_number(texts[name][0])]
    if (texts and first == list(texts)) or (len(odd) >= 2 and odd == special):
        shown = ", ".join(map(str, first[:4]))
        raise UserError(f"{path} line 2 is a second header ({shown}); remove it, so that names stand in line 1 alone")


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"[-+]?[$€£¥]?[0-9][0-9., ]*(e[-+]?[0-9]+)?[%$€£¥]?", text.strip(), re.IGNORECASE))


def _mostly_numbers(texts: list[str]) -> bool:
    present = [text for text in texts if text and text.strip().lower() not in NUMBER_MARKS]
    return bool(present) and sum(map(_is_number, present)) >= HEADERS * len(present)


def _time(wanted: Wanted, found: dict[str, Column], p: TableParams) -> Column | None:
    if wanted.time is None:
        return None
    column = found[wanted.time]
    if column.kind != "datetime":
        shown = next(iter(column.values.dropna().astype("str")), "nothing")
        at = place(wanted.data, int(column.values.notna().to_numpy().argmax()), p)
        raise UserError(
            f"{at}, column {wanted.time!r} (TIME): {shown!r} is no time; write times as "
            "2024-05-31 or 2024-05-31T14:00:00, or leave TIME out"
        )
    for text, row in column.strays.items():
        raise UserError(
            f"{place(wanted.data, row, p)}, column {wanted.time!r} (TIME): {text!r} is no time as the others are "
            f"({column.form}); correct it"
        )
    if (days := column.values.dropna().dt.floor("D").nunique()) < 3:
        raise UserError(
            f"{wanted.data}, column {wanted.time!r} (TIME) spans {days} days; the split goes by days and needs 3: "
            "leave TIME out, or bring more"
        )
    return column


def _id(wanted: Wanted, found: dict[str, Column], p: TableParams) -> Column | None:
    if wanted.id is None:
        return None
    column = found[wanted.id]
    if wanted.id not in wanted.kept and (what := personal(column)):
        raise UserError(
            f"{wanted.data}, column {wanted.id!r} (ID) is {what} by its name or its values, and ids stand in the logs; "
            f"name another, or say KEEP={wanted.id!r} as well"
        )
    for broken, what in ((column.values.isna(), "is missing"), (column.values.duplicated(), "stands there twice")):
        if broken.any():
            at = int(broken.to_numpy().argmax())
            value = "" if what == "is missing" else f" {str(column.values.iloc[at])!r}"
            raise UserError(
                f"{place(wanted.data, at, p)}, column {wanted.id!r} (ID): value{value} {what}; an id names one row: "
                "correct it, or leave ID out"
            )
    return column


def _target(column: Column, wanted: Wanted, p: TableParams) -> tuple[Column, Any, tuple[Any, ...], Any, list[str]]:
    """Return the target with its final type, the task, its classes, the positive one, and what to say of it."""
    where = f"{wanted.data}, column {column.name!r} (TARGET)"
    for text, row in column.strays.items():
        raise UserError(
            f"{place(wanted.data, row, p)}, column {column.name!r} (TARGET): {text!r} is no {column.kind}; correct it"
        )
    if column.kind in ("datetime", "nested"):
        told = "dates" if column.kind == "datetime" else "lists, structures, durations or bytes"
        raise UserError(
            f"{where} holds {told}; a target is a class or a number: make one of it, such as days until then"
        )
    values = column.values.dropna()
    if column.kind == "number" and len(values) and (values % 1 == 0).all() and values.abs().max() < 2**53:
        column = replace(column, kind="integer", values=column.values.astype("Int64"))
        values = column.values.dropna()
    if len(values) == 0 or values.nunique() == 1:
        told = f"has one value, {str(values.iloc[0])!r}, in every row" if len(values) else "is empty"
        told += f" ({', '.join(map(repr, column.marks))} count as missing)" if column.marks else ""
        raise UserError(f"{where} {told}; there is nothing to predict")
    counts, said = values.value_counts(), ""
    as_number = column.kind == "number" or (column.kind == "integer" and not _are_classes(counts, wanted.task))
    if column.kind == "integer" and len(counts) > 2:
        low, high, way = counts.index.min(), counts.index.max(), "numbers" if as_number else "classes"
        said = f"{column.name}: {len(counts)} different integers, {low} to {high}, are taken for {way}; "
        said += f"TASK={'classes' if as_number else 'number'} says otherwise"
    if wanted.task == "number" and column.kind in ("category", "boolean"):
        raise UserError(f"{where} holds texts; TASK=number needs numbers")
    if wanted.task == "classes" and column.kind == "number":
        raise UserError(f"{where} holds fractions; TASK=classes needs texts, booleans or integers")
    if as_number:
        column = replace(column, kind="number", values=column.values.astype("float64"))
        return column, "regression", (), None, [said] if said else []
    if len(counts) > MOST_CLASSES:
        raise UserError(
            f"{where} has {len(counts):,} different values and classes are {MOST_CLASSES} at most; group them"
        )
    few = sorted(map(str, counts.index[counts < CLASS_ROWS]))
    notes = [said] if said else []
    if few:
        lost = int(counts[counts < CLASS_ROWS].sum())
        notes.append(
            f"{lost} rows of {', '.join(few[:5])} are left out: a class needs {CLASS_ROWS} rows, for training and test"
        )
        counts = counts[counts >= CLASS_ROWS]
    if len(counts) < 2:
        raise UserError(f"{where}: only {len(counts)} class has {CLASS_ROWS} rows; bring more rows of the others")
    plain = {"boolean": bool, "integer": int, "category": str}[column.kind]
    classes = tuple(sorted(plain(value) for value in counts.index))
    if len(classes) > 2:
        return column, "multiclass", classes, None, notes
    positive = _positive(classes, {plain(value): int(count) for value, count in counts.items()}, wanted)
    notes.append(f"{column.name}: the positive class is {positive!r}; POSITIVE= names the other one")
    return column, "binary", classes, positive, notes


def _are_classes(counts: pd.Series, task: str) -> bool:
    """Return whether integers are classes: few, next to each other, each of them often; two are always."""
    if task or len(counts) == 2:
        return task != "number"
    steps = np.diff(np.sort(counts.index.to_numpy(np.int64)))
    often = counts.min() >= max(CLASS_ROWS, 0.02 * counts.sum() / len(counts))
    return bool(len(counts) <= CLASS_VALUES and (steps == steps[0]).all() and often)


def _positive(classes: tuple[Any, ...], counts: dict[Any, int], wanted: Wanted) -> Any:
    named = {str(value): value for value in classes}
    if wanted.positive:
        if wanted.positive not in named:
            raise UserError(f"POSITIVE is {wanted.positive!r}; {wanted.target!r} has {' and '.join(named)}")
        return named[wanted.positive]
    known = [value for text, value in named.items() if text.lower() in POSITIVE and {*named} != {"1", "2"}]
    return known[0] if len(known) == 1 else min(classes, key=lambda value: (counts[value], str(value)))


def _roles(
    others: list[Column], target: Column, labels: pd.Series, time: Column | None, wanted: Wanted
) -> dict[str, tuple[str, str]]:
    """Return column -> (role, why it is no feature)."""
    roles: dict[str, tuple[str, str]] = {}
    for column in others:
        here = replace(column, values=column.values.loc[labels.index])
        known = [("identifier", identifier), ("free text", free_text)] if column.name not in wanted.kept else []
        if column.name not in wanted.kept and (what := personal(column)):
            roles[column.name] = ("personal", f"is {what} by its name or its values")
        elif impossible := _impossible(column, here, time is not None):
            roles[column.name] = impossible
        else:
            found = ((role, why) for role, reason in known if (why := reason(column)))
            roles[column.name] = next(found, (FEATURE, ""))
    suspects = [c for c in others if roles[c.name][0] == FEATURE]
    for name, why in leaks(suspects, target, labels, time):
        if name not in wanted.kept:
            roles[name] = ("leak", why)
    return roles


def _impossible(column: Column, here: Column, by_time: bool) -> tuple[str, str] | None:
    if column.kind == "nested":
        return "nested", "holds lists, structures, durations or bytes; make numbers or texts of it first"
    if (present := int(here.values.notna().sum())) == 0:
        return "empty", "has no value in any row with a label"
    if here.distinct == 1 and not here.missing:
        return "constant", f"is {str(here.values.dropna().iloc[0])!r} in every row"
    if here.distinct == 1 and column.kind != "category":
        return "constant", f"is {str(here.values.dropna().iloc[0])!r} wherever it has a value"
    if present < CLASS_ROWS or (here.missing > 0.99 and present < 100):
        return "empty", f"has {present} values in {len(here.values):,} rows"
    early = here.values.iloc[: max(1, int(len(here.values) * 0.4))]
    is_late = by_time and early.isna().all() and here.missing > 0.5
    return ("empty", "has no value in the oldest rows, which train") if is_late else None


def _feature(column: Column, rows: int) -> Feature:
    values = column.values.dropna()
    missing = min(1.0, round(1.5 * column.missing + 0.02, 2)) if column.missing else 0.0
    more: dict[str, Any] = {"unit": column.unit, "missing": missing}
    if column.kind in ("number", "integer"):
        more["range"] = span(float(values.min()), float(values.max()), column.kind == "integer", column.unit)
    elif column.kind == "category":
        counts = values.value_counts()
        listed = len(counts) <= LISTED
        more["categories"] = tuple(sorted(counts.index)) if listed else ()
        more["unknown"] = "accept" if not listed or counts.min() == 1 else "refuse"
    return Feature(column.name, column.kind, **more)  # type: ignore[arg-type]  # "nested" is left out before


def span(low: float, high: float, whole: bool, unit: str = "") -> tuple[float, float]:
    """Return the range that the contract allows: a quarter of what was seen more on both sides, rounded outward.

    It does not reach across zero; 0 and 1 alone stay so, and percents within 0 to 100 have these as ends.
    """
    if whole and low >= 0 and high <= 1:
        return 0, 1
    if unit == "%" and low >= 0 and high <= 100:
        return 0, 100
    width = (high - low) or abs(high) or 1.0
    step = 10.0 ** (math.floor(math.log10(width)) - 1)
    step = max(step, 1) if whole else step
    down = math.floor(round((low - MARGIN * width) / step, 6)) * step
    up = math.ceil(round((high + MARGIN * width) / step, 6)) * step
    down = max(down, 0) if low >= 0 else down
    up = min(up, 0) if high <= 0 else up
    digits = max(0, -math.floor(math.log10(step)))
    return (int(down), int(up)) if whole else (round(down, digits), round(up, digits))


def _reading(p: TableParams, used: list[Column], contract: Contract, found: dict[str, Column]) -> TableParams:
    """Return how to read the file: marks that every column may hold, and those of single ones."""
    common = sorted({mark for c in found.values() for mark in c.marks if mark.lower() in MARKS})
    alone = {c.name: sorted({*c.marks, *c.strays} - {*common}) for c in used if {*c.marks, *c.strays} - {*common}}
    dates = {c.name: c.form for c in used if c.kind == "datetime" and c.form not in ("", "ISO8601")}
    return p.model_copy(update={"missing": common, "missing_in": alone, "dates": dates})


def _stream(rows: pd.DataFrame, contract: Contract, p: TableParams) -> tuple[TableParams, int, list[str]]:
    """Return where the stream begins, how many days the history spans, and what to say of them."""
    if not contract.time:
        return p, 0, []
    days = rows[contract.time].dt.floor("D")
    per_day = days.value_counts().sort_index()
    begin = int(np.searchsorted(per_day.cumsum(), len(rows) * (1 - p.stream_share)))
    begin = min(max(begin, 2), len(per_day) - 1)
    first = per_day.index[begin]
    p = p.model_copy(update={"stream_from": f"{first:%Y-%m-%d}"})
    told = f"rows from {first:%Y-%m-%d} on are the stream that `make simulate` replays; training sees none of them"
    return p, begin, [told]


def _odd(found: dict[str, Column], contract: Contract, path: Path, p: TableParams) -> list[str]:
    """Return what was read in an unusual way."""
    told = []
    for c in found.values():
        if c.strays and c.name in contract.columns:
            (text, row), count = next(iter(c.strays.items())), len(c.strays)
            shown = f"{text!r} in {place(path, row, p)}"
            told.append(f"{c.name}: {count} texts that are no {c.kind} count as missing, such as {shown}")
        told += [f"{c.name}: {note}" for note in c.notes if c.name in contract.columns]
    return told


def _read_as(path: Path, p: TableParams) -> list[str]:
    """Return how a CSV is read; of Parquet there is nothing to say."""
    if is_parquet(parts(path)[0]):
        return []
    marks = ", ".join(map(repr, ["", *p.missing]))
    groups = f", thousands by {p.thousands!r}" if p.thousands else ""
    told = [
        f"read as {p.encoding}, values parted by {p.delimiter!r}, decimals by {p.decimal!r}{groups}; missing: {marks}"
    ]
    return told + [f"{name}: dates are written as {how}" for name, how in p.dates.items()]


def _counted(
    rows: pd.DataFrame, counts: dict[str, int], contract: Contract, share: float | None, rare: bool
) -> list[str]:
    told = []
    if counts["without a label"]:
        told.append(f"{counts['without a label']:,} rows have no label in {contract.target!r} and are left out")
    if counts.get("without a time"):
        told.append(f"{counts['without a time']:,} rows have no {contract.time!r} and are left out")
    same = int(rows.duplicated([*(f.name for f in contract.features), contract.target]).sum())
    if same:
        kept = "days may part them" if contract.time else "the split keeps them on one side"
        told.append(f"{same:,} rows are identical to an earlier one; {kept}")
    if share is not None and min(share, 1 - share) < RARE:
        said = f"{share:.1%} of the rows are {contract.positive!r}: none is re-weighted, the gate judges probabilities"
        told.append(said + ("; the threshold is chosen for F1 on training folds" if rare else "; the threshold is 0.5"))
    return told


def _too_few(history: int, numbers: Numbers, days: int) -> list[str]:
    """Return the refusals that the gate is going to speak."""
    told = []
    if history / 3 < numbers["split.min_test_rows"][0] * 0.9:
        asked = numbers["split.min_test_rows"][0]
        told.append(
            f"about {round(history / 3)} rows will test a model and the gate asks for {asked}: expect a refusal, and "
            "bring more rows"
        )
    if 0 < days < 21:
        told.append(
            f"the history spans {days} days; a third must test, and below promote.min_test_days the gate refuses"
        )
    return told


def _decision(column: Column, wanted: Wanted, roles: dict[str, tuple[str, str]], contract: Contract) -> Decision:
    role, why = roles.get(column.name, ("", ""))
    special = {wanted.target: "target", wanted.time: "time", wanted.id: "id"}
    feature = next((f for f in contract.features if f.name == column.name), None)
    kind = "number" if column.name == contract.target and contract.task == "regression" else column.kind
    return Decision(column.name, kind, special.get(column.name, role), seen(column, feature), why)


def seen(column: Column, feature: Feature | None = None) -> str:
    """Return what was seen of a column, in few words."""
    share = column.missing
    gone = "" if not share else f"{share:.1%} missing" if share >= 0.001 else "under 0.1 % missing"
    values = column.values.dropna()
    if column.kind == "nested" or not len(values):
        return "" if column.kind == "nested" else "all missing"
    if column.kind in ("number", "integer"):
        told = f"{values.min():.6g} to {values.max():.6g}"
    elif column.kind == "datetime":
        told = f"{values.min():%Y-%m-%d} to {values.max():%Y-%m-%d}"
    elif column.kind == "boolean":
        told = f"{float(values.mean()):.1%} true"
    else:
        once = int((values.value_counts() == 1).sum())
        told = f"{column.distinct:,} values" + (f", {once:,} of them once" if once else "")
    return "; ".join(part for part in (gone.replace("%", " %"), told.replace("%", " %")) if part).replace("  %", " %")
