"""The closed loop, on real flights and on small contracts: traffic, alarm, retraining, gate, swap, rollback.

`pytest tests/test_loop.py` bakes, runs the pipeline and then the circle, and prints what it came to, better or not.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tasks
from projects import PACKAGE, Project, turn
from services import Service, ask, logged, serving, until

# Both versions on rows that neither saw: value and interval of each, and of the gain of the newer one, day by day.
COMPARE = """
import json, sys
from pathlib import Path
import numpy as np, pandas as pd
from flight_delays import bundle, metrics, read_rows
from flight_delays.schema import CONTRACT
rows = read_rows("data/stream/stream.parquet")
rows = rows[rows[CONTRACT.time].between(sys.argv[3], sys.argv[4])]
found = {}
for name, version in zip(("old", "new"), sys.argv[1:3]):
    loaded = bundle.load(Path("models/versions") / version / "bundle")
    contract, y = loaded.contract, metrics.encode_target(rows[CONTRACT.target], loaded.contract["classes"])
    block, _ = metrics.blocks(rows[CONTRACT.time], np.arange(len(y), dtype=np.uint64))
    weights = metrics.draws(block, 1000, 7)
    every = metrics.estimates(contract["task"], y, loaded.scores(rows), contract["threshold"], block, weights)
    found[name] = {metric: every[metric] for metric in ("log_loss", "auc")}
signs = {"log_loss": -1, "auc": 1}
found["gain"] = {metric: sign * (found["new"][metric] - found["old"][metric]) for metric, sign in signs.items()}
days = weights.shape[1]
print(json.dumps({name: {m: metrics.interval(v, 0.95, days) for m, v in each.items()} for name, each in found.items()}))
"""
STREAM_ROWS = "import pyarrow.parquet as pq; print(pq.read_metadata('data/stream/stream.parquet').num_rows)"
SEPTEMBER = """
import sys
from flight_delays import read_rows
rows = read_rows("data/split/test.parquet").sample(5000, random_state=1)
(rows if sys.argv[1] == "shuffled" else rows.sort_index()).to_parquet("data/stream/stream.parquet", index=False)
"""


def told(metric: dict[str, float]) -> str:
    """Return a metric with its interval."""
    return f"{metric['value']:.4f} [{metric['low']:.4f}, {metric['high']:.4f}]"


def served(service: Service) -> str:
    """Return the version that answers."""
    return str(ask(service, "/v2/models").json()["models"][0]["version"])


@contextmanager
def asked_all_along(service: Service) -> Iterator[list[int]]:
    """Ask the service without pause while the block runs; yield the statuses."""
    body, statuses, over = ask(service, "/example").body, list[int](), threading.Event()

    def go_on() -> None:
        while not over.is_set():
            try:
                statuses.append(ask(service, "/predict", body).status)
            except OSError:
                statuses.append(0)
            time.sleep(0.02)

    asking = threading.Thread(target=go_on, daemon=True)
    asking.start()
    try:
        yield statuses
    finally:
        over.set()
        asking.join(30)


def simulate(project: Project, service: Service, **settings: str) -> str:
    """Replay the next part of the stream and return the last line."""
    done = project.run("make", "--no-print-directory", "simulate", env={"URL": service.url} | settings)
    (line,) = done.lines("0 requests failed")
    return line


def monitor(project: Project) -> dict[str, Any]:
    """Return the drift report after `make monitor`."""
    project.run("make", "--no-print-directory", "monitor")
    return dict(project.json("reports/drift.json"))


def retrain(project: Project, service: Service) -> tuple[str, str]:
    """Return the champions before and after `make retrain`; the service has followed."""
    before = project.champion["version"]
    done = project.run("make", "--no-print-directory", "retrain")
    after = project.champion["version"]
    decision = project.decision
    assert decision["decision"] == ("promoted" if after != before else "refused"), done.output
    assert after in (before, decision["version"])
    print(*done.lines("retrain: "), sep="\n")
    until(lambda: served(service) == after, "the service to answer from the champion", 5)
    return before, after


def roll_back(project: Project, service: Service) -> None:
    """Roll back; the version left behind is blocked, the service follows, and no pipeline promotes it again."""
    left, back = project.champion["version"], project.champion["previous"]
    print(f"rollback: {project.run('make', '--no-print-directory', 'rollback').seconds:.1f} s")
    assert project.champion == {"version": back, "previous": None, "blocked": [left]}
    until(lambda: served(service) == back, "the service to answer from the version before", 5)
    assert "promote" in project.repro().ran
    assert project.champion["version"] == back
    assert project.decision["decision"] == "refused"
    assert f"blocked: {left}" in project.decision["reasons"][0]
    assert project.repro().ran == []


def test_the_loop_closes_on_real_flights(ready: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert ready.json("reports/drift.json")["decision"] == "insufficient_data"
    begun = time.perf_counter()
    with serving(ready) as service, asked_all_along(service) as statuses:
        print(simulate(ready, service))
        report = monitor(ready)
        assert (report["decision"], report["triggers"]) == ("retrain", ["fresh_labels"])
        assert report["labelled"] > 28_000
        assert not any(window["below"] for window in report["windows"]), report["windows"]
        old, new = retrain(ready, service)
        if new != old:
            compared = ready.python(COMPARE, old, new, "2013-11-01", "2013-12-01")
            with capsys.disabled():
                print(f"\nthe gate: {ready.decision['decision']}, {'; '.join(ready.decision['reasons'])}")
                for metric in ("log_loss", "auc"):
                    each = ", ".join(f"{name} {told(found[metric])}" for name, found in compared.items())
                    print(f"November, {metric} of new {new} against old {old}: {each}")
            print(simulate(ready, service))
            report = monitor(ready)
            assert (report["version"], report["rows"] > 27_000) == (new, True)
            assert report["others"][old] > 28_000
            assert "performance" not in report["triggers"]
            page = ready.read("reports/loop.html")
            assert all(text in page for text in (old, new, "2013-10-01", "2013-11-01"))
            assert ask(service, "/reports/loop.html").status == 200
            lineage(ready, new)
            roll_back(ready, service)
        nothing = ready.run("make", "--no-print-directory", "retrain") if new == old else None
        assert nothing is None or "nothing new is labelled" in nothing.output
    assert set(statuses) == {200}
    with capsys.disabled():
        seconds = time.perf_counter() - begun
        print(f"{len(statuses)} requests beside it, none failed; {seconds:.0f} s after the pipeline")


def lineage(project: Project, version: str) -> None:
    """One prediction is traced to its model, run, data and commit."""
    mine = next(line["id"] for line in logged(project) if line["model_version"] == version)
    said = project.run("python", "-m", f"{PACKAGE}.commands.lineage", mine).output
    assert version in said
    (run,) = [run for run in project.runs() if run["bundle"] == version]
    assert "MLflow run" in said
    assert run["status"] == "FINISHED"
    for folder in ("data/split", "models/challenger"):
        (out,) = [out for stage in project.lock.values() for out in stage.get("outs", []) if out["path"] == folder]
        assert out["md5"] in said


def watched(project: Project, service: Service, **settings: str) -> dict[str, Any]:
    """Return the drift report on October, replayed from nothing."""
    for path in [*project.path.glob("logs/predictions-*"), *project.path.glob("logs/labels-*")]:
        path.write_text("")
    for path in [*project.path.glob("data/production/*.parquet*"), project.path / "logs/simulated.json"]:
        path.unlink(missing_ok=True)
    simulate(project, service, **settings)
    return monitor(project)


def test_what_the_monitor_says_of_october_and_september(ready: Project) -> None:
    with serving(ready) as service:
        report = watched(ready, service, LABELS="off")
        assert (report["decision"], report["triggers"]) == ("watch", [])
        drifted = {found["column"]: found for found in report["columns"] if found["status"] == "drift"}
        assert {"temperature", "dew_point"} <= {*drifted}
        reasons = "; ".join(report["reasons"])
        assert all(f"{name}: drift by {found['shift']:.3f}" in reasons for name, found in drifted.items())

        report = watched(ready, service, DRIFT="flip:0.3")
        assert report["decision"] == "retrain"
        assert "performance" in report["triggers"]

        # In another unit a temperature is beyond the contract and so is made missing; the model hardly needs it: the
        # AUC of no window falls by as much as days differ by chance. The column is what tells.
        report = watched(ready, service, DRIFT="unit:temperature:1000")
        assert report["triggers"] == ["fresh_labels"]
        print("temperature x 1000:", [(window["live"], window["drop"]) for window in report["windows"]])
        assert {f["column"]: f["status"] for f in report["columns"]}["temperature"] == "all missing"
        assert not any(window["below"] for window in report["windows"])

        for order in ("shuffled", "in time order"):
            ready.python(SEPTEMBER, order)
            report = watched(ready, service, ROWS="5000")
            assert report["labelled"] == 5000
            assert report["decision"] in ("ok", "watch"), report["reasons"]


@pytest.mark.parametrize("name", ["multiclass", "regression"])
def test_the_loop_closes_on_other_tasks(name: str, bare: Callable[[Path], Project], tmp_path: Path) -> None:
    project = turn(bare(tmp_path), {"multiclass": tasks.MULTICLASS, "regression": tasks.REGRESSION}[name])
    for parameter, value in {"min_rows": 50, "window_rows": 50, "fresh_labels": 80, "fresh_days": 7}.items():
        project.set(f"monitor.{parameter}", value)
    project.set("promote.margin", 0.05)  # a few hundred rows say little; by it the regression swaps, irises do not
    project.repro()
    assert project.decision["decision"] == "promoted", project.decision
    assert project.json("reports/drift.json")["decision"] == "insufficient_data"
    with serving(project) as service, asked_all_along(service) as statuses:
        stream = project.python(STREAM_ROWS)
        print(simulate(project, service, ROWS=str(stream)))
        report = monitor(project)
        assert report["triggers"] == ["fresh_labels"], report["reasons"]
        assert all(window["live"] for window in report["windows"][:1])
        old, new = retrain(project, service)
        assert (new != old) == (name == "regression"), project.decision
        if new != old:
            roll_back(project, service)
        assert "nothing new is labelled" in project.run("make", "--no-print-directory", "retrain").output
    assert set(statuses) == {200}
