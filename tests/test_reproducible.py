"""The same bytes wherever it runs, and a project that can be handed on: cloned, pulled, moved."""

import shutil
from collections.abc import Callable
from pathlib import Path

from projects import ONE_CORE, RESULTS, STAGES, Project, link_environment

Bare = Callable[[Path], Project]
TOKYO = {"TZ": "Asia/Tokyo", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
NEW_YORK = {"TZ": "America/New_York", "LC_ALL": "C", "PYTHONHASHSEED": "4242", "OMP_NUM_THREADS": "2"}

BUNDLE_ANSWERS = """
import json, sys
from pathlib import Path
from flight_delays import bundle, read_rows
loaded = bundle.load(Path(sys.argv[1]))
bundle.replay(loaded)
print(json.dumps(loaded.version))
"""

COMPARE = """
import json, logging, sys, mlflow, numpy as np, pandas as pd
from pathlib import Path
from flight_delays import bundle, read_rows
logging.disable(logging.WARNING)
mlflow.set_tracking_uri("sqlite:///mlflow.db")
served = bundle.load(Path("models/versions") / sys.argv[1] / "bundle")
features = served.contract["features"]
rows = read_rows("data/split/test.parquet")[[feature["name"] for feature in features]].head(1000).copy()
for number, feature in enumerate(features):
    if feature["missing"]:
        rows.loc[rows.index[number * 10 : number * 10 + 10], feature["name"]] = np.nan
open_ended = [feature["name"] for feature in features if feature["unknown"] == "accept"]
for name in open_ended:
    rows.loc[rows.index[500:520], name] = "never seen"
answers = mlflow.pyfunc.load_model("models:/flight_delays@champion").predict(rows)
ours, theirs = served.scores(rows)[:, 1], answers["probability"].to_numpy()
classes, threshold = served.contract["classes"], served.contract["threshold"]
same = list(answers["prediction"]) == [classes[int(p >= threshold)] for p in ours]
print(json.dumps(dict(rows=len(rows), open_ended=open_ended, missing=int(rows.isna().sum().sum()), same=same,
                      gap=float(np.abs(ours - theirs).max()), finite=bool(np.isfinite(ours).all()))))
"""


def test_two_clean_bakes_in_other_surroundings_give_the_same_bytes(bare: Bare, built: Project, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b" / "deeper down").mkdir(parents=True)
    here, there = bare(tmp_path / "a"), bare(tmp_path / "b" / "deeper down")
    here.run(*ONE_CORE, "python", "-m", "dvc", "repro", "monitor", env=TOKYO)
    there.repro("monitor", env=NEW_YORK)
    digests = here.digests(*RESULTS)
    assert len(digests) > 20
    assert digests == there.digests(*RESULTS)
    assert digests == built.digests(*RESULTS)
    assert here.champion == there.champion


def test_a_colleague_clones_pulls_and_has_nothing_to_run(ready: Project, tmp_path: Path) -> None:
    ready.commit()
    ready.dvc("push")
    ready.git("clone", "--quiet", str(ready.path), str(tmp_path / "colleague"))
    colleague = Project(tmp_path / "colleague")
    link_environment(ready.path, colleague.path)
    colleague.dvc("pull")
    assert colleague.repro().ran == []
    champion = colleague.champion["version"]
    assert colleague.python(BUNDLE_ANSWERS, f"models/versions/{champion}/bundle") == champion
    assert colleague.results() == ready.results()
    assert colleague.git("status", "--porcelain") == ""


def test_a_clone_without_the_remote_builds_the_champion_again(ready: Project, tmp_path: Path) -> None:
    ready.commit()
    ready.git("clone", "--quiet", str(ready.path), str(tmp_path / "stranger"))
    stranger = Project(tmp_path / "stranger")
    link_environment(ready.path, stranger.path)
    assert stranger.repro().ran == STAGES[:-1]  # what track reads is what was tracked
    assert stranger.results() == ready.results()
    assert stranger.git("diff", "--numstat").split() == ["2", "2", "dvc.lock"]  # of models/fitted, whose bytes vary


def test_a_moved_project_works_after_setup_and_its_mlflow_after_track(built: Project, tmp_path: Path) -> None:
    before = built.copy(tmp_path, "before")
    before.run("make", "track")
    shutil.rmtree(before.path / ".venv")
    before.path.rename(tmp_path / "after")
    moved = Project(tmp_path / "after", {"PYTHONPATH": ""})
    moved.run("make", "setup", timeout=600)
    assert moved.repro().ran == []
    moved.run("make", "track")
    assert moved.python(COMPARE, moved.champion["version"])["same"]


def test_pyfunc_answers_a_thousand_raw_rows_as_the_bundle_does(ready: Project) -> None:
    ready.run("make", "track")
    found = ready.python(COMPARE, ready.champion["version"])
    assert found["rows"] == 1000
    assert found["missing"] >= 80
    assert found["open_ended"] == ["dest"]
    assert found["finite"]
    assert found["same"]
    assert found["gap"] == 0
