# mypy: ignore-errors
# It runs in a baked project's environment; nothing that it imports is installed for the template.
"""Print as JSON what a project's monitor says of simulated windows and of its own flights, each case with its target.

`python drift_cases.py <runs>` in the project's folder, its `src` on PYTHONPATH. The parameters are those of its
params.yaml but for those that a target names. The flights need a champion; `--without-flights` leaves them out.
A case is a dict: what was looked for, in windows of how many rows, how often it was found, and how often it must be.
"""

import argparse
import json
import os
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
from flight_delays import bundle as bundles
from flight_delays import metrics
from flight_delays.champion import read
from flight_delays.drift import examine, sentence
from flight_delays.files import read_json, write_json
from flight_delays.params import EvaluateParams, ExportParams, MonitorParams, load
from flight_delays.stages import monitor

SEED = 7
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
        for n in (1000, 5000, 20_000)
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
    promise = {"accuracy": found["accuracy"]["value"]}
    promise["intervals"] = {"accuracy": [found["accuracy"]["low"], found["accuracy"]["high"]]}
    contract, p = {"task": "multiclass", "threshold": None, "classes": CLASSES}, P.model_copy(update={"margin": 0.0})
    judged = (answers(random, LABELLED_ROWS, accuracy) for _ in range(windows))
    return [monitor.performance(contract, "accuracy", promise, *window, p, E)["below"] for window in judged]


def ever(said: list[bool]) -> bool:
    """Return whether the labels ask for a retrain after any of the windows."""
    return any(monitor.fallen(said[:end], P) for end in range(1, len(said) + 1))


def row(name: str, n: int | None, found: list[bool], is_caught: bool, share: float) -> dict[str, object]:
    """Return a line of the table."""
    count, of = sum(found), len(found)
    holds = count >= share * of if is_caught else count <= share * of
    target = {"at_least" if is_caught else "at_most": share}
    return {"case": name, "n": n, "found": count, "of": of, **target, "holds": holds}


def simulated(runs: int, pool: ProcessPoolExecutor) -> Iterator[dict[str, object]]:
    """Yield the cases of columns and of labels."""
    chunk = max(1, runs // 20)
    for case in CASES:
        found = list(pool.map(partial(flagged, case), range(runs), chunksize=chunk))
        yield row(f"{case.name}: {'caught' if case.is_caught else 'alarms'}", case.n, found, case.is_caught, case.share)
    fell = list(pool.map(partial(below, FALLEN_ACCURACY, P.windows), range(runs), chunksize=chunk))
    for windows, share in ((2, 0.9), (3, 0.95)):
        name = f"accuracy {ACCURACY} to {FALLEN_ACCURACY}: `performance` within {windows} windows"
        yield row(name, LABELLED_ROWS, [ever(said[:windows]) for said in fell], True, share)
    kept = list(pool.map(partial(below, ACCURACY, WINDOWS), range(runs), chunksize=chunk))
    name = f"accuracy {ACCURACY} all along: `performance` ever in {WINDOWS} windows"
    yield row(name, LABELLED_ROWS, list(map(ever, kept)), False, 0.1)


def decision(columns: list[dict[str, object]], n: int) -> str:
    """Return what the monitor decides on a window without labels."""
    told = [found | {"sentence": sentence(found, KINDS[found["column"]])} for found in columns]
    report = {"version": "0", "rows": n, "fresh": {"rows": 0, "days": 0}, "metric": None, "columns": told}
    return str(monitor.decide(report | {"windows": []}, P, False)["decision"])


def broken(values: pd.Series, is_category: bool) -> dict[str, list[pd.Series | None]]:
    """Return status -> columns that must get it."""
    value = values.dropna().iloc[0]
    other, mixed = pd.Series(range(len(values))).astype("int64" if is_category else "str"), values.astype(object)
    mixed.iloc[7] = 7 if is_category else "seven"
    found = {
        "empty": [values.iloc[:0]],
        "constant": [pd.Series([value] * len(values))],
        "all missing": [pd.Series([None] * len(values), dtype=values.dtype)],
        "wrong type": [other, mixed],
        "absent": [None],
    }
    if is_category:
        return found | {"new category": [values.where(values.index != 7, "never seen")]}
    return found | {"infinite": [values.where(values.index != 7, sign * np.inf) for sign in (1, -1)]}


def statuses(n: int = 1000) -> Iterator[dict[str, object]]:
    """Yield, for each thing that can be wrong with a column, how many columns say so and are watched."""
    random = generator("statuses", 0)
    reference, current = rows(random, ROWS), rows(random, n)
    said: dict[str, list[bool]] = {}
    for name, values in current.items():
        for status, columns in broken(values.astype(float) if KINDS[name] == "number" else values, KINDS[name] == "category").items():
            for column in columns:
                window = {**current, name: column} if column is not None else {k: v for k, v in current.items() if k != name}
                try:
                    found = examine(reference, window, FEATURES, P)
                    told = {finding["column"]: finding["status"] for finding in found}[name]
                    good = told == status and decision(found, n) == "watch"
                except Exception as error:
                    told, good = repr(error), False
                if not good:
                    print(f"{name}: {told} where {status} is expected", file=sys.stderr)
                said.setdefault(status, []).append(good)
    for status, found in said.items():
        yield row(f"a column that is {status}: says so", n, found, True, 1)
    few = rows(random, P.min_rows - 1)
    told = decision(examine(reference, few, FEATURES, P), P.min_rows - 1)
    yield row("fewer rows than the minimum: `insufficient_data`", P.min_rows - 1, [told == "insufficient_data"], True, 1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=int)
    parser.add_argument("--without-flights", action="store_true")
    arguments = parser.parse_args()
    found = []
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for line in (*simulated(arguments.runs, pool), *statuses()):
            found.append(line)
            print(line, file=sys.stderr)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
