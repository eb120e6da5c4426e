"""Stage `export`: the fitted pipeline -> a bundle in ONNX that answers alike row by row, or a refusal."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before scikit-learn: threads that only predict wait more than they work

import numpy as np
import pandas as pd
import skops.io
from numpy.typing import NDArray
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.pipeline import Pipeline

from .. import UserError, digest, digest_json, folder, read_json, read_rows, run, write, write_json
from ..bundle import TOLERANCE, Bundle, columns_of, seal, session, tensors
from ..contract import Contract
from ..encoding import encode
from ..model import Encode
from ..params import ExportParams, load, raw
from ..schema import CONTRACT

AGREEING_SHARE = 0.999
PACKAGE = Path(__file__).parents[1]
TRUSTED = (PACKAGE.name, "sklearn", "numpy", "scipy")


def read_model(path: Path) -> Pipeline:
    """Return the fitted pipeline; a type from elsewhere than scikit-learn, NumPy, SciPy and this package is refused."""
    types = skops.io.get_untrusted_types(file=path)
    if strange := sorted(name for name in types if name.split(".")[0] not in TRUSTED):
        raise UserError(f"{path} holds {strange[0]}, which is not scikit-learn's nor this project's; train it again")
    return skops.io.load(path, trusted=types)


def snap_thresholds(model: Any) -> None:
    """Round every tree's thresholds down to float32, in place: inputs are float32, so all answers stay bit-equal."""
    if isinstance(model, list | tuple | np.ndarray):
        for part in model:
            snap_thresholds(part)
    elif isinstance(model, Pipeline):
        snap_thresholds(list(model.named_steps.values()))
    elif hasattr(model, "tree_"):
        _snap(model.tree_.threshold)
    else:
        for tree in np.ravel(getattr(model, "_predictors", [])):
            _snap(tree.nodes["num_threshold"])
        snap_thresholds(getattr(model, "estimators_", []))


def _snap(thresholds: NDArray[np.float64]) -> None:
    single = thresholds.astype(np.float32)
    thresholds[:] = np.where(single > thresholds, np.nextafter(single, np.float32(-np.inf)), single)


def to_onnx(steps: Pipeline, numbers: int, texts: int) -> bytes:
    """Return the steps after encoding as a graph: `numbers` and `texts` in, `scores` out; the same bytes each time."""
    inputs = [("numbers", FloatTensorType([None, numbers])), ("texts", StringTensorType([None, texts]))]
    options = {id(steps): {"zipmap": False}} if hasattr(steps[-1], "predict_proba") else None
    used = [(name, kind) for name, kind in inputs if kind.shape[1]]
    model = convert_sklearn(steps, name="model", initial_types=used, options=options, target_opset=17)
    answer = model.graph.output[-1].name
    for node in model.graph.node:
        node.input[:] = ["scores" if name == answer else name for name in node.input]
        node.output[:] = ["scores" if name == answer else name for name in node.output]
    model.graph.output[-1].name = "scores"
    del model.graph.output[:-1]
    imports = sorted(model.opset_import, key=lambda entry: str(entry.domain))  # their order follows PYTHONHASHSEED
    del model.opset_import[:]
    model.opset_import.extend(imports)
    return bytes(model.SerializeToString(deterministic=True))


def convert(model: Pipeline, rows: pd.DataFrame, features: list[dict[str, Any]], scale: float) -> bytes:
    """Return the graph of everything after encoding; `scale` is the target's sd of a regression, else 0.

    Raises:
        UserError: a step does not convert, or answers otherwise on more than one row in a thousand.
    """
    if not isinstance(model[0], Encode):
        raise UserError(f"the model starts with {type(model[0]).__name__}; the first step must be Encode")
    feed, encoded = tensors(*encode(features, rows)), model[:1].transform(rows)
    widths = [feed[name].shape[1] if name in feed else 0 for name in ("numbers", "texts")]

    def attempt(steps: Pipeline) -> tuple[bytes, float]:
        graph = to_onnx(steps, *widths)
        ours = np.asarray(session(graph).run(["scores"], feed)[0], dtype=np.float64)
        method = next(name for name in ("predict_proba", "predict", "transform") if hasattr(steps, name))
        theirs: Any = getattr(steps, method)(encoded)
        dense = np.asarray(theirs.toarray() if hasattr(theirs, "toarray") else theirs, dtype=np.float64)
        return graph, agreeing_share(ours, dense, scale)

    rest = Pipeline(model.steps[1:])
    try:
        graph, share = attempt(rest)
    except Exception as error:  # the converter raises whatever its parts raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{culprit(rest, attempt)} does not convert to ONNX: {reason}; use another") from error
    if share < AGREEING_SHARE:
        told = f"{share:.2%} of the rows agree within {TOLERANCE}, {AGREEING_SHARE:.1%} must"
        raise UserError(f"{culprit(rest, attempt)} answers otherwise in ONNX: {told}; use another")
    return graph


def agreeing_share(ours: NDArray[np.float64], theirs: NDArray[np.float64], scale: float) -> float:
    """Return the share of rows on which both agree within the tolerance, NaN with NaN."""
    ours, theirs = ours.reshape(len(ours), -1), theirs.reshape(len(ours), -1)
    bound = TOLERANCE * (np.maximum(np.abs(theirs), scale) if scale else 1)
    return float(((np.abs(ours - theirs) <= bound) | (np.isnan(ours) & np.isnan(theirs))).all(axis=1).mean())


def culprit(steps: Pipeline, attempt: Callable[[Pipeline], tuple[bytes, float]]) -> str:
    """Return the first step with which the pipeline fails; of a column transformer, name its parts."""
    for count in range(1, len(steps.steps) + 1):
        try:
            good = attempt(steps[:count])[1] >= AGREEING_SHARE
        except Exception:  # as above
            good = False
        if not good:
            break
    name, step = steps.steps[count - 1]
    parts = [f"{part} {type(of).__name__}" for part, of, _ in getattr(step, "transformers_", []) if of != "passthrough"]
    return f"step {name!r} ({type(step).__name__}{': ' if parts else ''}{', '.join(parts)})"


def contract_json(contract: Contract, train: pd.DataFrame, threshold: float | None) -> dict[str, Any]:
    """Return the contract as the bundle carries it: with threshold, and what training saw: ranges, open categories."""
    plain = contract.to_json() | {"threshold": threshold}
    del plain["personal"]
    for feature in plain["features"]:
        seen = train[feature["name"]].dropna()
        if feature["type"] in ("number", "integer"):
            feature["seen"] = [float(seen.min()), float(seen.max())] if len(seen) else None
        elif feature["type"] == "category" and not feature["categories"]:
            feature["categories"] = sorted(seen.unique())
    return plain


def golden_rows(train: pd.DataFrame, count: int, seed: int) -> list[dict[str, Any]]:
    """Return made-up rows as JSON carries them: each column drawn on its own, so that nobody's row leaves.

    The first row has no missing value.
    """
    random = np.random.default_rng(seed)
    drawn: dict[str, list[Any]] = {}
    for name in train.columns:
        present = train[name].dropna()
        first = present.take(random.integers(len(present), size=1)) if len(present) else present
        rest = train[name].take(random.integers(len(train), size=count))
        plain = pd.concat([first, rest]).head(count).astype(object)
        drawn[name] = [None if x is pd.NA or x != x else getattr(x, "isoformat", lambda x=x: x)() for x in plain]
    return [dict(zip(drawn, row, strict=True)) for row in zip(*drawn.values(), strict=True)]


def write_bundle(path: Path, graph: bytes, contract: dict[str, Any], train: pd.DataFrame, test: pd.DataFrame) -> str:
    """Write a bundle whole and return its version. Its reference columns are shuffled, each on its own."""
    p, names = load(ExportParams), [feature["name"] for feature in contract["features"]]
    golden, random = golden_rows(train[names], p.golden_rows, p.seed), np.random.default_rng(p.seed)
    drawn = {name: train[name].take(random.permutation(len(train))[: p.reference_rows]).array for name in names}
    pairs = test.sample(min(len(test), p.reference_rows), random_state=p.seed)
    with folder(path) as scratch:
        draft = Bundle(scratch, "draft", contract, session(graph))
        answers, scores = draft.scores(columns_of(golden)), draft.scores(pairs)
        known = answers.astype(object)
        known[~np.isfinite(answers)] = None
        write(scratch / "model.onnx", graph)
        write_json(scratch / "contract.json", contract)
        write_json(scratch / "golden.json", {"rows": golden, "scores": known.tolist()})
        (scratch / "reference").mkdir()
        pd.DataFrame(drawn).to_parquet(scratch / "reference/features.parquet", index=False)
        predicted = pd.DataFrame({"target": pairs[contract["target"]].array, "score": list(scores)})
        predicted.to_parquet(scratch / "reference/predictions.parquet", index=False)
        return seal(scratch)


def main(fitted_dir: Path, split_dir: Path, challenger_dir: Path) -> str:
    """Write the challenger: its bundle, and the receipt of everything that made it."""
    receipt, model = read_json(fitted_dir / "receipt.json"), read_model(fitted_dir / "model.skops")
    train, test = (read_rows(split_dir / f"{side}.parquet") for side in ("train", "test"))
    contract = contract_json(CONTRACT, train, receipt["result"].get("threshold"))
    snap_thresholds(model)
    graph = convert(model, test, contract["features"], receipt["result"]["target_sd"] or 0.0)
    version = write_bundle(challenger_dir / "bundle", graph, contract, train, test)
    params = raw("ingest", "validate", "split", "train", "export")
    code = {name: digest(PACKAGE / name) for name in ("encoding.py", "model.py")}
    recipe = digest_json([receipt["contract"], code, params])
    made = {"test_rows": digest(split_dir / "test.parquet"), "params": params, "recipe": recipe, "version": version}
    write_json(challenger_dir / "receipt.json", receipt | made)
    return f"bundle {version}; scikit-learn and ONNX agree on {len(test):,} test rows"


if __name__ == "__main__":
    run(main)
