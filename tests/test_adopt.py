"""From any table to a served model: `make adopt`, then the same pipeline, service, simulation, monitor and retraining.

The tables are made here by the project's own pandas, or shipped with scikit-learn.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from projects import NOTHING, PACKAGE, STAGES, Project, link_environment
from services import ask, example, logged, serving

MAKE = """
import sys, numpy as np, pandas as pd
from pathlib import Path
from sklearn import datasets
r, n = np.random.default_rng(1), 2000
def shipped(name, target="target"):
    found = getattr(datasets, "load_" + name)(as_frame=True)
    return found.data.assign(**{target: found.target})
def pick(*values): return r.choice(values, n)
def csv(table, **how): table.to_csv("table.csv", index=False, **how)
"""
# Columns of a customer's CSV from Germany: decimal commas, points between thousands, dates, percents, umlauts.
GERMAN = """
size, rooms, area = r.gamma(3, 200, n), r.integers(0, 40, n), pick("Süd", "Nord", "West")
price = 900 + 0.3 * size + 60 * (area == "Süd") + 9 * rooms + r.normal(0, 30, n)
def number(x): return f"{x:,.2f}".translate(str.maketrans(",.", ".,"))
day = pd.Timestamp("2023-01-01") + pd.to_timedelta(r.integers(0, 500, n), unit="D")
table = pd.DataFrame({
    "Kunden-Nr.": range(1000, 1000 + n), "Größe (m²)": map(number, size), "Gebiet": area,
    "Zimmer": pd.Series(rooms, dtype="Int64").mask(r.random(n) < 0.4), "Kauf am": day.strftime("%d.%m.%Y"),
    "Rabatt": [f"{x} %" for x in r.integers(0, 30, n)], "Preis": map(number, price)})
table.loc[::97, "Größe (m²)"] = "k.A."
csv(pd.concat([table, table.head(50)]).drop(columns="Kunden-Nr.").assign(Nr=range(n + 50)), sep=";", encoding="latin-1")
"""
# Orders with a time, an id, personal data, and columns that give the target away.
ORDERS = """
n = 4000
when = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.sort(r.integers(0, 120 * 1440, n)), unit="min")
amount, tenure, region = r.gamma(3, 40, n).round(2), r.integers(1, 75, n), pick("north", "south", "east")
left = 0.03 * amount - 0.08 * tenure + 2.5 * (region == "east") + r.logistic(0, 1, n) > 0.5
later = when + pd.to_timedelta(r.integers(1, 30, n), unit="D")
csv(pd.DataFrame({
    "order_id": [f"O{k:06}" for k in range(n)], "ordered_at": when, "amount": amount, "tenure": tenure,
    "region": region, "email": [f"u{k}@example.org" for k in range(n)], "newsletter": pick("true", "false"),
    "signup": (when - pd.to_timedelta(r.integers(1, 900, n), unit="D")).strftime("%Y-%m-%d"),
    "cancelled on": np.where(left, later.strftime("%Y-%m-%d"), ""), "copy": np.where(left, "yes", "no"),
    "renamed": np.where(left, "gone", "here"), "sum": left + amount + tenure,
    "churned": np.where(left, "yes", "no")}))
"""
TWENTY = """
n, y = 6000, r.integers(0, 20, 6000)
def x(j): return np.where(r.random(n) < 0.8, np.sin(y * (j + 1)), 0) + r.normal(0, 0.3, n)
table = pd.DataFrame({f"x{j}": x(j) for j in range(5)})
csv(table.assign(shop=[f"shop {k}" for k in r.integers(0, 5000, n)], kind=[f"kind {k:02}" for k in y]))
"""
WIDE = """
n, X = 1000, r.normal(0, 1, (1000, 200)).round(4)
names = ['f %d ["u"] (cm)' % k + " it's" for k in range(200)]
csv(pd.DataFrame(X, columns=names).assign(label=X[:, :4].sum(axis=1) + r.normal(0, 0.5, n) > 0))
"""
PARTS = """
n = 3000
table = pd.DataFrame({"when": pd.date_range("2024-01-01", periods=n, freq="h"), "a": r.normal(0, 1, n),
                      "kind": pd.Categorical(pick("a", "b", "c")), "flag": r.random(n) < 0.5, "k": r.integers(0, 9, n)})
table["id"] = table.a * 2 + table.k + 2.0 * (table.kind == "a") + r.normal(0, 1, n)
Path("table").mkdir()
for k in range(3): table[k * 1000 : (k + 1) * 1000].to_parquet(f"table/part-{k}.parquet")
"""
RARE = """
n = 12_000
x = r.normal(0, 1, n)
fraud = r.random(n) < 1 / (1 + np.exp(10 - 4 * x))
csv(pd.DataFrame({"x": x.round(4), "y": r.integers(0, 99, n), "fraud": fraud.astype(int)}))
"""
THIRTY = """
n, x = 30, r.normal(0, 1, 30)
csv(pd.DataFrame({"a": x, "b": r.integers(0, 5, n), "won": np.where(x > 0, "yes", "no")}))
"""
NOISE = "csv(pd.DataFrame({'a': r.normal(0, 1, n), 'b': r.normal(0, 1, n), 'y': r.integers(0, 2, n)}))"


@dataclass(frozen=True)
class Table:
    """A table, what the user says of it, and what has to come of it."""

    code: str
    target: str
    task: str
    said: dict[str, str] = field(default_factory=dict)
    decision: str = "promoted"
    data: str = "table.csv"
    retrained: bool = False
    own_tests: bool = False


TABLES = {
    "iris": Table('csv(shipped("iris"))', "target", "multiclass"),
    "wine": Table('csv(shipped("wine"))', "target", "multiclass"),
    "breast cancer": Table('csv(shipped("breast_cancer"))', "target", "binary"),
    "diabetes": Table('csv(shipped("diabetes"))', "target", "regression"),
    "digits": Table('csv(shipped("digits"))', "target", "multiclass", retrained=True),
    "german": Table(GERMAN, "Preis", "regression", retrained=True, own_tests=True),
    "orders": Table(
        ORDERS, "churned", "binary", {"TIME": "ordered_at", "ID": "order_id"}, retrained=True, own_tests=True
    ),
    "twenty classes": Table(TWENTY, "kind", "multiclass"),
    "wide": Table(WIDE, "label", "binary"),
    "parts": Table(PARTS, "id", "regression", {"TIME": "when"}, data="table"),
    "rare": Table(RARE, "fraud", "binary"),
    "thirty rows": Table(THIRTY, "won", "binary", decision="refused"),
    "noise": Table(NOISE, "y", "binary", decision="refused"),
}


@pytest.fixture(scope="module")
def equipped(bake: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project with a virtual environment, which the others of this module share."""
    project = Project(bake(tmp_path_factory.mktemp("equipped")))
    project.run("make", "setup", timeout=600)
    return project


@pytest.fixture
def fresh(equipped: Project, bake: Callable[..., Path], tmp_path: Path) -> Project:
    """Return a fresh bake."""
    project = Project(bake(tmp_path))
    link_environment(equipped.path, project.path)
    return project


def adopt(
    project: Project, target: str, said: Mapping[str, str] = NOTHING, data: str = "table.csv", code: int | None = 0
) -> str:
    """Return what `make adopt` says."""
    words = [f"{name}={value}" for name, value in ({"DATA": data, "TARGET": target} | dict(said)).items()]
    return project.run("make", "--no-print-directory", "adopt", *words, code=code).output


def everything(project: Project) -> dict[str, str]:
    """Return the digests of all files but those of git, DVC and Python."""
    found = project.digests("*", "[!.]*/**/*", ".[de]*", ".git/config")
    return {name: digest for name, digest in found.items() if "__pycache__" not in name and ".venv" not in name}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_becomes_a_served_model_or_a_refusal(name: str, fresh: Project) -> None:
    table = TABLES[name]
    fresh.python(MAKE + table.code)
    told = adopt(fresh, table.target, table.said, table.data)
    print(told)
    assert max(map(len, told.split("\n\n")[0].splitlines())) <= 100
    done = fresh.run("make", "--no-print-directory", "pipeline")
    assert done.ran == STAGES
    assert fresh.decision["decision"] == table.decision, fresh.decision
    assert (
        fresh.python(f"import json\nfrom {PACKAGE}.schema import CONTRACT\nprint(json.dumps(CONTRACT.task))")
        == table.task
    )
    if table.decision == "promoted":
        use(fresh, table)
    else:
        unused(fresh)
    if table.own_tests:
        fresh.run("make", "check")
        fresh.run("make", "test", timeout=600)


def use(project: Project, table: Table) -> None:
    """Serve the champion, ask it, replay rows that it never saw, and see what monitor and gate make of them."""
    with serving(project) as service:
        answer = ask(service, "/predict", example(service))
        assert answer.status == 200, answer.body
        assert len(answer.json()["predictions"]) == len(example(service)["instances"])
        said = project.run("make", "--no-print-directory", "simulate", env={"URL": service.url}).output
        assert "0 requests failed" in said
        project.run("make", "--no-print-directory", "monitor")
        report = project.json("reports/drift.json")
        assert report["decision"] in ("ok", "watch", "retrain", "insufficient_data")
        assert report["labelled"] > 0
        assert report["version"] == project.champion["version"]
        if table.retrained:
            assert report["triggers"] == ["fresh_labels"] or table.said, report["reasons"]
            said = project.run("make", "--no-print-directory", "retrain").output
            assert "labelled rows are now data/labelled/returned" in said
            assert "retrain: " in said
    assert "@example.org" not in "".join(map(str, logged(project)))


def unused(project: Project) -> None:
    """Nothing was promoted: the service lives, is not ready, and everyone says why."""
    reason = project.decision["reasons"][0][:40]
    with serving(project, ready=False) as service:
        ready = ask(service, "/v2/health/ready")
        assert ready.status == 503
        assert reason in ready.error
        said = project.run("make", "--no-print-directory", "simulate", env={"URL": service.url}, code=None).lines(
            "simulate:"
        )
        assert len(said) == 1
        assert reason in said[0]
    assert "there is no champion yet" in project.run("make", "--no-print-directory", "monitor").output


def test_what_gives_the_target_away_is_named_and_left_out(fresh: Project) -> None:
    fresh.python(MAKE + ORDERS)
    told = adopt(fresh, "churned", {"TIME": "ordered_at", "ID": "order_id", "DRY_RUN": "1"})
    for name in ("copy", "renamed", "sum", "cancelled on", "email"):
        assert f"- {name}: left out, " in told
        assert f'KEEP="{name}" takes it in' in told
    for name in ("amount", "tenure", "region", "newsletter", "signup"):
        assert f"- {name}: left out" not in told


BAD: dict[str, tuple[Any, str]] = {
    "empty": (b"", "table.csv is empty"),
    "one column": (b"y\n1\n2\n", "has one column"),
    "no such target": (b"a,b\n1,2\n3,4\n", "has no column 'y', which TARGET names"),
    "constant target": (b"a,y\n" + b"1,no\n2,no\n" * 20, "has one value, 'no', in every row"),
    "garbage": (bytes(range(256)) * 99, "is no table"),
    "two headers": (b"a,b,y\ncm,kg,-\n" + b"1.5,2,0\n3,1,1\n" * 30, "line 2 is a second header"),
    "ragged lines": (b"a,b,y\n" + b"1,2,0\n3,1,1\n" * 30 + b"1,2\n", "line 62: 2 values"),
}


def test_an_unusable_file_is_refused_in_one_sentence_and_changes_nothing(fresh: Project) -> None:
    for content, told in BAD.values():
        (fresh.path / "table.csv").write_bytes(content)
        before = everything(fresh)
        said = adopt(fresh, "y", code=None)
        (line,) = [line for line in said.splitlines() if line.startswith("adopt: ")]
        assert told in line
        assert "Traceback" not in said
        assert everything(fresh) == before


def test_adopting_is_safe_to_repeat_and_to_fail(fresh: Project) -> None:
    fresh.python(MAKE + 'csv(shipped("wine"))')
    before = everything(fresh)
    assert "nothing was changed" in adopt(fresh, "target", {"DRY_RUN": "1"})
    assert everything(fresh) == before
    (fresh.path / ".dvc/cache").write_text("")  # so that `dvc add` fails
    adopt(fresh, "target", code=None)
    (fresh.path / ".dvc/cache").unlink()
    assert everything(fresh) == before
    adopt(fresh, "target")
    before = everything(fresh)
    assert "nothing is to be done" in adopt(fresh, "target")
    fresh.python(MAKE + 'csv(shipped("wine").assign(more=pick(*"abc")[:178]))')
    before["table.csv"] = everything(fresh)["table.csv"]
    said = adopt(fresh, "target")
    assert '+        Feature("more", "category"' in said
    assert "ACCEPT=1" in said
    assert everything(fresh) == before
    adopt(fresh, "target", {"ACCEPT": "1"})
    assert 'Feature("more", "category"' in fresh.read(f"src/{PACKAGE}/schema.py")
