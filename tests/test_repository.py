"""What can drift apart in the template repository itself."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from conftest import TEMPLATE

PROJECT = TEMPLATE / "{{cookiecutter.project_slug}}"
# Assembled, so that this file does not hold what it looks for.
REGISTRY_HOSTS = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("files", "python" + "hosted", "org"),
        ("anaconda", "org"),
        ("registry", "npmjs", "org"),
        ("proxy", "golang", "org"),
        ("deb", "debian", "org"),
        ("docker", "io"),
        ("ghcr", "io"),
        ("gcr", "io"),
        ("quay", "io"),
    )
]


def repository_files() -> list[Path]:
    """Return the files that are committed or would be."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=TEMPLATE, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.split("\0") if name and (path := TEMPLATE / name).is_file()]


def pins(lock: Path) -> dict[str, set[str]]:
    """Return package -> versions of a lock file; a package may have one version for each range of Pythons."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([a-z0-9][a-z0-9._-]*)==([^ ;\\]+)", lock.read_text(), re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found


LOCKS = [TEMPLATE / "requirements.lock", *sorted((PROJECT / "requirements").glob("*.lock"))]


def test_options_table_matches_the_questions() -> None:
    questions = json.loads((TEMPLATE / "cookiecutter.json").read_text())
    prompts = questions["__prompts__"]
    asked = [key for key in questions if not key.startswith("_")]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (TEMPLATE / "docs/options.md").read_text().splitlines()
        if line.startswith("| `")
    ]
    assert [row[0] for row in rows] == [f"`{key}`" for key in asked]
    for key, (_, question, choices, effect) in zip(asked, rows, strict=True):
        prompt = prompts[key]
        assert question == (prompt if isinstance(prompt, str) else prompt["__prompt__"])
        assert effect
        if isinstance(questions[key], list):
            assert re.findall(r"`([^`]+)`", choices) == questions[key]
            assert [label for label in prompt if label != "__prompt__"] == questions[key]


def test_at_most_ten_questions() -> None:
    questions = json.loads((TEMPLATE / "cookiecutter.json").read_text())
    assert len([key for key in questions if not key.startswith("_")]) <= 10


def test_no_file_names_a_registry() -> None:
    host = re.compile("|".join(re.escape(name) for name in REGISTRY_HOSTS))
    assert [path for path in repository_files() if host.search(path.read_bytes().decode(errors="ignore"))] == []


def test_no_file_carries_a_path_of_a_machine() -> None:
    anywhere = {Path("/"), Path("/tmp")}  # where a container may look too
    here = "|".join(re.escape(f"{path}/") for path in {TEMPLATE, TEMPLATE.parent, Path.home()} - anywhere)
    machine = re.compile(rf"(?<![\w.$~}}])(?:{here})|/(?:home|Users)/\w+/|\b[A-Z]:\\Users")
    assert [path for path in repository_files() if machine.search(path.read_bytes().decode(errors="ignore"))] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_lock_files_carry_hashes_and_no_address(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert "--index-url" not in text
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert entries
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("remote", ["s3", "gs", "azure"])
def test_remote_lock_agrees_with_the_lock_it_is_added_to(remote: str) -> None:
    added = pins(PROJECT / f"requirements/remote-{remote}.lock")
    assert f"dvc-{remote}" in added
    base = pins(PROJECT / "requirements/dev.lock")
    assert {name for name in added if name in base} == set()


def test_paths_are_legal_on_windows() -> None:
    names = [path.relative_to(TEMPLATE).as_posix() for path in repository_files()]
    assert [name for name in names if re.search(r'[<>:"|?*\\]|[. ](?:/|$)', name)] == []
    assert len({name.lower() for name in names}) == len(names)


def test_make_targets_that_the_documents_name_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (TEMPLATE / "Makefile").read_text(), re.MULTILINE))
    for document in ("README.md", "CONTRIBUTING.md"):
        named = re.findall(r"^make ([a-z-]+)", (TEMPLATE / document).read_text(), re.MULTILINE)
        assert named
        assert set(named) <= targets


def test_readme_stays_short() -> None:
    assert len((TEMPLATE / "README.md").read_text().splitlines()) <= 150


def test_source_of_the_project_holds_no_jinja() -> None:
    marked = re.compile(r"\{%|\{\{ *cookiecutter")
    assert [path for path in (PROJECT / "src").rglob("*.py") if marked.search(path.read_text())] == []
