"""One section of `params.yaml` -> one frozen model; a stage reads its own sections and no others."""

import difflib
import re
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from . import UserError

Share = Field(ge=0, le=1)
Count = Field(ge=1)
Seed = Field(ge=0, lt=2**32)
SHOWN = 12  # newest windows of the champion, and of all others together, that the monitor examines and shows


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError("a day, as in 2013-10-01") from None


def _version(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{12}", text):
        raise ValueError("a version, as the folders of models/versions/ are named")
    return text


class _Loader(yaml.CSafeLoader):
    """Takes 1e-3 for a number, as YAML 1.2 does."""


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+[eE][-+]?[0-9]+$"), [*"-+0123456789"])


class Section(BaseModel):
    """A section of `params.yaml`: unknown keys refused, no value turned into another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class TableParams(Section):
    """How a raw table is read, see table.py; `make adopt` makes these the keys of `ingest`."""

    delimiter: str = Field(min_length=1, max_length=1)
    encoding: str
    decimal: Literal[".", ","]
    thousands: Literal["", ",", ".", " ", "'"]
    missing: list[str]
    missing_in: dict[str, list[str]]
    dates: dict[str, str]
    stream_from: Annotated[str, AfterValidator(_day)] | None
    stream_share: float = Field(gt=0, lt=1)
    stream_seed: int = Seed


class IngestParams(Section):
    late_minutes: int = Count
    stream_from: Annotated[str, AfterValidator(_day)]


class ValidateParams(Section):
    bad_rows: Literal["refuse", "quarantine"]
    max_bad_share: float = Share
    examples: int = Count


class SplitParams(Section):
    test_share: float = Field(gt=0, lt=1)
    max_test_days: int = Count
    min_test_rows: int = Count
    seed: int = Seed


class TrainParams(Section):
    """`threshold` and `folds` are ours; every other key is a parameter of the estimator, under scikit-learn's name."""

    model_config = ConfigDict(extra="allow")

    threshold: Annotated[float, Field(gt=0, lt=1)] | Literal["f1", "balanced_accuracy"]
    folds: int = Field(ge=2)

    @property
    def estimator(self) -> dict[str, Any]:
        """Return the estimator's own parameters."""
        return dict(self.model_extra or {})


class ExportParams(Section):
    reference_rows: int = Count
    golden_rows: int = Count
    seed: int = Seed


class EvaluateParams(Section):
    resamples: int = Field(ge=100, le=100_000)
    level: float = Field(gt=0.5, lt=1)
    slice_min_rows: int = Count
    seed: int = Seed


class PromoteParams(Section):
    min_effect: float = Share
    margin: float = Share
    slice_margin: float = Field(ge=0)
    calibration_margin: float = Field(ge=0)
    max_skill: float = Share
    min_test_days: int = Count
    max_latency_ms: float = Field(gt=0)
    max_latency_ratio: float = Field(gt=1)
    replace: Annotated[str, AfterValidator(_version)] | None


class MonitorParams(Section):
    min_rows: int = Count
    alpha: float = Field(gt=0, lt=1)
    min_shift: float = Field(ge=0)
    min_share_shift: float = Share
    min_missing: float = Share
    min_calibration_gap: float = Field(ge=0)
    metric: str | None
    margin: float = Share
    window_rows: int = Count
    window_days: int = Count
    windows: int = Field(ge=1, le=SHOWN)
    windows_below: int = Count
    fresh_labels: int = Count
    fresh_days: int = Count
    keep_logs_days: int = Count
    keep_snapshots_days: int = Count

    @field_validator("windows_below")
    @classmethod
    def _can_fire(cls, below: int, given: ValidationInfo) -> int:
        if below > given.data.get("windows", below):
            raise ValueError(f"at most monitor.windows, {given.data['windows']}, or no alarm could ever fire")
        return below


SECTIONS: dict[str, type[Section]] = {
    "ingest": IngestParams,
    "validate": ValidateParams,
    "split": SplitParams,
    "train": TrainParams,
    "export": ExportParams,
    "evaluate": EvaluateParams,
    "promote": PromoteParams,
    "monitor": MonitorParams,
}
S = TypeVar("S", bound=Section)


def load(section: type[S], path: Path = Path("params.yaml")) -> S:
    """Return the section of that type.

    Raises:
        UserError: a section or key is unknown or missing, or a value is impossible; all of them at once.
    """
    name = next(key for key, model in SECTIONS.items() if model is section)
    content = _read(path)
    faults = [f"{path}: section {_unknown(key, SECTIONS)}" for key in content if key not in SECTIONS]
    given = content.get(name)
    if not isinstance(given, dict):
        raise UserError("\n".join([*faults, f"{path}: {name} is {given!r}; expected: keys with values"]))
    try:
        params = section.model_validate(given)
    except ValidationError as error:
        found: dict[str, list[Any]] = {}
        for fault in error.errors(include_url=False):
            found.setdefault(str(fault["loc"][0]), []).append(fault)
        faults += [f"{path}: {name}.{_sentence(key, section, given, found[key])}" for key in found]
    if faults:
        raise UserError("\n".join(faults))
    return params


def raw(*sections: str, path: Path = Path("params.yaml")) -> dict[str, Any]:
    """Return sections as plain data: what a receipt says that went in."""
    content = _read(path)
    return {section: content[section] for section in sections}


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text("utf-8"), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML in UTF-8: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is {content!r}; expected: sections with keys and values")
    for name, section in content.items():
        if odd := [key for key in (name, *(section if isinstance(section, dict) else ())) if not isinstance(key, str)]:
            raise UserError(f"{path}: the key {odd[0]!r} in {name} is no text; take it out, or quote it")
    return content


def _unknown(key: str, known: Any) -> str:
    near = difflib.get_close_matches(str(key), list(known), n=1)
    return f"{key} is unknown; " + (f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}")


def _sentence(key: str, section: type[Section], given: dict[str, Any], faults: list[Any]) -> str:
    if faults[0]["type"] == "extra_forbidden":
        return _unknown(key, section.model_fields)
    if faults[0]["type"] == "missing":
        near = difflib.get_close_matches(key, [other for other in given if other not in section.model_fields], n=1)
        return f"{key} is missing; " + (f"is it meant by {near[0]}?" if near else "add it")
    if isinstance(given[key], date):
        return f"{key} is the day {given[key]}; put it in quotes"
    expected = [fault["msg"].removeprefix("Input should be ").removeprefix("Value error, ") for fault in faults]
    return f"{key} is {given[key]!r}; expected: {' or '.join(expected)}"
