"""What `dvc repro` runs and what it leaves alone."""

from typing import Any

import pytest
import yaml
from projects import STAGES, Project

# One number of each section, and another value for it.
CHANGES = {
    "monitor": ("min_rows", 300),
    "promote": ("margin", 0.02),
    "evaluate": ("resamples", 500),
    "export": ("reference_rows", 9000),
    "validate": ("examples", 4),
    "train": ("max_iter", 60),
    "split": ("max_test_days", 29),
    "ingest": ("late_minutes", 20),
}


@pytest.fixture(scope="module")
def edited(built: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a copy of the default project whose parameters the tests change, one after another."""
    return built.copy(tmp_path_factory.mktemp("edited"))


def inputs(lock: dict[str, Any], stage: str) -> dict[str, Any]:
    """Return what dvc.lock says that a stage read: path -> digest, and its parameters."""
    read = {dep["path"]: dep.get("md5") for dep in lock[stage].get("deps", [])}
    return read | dict(lock[stage].get("params", {}))


def stale(lock: dict[str, Any]) -> list[str]:
    """Return the stages of dvc.lock that read another version of an output than the one that stands there."""
    made = {out["path"]: out["md5"] for stage in lock.values() for out in stage.get("outs", [])}
    return [
        name
        for name, stage in lock.items()
        if any(made.get(dep["path"], dep["md5"]) != dep["md5"] for dep in stage.get("deps", []))
    ]


def listing(project: Project, section: str) -> set[str]:
    """Return the stages that list a section of params.yaml in dvc.yaml."""
    stages = yaml.safe_load(project.read("dvc.yaml"))["stages"]
    return {name for name, stage in stages.items() if section in stage.get("params", [])}


def test_cold_pipeline_runs_every_stage_once_in_the_order_of_the_file(built: Project) -> None:
    assert list(built.lock) == STAGES
    assert list(yaml.safe_load(built.read("dvc.yaml"))["stages"]) == STAGES


def test_default_project_ends_with_a_promoted_model_of_an_honest_score(built: Project) -> None:
    low, auc, high = built.metric("auc")
    assert built.decision["decision"] == "promoted"
    assert built.champion["version"] == built.decision["version"]
    assert 0.70 <= auc <= 0.73
    assert 0.60 <= low < auc < high <= 0.80


def test_second_repro_runs_nothing(ready: Project) -> None:
    before = ready.results()
    assert ready.repro().ran == []
    assert ready.results() == before


@pytest.mark.parametrize("section", CHANGES)
def test_a_changed_number_reruns_what_reads_it_and_what_its_outputs_changed(edited: Project, section: str) -> None:
    key, value = CHANGES[section]
    before = edited.lock
    edited.set(f"{section}.{key}", value)
    done = edited.repro()
    after = edited.lock
    changed = {stage for stage in STAGES if inputs(before, stage) != inputs(after, stage)}
    assert set(done.ran) == changed
    assert listing(edited, section) <= changed
    assert stale(after) == []
    assert edited.repro().ran == []


def test_a_parameter_changed_and_changed_back_ends_as_it_began(ready: Project) -> None:
    ready.run("make", "track")
    before, runs = ready.results(), ready.runs()
    ready.set("train.max_iter", 5)
    assert "train" in ready.repro().ran
    assert ready.decision["decision"] == "refused"
    ready.set("train.max_iter", 200)
    ready.repro()
    assert ready.json("models/challenger/receipt.json")["version"] == ready.champion["version"]
    after = ready.results()
    decided = "reports/decision.json"  # it says now that the challenger is the champion
    assert after | {decided: ""} == before | {decided: ""}
    receipts = [run["receipt"] for run in ready.runs()]
    assert len(runs) == 1
    assert receipts.count(runs[0]["receipt"]) == 1
    assert len(receipts) == len(set(receipts)) == 2


@pytest.mark.parametrize("command", [["metrics", "diff"], ["params", "diff"], ["plots", "show"], ["exp", "show"]])
def test_dvc_shows_what_a_person_asks_for(edited: Project, command: list[str]) -> None:
    if not (edited.path / ".git/refs/heads/main").exists():
        edited.commit()
    edited.dvc(*command)
