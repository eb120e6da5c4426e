# mypy: ignore-errors
# It runs in a baked project's environment; nothing that it imports is installed for the template.
"""Print as JSON what a project's monitor says of simulated windows and of its own flights, each case with its target.

`python drift_cases.py <runs>` in the project's folder, its `src` on PYTHONPATH. The parameters are those of its
params.yaml but for those that a target names. Its pipeline must have run.

A case is what was looked for, in windows of `n` rows, `found` so often in `of` runs, and `at_least` or `at_most` the
share of them in which it must be.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before NumPy: there is a process for each core

import numpy as np
import pandas as pd
from flight_delays import metrics
from flight_delays.bundle import load as load_bundle
from flight_delays.champion import read
from flight_delays.drift import examine, sentence
from flight_delays.params import EvaluateParams, ExportParams, MonitorParams, load
from flight_delays.stages import monitor

Line = dict[str, object]
SEED, CHUNK = 7, 5
ALARMS = ("drift", "missing")  # statuses; the others say that a column cannot be judged
FEW, MANY = np.array([0.4, 0.3, 0.2, 0.1]), (1 / np.arange(1, 31)) / (1 / np.arange(1, 31)).sum()
SKEWED_SD = np.sqrt((np.e - 1) * np.e)  # of a lognormal number
P, E, ROWS = load(MonitorParams), load(EvaluateParams), load(ExportParams).reference_rows
CLASSES = ["a", "b", "c"]  # of the labels' cases; for three the project's own metric is the accuracy
PROMISED_ROWS, LABELLED_ROWS, WINDOWS = 10_000, 1000, 30
ACCURACY, FALLEN_ACCURACY = 0.85, 0.80


def texts(random: np.random.Generator, n: int, shares: np.ndarray) -> np.ndarray:
    """Return categories with these shares."""
    return np.array([f"c{k}" for k in range(len(shares))])[random.choice(len(shares), n, p=shares)]


def with_gaps(random: np.random.Generator, values: np.ndarray, share: float) -> np.ndarray:
    """Return the values, about this share of them missing."""
    return np.where(random.random(len(values)) < share, np.nan, values)


COLUMNS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda random, n: random.standard_normal(n),
    "skewed": lambda random, n: random.lognormal(size=n),
    "uniform": lambda random, n: random.random(n),
    "bimodal": lambda random, n: random.standard_normal(n) + random.choice([-2, 2], n),
    "heavy-tailed": lambda random, n: random.standard_t(4, n),
    "discrete": lambda random, n: random.poisson(3, n),
    "mostly zero": lambda random, n: np.where(random.random(n) < 0.9, 0, random.exponential(size=n)),
    "with gaps": lambda random, n: with_gaps(random, random.standard_normal(n), 0.01),
    "of 4": partial(texts, shares=FEW),
    "of 30": partial(texts, shares=MANY),
}
FEATURES = [
    {"name": name, "type": "category" if name.startswith("of ") else "number", "categories": []} for name in COLUMNS
]
KINDS = {feature["name"]: feature["type"] for feature in FEATURES}


def rows(random: np.random.Generator, n: int) -> dict[str, pd.Series]:
    """Return independent rows of all columns, none of which drifts."""
    return {name: pd.Series(draw(random, n)) for name, draw in COLUMNS.items()}


@dataclass(frozen=True)
class Case:
    """What is done to one column of a window, and how often the column, or any without one, must be flagged."""

    name: str
    n: int
    column: str | None
    change: Callable[[np.random.Generator, pd.Series], object]
    is_caught: bool
    share: float


def _same(_: np.random.Generator, values: pd.Series) -> pd.Series:
    return values


def _moved(_: np.random.Generator, values: pd.Series, by: float) -> pd.Series:
    return values + by


def _scaled(_: np.random.Generator, values: pd.Series) -> pd.Series:
    return values * 1.5


def _ten_points(random: np.random.Generator, values: pd.Series) -> np.ndarray:
    return texts(random, len(values), np.r_[FEW[0] + 0.1, FEW[1:] * (1 - 0.1 / FEW[1:].sum())])


def _gaps(random: np.random.Generator, values: pd.Series) -> np.ndarray:
    return with_gaps(random, values.to_numpy(), 1 - 0.94 / 0.99)


CASES = [
    *(Case("no drift", n, None, _same, False, 0.05) for n in (200, 500, 1000, 5000)),
    *(
        Case(f"0.25 sd in the {column} column", n, column, partial(_moved, by=0.25 * sd), True, share)
        for column, sd in (("normal", 1), ("skewed", SKEWED_SD))
        for n, share in ((1000, 0.95), (500, 0.9))
    ),
    *(
        Case(f"0.05 sd in the {column} column, harmless", n, column, partial(_moved, by=0.05 * sd), False, 0.05)
        for column, sd in (("normal", 1), ("skewed", SKEWED_SD))
        for n in (500, 1000, 5000, 20_000)
    ),
    Case("category share + 10 points", 1000, "of 4", _ten_points, True, 0.95),
    Case("missing 1 % to 6 %", 1000, "with gaps", _gaps, True, 0.95),
    Case("scale x 1.5 of the normal column", 1000, "normal", _scaled, True, 0.95),
]


def generator(name: str, run: int) -> np.random.Generator:
    """Return the random numbers of one run of a case, whichever process has it."""
    return np.random.default_rng([SEED, zlib.crc32(name.encode()), run])


def flagged(case: Case, run: int, p: MonitorParams = P) -> bool:
    """Return whether a window of the case raises an alarm, against a reference of its own."""
    random = generator(f"{case.name} {case.n}", run)
    reference, current = rows(random, ROWS), rows(random, case.n)
    if case.column:
        current[case.column] = pd.Series(case.change(random, current[case.column]))
    alarms = [found["column"] for found in examine(reference, current, FEATURES, p) if found["status"] in ALARMS]
    return case.column in alarms if case.is_caught else bool(alarms)


@cache
def drawn(count: int, resamples: int, seed: int) -> np.ndarray:
    """Return the draws of so many blocks."""
    return metrics.draws(np.arange(count), resamples, seed)


def once(block: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Return what `metrics.draws` returns: the same for as many blocks, so it is drawn once for all windows."""
    return drawn(int(block.max()) + 1, resamples, seed)


def answers(random: np.random.Generator, n: int, accuracy: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the classes of independent rows, scores that are right with that probability, and the rows' blocks."""
    y = random.integers(3, size=n)
    said = np.where(random.random(n) < accuracy, y, (y + random.integers(1, 3, size=n)) % 3)
    block, _ = metrics.blocks(None, np.arange(n, dtype=np.uint64))
    return y, np.where(np.eye(3)[said] == 1, ACCURACY, (1 - ACCURACY) / 2), block


def below(accuracy: float, windows: int, run: int) -> list[bool]:
    """Return, for windows with that accuracy, whether each is below a promise that was estimated once before them."""
    monitor.draws = once
    random = generator(f"labels {accuracy}", run)
    y, scores, block = answers(random, PROMISED_ROWS, ACCURACY)
    found = metrics.metrics("multiclass", y, scores, None, block, once(block, E.resamples, E.seed), E.level)
    promise = {"accuracy": found["accuracy"]["value"], "rows": PROMISED_ROWS}
    promise["intervals"] = {"accuracy": [found["accuracy"]["low"], found["accuracy"]["high"]]}
    contract, p = {"task": "multiclass", "threshold": None, "classes": CLASSES}, P.model_copy(update={"margin": 0.0})
    judged = (answers(random, LABELLED_ROWS, accuracy) for _ in range(windows))
    return [monitor.performance(contract, "accuracy", promise, *window, p, E)["below"] for window in judged]


def ever(said: list[bool]) -> bool:
    """Return whether the labels ask for a retrain after any of the windows."""
    return any(monitor.fallen(said[:end], P) for end in range(1, len(said) + 1))


def line(name: str, n: int | None, found: list[bool], **bound: float) -> Line:
    """Return a line of the table; without a bound it is for information."""
    count, of = sum(found), len(found)
    holds = bound.get("at_least", 0) * of <= count <= bound.get("at_most", 1) * of
    return {"case": name, "n": n, "found": count, "of": of, **bound, "holds": holds}


def of_columns(runs: int, pool: ProcessPoolExecutor) -> Iterator[Line]:
    """Yield the cases of drifting columns."""
    for case in CASES:
        found = list(pool.map(partial(flagged, case), range(runs), chunksize=CHUNK))
        name = f"{case.name}: {'caught' if case.is_caught else 'alarms'}"
        yield line(name, case.n, found, **{"at_least" if case.is_caught else "at_most": case.share})


def of_labels(runs: int, pool: ProcessPoolExecutor) -> Iterator[Line]:
    """Yield the cases of a falling and of a kept accuracy."""
    fallen = list(pool.map(partial(below, FALLEN_ACCURACY, P.windows), range(runs), chunksize=CHUNK))
    for windows, share in ((2, 0.9), (3, 0.95)):
        name = f"accuracy {ACCURACY:.2f} to {FALLEN_ACCURACY:.2f}: `performance` within {windows} windows"
        yield line(name, LABELLED_ROWS, [ever(said[:windows]) for said in fallen], at_least=share)
    kept = list(pool.map(partial(below, ACCURACY, WINDOWS), range(runs), chunksize=CHUNK))
    name = f"accuracy {ACCURACY:.2f} throughout: `performance` ever in {WINDOWS} windows"
    yield line(name, LABELLED_ROWS, list(map(ever, kept)), at_most=0.1)


def decision(columns: list[dict[str, object]], n: int) -> str:
    """Return what the monitor decides on a window without labels."""
    told = [found | {"sentence": sentence(found, KINDS[found["column"]])} for found in columns]
    report = {"version": "0", "rows": n, "fresh": {"rows": 0, "days": 0}, "metric": None, "columns": told}
    return str(monitor.decide(report | {"windows": []}, P, False)["decision"])


def broken(values: pd.Series, is_category: bool) -> Iterator[tuple[str, pd.Series | None]]:
    """Yield statuses and columns that must get them."""
    value, count, mixed = values.dropna().iloc[0], len(values), values.astype(object)
    mixed.iloc[0] = 7 if is_category else "seven"
    yield "empty", values.iloc[:0]
    yield "constant", pd.Series([value] * count)
    yield "all missing", values.mask(values.index >= 0)
    yield "absent", None
    yield "wrong type", pd.Series(range(count)).astype("int64" if is_category else "str")
    yield "wrong type", mixed
    if is_category:
        yield "new category", values.where(values.index > 0, "never seen")
    else:
        yield "infinite", values.astype(float).where(values.index > 0, np.inf)
        yield "infinite", values.astype(float).where(values.index > 0, -np.inf)


def says(reference: dict[str, pd.Series], current: dict[str, pd.Series], name: str, status: str) -> bool:
    """Return whether the column gets the status and the window is watched; an error counts as silence."""
    try:
        found = examine(reference, current, FEATURES, P)
        told = next(finding["status"] for finding in found if finding["column"] == name)
    except Exception as error:  # whatever it is, the monitor would have ended with it
        told = repr(error)
    if told != status:
        print(f"the column {name!r}: {told} where {status!r} is expected", file=sys.stderr)
    return told == status and decision(found, max(map(len, current.values()))) == "watch"


def statuses(n: int = 1000) -> Iterator[Line]:
    """Yield, for each thing that can be wrong with a column, how many columns say so."""
    random = generator("statuses", 0)
    reference, current = rows(random, ROWS), rows(random, n)
    said: dict[str, list[bool]] = {}
    for name, values in current.items():
        for status, column in broken(values, KINDS[name] == "category"):
            window = current | {name: column}
            if column is None:
                del window[name]
            said.setdefault(status, []).append(says(reference, window, name, status))
    for status, found in said.items():
        yield line(f"a column that deserves `{status}`: says so", n, found, at_least=1)
    few = P.min_rows - 1
    told = decision(examine(reference, rows(random, few), FEATURES, P), few)
    yield line("fewer rows than the minimum: `insufficient_data`", few, [told == "insufficient_data"], at_least=1)


def save(path: Path, flights: pd.DataFrame, scores: np.ndarray, contract: dict[str, object]) -> None:
    """Write flights that were answered and came back with their labels, as the project's snapshots have them."""
    time, number = flights[contract["time"]], flights[contract["id"]]
    columns = {"id": number, "time": time.map(lambda at: f"{at.isoformat()}+00:00"), "row_id": number, "row_time": time}
    columns |= {"score": scores[:, 1], "label": flights[contract["target"]].astype("boolean")}
    columns["batch"] = pd.Series(None, flights.index, dtype="str")
    names = [feature["name"] for feature in contract["features"]]
    pd.DataFrame(columns | {f"features.{name}": flights[name] for name in names}).to_parquet(path, index=False)


def september(home: Path, folder: Path) -> Iterator[Line]:
    """Yield the cases of the champion's test set: its promise is the average of these very flights."""
    champion, flights = load_bundle(home / "bundle"), pd.read_parquet("data/split/test.parquet")
    save(folder / "september.parquet", flights, champion.scores(flights), champion.contract)
    traffic = monitor.Traffic(home, [folder / "september.parquet"], P, E)
    day = traffic.moment.dt.floor("D").rank(method="dense").to_numpy(np.int64)  # from 1
    ends = range(P.window_days, int(day.max()) + 1)
    weeks = [np.searchsorted(day, [end - P.window_days + 1, end + 1]) for end in ends]
    under = [traffic.judge(monitor.Window(int(first), int(end), True))["below"] for first, end in weeks]
    alone = [monitor.fallen([said], P) for said in under]
    yield line("flights, September in order of time: `performance`", None, fell(traffic), at_most=0)
    late = []
    for first in range(1, P.window_days + 1):
        kept = traffic.rows[day >= first]
        kept.to_parquet(folder / "later.parquet", index=False)
        late.append(any(fell(monitor.Traffic(home, [folder / "later.parquet"], P, E))))
    yield line("the same, traffic from the 1st, 2nd, ... 7th on: `performance`", None, late, at_most=0)
    yield line("flights, any 7 days of September alone: `performance`", None, alone, at_most=0)
    yield line("the same: below the promise, which takes two in three windows to count", None, under)


def fell(traffic: monitor.Traffic) -> list[bool]:
    """Return, after each window, whether the labels ask for a retrain."""
    said = [judged["below"] for judged in map(traffic.judge, traffic.windows) if judged["live"]]
    return [monitor.fallen(said[: end + 1], P) for end in range(len(said))]


def weekly(home: Path, folder: Path) -> Iterator[Line]:
    """Yield the cases of all history, each week against flights of the other weeks.

    The champion learnt from all but September, so what it answers before is better than what it promised.
    """
    champion, flights = load_bundle(home / "bundle"), pd.read_parquet("data/batches/history.parquet")
    flights = flights.sort_values(champion.contract["time"], kind="stable", ignore_index=True)
    scores, names = champion.scores(flights), [feature["name"] for feature in champion.contract["features"]]
    save(folder / "history.parquet", flights, scores, champion.contract)
    other = folder / home.name
    (other / "bundle/reference").mkdir(parents=True)
    for name in ("promise.json", "bundle/contract.json"):
        shutil.copy(home / name, other / name)
    traffic = monitor.Traffic(other, [folder / "history.parquet"], P, E)
    about = {"version": other.name, "fresh": {"rows": P.window_rows, "days": P.window_days}, "metric": traffic.metric}
    windows, decisions = [], []
    for window in traffic.windows:
        rest = np.r_[: window.first, window.end : len(flights)]
        chosen = generator("weekly", window.first).choice(rest, ROWS, replace=False)
        flights.loc[chosen, names].to_parquet(other / "bundle/reference/features.parquet", index=False)
        pd.DataFrame({"score": list(scores[chosen])}).to_parquet(other / "bundle/reference/predictions.parquet")
        columns, _ = traffic.examine(window, False)
        windows.append(traffic.report(window, columns))
        report = about | {"rows": window.end, "columns": columns, "windows": windows}
        decisions.append(monitor.decide(report, P, True)["decision"])
    for asked, bound in (("watch", {"at_least": 0.5}), ("retrain", {"at_most": 0})):
        found = [decided == asked for decided in decisions]
        yield line(f"flights, weeks of January to September against the rest: `{asked}`", None, found, **bound)


def real() -> Iterator[Line]:
    """Yield the cases of the project's own flights."""
    home = Path("models/versions", read(Path("models/champion.json"))["version"])
    with tempfile.TemporaryDirectory() as folder:
        yield from september(home, Path(folder))
        yield from weekly(home, Path(folder))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=int, help="of each simulated case")
    runs, found = parser.parse_args().runs, []
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for done in (real(), statuses(), of_columns(runs, pool), of_labels(runs, pool)):
            for one in done:
                print(f"{one['found']} of {one['of']}: {one['case']}", file=sys.stderr)
                found.append(one)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
