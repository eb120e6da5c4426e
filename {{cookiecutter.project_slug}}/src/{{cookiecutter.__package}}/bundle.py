"""A bundle: the folder with everything that an answer needs, and nothing that runs code when it is loaded.

model.onnx          the model after encoding: tensors `numbers` and `texts` in, `scores` out
contract.json       columns, types, ranges, classes, threshold: what `schema.py` said on the day of export
golden.json         made-up rows and the scores that they had on the day of export
reference/          features.parquet and predictions.parquet: what the drift monitor compares with
manifest.json       SHA-256 of each of these; the bundle's version is the first 12 digits of its own
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import ArrayLike, NDArray

from .encoding import encode
from .errors import UserError
from .files import digest, read_json, write_json

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Bundle:
    """A verified bundle, ready to answer."""

    path: Path
    version: str
    contract: dict[str, Any]
    session: onnxruntime.InferenceSession

    def scores(self, columns: Mapping[str, ArrayLike]) -> NDArray[np.float64]:
        """Return probabilities (rows, classes) in the order of the contract's classes, or numbers (rows,) of a regression."""
        numbers, texts = encode(self.contract["features"], columns)
        found = self.session.run(["scores"], _feed(self.session, numbers, texts))[0].astype(np.float64)
        return found.reshape(-1) if self.contract["task"] == "regression" else found

    def predictions(self, scores: NDArray[np.float64]) -> list[Any]:
        """Return the class of each row (of two, by the contract's threshold), or the number itself."""
        if self.contract["task"] == "regression":
            return scores.tolist()
        best = scores[:, 1] >= self.contract["threshold"] if scores.shape[1] == 2 else scores.argmax(axis=1)
        return [self.contract["classes"][index] for index in best.astype(int).tolist()]

    def probabilities(self, scores: NDArray[np.float64]) -> list[Any] | None:
        """Return the probability of the positive class, of many classes one each, or None for a regression."""
        if self.contract["task"] == "regression":
            return None
        if self.contract["task"] == "binary":
            return scores[:, 1].tolist()
        return [dict(zip(map(str, self.contract["classes"]), row, strict=True)) for row in scores.tolist()]


def session(model: Path | bytes) -> onnxruntime.InferenceSession:
    """Return an onnxruntime session on one thread: the fastest for single rows, and the same digits everywhere."""
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    content = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _feed(run: onnxruntime.InferenceSession, numbers: NDArray[Any], texts: NDArray[Any]) -> dict[str, NDArray[Any]]:
    tensors = {"numbers": numbers, "texts": texts}
    return {entry.name: tensors[entry.name] for entry in run.get_inputs()}


def seal(path: Path) -> str:
    """Write the manifest of a finished folder and return the bundle's version."""
    files = sorted(item.relative_to(path).as_posix() for item in path.rglob("*") if item.is_file())
    write_json(path / MANIFEST, {name: digest(path / name) for name in files})
    return version_of(path)


def version_of(path: Path) -> str:
    """Return the version of the bundle in this folder, unverified."""
    return digest(path / MANIFEST)[:12]


def load(path: Path) -> Bundle:
    """Return the bundle in this folder, every file verified against the manifest.

    Raises:
        UserError: a file is missing, added or changed.
    """
    try:
        manifest = read_json(path / MANIFEST)
        files = {item.relative_to(path).as_posix() for item in path.rglob("*") if item.is_file()} - {MANIFEST}
        wrong = sorted(files ^ set(manifest)) or [name for name in manifest if digest(path / name) != manifest[name]]
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: the bundle cannot be read ({error}); restore it with `dvc checkout`") from error
    if wrong:
        raise UserError(f"{path}: {wrong[0]} is not what the manifest says; restore the bundle with `dvc checkout`")
    return Bundle(path, version_of(path), read_json(path / "contract.json"), session(path / "model.onnx"))


def replay(bundle: Bundle) -> None:
    """Answer the golden rows and compare with the day of export.

    Raises:
        UserError: an answer is not finite or differs; the model or what encodes its rows is not what it was.
    """
    golden = read_json(bundle.path / "golden.json")
    now = bundle.scores(columns_of(golden["rows"]))
    then = np.asarray(golden["scores"], dtype=np.float64)
    if not np.isfinite(now).all():
        raise UserError(f"bundle {bundle.version}: a golden row is answered with a number that is not finite")
    if now.shape != then.shape or np.abs(now - then).max() > 1e-5 * max(1.0, float(np.abs(then).max())):
        raise UserError(f"bundle {bundle.version}: golden rows are not answered as on the day of export")


def columns_of(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return rows as columns."""
    return {name: [row[name] for row in rows] for name in rows[0]}


def _load_pyfunc(path: str) -> Any:
    """Return what MLflow calls for `models:/<name>@champion`: the bundle, answering a frame of raw rows."""
    return _PyFunc(load(Path(path)))


@dataclass(frozen=True)
class _PyFunc:
    bundle: Bundle

    def predict(self, rows: Any, params: dict[str, Any] | None = None) -> Any:
        """Return a frame with `prediction` and, of classes, `probability`: what `/predict` answers."""
        scores = self.bundle.scores(rows)
        answer = {"prediction": self.bundle.predictions(scores), "probability": self.bundle.probabilities(scores)}
        return type(rows)({name: values for name, values in answer.items() if values is not None}, index=rows.index)
