"""What a bake leaves behind, for every answer."""

import itertools
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import TEMPLATE, Bake

VERSIONS = ("3.11", "3.12", "3.13")
MOST_FILES = 85  # why not 60: docs/decisions/0007-size.md


def tree(project: Path) -> dict[str, bytes]:
    """Return the files of `project` by name, those of its git repository aside."""
    return {
        path.relative_to(project).as_posix(): path.read_bytes()
        for path in sorted(project.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(project).parts
    }


def git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)


def commit_all(folder: Path, message: str) -> None:
    assert git(folder, "add", "--all").returncode == 0
    committed = git(folder, "-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-q", "-m", message)
    assert committed.returncode == 0, committed.stderr


def clean_environment(**extra: str) -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("GIT_")} | extra


@pytest.mark.parametrize("answers", [[], ["dvc_remote=s3", "ci=gitlab", "kubernetes=yes"]], ids=["default", "others"])
def test_bake_needs_no_network(tmp_path: Path, cookiecutter_config: Path, answers: list[str]) -> None:
    (tmp_path / "offline").mkdir()
    (tmp_path / "offline" / "sitecustomize.py").write_text(
        "import socket\n"
        "def refuse(*arguments, **options): raise SystemExit('the bake asked for the network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
    )
    command = [sys.executable, "-m", "cookiecutter", str(TEMPLATE), "--no-input", *answers]
    command += ["--output-dir", str(tmp_path / "out"), "--config-file", str(cookiecutter_config)]
    environment = clean_environment(PYTHONPATH=str(tmp_path / "offline"))
    baked = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (baked.returncode, baked.stderr) == (0, "")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["flight-delays"]


def test_default_bake_is_small_enough_to_be_read(tmp_path: Path, bake: Bake) -> None:
    counted = [name for name in tree(bake(tmp_path)) if not name.startswith(("tests/", "docs/"))]
    assert len(counted) <= MOST_FILES


@pytest.mark.parametrize("answers", [{}, {"ci": "gitlab", "kubernetes": "yes"}, {"ci": "none"}], ids=str)
def test_readme_stays_short(tmp_path: Path, bake: Bake, answers: dict[str, str]) -> None:
    text = (bake(tmp_path, **answers) / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    assert "\n\n\n" not in text


def test_python_version_changes_the_project(tmp_path: Path, bake: Bake) -> None:
    trees = [tree(bake(tmp_path / version, python_version=version)) for version in VERSIONS]
    assert all(one != other for one, other in itertools.combinations(trees, 2))


def test_python_version_defaults_to_the_interpreter_that_bakes(tmp_path: Path, cookiecutter_config: Path) -> None:
    command = [sys.executable, "-m", "cookiecutter", str(TEMPLATE), "--no-input"]
    command += ["--output-dir", str(tmp_path), "--config-file", str(cookiecutter_config)]
    subprocess.run(command, check=True, env=clean_environment())
    replay = json.loads((cookiecutter_config.parent / f"{TEMPLATE.name}.json").read_text())
    assert replay["cookiecutter"]["python_version"] == f"3.{min(max(sys.version_info.minor, 11), 13)}"


def test_package_folder_is_named_and_its_files_are_copied_unrendered(tmp_path: Path, bake: Bake) -> None:
    project = bake(tmp_path, project_slug="late-trains_2")
    assert [path.name for path in (project / "src").iterdir()] == ["late_trains_2"]
    source = TEMPLATE / "{{cookiecutter.project_slug}}" / "src" / "{{cookiecutter.__package}}"
    for path in source.rglob("*.py"):
        assert (project / "src/late_trains_2" / path.relative_to(source)).read_bytes() == path.read_bytes()


def test_champion_starts_empty(tmp_path: Path, bake: Bake) -> None:
    champion = json.loads((bake(tmp_path) / "models/champion.json").read_text())
    assert champion == {"version": None, "previous": None, "blocked": []}


@pytest.mark.parametrize(
    ("author", "description"),
    [
        ('O\'Brien "Bob" & <co>', "Says \"late\" or 'on time' & why"),
        ('C:\\new\\table """', "100 % {sure} #1 \\n $HOME ${x} `id`"),
        ("Zoë Ångström 𠮷野家", "Größe: 'ja' — nein 🛫"),
    ],
)
def test_awkward_but_legal_answers_survive(tmp_path: Path, bake: Bake, author: str, description: str) -> None:
    project = bake(tmp_path, author=author, description=description, project_name="O'Hare & co: Ünïcode")
    assert project.name == "o-hare-co-unicode"
    assert f"Copyright (c) {author}\n" in (project / "LICENSE").read_text()
    metadata = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    assert metadata["name"] == "o-hare-co-unicode"
    assert metadata["description"] == description
    assert metadata["authors"] == [{"name": author}]


def test_folder_becomes_a_repository_without_a_commit(tmp_path: Path, bake: Bake) -> None:
    project = bake(tmp_path)
    assert git(project, "symbolic-ref", "HEAD").stdout == "refs/heads/main\n"
    assert git(project, "rev-parse", "--verify", "HEAD").returncode != 0
    assert git(project, "diff", "--cached", "--name-only").stdout == ""


def test_folder_in_another_repository_gets_its_own(tmp_path: Path, bake: Bake) -> None:
    git(tmp_path, "init", "-q")
    project = bake(tmp_path)
    assert Path(git(project, "rev-parse", "--show-toplevel").stdout.strip()) == project.resolve()


def test_bake_inside_a_git_hook_leaves_the_outer_repository_alone(
    tmp_path: Path, bake: Bake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "outer.git"))
    project = bake(tmp_path)
    assert (project / ".git/HEAD").is_file()
    assert not (tmp_path / "outer.git").exists()


def test_existing_repository_is_left_as_it_is(tmp_path: Path, bake: Bake) -> None:
    project = bake(tmp_path)
    commit_all(project, "mine")
    git(project, "branch", "-m", "trunk")
    before = git(project, "rev-parse", "HEAD").stdout
    bake(tmp_path)
    assert git(project, "rev-parse", "HEAD").stdout == before
    assert git(project, "symbolic-ref", "HEAD").stdout == "refs/heads/trunk\n"
    assert git(project, "status", "--porcelain").stdout == ""


def test_second_bake_changes_nothing(tmp_path: Path, bake: Bake) -> None:
    first = tree(bake(tmp_path, dvc_remote="s3"))
    assert tree(bake(tmp_path, dvc_remote="s3")) == first


def test_second_bake_with_other_answers_leaves_nothing_of_the_first(tmp_path: Path, bake: Bake) -> None:
    bake(tmp_path / "rebaked", dvc_remote="s3", licence="MIT", ci="github", kubernetes="yes")
    others = {"dvc_remote": "local", "licence": "Proprietary", "ci": "gitlab", "kubernetes": "no"}
    assert tree(bake(tmp_path / "rebaked", **others)) == tree(bake(tmp_path / "fresh", **others))


def test_second_bake_keeps_what_the_user_added(tmp_path: Path, bake: Bake) -> None:
    project = bake(tmp_path)
    mine = [project / ".dvc/config.local", project / "src/flight_delays/mine.py", project / "licences/theirs"]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine\n")
    bake(tmp_path)
    assert all(path.read_text() == "mine\n" for path in mine)


def test_bake_without_git_says_so_and_goes_on(
    tmp_path: Path, bake: Bake, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    project = bake(tmp_path)
    assert (project / "LICENSE").is_file()
    assert not (project / ".git").exists()
    assert capfd.readouterr().err.splitlines() == [
        "git init did not work here: install git 2.28 or newer and run git init -b main."
    ]
