"""`make doctor` on a real project: silent about what is well, and each of fourteen faults planted at once is named."""

import os
import shutil
import socket
import subprocess
from contextlib import closing
from pathlib import Path

from projects import PACKAGE, Project
from services import free_port, serving


def engine(folder: Path, code: int) -> str:
    """Return a PATH on which the container engine answers, or does not: it is the machine's, not the project's."""
    folder.mkdir()
    (folder / "docker").write_text(f"#!/bin/sh\necho 26.1\nexit {code}\n")
    (folder / "docker").chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_a_project_after_its_pipeline_has_nothing_to_mend(ready: Project, tmp_path: Path) -> None:
    done = ready.run("make", "doctor", env={"PORT": str(free_port()), "PATH": engine(tmp_path / "engine", 0)})
    assert done.lines("WRONG") == []
    assert f"champion {ready.champion['version']} is whole" in done.output
    assert done.seconds < 10


def test_a_running_service_is_no_fault(small: Project) -> None:
    with serving(small) as service:
        said = small.run("make", "doctor", code=None, env={"PORT": str(service.port)})
    assert f"well   a service answers on port {service.port}" in said.output


def test_each_of_many_faults_is_named_with_what_mends_it(ready: Project, tmp_path: Path) -> None:
    path, version = ready.path, ready.champion["version"]
    shutil.rmtree(path / ".git")
    ready.replace("Makefile", "PYTHON_VERSION := ", "PYTHON_VERSION := 2.")
    lock = ready.read("requirements/dev.lock")
    ready.write("requirements/dev.lock", lock.replace("\nscipy==", "\nscipy==0."))
    (path / ".env").chmod(0o640)
    ready.set("split.test_share", 1.5)
    schema = f"src/{PACKAGE}/schema.py"
    ready.write(schema, ready.read(schema).replace("positive=True", "positive=3"))
    graph = path / f"models/versions/{version}/bundle/model.onnx"
    content = graph.read_bytes()
    graph.unlink()
    graph.write_bytes(content[:-1])
    ready.write("models/champion.json", f'{{"version": "{version}", "previous": "0123456789ab", "blocked": []}}\n')
    (path / "data/labelled/rows.parquet.dvc").write_text("outs:\n- path: rows.parquet\n")
    largest = max((path / ".dvc/cache/files/md5").rglob("*"), key=lambda file: file.stat().st_size * file.is_file())
    largest.chmod(0o644)
    with largest.open("r+b") as cached:
        cached.write(b"?")
    ready.write(".dvc/config", ready.read(".dvc/config").replace("url = ", "url = ../README.md/"))
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        env = {"PORT": str(port), "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
        done = ready.run("make", "doctor", code=None, env=env | {"PATH": engine(tmp_path / "engine", 1)})
    told = done.lines("WRONG")
    for words in (
        ("no git repository", "git init"),
        ("the Makefile names 2.", "make setup"),
        ("scipy", "make setup"),
        (".env has mode 640", "chmod 600 .env"),
        ("split.test_share", ""),
        ("schema.py: positive is 3", ""),
        ("model.onnx is not what the manifest says", "dvc checkout"),
        ("0123456789ab is not here", "dvc pull"),
        ("data/labelled/rows.parquet is kept by DVC and not here", "dvc pull"),
        (f"1 corrupt objects ({largest.relative_to(path)})", "dvc pull"),
        ("the DVC remote", "dvc remote modify"),
        ("MLflow at http://127.0.0.1:9 does not answer", "MLFLOW_TRACKING_URI"),
        (f"port {port} of 127.0.0.1 cannot be used", "PORT="),
        ("docker is installed and its engine does not answer", "start it"),
    ):
        assert [line for line in told if words[0] in line and words[1] in line], (words, done.output)
    assert len(told) == 14
    assert "doctor: 14 to mend" in done.output


def test_without_an_environment_it_says_what_comes_first(ready: Project) -> None:
    shutil.rmtree(ready.path / ".venv")
    command = ["make", "doctor"]
    environment = {"PATH": os.environ["PATH"], "PORT": str(free_port())}
    done = subprocess.run(command, cwd=ready.path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert ".venv is missing, or its Python does not run; run `make setup`" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
