"""A project's stack on a real engine, for the tests: `docker compose` as a person calls it, on ports of its own.

    with stack(project) as found:
        found.up()
        assert ask(found.service, "/example").status == 200

At the end of the block nothing is left of it: no container, no volume, no image of its own.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.request import urlopen

from projects import NOTHING, PACKAGE, Done, Project
from services import HOST, Service, free_port

UP_S = 900  # a hang bound, the build included
STRANGER = 1234  # who owns a project where the tests run as root: what root may, says nothing
ALL = ("--profile", "*")


@dataclass
class Contained(Service):
    """The service in its container, or one of several."""

    stack: "Stack | None" = field(default=None, repr=False)

    @property
    def output(self) -> str:
        """Return what the container has written so far."""
        assert self.stack
        return self.stack.compose("logs", "--no-log-prefix", "api").output


@dataclass(frozen=True)
class Stack:
    """The containers of one project."""

    project: Project
    ports: dict[str, int]

    @property
    def service(self) -> Contained:
        """Return the service as the machine reaches it."""
        port = self.ports["api"]
        return Contained(f"http://{HOST}:{port}", port, None, self.project, stack=self)  # type: ignore[arg-type]

    @property
    def tracking(self) -> dict[str, str]:
        """Return the environment in which host runs log to the composed MLflow."""
        return {"MLFLOW_TRACKING_URI": f"http://{HOST}:{self.ports['mlflow']}"}

    def compose(
        self, *arguments: str, code: int | None = 0, timeout: float = UP_S, env: Mapping[str, str] = NOTHING
    ) -> Done:
        """Run `docker compose`, every profile of it known."""
        profiles = () if arguments[0] in ("up", "config") else ALL
        return self.project.run("docker", "compose", *profiles, *arguments, code=code, timeout=timeout, env=env)

    def up(self, *services: str, code: int | None = 0, env: Mapping[str, str] = NOTHING) -> Done:
        """Start and wait as `docker compose up --wait` does."""
        return self.compose("up", "--detach", "--wait", *services, code=code, env=env)

    def train(self) -> Done:
        """Run the pipeline in its container."""
        return self.project.run("docker", "compose", "--profile", "train", "run", "--rm", "pipeline", timeout=UP_S)

    def container(self, name: str, index: int = 0) -> str:
        """Return the id of a service's container."""
        return self.compose("ps", "--all", "--quiet", name).output.split()[index]

    def inspect(self, name: str, index: int = 0) -> dict[str, Any]:
        """Return what the engine knows of a service's container."""
        (found,) = json.loads(self.project.run("docker", "inspect", self.container(name, index)).output)
        return dict(found)

    def health(self) -> dict[str, str]:
        """Return service -> health, or state where it has no health check."""
        lines = self.compose("ps", "--all", "--format", "json").output.splitlines()
        found = [json.loads(line) for line in lines]
        return {each["Service"]: each["Health"] or each["State"] for each in found}

    def kill(self, name: str) -> None:
        """End the process of a service from within, as the kernel does when memory is short."""
        user = ("--user", "postgres") if name == "postgres" else ()
        end = ("sh", "-c", "read pid < /proc/1/task/1/children; kill -9 $pid")
        self.project.start("docker", "compose", "exec", *user, "--no-TTY", name, *end).communicate(timeout=60)

    def get(self, name: str, path: str) -> Any:
        """Return the JSON that a service other than `api` answers."""
        with urlopen(f"http://{HOST}:{self.ports[name]}{path}", timeout=20) as answer:
            return json.load(answer)


def drawn(project: Project) -> None:
    """Write the project's .env, as `make setup` does."""
    if not (project.path / ".env").exists():
        project.run("install", "-m", "600", ".env.example", ".env")
        project.run("python", "-m", f"{PACKAGE}.commands.up", "draw")


@contextmanager
def stack(project: Project, env: Mapping[str, str] = NOTHING, services: tuple[str, ...] = ()) -> Iterator[Stack]:
    """Yield the stack of a project, the images of all or some of its services built, nothing started."""
    drawn(project)
    ports = {name: free_port() for name in ("api", "mlflow", "prometheus")}
    name = f"test-{os.getpid()}-{time.monotonic_ns() % 10**9}"
    given = {
        "COMPOSE_PROJECT_NAME": name,
        "PORT": str(ports["api"]),
        "MLFLOW_PORT": str(ports["mlflow"]),
        "PROMETHEUS_PORT": str(ports["prometheus"]),
        "MONITOR_EVERY_S": "5",
    }
    found = Stack(Project(project.path, project.environment | given | dict(env)), ports)
    try:
        found.compose("build", *services)
        yield found
    finally:
        found.compose("down", "--volumes", "--rmi", "local", "--remove-orphans", "--timeout", "5")


def owned(project: Project) -> int:
    """Give the project to somebody who is not root, and return who that is."""
    drawn(project)
    me = os.getuid()
    if me:
        return me
    project.run("chown", "-R", f"{STRANGER}:{STRANGER}", ".")
    kept = [line for line in project.read(".env").splitlines() if not line.startswith(("PROJECT_USER", "SERVICE_USER"))]
    user = f"{STRANGER}:{STRANGER}"
    project.write(".env", "\n".join([*kept, f"PROJECT_USER={user}", f"SERVICE_USER={user}", ""]))
    return STRANGER
