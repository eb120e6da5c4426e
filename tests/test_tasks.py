"""The same pipeline on other problems: many classes, numbers, with and without a time column, identical rows."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import tasks
from projects import STAGES, Project, turn

Bare = Callable[[Path], Project]

SIDES = """
import json, pandas as pd
from flight_delays import read_rows
train, test = (read_rows(f"data/split/{side}.parquet") for side in ("train", "test"))
both = train.drop_duplicates().merge(test.drop_duplicates())
print(json.dumps(dict(train=len(train), test=len(test), on_both_sides=len(both),
                      twice=int(pd.concat([train, test]).duplicated().sum()))))
"""

ANSWERS = """
import json, logging, sys, mlflow, numpy as np, pandas as pd
from pathlib import Path
from flight_delays import bundle, read_rows
logging.disable(logging.WARNING)
mlflow.set_tracking_uri("sqlite:///mlflow.db")
rows = read_rows("data/split/test.parquet").head(50)
served = bundle.load(Path("models/versions") / sys.argv[1] / "bundle")
scores, contract = served.scores(rows), served.contract
found = mlflow.pyfunc.load_model("models:/flight_delays@champion").predict(
    rows[[feature["name"] for feature in contract["features"]]]
)
if contract["task"] == "regression":
    theirs, expected = np.asarray(found["prediction"]), scores.tolist()
elif contract["task"] == "binary":
    theirs, scores = np.asarray(found["probability"]), scores[:, 1]
    expected = [contract["classes"][int(p >= contract["threshold"])] for p in scores]
else:
    theirs = np.array([[answer[name] for name in contract["classes"]] for answer in found["probability"]])
    expected = [contract["classes"][best] for best in scores.argmax(axis=1)]
gap, same = float(np.abs(theirs - scores).max()), list(found["prediction"]) == expected
print(json.dumps(dict(columns=list(found.columns), same=same, gap=gap, rows=len(found))))
"""


@pytest.fixture(scope="module", params=["multiclass", "regression", "binary"])
def solved(
    request: pytest.FixtureRequest,
    bare: Bare,
    small_built: Project,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Project]:
    """Return a task's name and its project after the pipeline."""
    name = str(request.param)
    folder = tmp_path_factory.mktemp(name)
    if name == "binary":
        copied = small_built.copy(folder)
        copied.run("make", "track")
        return name, copied
    project = turn(bare(folder), {"multiclass": tasks.MULTICLASS, "regression": tasks.REGRESSION}[name])
    assert project.repro().ran == STAGES
    return name, project


def test_pipeline_promotes_a_model_that_beats_the_baselines(solved: tuple[str, Project]) -> None:
    _, project = solved
    assert project.decision["decision"] == "promoted", project.decision
    assert project.champion["version"] == project.decision["version"]


def test_metrics_are_finite_and_those_of_the_task(solved: tuple[str, Project]) -> None:
    name, project = solved
    wanted = {
        "binary": {"log_loss", "auc", "brier", "accuracy", "precision", "recall", "calibration_error"},
        "multiclass": {"log_loss", "accuracy", "balanced_accuracy", "brier", "calibration_error"},
        "regression": {"rmse", "mae", "r2", "calibration_error"},
    }[name]
    for metric in wanted:
        assert all(map(math.isfinite, project.metric(metric))), (metric, project.metric(metric))


def test_pyfunc_answers_raw_rows_as_the_bundle_does(solved: tuple[str, Project]) -> None:
    name, project = solved
    found = project.python(ANSWERS, project.champion["version"])
    assert found["rows"] == 50
    assert found["same"]
    assert found["gap"] == 0
    assert found["columns"] == ["prediction"] if name == "regression" else ["prediction", "probability"]


def test_second_repro_is_idle(solved: tuple[str, Project]) -> None:
    assert solved[1].repro().ran == []


def test_identical_rows_fall_on_the_same_side_of_the_split(solved: tuple[str, Project]) -> None:
    name, project = solved
    found = project.python(SIDES)
    assert found["on_both_sides"] == 0
    assert found["train"] > found["test"] > 0
    assert (found["twice"] > 0) == (name == "multiclass")


def test_plots_of_every_task_are_drawn(solved: tuple[str, Project]) -> None:
    _, project = solved
    assert (project.path / "reports/plots/evaluation.png").read_bytes().startswith(b"\x89PNG")
    project.dvc("plots", "show")
