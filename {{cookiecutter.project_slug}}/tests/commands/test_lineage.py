import json
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from {{ cookiecutter.__package }} import UserError, write_json
from {{ cookiecutter.__package }}.commands.lineage import find, git, lineage
from {{ cookiecutter.__package }}.stages import track

ID, OLD = "p" + "0" * 32, "p" + "1" * 32


@pytest.fixture
def project(tmp_path, monkeypatch, capsys):
    """A prediction in a log, one in a snapshot, the version that answered both, and what was committed with it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    lines = [{"time": "2024-01-02", "id": id, "model_version": "abc", "features": {"id": ID}} for id in (OLD[1:], ID)]
    Path("logs").mkdir()
    Path("logs/predictions-1.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines) + '{"id":"torn')
    Path("data/production").mkdir(parents=True)
    rows = pd.DataFrame({"id": ["other", OLD], "time": ["2024-01-01", "2024-01-01"]})
    rows.to_parquet("data/production/2024-01-01-abc.parquet")
    home = Path("models/versions/abc")
    write_json(home / "decision.json", {"decision": "promoted", "policy": "first", "loss": "rmse"})
    write_json(home / "promise.json", {"rmse": 1.5, "intervals": {"rmse": [1.0, 2.0]}})
    result = {"rows": 1234, "estimator": "Ridge"}
    write_json(home / "receipt.json", {"train_rows": "e" * 64, "recipe": "f" * 64, "result": result})
    subprocess.run(["git", "init", "-q"], check=True)
    for version, digest in ((None, "old"), ("abc", "right"), ("later", "new")):
        write_json(Path("models/champion.json"), {"version": version, "previous": None, "blocked": []})
        lock(digest)
        commit(f"it is {version}")
    return capsys


def lock(digest):
    names = {"split": "data/split", "train": "models/fitted", "export": "models/challenger"}
    stages = {stage: {"outs": [{"path": path, "md5": f"{digest}-{stage}"}]} for stage, path in names.items()}
    write_json(Path("dvc.lock"), {"stages": stages})  # JSON is YAML


def commit(message):
    subprocess.run(["git", "add", "models/champion.json", "dvc.lock"], check=True)
    me = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *me, "commit", "-qm", message], check=True)


def told(project, id):
    """Return what is said of a prediction, by link."""
    last = lineage(Path(id))
    lines = [line.removeprefix("lineage: ") for line in project.readouterr().out.splitlines()] + [last]
    return {line[:10].strip(): line[12:] for line in lines}


def test_a_prediction_leads_to_model_rows_commit_and_files(project):
    found = told(project, ID)
    assert list(found) == ["prediction", "model", "trained on", "MLflow run", "git commit", "dvc.lock"]
    assert found["prediction"] == f"{ID} of 2024-01-02 in logs/predictions-1.jsonl"
    assert found["model"] == "abc, promoted by policy first, promised rmse 1.5 [1.0, 2.0]"
    assert found["trained on"] == "1,234 rows eeeeeeeeeeee, Ridge, recipe ffffffffffff"
    assert found["MLflow run"] == "there is no store mlflow.db of this folder; `make track` fills one"
    assert found["git commit"].startswith(git("rev-parse", "HEAD~1").strip())
    assert found["git commit"].endswith("it is abc")
    assert found["dvc.lock"] == "data/split right-split, models/fitted right-train, models/challenger right-export"


def test_one_that_left_the_logs_is_found_in_a_snapshot(project):
    assert find(OLD) == ({"time": "2024-01-01", "model_version": "abc"}, Path("data/production/2024-01-01-abc.parquet"))


@pytest.mark.parametrize("id", ["p2", "torn", OLD[1:-1]])
def test_one_that_nobody_gave_is_refused(project, id):
    with pytest.raises(UserError, match="no prediction"):
        lineage(Path(id))


def test_what_is_not_committed_yet_and_what_is_gone_is_said(project):
    log = Path("logs/predictions-1.jsonl")
    log.write_text(log.read_text().replace('"abc"', '"def"'))
    lock("here")
    found = told(project, ID)
    assert found["model"] == "models/versions/def/decision.json is missing; restore it with `dvc checkout`"
    assert found["git commit"] == "not committed yet"
    assert found["dvc.lock"].startswith("data/split here-split, ")
    assert found["dvc.lock"].endswith("(work tree)")


def test_the_run_is_found_by_the_version_and_a_store_without_it_says_so(project, monkeypatch):
    client, experiment = track.connect()
    try:
        assert told(project, ID)["MLflow run"] == "none of this version; run `make track`"
        run = client.create_run(experiment, tags={"bundle": "abc"}).info.run_id
        assert told(project, ID)["MLflow run"] == f"{run} of experiment {track.NAME}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "unknown://nowhere")
        track.mlflow.set_tracking_uri("unknown://nowhere")
        assert told(project, ID)["MLflow run"].startswith("the store cannot be asked")
    finally:
        track.mlflow.set_tracking_uri(None)


def test_a_store_that_came_along_from_another_folder_is_left_as_it_is(project, monkeypatch):
    track.connect()
    track.mlflow.set_tracking_uri(None)
    made = track.STORE.read_bytes()
    monkeypatch.setattr(track, "_home", lambda store: Path("/elsewhere"))
    assert told(project, ID)["MLflow run"] == "there is no store mlflow.db of this folder; `make track` fills one"
    assert track.STORE.read_bytes() == made


@pytest.mark.parametrize("given", [(), (Path("a"), Path("b"))])
def test_lineage_is_of_one_prediction(given):
    with pytest.raises(UserError, match="say which prediction"):
        lineage(*given)
