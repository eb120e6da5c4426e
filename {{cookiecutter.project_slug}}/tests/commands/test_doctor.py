import hashlib
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from services import number_bundle

from {{ cookiecutter.__package }} import UserError, write, write_json
from {{ cookiecutter.__package }}.commands import doctor
from {{ cookiecutter.__package }}.commands.doctor import CACHE, POINTER, SETTINGS, STORE, VERSIONS

ROOT = Path.cwd()


def program(path, does):
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(0o755)


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A folder in which everything is well: a repository, this Python, a champion, a cache, a remote beside it."""
    monkeypatch.chdir(tmp_path)
    for name in ("Makefile", "params.yaml", "requirements", ".dvc/config"):
        Path(name).parent.mkdir(exist_ok=True)
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, name)
    subprocess.run(["git", "init", "-q"], check=True)
    Path(".venv/bin").mkdir(parents=True)
    Path(".venv/bin/python").symlink_to(sys.executable)
    write(Path("Makefile"), f"PYTHON_VERSION := 3.{sys.version_info.minor}\n")
    write(SETTINGS, "")
    SETTINGS.chmod(0o600)
    for folder in ("data/labelled", "data/production"):
        Path(folder).mkdir(parents=True)
    made = number_bundle(Path("draft"), 1.0)
    (VERSIONS / made.version).mkdir(parents=True)
    made.path.rename(VERSIONS / made.version / "bundle")
    write_json(POINTER, {"version": made.version, "previous": None, "blocked": []})
    for content in (b"rows", b"more rows"):
        name = hashlib.md5(content, usedforsecurity=False).hexdigest()
        write(CACHE / name[:2] / name[2:], content)
    with socket.create_server(("127.0.0.1", 0)) as free:
        monkeypatch.setenv("PORT", str(free.getsockname()[1]))
    program(Path("bin/docker"), "echo 28.0")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    for name in ("MLFLOW_TRACKING_URI", "SERVICE_BIND"):
        monkeypatch.delenv(name, raising=False)
    return made.version


def test_what_is_well_is_said_to_be(capsys, project):
    assert doctor.doctor() == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(doctor.CHECKS)
    assert f"doctor: well   champion {project} is whole and answers its golden rows" in lines
    assert "doctor: well   2 objects of DVC's cache are what they are named by" in lines


def test_no_champion_yet_is_no_fault():
    write_json(POINTER, {"version": None, "previous": None, "blocked": []})
    assert "make pipeline" in doctor.champion()


def remote_is(url):
    Path(".dvc/config").write_text(f"[core]\n    remote = storage\n['remote \"storage\"']\n    url = {url}\n")


def packages_drift():
    lock = Path("requirements/dev.lock")
    lock.write_text(lock.read_text().replace("\nnumpy==", "\nnumpy==1.") + "not-there==1.0 \\\n    --hash=sha256:0\n")


def corrupt():
    path = sorted(CACHE.glob("*/*"))[0]
    path.write_bytes(path.read_bytes()[:-1] + b"!")


def test_a_project_in_a_larger_repository_is_well_once_it_is_added(monkeypatch):
    write(Path("within/dvc.yaml"), "stages: {}\n")
    monkeypatch.chdir("within")
    with pytest.raises(UserError, match="no git repository of its own"):
        doctor.git()
    subprocess.run(["git", "add", "dvc.yaml"], check=True)
    assert doctor.git().startswith("git version")


@pytest.mark.parametrize(
    ("check", "harm", "told"),
    [
        ("git", lambda: shutil.rmtree(".git"), "no git repository of its own"),
        ("python", lambda: Path(".venv/bin/python").unlink(), ".venv is missing"),
        ("python", lambda: Path("Makefile").write_text("PYTHON_VERSION := 3.10\n"), "the Makefile names 3.10"),
        ("packages", packages_drift, r"numpy \S+ for 1\.\S+, not-there missing for 1.0"),
        ("settings", SETTINGS.unlink, ".env is missing"),
        ("settings", lambda: SETTINGS.chmod(0o644), "chmod 600"),
        ("params", lambda: Path("params.yaml").write_text("split: {test_share: 2}\n"), "params.yaml"),
        ("champion", lambda: write(POINTER, "{"), "git checkout models/champion.json"),
        ("champion", lambda: shutil.rmtree(VERSIONS), "is not here; `.venv/bin/dvc pull`"),
        ("champion", lambda: next(VERSIONS.glob("*/bundle/model.onnx")).write_bytes(b"?"), "model.onnx is not what"),
        (
            "way_back",
            lambda: write_json(POINTER, {"version": None, "previous": "gone", "blocked": []}),
            "models/versions/gone is not here",
        ),
        ("data", lambda: write(Path("data/labelled/rows.parquet.dvc"), "outs: []\n"), "dvc pull"),
        ("cache", corrupt, r"1 corrupt objects \(\.dvc/cache/files/md5/"),
        ("remote", lambda: remote_is("s3://your-bucket/x"), "s3://your-bucket/x cannot be used: it is the placeholder"),
        ("remote", lambda: remote_is(Path("Makefile").absolute() / "store"), "Makefile is no folder"),
        ("remote", lambda: remote_is("nothing://x"), "cannot be used: "),
        ("tracking", lambda: STORE.write_bytes(b"no database" * 100), "mlflow.db is damaged"),
    ],
)
def test_a_fault_is_named_with_what_mends_it(check, harm, told):
    assert getattr(doctor, check)()
    harm()
    with pytest.raises(UserError, match=told):
        getattr(doctor, check)()


def test_a_tracking_server_that_is_down_is_named(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"MLflow at http://127\.0\.0\.1:9 does not answer"):
        doctor.tracking()


@pytest.mark.parametrize("number", ["0x", "0", "70000"])
def test_a_port_that_is_none_is_named(monkeypatch, number):
    monkeypatch.setenv("PORT", number)
    with pytest.raises(UserError, match=f"PORT is '{number}'; choose a number"):
        doctor.port()


def test_a_port_that_another_program_has_is_named():
    with socket.create_server(("127.0.0.1", int(os.environ["PORT"]))), pytest.raises(UserError, match="choose another"):
        doctor.port()


def test_an_engine_that_does_not_answer_is_named_and_none_is_no_fault(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no container engine" in doctor.containers()
    program(tmp_path / "docker", "exit 1")
    with pytest.raises(UserError, match="its engine does not answer"):
        doctor.containers()


def test_without_any_package_it_runs_and_says_what_to_do(tmp_path):
    shutil.rmtree(".venv")
    environment = {"PYTHONPATH": str(ROOT / "src"), "PATH": os.environ["PATH"], "PORT": os.environ["PORT"]}
    command = [sys._base_executable, "-I", "-S", "-c"]
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r}); import runpy; "
    code += f"runpy.run_module({doctor.__name__!r}, run_name='__main__')"
    done = subprocess.run([*command, code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "doctor: WRONG  .venv is missing" in done.stdout
    assert "doctor: WRONG  packages cannot be looked at" in done.stdout
    assert "doctor: well   git version" in done.stdout
    assert done.stderr.startswith("doctor: ")
    assert "to mend" in done.stderr
