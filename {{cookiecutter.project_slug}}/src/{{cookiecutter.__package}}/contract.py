"""The words that `schema.py` is written in: a contract says what a table, a request and an answer look like."""

from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, Literal

from . import UserError

WIDEST = (2 - 2**-23) * 2.0**127  # the largest number of single precision, which models are served in
Label = bool | int | str
DTYPES = {"number": "float64", "integer": "int64", "boolean": "bool", "category": "str", "datetime": "datetime64[us]"}
NULLABLE = {"integer": "Int64", "boolean": "boolean"}
CLASSES = {"binary": "two classes", "multiclass": "three classes or more", "regression": "no classes"}


def _hold(*rules: tuple[Any, str]) -> None:
    if broken := [sentence for holds, sentence in rules if not holds]:
        raise UserError("\n".join(f"schema.py: {sentence}" for sentence in broken))


@dataclass(frozen=True)
class Feature:
    """One input of the model.

    `range` holds both ends, inclusive, in `unit`. `missing` is the largest share of rows (0 to 1) that may lack a
    value; 0: every row has one. `categories` lists the values of a category; with `unknown="accept"` others are
    answered too and counted, and the list may be empty.
    """

    name: str
    type: Literal["number", "integer", "boolean", "category", "datetime"]
    unit: str = ""
    range: tuple[float, float] | None = None
    categories: tuple[str, ...] = ()
    unknown: Literal["refuse", "accept"] = "refuse"
    missing: float = 0.0

    def __post_init__(self) -> None:
        ends = self.range or (0, 0)
        ranged = isinstance(ends, tuple) and len(ends) == 2
        ranged = ranged and all(isinstance(end, int | float) and isfinite(end) for end in ends)
        ranged = ranged and ends[0] <= ends[1] and (self.range is None or self.type in ("number", "integer"))
        whole = self.type != "integer" or not ranged or all(end == int(end) and abs(end) < 2**63 for end in ends)
        texts = isinstance(self.categories, tuple) and all(isinstance(value, str) for value in self.categories)
        share = isinstance(self.missing, int | float) and 0 <= self.missing <= 1
        listed = self.type != "category" or self.categories or self.unknown == "accept"
        _hold(
            (self.type in DTYPES, f"{self.name!r} has type {self.type!r}; use one of {', '.join(DTYPES)}"),
            (share, f"{self.name!r} has missing={self.missing!r}; a share lies between 0 and 1"),
            (ranged, f"{self.name!r} has range {self.range}; give (low, high) of a number, both finite"),
            (whole, f"{self.name!r} has range {self.range}; give ends that an integer of 64 bits can have"),
            (texts, f"{self.name!r} has categories {self.categories!r}; give a tuple of texts"),
            (self.unknown in ("refuse", "accept"), f"{self.name!r} has unknown={self.unknown!r}; use refuse or accept"),
            (listed, f'{self.name!r} lists no categories; list them or set unknown="accept"'),
        )

    @property
    def dtype(self) -> str:
        """Return the pandas dtype of this column."""
        return NULLABLE.get(self.type, DTYPES[self.type]) if self.missing else DTYPES[self.type]


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What goes in and what comes out. `classes` lists the target's values; for a regression it stays empty.

    `time` and `id` name columns that are kept and logged but never shown to the model. `personal` names columns that
    the raw data may hold and that `ingest` drops: they stand in no table, bundle or log.
    """

    task: Literal["binary", "multiclass", "regression"]
    target: str
    features: tuple[Feature, ...]
    classes: tuple[Label, ...] = ()
    positive: Label | None = None
    time: str | None = None
    id: str | None = None
    personal: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("features", "classes", "personal"):
            alone = "a tuple is expected; where it holds one, a comma follows that"
            _hold((isinstance(getattr(self, name), tuple), f"{name} is {getattr(self, name)!r}; {alone}"))
        names, count = [*self.columns, *self.personal], len(self.classes)
        twice = sorted({name for name in names if names.count(name) > 1})
        fits = {"binary": count == 2, "multiclass": count > 2, "regression": count == 0}.get(self.task)
        alike = len(set(self.classes)) == count and {*map(type, self.classes)} in (set(), {bool}, {int}, {str})
        named = (self.positive in self.classes) if self.task == "binary" else self.positive is None
        _hold(
            (self.features, "there are no features; a model needs at least one"),
            (not twice, f"{', '.join(map(repr, twice))} stands twice; a column has one role"),
            (fits, f"task {self.task!r} with classes {self.classes}; a task is one of {CLASSES}"),
            (alike, f"classes {self.classes}; give each once, all as texts, integers or booleans"),
            (named, f"positive is {self.positive!r}; a binary task, and no other, names one of its classes"),
        )

    @property
    def columns(self) -> list[str]:
        """Return the columns of a table, in order: id, time, features, target."""
        return [*filter(None, (self.id, self.time)), *(feature.name for feature in self.features), self.target]

    @property
    def dtypes(self) -> dict[str, str]:
        """Return column -> pandas dtype, in the order of `columns`."""
        target = {bool: "bool", int: "int64", str: "str"}[type(self.classes[0])] if self.classes else "float64"
        special = {self.id: "str", self.time: DTYPES["datetime"], self.target: target}
        features = {feature.name: feature.dtype for feature in self.features}
        return {column: (features | special)[column] for column in self.columns}

    def to_json(self) -> dict[str, Any]:
        """Return the contract as a bundle carries it; of two classes, the positive one comes last."""
        return asdict(self) | {"classes": sorted(self.classes, key=lambda label: label == self.positive)}
