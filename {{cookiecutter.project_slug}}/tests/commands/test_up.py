import os
import re
import socket
import stat
from pathlib import Path

import pytest

from {{ cookiecutter.__package }} import UserError
from {{ cookiecutter.__package }}.commands import up as module
from {{ cookiecutter.__package }}.commands.up import draw, free, up


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("deploy").mkdir(mode=0o700)
    Path("deploy/alerts.yml").touch(0o600)
    Path(".env").write_text("PORT=8001")
    Path(".env").chmod(0o600)


def test_what_containers_need_is_drawn_once():
    draw()
    first = Path(".env").read_text()
    assert re.fullmatch(
        r"PORT=8001\nPOSTGRES_PASSWORD=[0-9a-f]{48}\nPROJECT_USER=\d+:\d+\nSERVICE_USER=\d+:\d+\n", first
    )
    draw()
    assert Path(".env").read_text() == first
    assert stat.S_IMODE(Path(".env").stat().st_mode) == 0o600
    Path(".env").write_text("PORT=8001\n# POSTGRES_PASSWORD=none\n")
    draw()
    assert first.split("=")[2] not in Path(".env").read_text()


def test_containers_find_folders_that_they_can_read():
    draw()
    for name in ("models", "reports", "logs", "deploy"):
        assert stat.S_IMODE(Path(name).stat().st_mode) & 0o755 == 0o755
    assert stat.S_IMODE(Path("deploy/alerts.yml").stat().st_mode) == 0o644


def test_the_service_is_the_owner_of_the_project_and_never_root(monkeypatch):
    owned = []
    monkeypatch.setattr(os, "getgid", lambda: 5)
    monkeypatch.setattr(os, "chown", lambda *who: owned.append(who))
    for uid, service in ((1000, "1000:5"), (0, "10001:5")):
        Path(".env").write_text("\n")
        monkeypatch.setattr(os, "getuid", lambda uid=uid: uid)
        draw()
        drawn = Path(".env").read_text()
        assert f"PROJECT_USER={uid}:5\nSERVICE_USER={service}\n" in drawn
    assert owned == [("logs", 10001, 5)]


def test_a_port_that_somebody_listens_on_is_not_free():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not free(port)
    assert free(port)


def test_without_docker_without_env_and_without_an_engine_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(UserError, match="there is no docker here; install"):
        up()
    docker = tmp_path / "bin/docker"
    docker.parent.mkdir()
    docker.write_text("#!/bin/sh\nexit 1\n")
    docker.chmod(0o755)
    with pytest.raises(UserError, match="no container engine answers; start Docker"):
        up()
    Path(".env").unlink()
    with pytest.raises(UserError, match=r"there is no \.env, .*; run `make setup`"):
        up()


def test_a_service_without_a_model_says_why(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert "refused" in module.reason(str(port))
