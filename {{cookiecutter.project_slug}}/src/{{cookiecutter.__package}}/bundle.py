"""A bundle: the folder with everything that an answer needs, and nothing that runs code when it is loaded.

model.onnx      the model after encoding: tensors `numbers` and `texts` in, `scores` out
contract.json   columns, types, ranges, classes, threshold: what `schema.py` said on the day of export
golden.json     made-up rows and the scores that they had on the day of export
reference/      features.parquet and predictions.parquet: what the drift monitor compares with
manifest.json   SHA-256 of each of these; the first 12 digits of its own are the bundle's version
"""

import os
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime begins, which else reports to its makers

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from . import UserError, digest, read_json, write_json
from .encoding import Columns, encode

MANIFEST = "manifest.json"
TOLERANCE = 1e-5  # of a score, times the largest one of a regression


@dataclass(frozen=True)
class Bundle:
    """A bundle, ready to answer."""

    path: Path
    version: str
    contract: dict[str, Any]
    session: onnxruntime.InferenceSession

    def scores(self, columns: Columns) -> NDArray[np.float64]:
        """Return probabilities (rows, classes) in the contract's order, or of a regression numbers (rows,)."""
        return self.run(*encode(self.contract["features"], columns))

    def run(self, numbers: NDArray[Any], texts: NDArray[Any]) -> NDArray[np.float64]:
        """Return the scores of encoded rows."""
        found = np.asarray(self.session.run(["scores"], tensors(numbers, texts))[0], dtype=np.float64)
        return found.reshape(-1) if self.contract["task"] == "regression" else found

    def answers(self, scores: NDArray[np.float64]) -> dict[str, list[Any]]:
        """Return `prediction` and, of classes, `probability`: of the positive class, or of many classes one each."""
        task, classes = self.contract["task"], self.contract["classes"]
        rows = scores.tolist()
        if task == "regression":
            return {"prediction": rows}
        if task == "binary":
            threshold, probability = self.contract["threshold"], [row[1] for row in rows]
            return {"prediction": [classes[p >= threshold] for p in probability], "probability": probability}
        names = [str(name) for name in classes]
        best = [classes[row.index(max(row))] for row in rows]
        return {"prediction": best, "probability": [dict(zip(names, row, strict=True)) for row in rows]}


def finite(scores: NDArray[np.float64]) -> list[bool]:
    """Return for each row whether the model had a finite answer to it."""
    return [isfinite(sum(row)) for row in scores.reshape(len(scores), -1).tolist()]


def tensors(numbers: NDArray[Any], texts: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return what the graph is fed with: a tensor without columns is no input."""
    return {name: tensor for name, tensor in (("numbers", numbers), ("texts", texts)) if tensor.shape[1]}


def session(graph: bytes) -> onnxruntime.InferenceSession:
    """Return an onnxruntime session on one thread: the fastest for single rows, and the same digits everywhere."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _files(path: Path) -> set[str]:
    return {item.relative_to(path).as_posix() for item in path.rglob("*") if item.is_file()} - {MANIFEST}


def seal(path: Path) -> str:
    """Write the manifest of a finished folder and return the bundle's version."""
    write_json(path / MANIFEST, {name: digest(path / name) for name in sorted(_files(path))})
    return digest(path / MANIFEST)[:12]


def load(path: Path) -> Bundle:
    """Return the bundle in this folder, every file verified against the manifest.

    Raises:
        UserError: a file is missing, added or changed.
    """
    try:
        manifest = read_json(path / MANIFEST)
        wrong = _files(path) ^ set(manifest) or {name for name in manifest if digest(path / name) != manifest[name]}
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: the bundle cannot be read ({error}); `.venv/bin/dvc pull` brings it") from error
    if wrong:
        raise UserError(f"{path}: {min(wrong)} is not what the manifest says; restore the bundle with `dvc checkout`")
    graph, contract = (path / "model.onnx").read_bytes(), read_json(path / "contract.json")
    return Bundle(path, digest(path / MANIFEST)[:12], contract, session(graph))


def replay(bundle: Bundle) -> None:
    """Answer the golden rows and compare with the day of export.

    Raises:
        UserError: an answer is not finite or differs; the model, or what encodes its rows, is not what it was.
    """
    golden = read_json(bundle.path / "golden.json")
    now, then = bundle.scores(columns_of(golden["rows"])), np.asarray(golden["scores"], dtype=np.float64)
    if now.shape != then.shape or not np.abs(now - then).max() <= TOLERANCE * max(1.0, np.abs(then).max()):  # nor NaN
        raise UserError(f"bundle {bundle.version}: golden rows are not answered as on the day of export")


def verified(versions: Path, version: str) -> Bundle:
    """Return the bundle of a version, after it has answered its golden rows.

    Raises:
        UserError: it is not whole, is another version's, or does not answer as on the day of export.
    """
    bundle = load(versions / version / "bundle")
    if bundle.version != version:
        raise UserError(f"{versions / version} holds bundle {bundle.version}; restore it with `dvc checkout`")
    replay(bundle)
    return bundle


def columns_of(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return rows as columns."""
    return {name: [row[name] for row in rows] for name in rows[0]}


@dataclass(frozen=True)
class _PyFunc:
    bundle: Bundle

    def predict(self, rows: Any, params: Any = None) -> Any:
        """Return for a frame of raw rows the frame of their answers, the same as over HTTP."""
        plain = rows.astype(object).where(rows.notna(), None)  # pandas has a missing value for each of its types
        return type(rows)(self.bundle.answers(self.bundle.scores(plain)), index=rows.index)


def _load_pyfunc(path: str) -> _PyFunc:
    """Return what MLflow calls for `models:/<name>@champion`."""
    return _PyFunc(load(Path(path)))
