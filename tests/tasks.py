"""Small contracts that a baked project is turned to: what somebody edits who brings a problem of their own.

Each is the text of `schema.py`, the source that `ingest` reads, and the numbers of `params.yaml` that go with it: what
somebody writes by hand whose rows are in no file. A file is turned to by `make adopt`, see test_adopt.py.
"""

import re
from dataclasses import dataclass, field

import yaml


@dataclass(frozen=True)
class Task:
    """One contract: `source` defines `read_source(p)`, which returns the labelled rows of the history."""

    schema: str
    source: str
    ingest: dict[str, object]
    settings: dict[str, object] = field(default_factory=dict)

    @property
    def ingest_params(self) -> str:
        """Return the fields of `IngestParams`, typed as the values are."""
        return "".join(f"    {name}: {type(value).__name__}\n" for name, value in self.ingest.items())


BINARY = Task(
    schema='''"""The contract: will a parcel need a second delivery?"""

from .contract import Contract, Feature

CONTRACT = Contract(
    task="binary",
    target="again",
    classes=("no", "yes"),
    positive="yes",
    time="sent",
    id="parcel",
    features=(
        Feature("weight", "number", unit="kg", range=(0, 60)),
        Feature("visits", "integer", range=(0, 40), missing=0.3),
        Feature("insured", "boolean"),
        Feature("kind", "category", categories=("box", "letter", "pallet")),
        Feature("street", "category", unknown="accept", missing=0.2),
        Feature("ordered", "datetime"),
    ),
)
''',
    source='''
def read_source(p: IngestParams) -> pd.DataFrame:
    """Return made rows over 60 days."""
    random = np.random.default_rng(p.seed)
    sent = pd.Timestamp("2024-03-01") + pd.to_timedelta(np.sort(random.integers(0, 60 * 1440, p.rows)), unit="min")
    waited = random.integers(1, 14 * 1440, p.rows)
    visits = pd.array(random.integers(0, 20, p.rows), dtype="Int64")
    visits[random.random(p.rows) < 0.2] = pd.NA
    weight, insured = random.gamma(4, 3, p.rows).clip(0, 59).round(3), random.random(p.rows) < 0.4
    kind = random.choice(["box", "letter", "pallet"], p.rows, p=[0.5, 0.4, 0.1])
    street = pd.Series(random.choice(["Elm", "Oak", "Ash", "Fir"], p.rows), dtype="str")
    pull = 0.25 * (weight - 12) + 0.2 * (visits.to_numpy(float, na_value=10) - 10)
    again = pull + insured * 1.2 - (kind == "box") * 1.5 + (street == "Oak") * 1.0 + random.logistic(0, 1, p.rows) > 0
    if p.only != "both":
        again = pd.Series(p.only == "yes", index=range(p.rows))
    return pd.DataFrame(
        {
            "parcel": pd.Series([f"P{number:05}" for number in range(p.rows)], dtype="str"),
            "sent": sent.astype("datetime64[us]"),
            "weight": weight,
            "visits": visits,
            "insured": insured,
            "kind": pd.Series(kind, dtype="str"),
            "street": street.where(random.random(p.rows) > 0.1),
            "ordered": (sent - pd.to_timedelta(waited, unit="min")).astype("datetime64[us]"),
            "again": pd.Series(np.where(again, "yes", "no"), dtype="str"),
        }
    )
''',
    ingest={"rows": 3000, "seed": 1, "only": "both"},
    settings={
        "split.min_test_rows": 300,
        "train.max_iter": 60,
        "train.learning_rate": 0.1,
        "train.min_samples_leaf": 20,
        "evaluate.resamples": 300,
        "evaluate.slice_min_rows": 100,
        "export.reference_rows": 500,
    },
)

MULTICLASS = Task(
    schema='''"""The contract: which iris is it? No time, no id; the names of the columns are what they are."""

from .contract import Contract, Feature

CONTRACT = Contract(
    task="multiclass",
    target="label",
    classes=("setosa", "versicolor", "virginica"),
    features=(
        Feature("sepal length (cm)", "number", unit="cm", range=(0, 20)),
        Feature("probabilities", "number", unit="cm", range=(0, 20)),
        Feature("petal length (cm)", "number", unit="cm", range=(0, 20)),
        Feature("variable", "number", unit="cm", range=(0, 20)),
    ),
)
''',
    source='''
def read_source(p: IngestParams) -> pd.DataFrame:
    """Return the 150 irises, each of them several times over: identical rows."""
    from sklearn.datasets import load_iris

    found = load_iris(as_frame=True)
    names = ["sepal length (cm)", "probabilities", "petal length (cm)", "variable"]
    rows = found["data"].set_axis(names, axis=1)
    rows["label"] = pd.Series(found["target_names"][found["target"]], dtype="str")
    return pd.concat([rows] * p.copies, ignore_index=True)
''',
    ingest={"copies": 3},
    settings={
        "split.min_test_rows": 100,
        "train.max_iter": 30,
        "train.learning_rate": 0.1,
        "train.min_samples_leaf": 10,
        "evaluate.slice_min_rows": 50,
        "export.reference_rows": 100,
    },
)

REGRESSION = Task(
    schema='''"""The contract: how many minutes does a drive take?"""

from .contract import Contract, Feature

CONTRACT = Contract(
    task="regression",
    target="minutes",
    time="start",
    features=(
        Feature("distance", "number", unit="km", range=(0, 100)),
        Feature("rain", "number", unit="mm", range=(0, 50), missing=0.3),
        Feature("stops", "integer", range=(0, 20)),
        Feature("road", "category", categories=("city", "country", "motorway")),
    ),
)
''',
    source='''
def read_source(p: IngestParams) -> pd.DataFrame:
    """Return made drives over 60 days."""
    random = np.random.default_rng(p.seed)
    start = pd.Timestamp("2024-03-01") + pd.to_timedelta(np.sort(random.integers(0, 60 * 1440, p.rows)), unit="min")
    distance, rain = random.uniform(1, 80, p.rows), random.exponential(2, p.rows).clip(0, 49)
    stops, road = random.integers(0, 10, p.rows), random.choice(["city", "country", "motorway"], p.rows)
    pace = np.select([road == "city", road == "country"], [2.0, 1.1], 0.6)
    minutes = distance * pace + 3.0 * stops + rain + random.normal(0, 4, p.rows)
    return pd.DataFrame(
        {
            "start": start.astype("datetime64[us]"),
            "distance": distance,
            "rain": pd.Series(rain).where(random.random(p.rows) > 0.2),
            "stops": stops,
            "road": pd.Series(road, dtype="str"),
            "minutes": np.full(p.rows, 30.0) if p.constant else minutes,
        }
    )
''',
    ingest={"rows": 2000, "seed": 1, "constant": False},
    settings={
        "split.min_test_rows": 300,
        "train.min_samples_leaf": 20,
        "evaluate.slice_min_rows": 100,
        "export.reference_rows": 500,
        "promote.max_skill": 0.999,
    },
)

INGEST = '''"""Stage `ingest`: rows made here and labelled ones that came back -> batches in the contract's columns."""

from pathlib import Path

import numpy as np
import pandas as pd

from .. import run
from ..batches import labelled, save
from ..params import IngestParams, load
from ..schema import CONTRACT

{source}

def main(labelled_dir: Path, batches_dir: Path, stream_path: Path, report_path: Path) -> str:
    """Write the batches, a fifth of the rows as stream (the newest, without times any), and the counts."""
    rows = read_source(load(IngestParams))[CONTRACT.columns]
    rows = rows if CONTRACT.time else rows.sample(frac=1, random_state=1, ignore_index=True)
    is_stream = pd.Series(rows.index >= len(rows) * 4 // 5)
    counts, returned = {{"read": len(rows)}}, labelled(labelled_dir, CONTRACT)
    return save(rows, is_stream, returned, counts, batches_dir, stream_path, report_path)


if __name__ == "__main__":
    run(main)
'''


def ingest(source: str) -> str:
    """Return the module `ingest` for another source: what it leaves behind is written as the project does it."""
    return INGEST.format(source=source)


def params(original: str, fields: str) -> str:
    """Return `params.py` with other fields in `IngestParams`."""
    changed, count = re.subn(r"(class IngestParams\(\w+\):\n)(?: +.*\n)+", lambda found: found[1] + fields, original)
    assert count == 1, "params.py defines no IngestParams"
    return changed


def sections(original: str, ingest: dict[str, object]) -> str:
    """Return `params.yaml` with another section `ingest`."""
    section = yaml.safe_dump({"ingest": ingest}, sort_keys=False)
    changed, count = re.subn(r"^ingest:\n(?: +.*\n)+", lambda _: section, original, flags=re.MULTILINE)
    assert count == 1, "params.yaml holds no section ingest"
    return changed
