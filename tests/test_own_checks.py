"""The baked project holds its own rules, and its budget."""

import shutil
from pathlib import Path

import pytest
from conftest import Bake
from projects import Project


def test_the_baked_project_passes_its_own_checks(built: Project) -> None:
    built.run("make", "check")


def test_the_baked_project_passes_its_own_tests(built: Project) -> None:
    built.run("make", "test", timeout=600)


def test_the_baked_project_stays_within_its_budget(built: Project) -> None:
    tracked = built.git("ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    made = ("tests/", "docs/", "reports/", "dvc.lock", "uv.lock")
    files = [name for name in tracked if not name.startswith(made) and "/.gitignore" not in name]
    lines = [line for name in files if name.endswith(".py") for line in built.read(name).splitlines()]
    assert len(files) <= 85, files
    assert len(lines) <= 8550  # why not 60 and 2,500: docs/decisions/0007-size.md


@pytest.mark.parametrize("slug", ["a", "a" * 50])
def test_a_name_of_any_length_leaves_lines_that_pass_the_lint(
    bake: Bake, built: Project, tmp_path: Path, slug: str
) -> None:
    project, ruff = Project(bake(tmp_path, project_slug=slug)), str(built.path / ".venv/bin/ruff")
    project.run(ruff, "check", ".")
    project.run(ruff, "format", "--check", ".")


def test_what_needs_uv_fetches_it_where_there_is_none(bake: Bake, tmp_path: Path) -> None:
    project = Project(bake(tmp_path))
    bare = {"PATH": "/usr/bin:/bin"}
    assert not shutil.which("uv", path=bare["PATH"])
    for target in ("setup", "audit", "lock"):
        said = project.run("make", "--dry-run", target, env=bare).output.splitlines()
        assert said[0].startswith("python3 -m venv .uv && .uv/bin/pip install"), target


@pytest.mark.parametrize("remote", ["local", "s3", "gs", "azure"])
def test_pins_of_the_remote_are_renewed_with_the_others(bake: Bake, tmp_path: Path, remote: str) -> None:
    said = Project(bake(tmp_path, dvc_remote=remote)).run("make", "--dry-run", "lock").output
    assert said.count("--output-file requirements/") == (3 if remote == "local" else 4)
    assert (f"echo dvc-{remote} | " in said) == (remote != "local")
