import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bundles import fitted_bundle
from rows import BINARY, valid_rows

from {{ cookiecutter.__package }} import write_json
from {{ cookiecutter.__package }}.stages import track
from {{ cookiecutter.__package }}.stages.track import connect, flat, models, oldest_first, sources

METRICS = {"log_loss": 0.5, "baselines": {"prior": {"log_loss": 0.7}}, "intervals": {"log_loss": [0.4, 0.6]}}


def test_nested_data_become_keys_with_points():
    assert flat({"a": {"b": {"c": 1}, "d": None}, "e": [1]}) == {"a.b.c": 1, "a.d": None, "e": [1]}


def test_versions_come_oldest_first_with_the_champion_last(tmp_path):
    for version, before in (("c", None), ("a", "c"), ("b", "a"), ("x", "c")):
        write_json(tmp_path / version / "decision.json", {"champion": before})
    (tmp_path / ".d.new").mkdir()
    assert oldest_first(tmp_path, "b") == ["x", "c", "a", "b"]
    assert oldest_first(tmp_path, None) == ["a", "b", "c", "x"]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with one kept version, which is champion, and its challenger; the store is ./mlflow.db."""
    receipt = {"train_rows": "1" * 64, "test_rows": "2" * 64, "recipe": "r"}
    receipt["params"] = {"train": {"folds": 3}, "ingest": {"dates": {"order date (utc)": "%d"}}}
    for home in (tmp_path / "challenger", tmp_path / "versions" / "one"):
        fitted_bundle(home / "bundle", BINARY, valid_rows(BINARY, 40))
        write_json(home / "receipt.json", receipt | {"version": "one"})
    write_json(home / "decision.json", {"champion": None})
    write_json(home / "promise.json", METRICS)
    (home / "card.md").write_text("# Model one")
    write_json(tmp_path / "reports" / "metrics.json", METRICS)
    write_json(tmp_path / "champion.json", {"version": "one", "previous": None, "blocked": []})
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield tmp_path
    track.mlflow.set_tracking_uri(None)


def test_the_challenger_and_every_version_are_sources(project):
    write_json(project / "challenger" / "receipt.json", {"version": "two"})
    found = sources(project / "challenger", project / "versions", "one", project / "reports")
    assert [source.receipt["version"] for source in found] == ["two", "one"]
    assert found[1].metrics == METRICS


def test_one_receipt_is_one_run_taken_up_where_it_was_cut_short(project):
    paths = [project / name for name in ("challenger", "champion.json", "versions", "reports")]
    assert track.main(*paths) == f"1 new runs, 1 registered versions of {track.NAME}, champion one"
    client, experiment = connect()
    (run,) = client.search_runs([experiment])
    assert (run.info.status, run.data.params["train.folds"]) == ("FINISHED", "3")
    assert run.data.params["ingest.dates"] == "{'order date (utc)': '%d'}", "names of columns are no names for MLflow"
    assert (run.data.metrics["log_loss"], run.data.metrics["baselines.prior.log_loss"]) == (0.5, 0.7)
    assert int(client.get_model_version_by_alias(track.NAME, "champion").version) == 1

    assert track.main(*paths).startswith("0 new runs, 1 registered")
    client.set_terminated(run.info.run_id, "RUNNING")
    assert track.main(*paths).startswith("1 new runs, 1 registered")
    (run,) = client.search_runs([experiment])
    assert run.info.status == "FINISHED"
    assert len(models(client, experiment, run.info.run_id)) == 1


def test_a_store_whose_making_was_killed_is_made_anew(project):
    source = os.pathsep.join([str(Path(track.__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    make = f"from {track.__name__} import connect; connect()"
    process = subprocess.Popen([sys.executable, "-c", make], env=os.environ | {"PYTHONPATH": source})
    draft, until = project / "mlflow.new.db/mlflow.db", time.monotonic() + 60
    while not (draft.exists() and draft.stat().st_size) and time.monotonic() < until:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert draft.exists()
    assert not track.STORE.exists()
    connect()
    assert track.STORE.exists()
    assert not draft.parent.exists()
