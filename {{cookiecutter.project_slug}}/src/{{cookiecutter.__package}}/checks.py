"""What a value must be before it is encoded: the types of a `contract.json`, and the sentence when one does not hold.

The service and batch scoring hold their rows to the same types. No sentence repeats a value: it may be anybody's.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, ConfigDict, FailFast, Field, TypeAdapter, ValidationError, WithJsonSchema
from typing_extensions import TypedDict  # pydantic asks for this one below Python 3.12

from . import UserError
from .contract import WIDEST

INTEGERS = (-(2**63), 2**63 - 1)
A_TIME = "a time without zone, as in 2013-10-01T06:30:00"
EVERY = "; every feature is a key, and a missing value is null"
SHOWN = 30  # categories in a sentence
DAYS = "((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)"
LEAP = "([1-9][0-9](0[48]|[2468][048]|[13579][26])|2000)-02-29"
MOMENT = f"^([1-9][0-9]{{3}}-{DAYS}|{LEAP})(T([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\\.[0-9]{{1,6}})?)?)?$"


def _moment(text: str) -> str:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo or not (text.isascii() and text.isprintable()):
        raise ValueError
    return moment.isoformat()


Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Text = Annotated[str, Field(strict=True, min_length=1)]
Moment = Annotated[
    str, Field(strict=True, max_length=40, json_schema_extra={"pattern": MOMENT}), AfterValidator(_moment)
]


def whole(low: float, high: float) -> Any:
    """Return the type of an integer; 22.0 is one too, as in JSON Schema."""

    def exact(number: float) -> int:
        if not number.is_integer() or not low <= int(number) <= high:
            raise ValueError
        return int(number)

    fraction = Annotated[float, Field(strict=True, allow_inf_nan=False), AfterValidator(exact)]
    either = Annotated[int, Field(strict=True, ge=low, le=high)] | fraction
    schema = WithJsonSchema({"type": "integer", "minimum": low, "maximum": high})
    return Annotated[either, Field(union_mode="left_to_right"), schema]


def record(name: str, fields: dict[str, Any]) -> Any:
    """Return the type of a JSON object with these keys and no others; keys may be any text."""
    make: Any = TypedDict
    kind = make(name, fields)
    kind.__pydantic_config__ = ConfigDict(extra="forbid", strict=True)
    return kind


def list_of(kind: Any, longest: int | None = None) -> Any:
    """Return the type of a list of this kind, of which the first bad item is told and no other."""
    return Annotated[list[kind], Field(min_length=1, max_length=longest), FailFast()]


def type_of(feature: dict[str, Any]) -> Any:
    """Return the type that pydantic holds a value of this feature to."""
    low, high = feature["range"] or (INTEGERS if feature["type"] == "integer" else (-WIDEST, WIDEST))
    kinds: dict[str, Any] = {
        "number": Annotated[float, Field(strict=True, ge=low, le=high, allow_inf_nan=False)],
        "integer": whole(low, high),
        "boolean": Annotated[bool, Field(strict=True)],
        "datetime": Moment,
        "category": Text if feature["unknown"] == "accept" else Literal[tuple(feature["categories"])],
    }
    return kinds[feature["type"]] | None if feature["missing"] else kinds[feature["type"]]


def expected(feature: dict[str, Any]) -> str:
    """Return what a value of this feature must be, in words."""
    kinds = {"number": "a number", "integer": "an integer", "boolean": "true or false"}
    kinds |= {"datetime": A_TIME, "category": "a text"}
    words = kinds[feature["type"]]
    if feature["range"]:
        words += f" from {feature['range'][0]} to {feature['range'][1]}"
    if feature["unit"]:
        words += f" ({feature['unit']})"
    if feature["type"] == "category" and feature["unknown"] == "refuse":
        more = len(feature["categories"]) - SHOWN
        words = f"one of {', '.join(feature['categories'][:SHOWN])}{f' and {more} more' if more > 0 else ''}"
    return words + (", or null" if feature["missing"] else "")


class Checks:
    """The types of one contract."""

    def __init__(self, contract: dict[str, Any]) -> None:
        self.features = {feature["name"]: feature for feature in contract["features"]}
        types = {name: type_of(feature) for name, feature in self.features.items()}
        kept = {contract["time"]: Moment | None, contract["id"]: Text | None}
        optional = {name: NotRequired[kind] for name, kind in kept.items() if name is not None}
        self.expected = {name: expected(feature) for name, feature in self.features.items()}
        kept_words = {contract["time"]: f"{A_TIME}, or null", contract["id"]: "a text, or null"}
        self.expected |= {name: words for name, words in kept_words.items() if name is not None}
        self.row = record("Row", types | optional)
        self._one = TypeAdapter(self.row)
        self._columns = {name: TypeAdapter(list_of(kind)) for name, kind in (types | kept).items() if name is not None}

    def one(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return a checked row.

        Raises:
            UserError: it breaks the contract; the sentence says in what.
        """
        try:
            checked: dict[str, Any] = self._one.validate_python(row)
        except ValidationError as error:
            raise UserError(sentence(error, self.expected, 0, EVERY)) from error
        return checked

    def column(self, name: str, values: list[Any], where: str) -> list[Any]:
        """Return the checked values of a column.

        Raises:
            UserError: one of them is not what it must be; the sentence says which, at which place.
        """
        try:
            checked: list[Any] = self._columns[name].validate_python(values)
        except ValidationError as error:
            place = "".join(f"[{part}]" for part in error.errors(include_input=False)[0]["loc"][:1])
            raise UserError(f"{where}{place}: {self.expected[name]} is expected") from error
        return checked


def sentence(error: ValidationError, expected: Mapping[str, str], at: int, missing: str = "") -> str:
    """Return what is wrong first, and where: `expected` are the keys of the object at depth `at`, in words."""
    found = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if found["type"] == "json_invalid":
        return f"the body is no JSON in UTF-8: {found['msg'].removeprefix('Invalid JSON: ')}"
    loc, inside = found["loc"], len(found["loc"]) > at
    if inside and loc[at] in expected:
        loc = loc[: at + 1]  # what follows names a branch of a type
    path = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc]
    if found["type"] == "extra_forbidden":
        keys = f"; its keys are {', '.join(expected)}" if inside else ""
        return f"{''.join(path[:-1]).lstrip('.') or 'the object'} has an unknown key{keys}"
    place = "".join(path).lstrip(".") or "the body"
    if found["type"] == "missing":
        return f"{place} is missing{missing if inside else ''}"
    if inside and loc[at] in expected:
        return f"{place}: {expected[str(loc[at])]} is expected"
    said = found["msg"].replace("a valid dictionary", "an object").replace("a valid list", "a valid array")
    return f"{place}: {said[0].lower()}{said[1:]}"
