"""A project that was made by cruft takes over a later template, and keeps what its owner wrote."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TEMPLATE
from test_bake import clean_environment, commit_all, git

CRUFT = [sys.executable, "-m", "cruft"]
INSIDE = "{{cookiecutter.project_slug}}"
PACKAGE = "src/{{cookiecutter.__package}}"
MODEL, PARAMS = "src/flight_delays/model.py", "params.yaml"


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text that stands in a file exactly once."""
    text = path.read_text()
    assert text.count(old) == 1, f"{path} holds {old!r} {text.count(old)} times"
    path.write_text(text.replace(old, new))


@pytest.fixture
def made(tmp_path: Path, cookiecutter_config: Path) -> tuple[Path, Path]:
    """Return a template of its own and a project that cruft made from it, committed with its owner's changes."""
    template = tmp_path / "template"
    ignored = shutil.ignore_patterns(".git", ".venv", ".uv", "demo", "__pycache__", ".*_cache")
    shutil.copytree(TEMPLATE, template, ignore=ignored)
    git(template, "init", "-q", "-b", "main")
    commit_all(template, "one")
    options = ["--no-input", "--config-file", str(cookiecutter_config), "--output-dir", str(tmp_path)]
    subprocess.run([*CRUFT, "create", str(template), *options], check=True, env=clean_environment())
    project = tmp_path / "flight-delays"
    commit_all(project, "as baked")
    edit(project / MODEL, "def build_model(", "NOTE = 'mine'\n\n\ndef build_model(")
    edit(project / PARAMS, "max_leaf_nodes: 31 ", "max_leaf_nodes: 15 ")
    (project / "models/champion.json").write_text('{"version": "1", "previous": null, "blocked": []}\n')
    (project / "src/flight_delays/stages/mine.py").write_text('"""A stage of my own."""\n')
    commit_all(project, "mine")
    return template, project


def update(project: Path, *options: str) -> list[str]:
    """Run `cruft update`, and return the files that it changed."""
    subprocess.run([*CRUFT, "update", "--skip-apply-ask", *options], cwd=project, check=True, env=clean_environment())
    assert list(project.rglob("*.rej")) == []
    return [line[3:] for line in git(project, "status", "--porcelain", "-uall").stdout.splitlines()]


def test_answers_are_kept_with_the_project(made: tuple[Path, Path]) -> None:
    _, project = made
    answers = json.loads((project / ".cruft.json").read_text())["context"]["cookiecutter"]
    assert answers["python_version"] == f"3.{min(max(sys.version_info.minor, 11), 13)}"
    assert (answers["ci"], answers["kubernetes"]) == ("github", "no")


def test_update_takes_over_the_template_and_keeps_what_is_the_owners(made: tuple[Path, Path]) -> None:
    template, project = made
    edit(template / INSIDE / PARAMS, "golden_rows: 32 ", "golden_rows: 64 ")
    edit(template / INSIDE / PACKAGE / "stages/split.py", '"""Stage `split`:', '"""Stage `split`, told better:')
    edit(template / INSIDE / ".github/workflows/ci.yml", "timeout-minutes: 20", "timeout-minutes: 25")
    (template / INSIDE / "docs/new.md").write_text("# New\n")
    (template / INSIDE / ".dvcignore").unlink()
    commit_all(template, "two")

    assert sorted(update(project)) == [
        ".cruft.json",
        ".dvcignore",
        ".github/workflows/ci.yml",
        "docs/new.md",
        "params.yaml",
        "src/flight_delays/stages/split.py",
    ]
    for name in (MODEL, PARAMS, "src/flight_delays/stages/split.py", ".github/workflows/ci.yml"):
        assert "<<<<<<<" not in (project / name).read_text()
    assert "NOTE = 'mine'" in (project / MODEL).read_text()
    params = (project / PARAMS).read_text()
    assert "max_leaf_nodes: 15 " in params
    assert "golden_rows: 64 " in params
    assert "told better" in (project / "src/flight_delays/stages/split.py").read_text()
    assert "timeout-minutes: 25" in (project / ".github/workflows/ci.yml").read_text()
    assert not (project / ".dvcignore").exists()
    assert '"version": "1"' in (project / "models/champion.json").read_text()
    assert (project / "src/flight_delays/stages/mine.py").exists()
    commit_all(project, "updated")
    checked = subprocess.run([*CRUFT, "check"], cwd=project, env=clean_environment(), check=False, capture_output=True)
    assert checked.returncode == 0, checked.stdout


def test_what_was_not_chosen_stays_away(made: tuple[Path, Path]) -> None:
    template, project = made
    edit(template / INSIDE / "k8s/storage.yaml", "storage: 10Gi", "storage: 20Gi")
    edit(template / INSIDE / ".gitlab-ci.yml", "timeout: 60 minutes", "timeout: 50 minutes")
    commit_all(template, "two")
    assert update(project) == [".cruft.json"]
    assert not (project / "k8s").exists()


def test_answers_can_be_changed_later(made: tuple[Path, Path]) -> None:
    template, project = made
    edit(template / INSIDE / PARAMS, "golden_rows: 32 ", "golden_rows: 64 ")
    commit_all(template, "two")
    changed = update(project, "--variables-to-update", '{"ci": "gitlab", "kubernetes": "yes"}')
    assert {".gitlab-ci.yml", "k8s/api.yaml", ".github/workflows/ci.yml", "params.yaml"} <= set(changed)
    assert (project / "k8s/jobs.yaml").is_file()
    assert not (project / ".github").exists()
    assert "NOTE = 'mine'" in (project / MODEL).read_text()


def test_same_line_changed_by_both_is_left_to_the_owner_as_a_conflict(made: tuple[Path, Path]) -> None:
    template, project = made
    edit(template / INSIDE / PARAMS, "max_leaf_nodes: 31 ", "max_leaf_nodes: 63 ")
    commit_all(template, "two")
    subprocess.run([*CRUFT, "update", "--skip-apply-ask"], cwd=project, check=True, env=clean_environment())
    told = git(project, "status", "--porcelain").stdout.splitlines()
    assert "UU params.yaml" in told or (project / "params.yaml.rej").exists(), told
    assert "max_leaf_nodes: 15 " in (project / PARAMS).read_text()
