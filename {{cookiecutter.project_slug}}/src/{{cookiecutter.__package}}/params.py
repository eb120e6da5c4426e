"""One section of `params.yaml` -> one frozen model; a stage reads its own sections and no others."""

import difflib
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import UserError

Share = Field(ge=0, le=1)
Count = Field(ge=1)


class Section(BaseModel):
    """A section of `params.yaml`: unknown keys refused, no value turned into another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class IngestParams(Section):
    late_minutes: int = Count
    stream_from: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")


class ValidateParams(Section):
    bad_rows: Literal["refuse", "quarantine"]
    max_bad_share: float = Share
    examples: int = Count


class SplitParams(Section):
    test_share: float = Field(gt=0, lt=1)
    max_test_days: int = Count
    min_test_rows: int = Count
    seed: int = Field(ge=0)


class TrainParams(Section):
    """`threshold` and `folds` are ours; every other key is a parameter of the estimator, under scikit-learn's name."""

    model_config = ConfigDict(extra="allow")

    threshold: float | Literal["f1", "balanced_accuracy"]
    folds: int = Field(ge=2)

    @property
    def estimator(self) -> dict[str, Any]:
        """Return the estimator's own parameters."""
        return dict(self.model_extra or {})


class ExportParams(Section):
    reference_rows: int = Count
    golden_rows: int = Count
    seed: int = Field(ge=0)


class EvaluateParams(Section):
    resamples: int = Field(ge=100)
    level: float = Field(gt=0.5, lt=1)
    slice_min_rows: int = Count
    seed: int = Field(ge=0)


class PromoteParams(Section):
    min_effect: float = Share
    margin: float = Share
    slice_margin: float = Field(ge=0)
    calibration_margin: float = Field(ge=0)
    max_skill: float = Share
    min_test_days: int = Count
    max_latency_ms: float = Field(gt=0)
    max_latency_ratio: float = Field(gt=1)
    replace: str | None


class MonitorParams(Section):
    min_rows: int = Count


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
    content = yaml.safe_load(path.read_text("utf-8")) or {}
    faults = [_unknown(f"{path}: section {key!r}", key, SECTIONS) for key in content if key not in SECTIONS]
    try:
        params = section.model_validate(content.get(name) or {})
    except ValidationError as error:
        faults += [_sentence(path, name, section, fault) for fault in error.errors(include_url=False)]
    if faults:
        raise UserError("\n".join(dict.fromkeys(faults)))
    return params


def raw(*sections: str, path: Path = Path("params.yaml")) -> dict[str, Any]:
    """Return sections as plain data: what a receipt says that went in."""
    content = yaml.safe_load(path.read_text("utf-8"))
    return {section: content[section] for section in sections}


def _unknown(what: str, key: str, known: Any) -> str:
    near = difflib.get_close_matches(str(key), list(known), n=1)
    return f"{what} is unknown; " + (f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}")


def _sentence(path: Path, name: str, section: type[Section], fault: Any) -> str:
    key = str(fault["loc"][0])
    if fault["type"] == "extra_forbidden":
        return _unknown(f"{path}: {name}.{key}", key, section.model_fields)
    if fault["type"] == "missing":
        return f"{path}: {name}.{key} is missing; add it"
    expectation = fault["msg"].removeprefix("Input should be ")
    return f"{path}: {name}.{key} is {fault['input']!r}; expected: {expectation}"
