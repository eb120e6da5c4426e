import fcntl
import json
import os
import shutil
import time

import pandas as pd
import pytest
from rows import BINARY, MULTICLASS, REGRESSION, valid_rows
from traffic import replay

from {{ cookiecutter.__package }} import UserError
from {{ cookiecutter.__package }}.commands import snapshot as module
from {{ cookiecutter.__package }}.commands.snapshot import _remove, snapshot

CONTRACTS = pytest.mark.parametrize("contract", [BINARY, MULTICLASS, REGRESSION], ids=lambda contract: contract.task)


@pytest.fixture(autouse=True)
def tracked(tmp_path, monkeypatch):
    """Work in an empty project; return the files that DVC was given."""
    given = []

    def track(paths):
        given.extend(paths)
        for path in paths:
            path.with_name(f"{path.name}.dvc").touch()

    shutil.copy("params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "track", track)
    (tmp_path / "data/production").mkdir(parents=True)
    return given


def taken(folder):
    """Return the only snapshot."""
    (path,) = (folder / "data/production").glob("*.parquet")
    return pd.read_parquet(path)


@CONTRACTS
def test_every_prediction_is_taken_once_as_it_was_asked_and_answered(contract, tmp_path, tracked):
    rows = valid_rows(contract, 60, seed=3)
    bundle, ids = replay(contract, tmp_path, rows)
    assert snapshot() == "60 new predictions and 0 new labels; 60 on record"
    found = taken(tmp_path)
    assert found["id"].tolist() == ids
    assert [path.name[11:] for path in tracked] == [f"{bundle.version}.parquet"]
    for feature in contract.features:
        values = found[f"features.{feature.name}"]
        assert values.isna().tolist() == rows[feature.name].isna().tolist()
        assert values.dropna().tolist() == rows[feature.name].dropna().tolist()
    scores = bundle.scores(rows)
    expected = scores[:, 1] if contract.task == "binary" else scores
    names = [name for name in found if name.startswith("score")]
    assert abs(found[names].to_numpy() - expected.reshape(60, -1)).max() < 1e-9
    assert found["label"].isna().all()
    assert found["batch"].isna().all()
    if contract.time:
        assert found["row_time"].tolist() == rows[contract.time].tolist()
        assert found["row_id"].tolist() == rows[contract.id].tolist()
    tracked.clear()
    assert snapshot() == "0 new predictions and 0 new labels; 60 on record"
    assert tracked == []


@CONTRACTS
def test_the_latest_label_of_an_id_stands_and_corrections_are_counted(contract, tmp_path):
    rows = valid_rows(contract, 10, seed=3)
    labels = [
        value.item() if hasattr(value, "item") else value for value in valid_rows(contract, 10, seed=4)[contract.target]
    ]
    one, other = labels[0], next(label for label in labels if label != labels[0])
    replay(contract, tmp_path, rows, [(0, one), (1, one), (1, other), (999, one)])
    assert snapshot() == "10 new predictions and 2 new labels; 10 on record; 1 labels match no prediction"
    assert taken(tmp_path)["label"].dropna().tolist() == [one, other]
    replay_later = {"time": "2999-01-01T00:00:00.000+00:00", "id": taken(tmp_path)["id"][0], "label": other}
    (tmp_path / "logs/labels-later.jsonl").write_text(json.dumps(replay_later) + "\n")
    assert "1 labels corrected" in snapshot()
    assert taken(tmp_path)["label"].dropna().tolist() == [other, other]


def test_a_label_that_comes_after_its_prediction_was_taken_is_added(tmp_path):
    _, ids = replay(BINARY, tmp_path, valid_rows(BINARY, 10, seed=3))
    snapshot()
    for log in (tmp_path / "logs").glob("predictions-*"):
        log.unlink()
    line = {"time": "2999-01-01T00:00:00.000+00:00", "id": ids[4], "label": "yes"}
    (tmp_path / "logs/labels-later.jsonl").write_text(json.dumps(line) + "\n")
    assert snapshot() == "0 new predictions and 1 new labels; 10 on record"
    assert taken(tmp_path)["label"].isna().tolist() == [k != 4 for k in range(10)]


def test_rows_of_two_versions_and_two_days_lie_apart(tmp_path):
    first, _ = replay(BINARY, tmp_path, valid_rows(BINARY, 10, seed=3))
    second, _ = replay(REGRESSION, tmp_path, valid_rows(REGRESSION, 10, seed=3))
    (log,) = [log for log in (tmp_path / "logs").glob("predictions-*") if first.version in log.read_text()]
    log.write_text(log.read_text() + log.read_text().replace('"time":"2', '"time":"9').replace('"id":"p', '"id":"q'))
    assert snapshot().startswith("30 new predictions")
    names = sorted(path.stem[11:] for path in (tmp_path / "data/production").glob("*.parquet"))
    assert names == sorted([first.version, first.version, second.version])


def test_lines_of_versions_that_are_gone_are_counted_and_their_log_is_kept(tmp_path):
    replay(BINARY, tmp_path, valid_rows(BINARY, 10, seed=3))
    (log,) = (tmp_path / "logs").glob("predictions-*")
    log.write_text(log.read_text() + '{"time":"2999","model_version":"gone","id":"x"}\n{"time":"2999","mo')
    os.utime(log, (0, 0))
    told = "10 on record; 1 lines are no predictions, or of versions that models/versions lacks"
    assert snapshot() == f"10 new predictions and 0 new labels; {told}"
    assert log.exists()


def test_a_line_that_no_service_wrote_is_named_and_nothing_is_taken(tmp_path):
    replay(BINARY, tmp_path, valid_rows(BINARY, 10, seed=3))
    (log,) = (tmp_path / "logs").glob("predictions-*")
    log.write_text(log.read_text().replace('"probability":0', '"probability":"x', 1))
    with pytest.raises(UserError, match=log.name):
        snapshot()
    assert not list((tmp_path / "data/production").glob("*.parquet"))


@pytest.mark.parametrize(
    "line", ["{", '["a"]', '{"id": "p1", "time": "2026"}', '{"id": "p1", "time": null, "label": "yes"}']
)
def test_a_label_that_no_service_wrote_names_its_log(tmp_path, line):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/labels-1.jsonl").write_text(line + "\n")
    with pytest.raises(UserError, match=r"labels-1\.jsonl holds a line that no service wrote"):
        snapshot()


def test_old_logs_go_once_they_are_taken_and_no_living_one_does(tmp_path):
    replay(BINARY, tmp_path, valid_rows(BINARY, 10, seed=3), [(0, "yes")])
    replay(REGRESSION, tmp_path, valid_rows(REGRESSION, 10, seed=4))
    logs = sorted((tmp_path / "logs").glob("*.jsonl"))
    assert len(logs) == 3
    long_ago = time.time() - 366 * 86_400
    for log in logs:
        os.utime(log, (long_ago, long_ago))
    with logs[1].open("rb") as living:
        fcntl.flock(living, fcntl.LOCK_EX)
        assert snapshot() == "20 new predictions and 1 new labels; 20 on record; 2 old files removed"
    assert sorted((tmp_path / "logs").glob("*.jsonl")) == [logs[1]]


def test_old_snapshots_go_with_what_dvc_knows_of_them(tmp_path):
    old = tmp_path / "data/production/2020-01-01-abc.parquet"
    for path in (old, old.with_name(f"{old.name}.dvc")):
        path.write_text("")
    assert "1 old files removed" in snapshot()
    assert not list((tmp_path / "data/production").iterdir())


def test_before_any_traffic_there_is_nothing_to_take(tmp_path):
    assert snapshot() == "0 new predictions and 0 new labels; 0 on record"


def test_a_snapshot_that_was_not_pulled_is_not_written_anew(tmp_path):
    replay(BINARY, tmp_path, valid_rows(BINARY, 10, seed=3))
    snapshot()
    (path,) = (tmp_path / "data/production").glob("*.parquet")
    path.rename(path.with_name(f"{path.name}.dvc"))
    with pytest.raises(UserError, match="dvc pull"):
        snapshot()


def test_what_was_taken_up_without_dvc_is_given_to_it_the_next_time(tmp_path, tracked):
    replay(BINARY, tmp_path, valid_rows(BINARY, 20))
    assert snapshot(tracked=False).startswith("20 new predictions")
    assert tracked == []
    assert snapshot().startswith("0 new predictions")
    (path,) = tracked
    os.utime(path, (4e9, 4e9))
    assert snapshot().startswith("0 new predictions")
    assert tracked == [path, path]


def test_files_that_no_service_wrote_stay_and_labels_stay_beside_what_is_kept(tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    for name in ("audit.jsonl", "labels-a.jsonl", "predictions-a.jsonl"):
        (logs / name).write_text("")
        os.utime(logs / name, (1, 1))
    assert _remove(logs, 30, {logs / "predictions-a.jsonl"}) == 0
    assert _remove(logs, 30, set()) == 2
    assert [path.name for path in logs.iterdir()] == ["audit.jsonl"]
