"""A column of texts -> what it is: its type, what marks a missing value, format of dates, unit, and its values.

A value that does not fit the rest of its column counts as missing and is told with its place, as long as it is rare.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..contract import WIDEST
from ..params import TableParams
from ..table import TRUTH, distinct, integers, is_text, moments, numbers

MARKS = {"na", "n/a", "#n/a", "n.a.", "nan", "null", "<na>", "-", "--", "?", "nil", "k.a.", "nat"}
NUMBER_MARKS = MARKS | {"none", "unknown", "missing", ".", "...", "tbd", "inf", "-inf"}  # words in a column of texts
STRAY = 0.05  # of the values at most; a column with more of them holds texts
DATES = [
    *["ISO8601", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d"],
    *["%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%d/%m/%Y", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y"],
    *["%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M %p", "%d-%m-%Y", "%m-%d-%Y", "%d-%m-%Y %H:%M", "%d %b %Y", "%d-%b-%Y"],
    *["%b %d, %Y", "%d %B %Y", "%B %d, %Y", "%a %b %d %H:%M:%S %Y", "%d/%m/%y", "%m/%d/%y", "%d.%m.%y"],
]
DATE_LIKE = re.compile(r"[0-9]{1,4}[-/. ][0-9A-Za-z]{1,9}[-/. ,]+[0-9]{2,4}|^[A-Z][a-z]{2,8} [0-9]")
NAMED_DATE = re.compile(r"date|day|datum|time|zeit|_at$|_on$|stamp", re.IGNORECASE)
FORMATS = ((".", ""), (".", ","), (",", ""), (",", "."), (".", " "), (",", " "), (".", "'"))
SAMPLE, SAMPLE_ROWS = 2000, 50_000  # distinct texts, and rows, that decide between formats


@dataclass(frozen=True)
class Column:
    """What a column is. `values` has a nullable dtype; `marks` are texts that mean no value, `strays` odd ones."""

    name: str
    kind: str  # of the contract's types, or "nested"
    values: pd.Series
    unit: str = ""
    form: str = ""
    marks: tuple[str, ...] = ()
    strays: dict[str, int] = field(default_factory=dict)  # text -> the first row that holds it, from 0
    notes: tuple[str, ...] = ()

    @property
    def missing(self) -> float:
        """Return the share of rows without a value."""
        return float(self.values.isna().mean()) if len(self.values) else 1.0

    @property
    def distinct(self) -> int:
        """Return how many different values there are."""
        return 0 if self.kind == "nested" else int(self.values.nunique())


@dataclass(frozen=True)
class Texts:
    """A column of a CSV: its distinct texts, how often each stands there, and each row's place in them."""

    name: str
    texts: pa.Array
    places: NDArray[np.int64]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Return how many rows hold each text."""
        return np.bincount(self.places[self.places >= 0], minlength=len(self.texts))

    def row(self, place: int) -> int:
        """Return the first row that holds a text, from 0."""
        return int(np.argmax(self.places == place))

    def spread(self, values: pd.Series) -> pd.Series:
        """Return the values of all rows from those of the distinct texts."""
        if not len(values):
            return values.reindex(range(len(self.places)))
        rows = values.take(np.maximum(self.places, 0)).reset_index(drop=True)
        return rows.mask(self.places < 0) if (self.places < 0).any() else rows

    def sample(self) -> pa.Array:
        """Return some of the texts, without what marks a missing value."""
        step = max(1, len(self.texts) // SAMPLE)
        some = self.texts.take(pa.array(np.arange(0, len(self.texts), step)))
        return some.filter(pc.invert(pc.is_in(pc.utf8_lower(some), pa.array(["", *NUMBER_MARKS]))))


def number_format(table: pa.Table, semicolon: bool) -> tuple[str, str]:
    """Return (decimal, thousands) with which most columns of texts are numbers; of equals the plainest.

    In a file whose values are separated by semicolons a comma is likelier a decimal.
    """
    some = table.select([name for name in table.column_names if is_text(table[name])])
    some = some.take(np.arange(0, len(table), max(1, len(table) // SAMPLE_ROWS)))
    samples = [Texts("", *distinct(column)).sample() for column in some.columns]
    order = sorted(FORMATS, key=lambda form: (form[0] != ",") * semicolon)
    order = sorted(order, key=lambda form: form != (".", "")) if not semicolon else [(".", ""), *order]

    def score(form: tuple[str, str]) -> tuple[int, int]:
        """Return how many columns are numbers, and how many of their texts: a thousand may be rare."""
        fit = [len(s) - numbers(s, *form).null_count for s in samples]
        fit = [count for count, s in zip(fit, samples, strict=True) if count >= (1 - STRAY) * len(s) > 0]
        return len(fit), sum(fit)

    return max(order, key=score)


def columns(table: pa.Table, p: TableParams, dated: str | None) -> Iterator[Column]:
    """Yield what each column is; `dated` is the one that holds the time."""
    for name in table.column_names:
        raw = table[name]
        yield _column(Texts(name, *distinct(raw)), p, name == dated) if is_text(raw) else _typed(name, raw, dated)


def _typed(name: str, raw: pa.ChunkedArray, dated: str | None) -> Column:
    """Return a column of Parquet that has a type of its own."""
    kind = raw.type.value_type if pa.types.is_dictionary(raw.type) else raw.type
    if pa.types.is_boolean(kind):
        return Column(name, "boolean", pd.Series(raw.to_pandas(), dtype="boolean"))
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        zone = (f"times in {kind.tz} are taken in UTC",) if getattr(kind, "tz", None) else ()
        values = pd.Series(pc.cast(raw, pa.timestamp("us"), safe=False).to_pandas(), dtype="datetime64[us]")
        return Column(name, "datetime", values, notes=zone)
    is_wide = pa.types.is_uint64(kind) and (pc.max(pc.cast(raw, kind)).as_py() or 0) >= 2**63
    if pa.types.is_integer(kind) and not is_wide:
        values = pd.Series(pc.cast(raw, pa.int64(), safe=False).to_pandas(integer_object_nulls=True), dtype="Int64")
        return _maybe_time(Column(name, "integer", values), dated)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind) or is_wide:
        floats = pd.Series(pc.cast(raw, pa.float64(), safe=False).to_numpy())
        return Column(name, "number", floats.mask(floats.abs() > WIDEST))
    return Column(name, "nested", pd.Series(index=range(len(raw)), dtype="object"))


def _column(t: Texts, p: TableParams, is_time: bool) -> Column:
    """Return a column of texts as the most special type that fits all but a few of its values."""
    lower, counts = pc.utf8_lower(t.texts), t.counts
    gone, gone_numbers = (_among(lower, marks) for marks in (MARKS, NUMBER_MARKS))
    if is_time or bool(np.mean(_matches(t.sample())) > 1 - STRAY):
        for form in _formats(t, p):
            if found := _as(t, "datetime", moments(t.texts, form), gone_numbers, counts, form=form):
                return found
    whole = pd.Series(integers(t.texts, p.decimal, p.thousands).to_pandas(integer_object_nulls=True), dtype="Int64")
    parsed = pd.Series(numbers(t.texts, p.decimal, p.thousands).to_numpy(zero_copy_only=False))
    present = (counts > 0) & ~gone_numbers
    codes = np.asarray(pc.match_substring_regex(t.texts, r"^0[0-9]+$").to_numpy(zero_copy_only=False))
    has_point = np.asarray(pc.match_substring(t.texts, p.decimal).to_numpy(zero_copy_only=False)) & parsed.notna()
    if not (codes & present).any():  # 01067 is a name made of digits
        ends_whole = not (has_point & (parsed.to_numpy() % 1 != 0)).any() and not _rounds(t.texts, has_point)
        if ends_whole and (found := _as(t, "integer", whole, gone_numbers, counts, unit=_unit(t.texts, present))):
            return _maybe_time(found, t.name if is_time else None)
        if found := _as(t, "number", parsed, gone_numbers, counts, unit=_unit(t.texts, present)):
            return found
    truth = pd.Series(lower.to_pandas(), dtype="str").map(TRUTH).astype("boolean")
    if found := _as(t, "boolean", truth, gone, counts):
        return found
    plain = pd.Series(t.texts.to_pandas(), dtype="str")
    if t.texts.null_count == 0 and len(plain):
        plain = plain.mask(gone)
    return Column(t.name, "category", t.spread(plain).astype("str"), marks=_marks(t, gone, counts))


def _rounds(texts: pa.Array, has_point: NDArray[np.bool_]) -> bool:
    """Return whether numbers are written with decimals that all happen to be nought, as in 20.50 or 3.00."""
    ends = np.asarray(pc.match_substring_regex(texts, r"[.,]0$").to_numpy(zero_copy_only=False))
    return bool((has_point & ~ends).any())


def _as(
    t: Texts,
    kind: str,
    values: pd.Series,
    gone: NDArray[np.bool_],
    counts: NDArray[np.int64],
    unit: str = "",
    form: str = "",
) -> Column | None:
    """Return the column as that type, if all but a few of its values are."""
    present = (counts > 0) & ~gone
    odd = values.isna().to_numpy() & present
    total = counts[present].sum()
    if not total or counts[odd].sum() > STRAY * total or not (present & ~odd).any():
        return None
    strays = {t.texts[int(k)].as_py(): t.row(int(k)) for k in np.flatnonzero(odd)}
    values = values.mask(gone)
    zoned = kind == "datetime" and bool(_zones(t.sample()))
    notes = ("times with a zone are taken in UTC",) if zoned else ()
    return Column(t.name, kind, t.spread(values), unit, form, _marks(t, gone, counts), strays, notes)


def _among(lower: pa.Array, marks: set[str]) -> NDArray[np.bool_]:
    found = pc.is_in(lower, value_set=pa.array(["", *sorted(marks)], pa.string()))
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=bool)


def _marks(t: Texts, gone: NDArray[np.bool_], counts: NDArray[np.int64]) -> tuple[str, ...]:
    return tuple(sorted({t.texts[int(k)].as_py() for k in np.flatnonzero(gone & (counts > 0))} - {""}))


def _matches(texts: pa.Array) -> NDArray[np.bool_]:
    found = [bool(DATE_LIKE.search(text)) for text in texts.to_pylist()[:SAMPLE]]
    return np.array(found or [False])


def _zones(texts: pa.Array) -> bool:
    return any(re.search(r":[0-9]{2}(Z|[+-][0-9]{2}:?[0-9]{2})$", text) for text in texts.to_pylist()[:50])


def _formats(t: Texts, p: TableParams) -> list[str]:
    """Return the formats that fit most of a sample, the likelier first: a day first, unless points are English."""
    sample = t.sample()
    fit = {form: int(moments(sample, form).notna().sum()) for form in DATES}
    most = max(fit.values(), default=0)
    found = [form for form in DATES if most and fit[form] == most]
    first = "%m" if p.decimal == "." and p.delimiter == "," else "%d"
    return sorted(found, key=lambda form: form != "ISO8601" and "/" in form and not form.startswith(first))


def _unit(texts: pa.Array, present: NDArray[np.bool_]) -> str:
    """Return the sign that all numbers bear: a percent, a currency."""
    shown = [text for text in texts.take(pa.array(np.flatnonzero(present)[:SAMPLE])).to_pylist() if text]
    signs = Counter(sign for text in shown for sign in "%€$£¥" if sign in (text.lstrip("+-")[:1], text[-1]))
    sign, count = signs.most_common(1)[0] if signs else ("", 0)
    return sign if count >= (1 - STRAY) * len(shown) else ""


def _maybe_time(column: Column, dated: str | None) -> Column:
    """Return an integer column as times, if it is the time or is named like one, and holds days or epochs."""
    values = column.values.dropna()
    if values.empty or not (column.name == dated or NAMED_DATE.search(column.name)):
        return column
    for form, low, high in (
        ("%Y%m%d", 19_000_101, 21_001_231),
        ("epoch seconds", 5e8, 4e9),
        ("epoch milliseconds", 5e11, 4e12),
    ):
        if low <= values.min() and values.max() <= high:
            found = moments(pa.array(values.astype("str").astype(object), pa.string()), form)
            if found.notna().all():
                spread = pd.Series(found.array, index=values.index).reindex(column.values.index)
                return replace(column, kind="datetime", values=spread.astype("datetime64[us]"), form=form, unit="")
    return column
