"""What the manifests in k8s/ say is run: by this machine in folders, and with an engine in the images themselves."""

import hashlib
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tasks
from conftest import Bake
from projects import STAGES, Done, Project, link_environment, turn
from services import HOST, Answer, Service, ask, free_port, serving, until
from test_answers import manifests, pods

KEY = "a key that somebody was given"
BEARER = {"Authorization": f"Bearer {KEY}"}
SIDES = {"models": "SERVICE_MODELS_DIR", "reports": "SERVICE_REPORTS_DIR", "logs": "SERVICE_LOG_DIR"}
BUILD_S = 900  # a hang bound


def digests(folder: Path) -> Path:
    """Return a folder with the file of keys that the secret would hold."""
    folder.mkdir()
    (folder / "keys").write_text(hashlib.sha256(KEY.encode()).hexdigest() + "\n")
    folder.chmod(0o755)
    return folder


def predicted(service: Service) -> Answer:
    """Return the answer to the service's own example, which strangers are not given."""
    assert ask(service, "/example").status == 401
    return ask(service, "/predict", ask(service, "/example", headers=BEARER).body, headers=BEARER)


def test_jobs_promote_a_model_that_the_service_answers_with(tmp_path: Path, bake: Bake, built: Project) -> None:
    """A folder plays the image, another the volume."""
    image = turn(Project(bake(tmp_path / "image", kubernetes="yes")), tasks.BINARY)
    shutil.rmtree(image.path / ".git")  # which Dockerfile.dockerignore leaves out
    volume = tmp_path / "volume"
    volume.mkdir()
    pod, cluster = pods(manifests(image.path)), Project(volume)
    environment = {
        "PATH": f"{built.path / '.venv/bin'}:{os.environ['PATH']}",
        "PYTHON": "python",
        "PYTHONPATH": "src",
        "DVC_SITE_CACHE_DIR": str(tmp_path / "site"),
    }

    def run(container: dict[str, Any]) -> Done:
        command = [re.sub(r"/project\b", str(volume), word) for word in container["command"]]
        return (cluster if container.get("workingDir") == "/project" else image).run(*command, env=environment)

    def pipeline() -> Done:
        run(pod["pipeline"]["initContainers"][0])
        return run(pod["pipeline"]["containers"][0])

    assert pipeline().ran == STAGES
    assert pipeline().ran == [], "what the volume has stays, and what the image brings is the same"

    (api,) = pod["api"]["containers"]
    mounts = {mount["mountPath"]: mount["subPath"] for mount in api["volumeMounts"] if mount["name"] == "project"}
    env = {SIDES[path.removeprefix("/app/")]: str(volume / side) for path, side in mounts.items()}
    (given,) = api["env"]
    env |= {
        given["name"]: given["value"].replace("/keys/", f"{digests(tmp_path / 'keys')}/"),
        "SERVICE_BIND": "0.0.0.0",
    }
    link_environment(built.path, image.path)
    with serving(image, env=env) as service:
        assert predicted(service).json()["model_version"] == cluster.champion["version"]
    said = run(pod["monitor"]["containers"][0])
    assert said.lines("snapshot: 3 new predictions")
    assert said.ran == ["monitor"]


def docker(*arguments: str, folder: Path | None = None) -> str:
    """Run a command of the engine, and return what it says."""
    command = ["docker", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=BUILD_S, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture
def images(tmp_path: Path, bake: Bake) -> Iterator[Project]:
    """Yield a project whose images are built as its kustomization says; what is left of them is removed."""
    project = turn(Project(bake(tmp_path, kubernetes="yes")), tasks.BINARY)
    builds = re.findall(r"^# +docker (build .*)$", project.read("k8s/kustomization.yaml"), re.MULTILINE)
    assert len(builds) == 3
    try:
        for build in builds:
            docker(*build.split(), folder=project.path)
        yield project
    finally:
        tags = re.findall(r"--tag (\S+)", "\n".join(builds))
        subprocess.run(["docker", "rmi", "--force", *tags], capture_output=True, check=False)


@pytest.mark.docker
def test_images_do_what_the_manifests_say_as_nobody_on_a_read_only_disk(images: Project, tmp_path: Path) -> None:
    pod, volume, keys = pods(manifests(images.path)), f"cluster-{uuid.uuid4().hex[:8]}", digests(tmp_path / "keys")
    tags = {"flight-delays-api": "flight-delays-api:1", "flight-delays-train": "flight-delays-train:1"}

    def options(name: str, container: dict[str, Any]) -> list[str]:
        identity, security = pod[name]["securityContext"], container["securityContext"]
        found = ["--network", "none", "--user", f"{identity['runAsUser']}:{identity['runAsGroup']}"]
        found += ["--read-only"] if security["readOnlyRootFilesystem"] else []
        found += [f"--cap-drop={name}" for name in security["capabilities"]["drop"]]
        found += ["--security-opt=no-new-privileges", "--tmpfs=/tmp"]
        for mount in container["volumeMounts"]:
            if mount["name"] == "project":
                side = f",volume-subpath={mount['subPath']}" if "subPath" in mount else ""
                side += ",readonly" if mount.get("readOnly") else ""
                found.append(f"--mount=type=volume,source={volume},target={mount['mountPath']}{side}")
        return found + ([f"--workdir={container['workingDir']}"] if "workingDir" in container else [])

    def run(name: str, container: dict[str, Any]) -> str:
        return docker("run", "--rm", *options(name, container), tags[container["image"]], *container["command"])

    docker("volume", "create", volume)
    started = ""
    try:
        owner = pod["pipeline"]["securityContext"]["fsGroup"]
        give = ["--user=0", f"--volume={volume}:/project", tags["flight-delays-train"], "chown", f"{owner}:{owner}"]
        docker("run", "--rm", *give, "/project")
        run("pipeline", pod["pipeline"]["initContainers"][0])
        assert "promoted" in run("pipeline", pod["pipeline"]["containers"][0])

        (api,) = pod["api"]["containers"]
        port = free_port()
        given = [*options("api", api), f"--volume={keys}:/keys:ro", f"--publish={HOST}:{port}:8000"]
        given = [option for option in given if option not in ("--network", "none")]
        given += [f"--env={item['name']}={item['value']}" for item in api["env"]]
        started = docker("run", "--detach", *given, tags[api["image"]]).strip()
        service = Service(f"http://{HOST}:{port}", port, None, images)  # type: ignore[arg-type]

        def ready() -> bool:
            try:
                return ask(service, api["readinessProbe"]["httpGet"]["path"]).status == 200
            except OSError:
                return False

        until(ready, f"the service in its container: {docker('logs', started)}", seconds=60)
        answer = predicted(service)
        assert answer.status == 200
        assert "3 new predictions" in run("monitor", pod["monitor"]["containers"][0])
    finally:
        if started:
            docker("rm", "--force", started)
        docker("volume", "rm", "--force", volume)
