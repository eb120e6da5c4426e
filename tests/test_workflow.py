"""The scheduled workflow of a baked project: its script is run as a runner would, with stubs for what lies outside."""

import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import TEMPLATE, Bake
from projects import AUTHOR, Project

WORKFLOW = ".github/workflows/retrain.yml"
BASH = ["bash", "--noprofile", "--norc", "-eo", "pipefail"]  # how a runner calls `shell: bash`
SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "GOOGLE_KEY", "AZURE_STORAGE_CONNECTION_STRING")
# Each says how it was called; `dvc` answers what its remote is, `make` writes what the target would.
STUBS = {
    "dvc": """case "$*" in
"remote default") echo storage;;
"config remote.storage.url") echo "$URL";;
esac""",
    "make": """mkdir -p reports
case $1 in
monitor) echo "{\\"decision\\": \\"$DECISION\\", \\"reasons\\": [\\"a \\$(touch hit) reason\\"]}" > reports/drift.json;;
retrain)
  printf '# Promoted: \\140touch hit\\140 $(touch hit)\\n\\n- better\\n' > reports/decision.md
  echo '{"version": "new"}' > models/champion.json
  echo new > dvc.lock
  printf '/rows.parquet\\n' > data/labelled/.gitignore
  echo new | tee data/labelled/rows.parquet > data/labelled/rows.parquet.dvc;;
esac""",
    "gh": """[ "$1 $2" != "${GH_FAILS-}" ]""",
}


@dataclass(frozen=True)
class Runner:
    """A clone of a baked project on a runner, with the stubs on its path."""

    project: Path
    outside: Path

    @property
    def script(self) -> str:
        """Return what the last step runs."""
        return str(steps(self.project)[-1]["run"])

    def run(self, **env: str) -> str:
        """Run the last step, which ends well, and return what it says."""
        given = dict.fromkeys(SECRETS, "") | {"GITHUB_REF_NAME": "main", "RUNNER_TEMP": str(self.outside)}
        given |= {"GITHUB_STEP_SUMMARY": str(self.outside / "summary"), "CALLS": str(self.outside / "calls")}
        path = f"{self.outside}:{os.environ['PATH']}"
        done = subprocess.run(
            [*BASH, "-c", self.script],
            cwd=self.project,
            env={"PATH": path, "HOME": str(self.outside)} | given | env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert not (self.project / "hit").exists(), "a text was run"
        return done.stdout

    def read(self, name: str) -> list[str]:
        """Return the lines of `calls` or `summary`."""
        path = self.outside / name
        return path.read_text().splitlines() if path.exists() else []

    def origin(self, *arguments: str) -> list[str]:
        """Return what git says in the bare repository that is pushed to."""
        command = ["git", "-C", str(self.outside / "origin.git"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def steps(project: Path) -> list[dict[str, Any]]:
    """Return the steps of the workflow."""
    workflow = yaml.safe_load((project / WORKFLOW).read_text())
    return list(workflow["jobs"]["retrain"]["steps"])


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, env=os.environ | AUTHOR, check=True, capture_output=True)


@pytest.fixture
def runner(tmp_path: Path, bake: Bake) -> Runner:
    """Return a committed and pushed project with stubs for DVC, make and gh."""
    project, outside = bake(tmp_path / "baked"), tmp_path / "outside"
    outside.mkdir()
    for name, code in STUBS.items():
        stub = outside / name
        stub.write_text(f'#!/bin/bash\nprintf "%s\\n" "{name} $*" >> "$CALLS"\n{code}\n')
        stub.chmod(0o755)
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "All")
    git(outside, "init", "--quiet", "--bare", "origin.git")
    git(project, "remote", "add", "origin", str(outside / "origin.git"))
    git(project, "push", "--quiet", "origin", "main")
    return Runner(project, outside)


def test_workflow_asks_for_no_more_than_it_needs(tmp_path: Path, bake: Bake) -> None:
    text = (bake(tmp_path) / WORKFLOW).read_text()
    workflow = yaml.safe_load(text)
    assert set(workflow[True]) == {"schedule", "workflow_dispatch"}  # YAML 1.1 reads `on` as true
    assert workflow["permissions"] == {"contents": "write", "pull-requests": "write"}
    assert workflow["concurrency"]
    (job,) = workflow["jobs"].values()
    assert job["timeout-minutes"] <= 60
    assert "permissions" not in job
    actions = [step["uses"] for step in job["steps"] if "uses" in step]
    ours = (TEMPLATE / ".github/workflows/ci.yml").read_text()
    assert [action for action in actions if not re.search("@[0-9a-f]{40}$", action) or action not in ours] == []
    assert set(re.findall(r"\$\{\{ *secrets\.(\w+)", text)) == set(SECRETS)


def test_scripts_are_sound_and_no_expression_stands_in_one(tmp_path: Path, bake: Bake) -> None:
    for step in steps(bake(tmp_path)):
        if script := step.get("run"):
            assert "${{" not in script
            subprocess.run([*BASH, "-n", "-c", script], check=True)


def test_python_is_the_one_that_the_project_was_baked_for(tmp_path: Path, bake: Bake) -> None:
    project = bake(tmp_path, python_version="3.12")
    (script,) = [step["run"] for step in steps(project) if step.get("id") == "python"]
    output = tmp_path / "output"
    subprocess.run([*BASH, "-c", script], cwd=project, env=os.environ | {"GITHUB_OUTPUT": str(output)}, check=True)
    assert output.read_text() == "version=3.12\n"


@pytest.mark.parametrize("url", ["/data/x", "../there", "s3://your-bucket/x", "azure://your-container/x"])
def test_without_a_remote_that_it_can_reach_it_says_so_and_ends_well(runner: Runner, url: str) -> None:
    (said,) = runner.run(URL=url).splitlines()
    assert url in said
    assert "dvc remote modify storage url" in said
    assert runner.read("summary") == [said]
    assert runner.read("calls") == ["dvc remote default", "dvc config remote.storage.url"]


def test_dvc_itself_tells_it_that_the_default_remote_is_a_folder(
    bare: Callable[[Path], Project], tmp_path: Path
) -> None:
    project = bare(tmp_path / "baked")
    said = Runner(project.path, tmp_path).run()
    assert f"the DVC remote is {tmp_path / 'baked/flight-delays-dvc'}, and" in said


@pytest.mark.parametrize("decision", ["ok", "watch", "insufficient_data"])
def test_without_need_it_says_the_decision_and_stops(runner: Runner, decision: str) -> None:
    runner.run(URL="s3://ours/x", DECISION=decision)
    assert runner.read("summary") == [f"Decision: {decision}", "", "- a $(touch hit) reason"]
    assert runner.read("calls")[2:] == ["dvc pull", "make monitor"]


def test_retraining_ends_in_a_pull_request_with_the_decision(runner: Runner) -> None:
    runner.run(URL="s3://ours/x", DECISION="retrain")
    title = "Retrain: Promoted: `touch hit` $(touch hit)"
    assert runner.read("calls")[2:] == [
        "dvc pull",
        "make monitor",
        "make retrain",
        "dvc push",
        "gh auth setup-git",
        f"gh pr create --base main --head retrain --title {title} --body-file reports/decision.md",
    ]
    assert "- better" in runner.read("summary")
    changed = runner.origin("diff", "--name-only", "main", "retrain")
    assert changed == [
        "data/labelled/.gitignore",
        "data/labelled/rows.parquet.dvc",
        "dvc.lock",
        "models/champion.json",
        "reports/decision.md",
        "reports/drift.json",
    ]
    assert runner.origin("log", "-1", "--format=%an|%s", "retrain") == [f"github-actions[bot]|{title}"]


def test_without_anything_new_to_try_there_is_no_pull_request(runner: Runner) -> None:
    code = 'mkdir -p reports; echo \'{"decision": "retrain", "reasons": []}\' > reports/drift.json; echo new > dvc.lock'
    (runner.outside / "make").write_text(f"#!/bin/bash\n{code}; touch reports/decision.md\n")
    runner.run(URL="s3://ours/x")
    assert runner.read("summary")[-1].startswith("Nothing new was tried")
    assert [line for line in runner.read("calls") if line.startswith("gh")] == []


def test_request_that_waits_is_brought_up_to_date(runner: Runner) -> None:
    runner.run(URL="s3://ours/x", DECISION="retrain")
    first = runner.origin("rev-parse", "retrain")
    git(runner.project, "switch", "main")
    (runner.project / "params.yaml").write_text("# changed\n")
    git(runner.project, "commit", "--all", "--message", "Later")
    runner.run(URL="s3://ours/x", DECISION="retrain", GH_FAILS="pr create")
    assert runner.read("calls")[-1].startswith("gh pr edit retrain --title Retrain: ")
    assert runner.origin("rev-parse", "retrain") != first


def test_credentials_that_were_not_given_are_not_set(runner: Runner) -> None:
    stub = runner.outside / "dvc"
    stub.write_text(stub.read_text() + 'env | grep -E "AWS|AZURE|GOOGLE_APP" | sed "s/^/$1 /" >> "$CALLS" || true\n')
    runner.run(URL="gs://ours/x", DECISION="ok", GOOGLE_KEY='{"a": "$(touch hit)"}', AWS_ACCESS_KEY_ID="ours")
    key = runner.outside / "google.json"
    told = sorted(line for line in runner.read("calls") if line.startswith("pull "))
    assert told == ["pull AWS_ACCESS_KEY_ID=ours", f"pull GOOGLE_APPLICATION_CREDENTIALS={key}"]
    assert key.read_text() == '{"a": "$(touch hit)"}'
