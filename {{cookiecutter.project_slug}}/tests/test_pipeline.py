"""Holds dvc.yaml, params.yaml, requirements, Makefile and README against the code and one another."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path, PurePosixPath

import pytest
import yaml

from {{ cookiecutter.__package }}.params import SECTIONS

SRC = "src/{{ cookiecutter.__package }}"
PIPELINE = yaml.safe_load(Path("dvc.yaml").read_text("utf-8"))
STAGES = PIPELINE["stages"]
LOCKS = sorted(Path("requirements").glob("*.lock"))
MAKEFILE = Path("Makefile").read_text("utf-8")
README = Path("README.md").read_text("utf-8")
HEAVY = {"pandas", "sklearn", "mlflow", "evidently", "dvc", "pandera"}


@cache
def imports(path):
    """Return (files of this package, other top-level packages) that a module imports, anywhere in it."""
    own, others = set(), set()
    for node in ast.walk(ast.parse(Path(path).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            others |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            others.add(node.module.split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            home = Path(path).parents[node.level - 1].joinpath(*(node.module or "").split("."))
            places = [home, *(home / alias.name for alias in node.names)]
            own |= {str(file) for place in places for file in (place.with_suffix(".py"), place / "__init__.py")}
    return {file for file in own if Path(file).exists()}, others


@cache
def closure(path):
    """Return every file of this package that importing a module reads, __init__ files included."""
    found, waiting = set(), {path}
    while waiting:
        file = waiting.pop()
        found.add(file)
        packages = {str(parent / "__init__.py") for parent in Path(file).parents if (parent / "__init__.py").exists()}
        waiting |= (imports(file)[0] | packages) - found
    return found


def module(stage):
    return f"{SRC}/stages/{stage}.py"


def outs(stage):
    """Return the paths that a stage writes."""
    entries = [*STAGES[stage].get("outs", ()), *STAGES[stage].get("metrics", ())]
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def deps(stage):
    return list(STAGES[stage]["deps"])


def covers(one, other):
    """Return whether one path is the other or holds it."""
    return PurePosixPath(other).is_relative_to(one)


def sections_loaded(stage):
    """Return the sections of params.yaml that a stage's module asks for: load(XParams), raw("x", "y")."""
    names, found = {model.__name__: section for section, model in SECTIONS.items()}, set()
    for node in ast.walk(ast.parse(Path(module(stage)).read_text("utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "load":
            found |= {names[arg.id] for arg in node.args if getattr(arg, "id", "") in names}
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "raw":
            found |= {arg.value for arg in node.args}
    return found


def test_one_name_is_a_stage_a_module_a_test_a_section_and_a_class():
    stages = set(STAGES)
    assert {path.stem for path in Path(SRC, "stages").glob("[a-z]*.py")} == stages
    assert {path.stem.removeprefix("test_") for path in Path("tests/stages").glob("test_*.py")} - {"stages"} == stages
    assert set(yaml.safe_load(Path("params.yaml").read_text("utf-8"))) == set(SECTIONS) == stages - {"track"}
    assert {section: model.__name__ for section, model in SECTIONS.items()} == {
        section: f"{section.capitalize()}Params" for section in SECTIONS
    }


def test_every_module_has_a_test_of_its_name():
    modules = {path.relative_to(SRC) for path in Path(SRC).rglob("[a-z]*.py")}
    tests = {path.relative_to("tests") for path in Path("tests").rglob("test_*.py")}
    assert {path.with_name(f"test_{path.name}") for path in modules} <= tests


@pytest.mark.parametrize("stage", STAGES)
def test_declared_code_is_the_import_closure(stage):
    assert sorted(dep for dep in deps(stage) if dep.startswith("src/")) == sorted(closure(module(stage)))


@pytest.mark.parametrize("stage", STAGES)
def test_declared_params_are_those_that_the_module_loads(stage):
    assert set(STAGES[stage].get("params", ())) == sections_loaded(stage)


@pytest.mark.parametrize("stage", STAGES)
def test_the_command_names_what_is_declared_and_nothing_else(stage):
    program, *paths = STAGES[stage]["cmd"].removeprefix(r'exec "\${PYTHON:-.venv/bin/python}" -m ').split()
    assert program == f"{{ cookiecutter.__package }}.stages.{stage}"
    data = [dep for dep in deps(stage) if not dep.startswith(("src/", "requirements/"))] + outs(stage)
    assert [path for path in paths if not any(covers(path, item) or covers(item, path) for item in data)] == []
    assert [item for item in data if not any(covers(path, item) or covers(item, path) for path in paths)] == []


def test_stages_stand_in_the_order_in_which_they_run_with_track_last():
    made = set()
    for stage in STAGES:
        later = [path for other in STAGES for path in outs(other) if path not in made]
        assert not [dep for dep in deps(stage) for path in later if covers(path, dep)]
        made |= set(outs(stage))
    assert list(STAGES)[-1] == "track"


def test_every_plot_is_drawn_from_what_a_stage_writes():
    written = [path for stage in STAGES for path in outs(stage)]
    drawn = set()
    for plot in PIPELINE["plots"]:
        for name, spec in [(plot, {})] if isinstance(plot, str) else plot.items():
            drawn |= {*spec.get("x", ()), *spec.get("y", ())} or {name}
    assert drawn
    assert [path for path in drawn if not any(covers(out, path) for out in written)] == []


def test_a_stage_imports_no_stage_and_nothing_below_imports_one():
    for path in {*Path(SRC).rglob("*.py")} - {*Path(SRC, "commands").glob("*.py")}:
        stages = {file for file in imports(str(path))[0] if file in map(module, STAGES)}
        assert not stages, path


def test_encoding_knows_neither_schema_nor_params():
    assert closure(f"{SRC}/encoding.py") == {f"{SRC}/encoding.py", f"{SRC}/__init__.py"}


def test_mlflow_is_imported_by_track_alone():
    assert [path.stem for path in Path(SRC).rglob("*.py") if "mlflow" in imports(str(path))[1]] == ["track"]


def test_what_serves_imports_nothing_of_what_trains():
    assert not {name for file in closure(f"{SRC}/bundle.py") for name in imports(file)[1]} & HEAVY
    code = "import sys, {{ cookiecutter.__package }}.bundle; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not HEAVY & set(loaded)


def pins(path):
    """Return the entries of a lock file, one line each: package==version, markers, hashes."""
    return path.read_text("utf-8").replace("\\\n", "").splitlines()


@pytest.mark.parametrize("name", ["serve.lock", "train.lock"])
def test_what_serves_and_trains_is_pinned_as_in_development(name):
    development, other = ({entry.split()[0] for entry in pins(Path("requirements", n))} for n in ("dev.lock", name))
    assert other
    assert other <= development


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_pin_has_hashes_and_no_address(lock):
    entries = pins(lock)
    assert entries
    pin = re.compile(r"[a-z0-9.-]+==[^ ]+ (; [^-]+)?( *--hash=sha256:[0-9a-f]{64})+")
    assert [entry for entry in entries if not pin.fullmatch(entry)] == []
    assert not re.search(r"://|@|--index", lock.read_text("utf-8"))


def test_every_target_of_the_makefile_has_a_help_text_and_is_in_the_readme():
    targets = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
    assert targets == set(re.findall(r"^([a-z]+):.*## \S", MAKEFILE, re.MULTILINE))
    assert targets == set(re.search(r"^\.PHONY: (.*)", MAKEFILE, re.MULTILINE)[1].split())
    assert set(re.findall(r"\bmake ([a-z]+)", README)) | {"help"} == targets


def test_every_path_in_the_readme_exists_or_is_made_by_the_pipeline():
    written = [path for stage in STAGES for path in outs(stage)]
    named = re.findall(r"`([\w.-]+/[\w./-]*)`", README)
    assert len(named) > 5
    assert [path for path in named if not Path(path).exists() and not any(covers(out, path) for out in written)] == []
