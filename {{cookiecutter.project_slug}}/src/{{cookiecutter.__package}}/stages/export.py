"""Stage `export`: the fitted pipeline -> a bundle in ONNX that answers alike, row by row, or a refusal that names the step."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import skops.io
from numpy.typing import NDArray
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from ..bundle import Bundle, columns_of, seal, session
from ..contract import Contract
from ..encoding import encode
from ..errors import UserError
from ..files import digest, digest_json, folder, read_json, write, write_json
from ..model import Encode
from ..params import ExportParams, load, raw
from ..schema import CONTRACT
from . import run

TOLERANCE = 1e-5  # of a probability; of a number times the larger of itself and the target's sd
AGREEING_SHARE = 0.999
TRUSTED = (__package__.split(".")[0], "sklearn", "numpy", "scipy")


def read_model(path: Path) -> Pipeline:
    """Return the fitted pipeline; types from anywhere but scikit-learn, NumPy and this package are refused."""
    types = skops.io.get_untrusted_types(file=path)
    strange = sorted(name for name in types if name.split(".")[0] not in TRUSTED)
    if strange:
        raise UserError(f"{path} holds {strange[0]}, which is neither scikit-learn's nor this project's; run `dvc repro -f train`")
    return skops.io.load(path, trusted=types)


def snap_thresholds(model: Any) -> None:
    """Round every tree's thresholds down to float32, in place: inputs are float32, so scikit-learn's answers stay bit-equal."""
    for tree in _trees(model):
        found = tree["num_threshold"] if isinstance(tree, np.ndarray) else tree.threshold
        single = found.astype(np.float32)
        found[:] = np.where(single > found, np.nextafter(single, np.float32(-np.inf)), single)


def _trees(model: Any) -> list[Any]:
    """Return the node arrays of gradient boosting and the `Tree` objects of forests, however deeply nested."""
    if isinstance(model, (list, tuple)) or (isinstance(model, np.ndarray) and model.dtype == object):
        return [tree for item in model for tree in _trees(item)]
    if isinstance(model, Pipeline):
        return _trees([step for _, step in model.steps])
    if hasattr(model, "_predictors"):
        return [tree.nodes for trees in model._predictors for tree in trees]
    if hasattr(model, "tree_"):
        return [model.tree_]
    return _trees(getattr(model, "estimators_", []))


def to_onnx(steps: Pipeline, numbers: int, texts: int) -> bytes:
    """Return the steps after encoding as an ONNX graph: `numbers` and `texts` in, `scores` out; the same bytes each time."""
    inputs: list[tuple[str, Any]] = [("numbers", FloatTensorType([None, numbers]))] if numbers else []
    inputs += [("texts", StringTensorType([None, texts]))] if texts else []
    options = {id(steps): {"zipmap": False}} if hasattr(steps[-1], "predict_proba") else None
    model = convert_sklearn(steps, name="model", initial_types=inputs, options=options, target_opset=17)
    answer = model.graph.output[-1]
    for node in model.graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                names[index] = "scores" if name == answer.name else name
    answer.name = "scores"
    del model.graph.output[:-1]
    imports = sorted(model.opset_import, key=lambda entry: entry.domain)  # their order follows PYTHONHASHSEED
    del model.opset_import[:]
    model.opset_import.extend(imports)
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)


def expected(model: Pipeline, rows: pd.DataFrame) -> NDArray[np.float64]:
    """Return what scikit-learn answers: probabilities, numbers, or the columns of a transformer."""
    for method in ("predict_proba", "predict", "transform"):
        if hasattr(model, method):
            return np.asarray(getattr(model, method)(rows), dtype=np.float64)
    raise UserError(f"{type(model[-1]).__name__} neither predicts nor transforms")


def agreeing_share(ours: NDArray[np.float64], theirs: NDArray[np.float64], scale: float) -> float:
    """Return the share of rows on which both agree within the tolerance, NaN with NaN included."""
    ours, theirs = ours.reshape(len(ours), -1), theirs.reshape(len(ours), -1)
    bound = TOLERANCE * np.maximum(np.abs(theirs), scale) if scale else TOLERANCE
    same = (np.abs(ours - theirs) <= bound) | (np.isnan(ours) & np.isnan(theirs))
    return float(same.all(axis=1).mean())


def convert(model: Pipeline, rows: pd.DataFrame, features: Sequence[dict[str, Any]], scale: float) -> bytes:
    """Return the ONNX graph of everything after the first step.

    Raises:
        UserError: a step does not convert, or answers otherwise on more than one row in a thousand; it is named.
    """
    numbers, texts = encode(features, rows)
    feed = {name: tensor for name, tensor in (("numbers", numbers), ("texts", texts)) if tensor.shape[1]}

    def attempt(steps: Pipeline) -> tuple[bytes, float]:
        graph = to_onnx(steps, numbers.shape[1], texts.shape[1])
        answers = np.asarray(session(graph).run(["scores"], feed)[0], dtype=np.float64)
        return graph, agreeing_share(answers, expected(steps, model[:1].transform(rows)), scale)

    if not isinstance(model[0], Encode):
        raise UserError(f"the model starts with {type(model[0]).__name__}; the first step of build_model must be Encode")
    rest = Pipeline(model.steps[1:])
    try:
        graph, share = attempt(rest)
    except Exception as error:  # the converter raises whatever its parts raise
        raise UserError(f"{_culprit(rest, attempt)} does not convert to ONNX: {_first_line(error)}; use another step") from error
    if share < AGREEING_SHARE:
        raise UserError(
            f"{_culprit(rest, attempt)} answers otherwise in ONNX: {share:.2%} of the rows agree within {TOLERANCE}, "
            f"{AGREEING_SHARE:.1%} must; use another step"
        )
    return graph


def _culprit(steps: Pipeline, attempt: Any) -> str:
    """Return the first step without which the pipeline converts and agrees, and of column transformers the part."""
    for count in range(1, len(steps.steps) + 1):
        name, step = steps.steps[count - 1]
        if _fails(steps[:count], attempt):
            for part, transformer, _ in step.transformers_ if isinstance(step, ColumnTransformer) else ():
                if type(transformer).__name__ not in ("str", "FunctionTransformer") or transformer != "passthrough":
                    alone = ColumnTransformer(step.transformers)
                    alone.__dict__.update(step.__dict__)
                    alone.transformers_ = [entry for entry in step.transformers_ if entry[0] == part]
                    if _fails(Pipeline([(name, alone)]), attempt):
                        return f"step {name!r}, part {part!r} ({type(transformer).__name__}),"
            return f"step {name!r} ({type(step).__name__})"
    return f"the pipeline {[name for name, _ in steps.steps]}"


def _fails(steps: Pipeline, attempt: Any) -> bool:
    try:
        return bool(attempt(steps)[1] < AGREEING_SHARE)
    except Exception:  # as above: any failure names the step
        return True


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def contract_json(contract: Contract, train: pd.DataFrame, threshold: float | None) -> dict[str, Any]:
    """Return the contract as the bundle carries it: with the threshold, and for each number the range seen in training."""
    plain = contract.to_json() | {"threshold": threshold}
    for feature in plain["features"]:
        if feature["type"] in ("number", "integer"):
            present = train[feature["name"]].dropna()
            feature["seen"] = [float(present.min()), float(present.max())] if len(present) else None
    return plain


def marginals(rows: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """Return made-up rows: each column drawn on its own from the real one, so that no row of anybody leaves with the model."""
    random = np.random.default_rng(seed)
    return pd.DataFrame({name: column.take(random.integers(len(rows), size=count)).array for name, column in rows.items()})


def shuffled(rows: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """Return at most `count` values of each column, none twice, each column in an order of its own."""
    random = np.random.default_rng(seed)
    return pd.DataFrame({name: column.take(random.permutation(len(rows))[:count]).array for name, column in rows.items()})


def golden_rows(train: pd.DataFrame, count: int, seed: int) -> list[dict[str, Any]]:
    """Return made-up rows as JSON would carry them; the first has no missing value."""
    rows = marginals(train, count, seed)
    for name in rows.columns[rows.iloc[0].isna().to_numpy()]:
        present = train[name].dropna()
        if len(present):
            rows[name] = pd.concat([present.iloc[[0]], rows[name].iloc[1:]], ignore_index=True)
    plain = rows.astype(object).where(rows.notna(), None)
    return [
        {name: value.isoformat() if isinstance(value, pd.Timestamp) else value for name, value in row.items()}
        for row in plain.to_dict(orient="records")
    ]


def write_bundle(path: Path, graph: bytes, contract: dict[str, Any], train: pd.DataFrame, test: pd.DataFrame, p: ExportParams) -> str:
    """Write a bundle whole and return its version."""
    names = [feature["name"] for feature in contract["features"]]
    with folder(path) as scratch:
        write(scratch / "model.onnx", graph)
        write_json(scratch / "contract.json", contract)
        draft = Bundle(scratch, "draft", contract, session(graph))
        golden = golden_rows(train[names], p.golden_rows, p.seed)
        answers = draft.scores(columns_of(golden))
        write_json(scratch / "golden.json", {"rows": golden, "scores": np.where(np.isfinite(answers), answers, None).tolist()})
        (scratch / "reference").mkdir()
        shuffled(train[names], p.reference_rows, p.seed).to_parquet(scratch / "reference/features.parquet", index=False)
        pairs = test.sample(min(len(test), p.reference_rows), random_state=p.seed)
        scores = draft.scores(pairs)
        columns = {"target": pairs[contract["target"]].to_numpy(), "score": list(scores) if scores.ndim > 1 else scores}
        pd.DataFrame(columns).to_parquet(scratch / "reference/predictions.parquet", index=False)
        return seal(scratch)


def main(fitted_dir: Path, split_dir: Path, challenger_dir: Path) -> str:
    """Write the challenger: its bundle, and the receipt of everything that made it."""
    p = load(ExportParams)
    receipt = read_json(fitted_dir / "receipt.json")
    train, test = (pd.read_parquet(split_dir / f"{side}.parquet") for side in ("train", "test"))
    model = read_model(fitted_dir / "model.skops")
    snap_thresholds(model)
    contract = contract_json(CONTRACT, train, receipt["result"].get("threshold"))
    graph = convert(model, test, contract["features"], receipt["result"].get("target_sd", 0.0))
    version = write_bundle(challenger_dir / "bundle", graph, contract, train, test, p)
    params = raw("ingest", "validate", "split", "train", "export")
    code = {name: digest(Path(__file__).parents[1] / name) for name in ("encoding.py", "model.py")}
    recipe = digest_json([receipt["contract"], code, params])
    made = {"test_rows": digest(split_dir / "test.parquet"), "params": params, "recipe": recipe, "version": version}
    write_json(challenger_dir / "receipt.json", receipt | made)
    size = sum(item.stat().st_size for item in (challenger_dir / "bundle").rglob("*") if item.is_file())
    return f"bundle {version}, {size / 1e6:.1f} MB; scikit-learn and ONNX agree on {len(test):,} test rows"


if __name__ == "__main__":
    run(main)
