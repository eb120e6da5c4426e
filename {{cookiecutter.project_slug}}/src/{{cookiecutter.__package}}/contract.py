"""The words that `schema.py` is written in: a contract says what a table, a request and an answer look like."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from .errors import UserError

Label = bool | int | str
Type = Literal["number", "integer", "boolean", "category", "datetime"]

DTYPES = {"number": "float64", "integer": "int64", "boolean": "bool", "category": "str", "datetime": "datetime64[us]"}
NULLABLE = {"integer": "Int64", "boolean": "boolean"}


@dataclass(frozen=True)
class Feature:
    """One input of the model.

    `range` holds both ends, inclusive, in `unit`. `missing` is the largest share of rows (0 to 1) that may lack a
    value; 0 means that every row must have one. `categories` lists the values of a category; with
    `unknown="accept"` others are answered too and counted, and the list may be empty.
    """

    name: str
    type: Type
    unit: str = ""
    range: tuple[float, float] | None = None
    categories: tuple[str, ...] = ()
    unknown: Literal["refuse", "accept"] = "refuse"
    missing: float = 0.0

    def __post_init__(self) -> None:
        if self.type not in DTYPES:
            raise UserError(f"schema.py: {self.name!r} has type {self.type!r}; use one of {', '.join(DTYPES)}")
        if not 0 <= self.missing <= 1:
            raise UserError(f"schema.py: {self.name!r} has missing={self.missing}; a share lies between 0 and 1")
        if self.range and (self.type not in ("number", "integer") or not self.range[0] <= self.range[1]):
            raise UserError(f"schema.py: {self.name!r} has range {self.range}; give (low, high) of a number")
        if self.type == "category" and not self.categories and self.unknown == "refuse":
            raise UserError(f'schema.py: {self.name!r} lists no categories; list them or set unknown="accept"')

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
        names = [*self.columns, *self.personal]
        twice = sorted({name for name in names if names.count(name) > 1})
        wanted = {"binary": len(self.classes) == 2, "multiclass": len(self.classes) > 2, "regression": not self.classes}
        if self.task not in wanted:
            raise UserError(f"schema.py: task is {self.task!r}; use one of {', '.join(wanted)}")
        if not self.features:
            raise UserError("schema.py: there are no features; a model needs at least one")
        if twice:
            raise UserError(f"schema.py: {', '.join(map(repr, twice))} stands twice; a column has one role")
        if not wanted[self.task] or len({type(label) for label in self.classes}) > 1:
            raise UserError(
                f"schema.py: task {self.task!r} with classes {self.classes}; "
                "binary has two classes, multiclass more, all of one type, and regression none"
            )
        if (self.task == "binary") != (self.positive is not None and self.positive in self.classes):
            raise UserError(
                f"schema.py: positive is {self.positive!r}; a binary task, and no other, names one of its classes"
            )

    @property
    def columns(self) -> list[str]:
        """Return the columns of a table, in order: id, time, features, target."""
        return [*filter(None, (self.id, self.time)), *(feature.name for feature in self.features), self.target]

    @property
    def labels(self) -> tuple[Label, ...]:
        """Return the classes in the model's order; of two, the positive one comes last."""
        return tuple(sorted(self.classes, key=lambda label: label == self.positive)) if self.positive is not None else self.classes

    @property
    def dtypes(self) -> dict[str, str]:
        """Return column -> pandas dtype, in the order of `columns`."""
        target = {bool: "bool", int: "int64", str: "str"}[type(self.classes[0])] if self.classes else "float64"
        dtypes = {feature.name: feature.dtype for feature in self.features} | {self.target: target}
        dtypes |= {self.id: "str"} if self.id else {}
        dtypes |= {self.time: "datetime64[us]"} if self.time else {}
        return {column: dtypes[column] for column in self.columns}

    def to_json(self) -> dict[str, Any]:
        """Return the contract as plain data: what a bundle carries as `contract.json`."""
        return asdict(self) | {"classes": list(self.labels)}
