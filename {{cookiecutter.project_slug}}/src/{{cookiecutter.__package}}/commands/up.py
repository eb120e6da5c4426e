"""`docker compose up` until all is healthy, or one sentence that says what to do instead.

With the word `draw` it only writes into .env what the containers need and .env lacks, as `make setup` asks for.
"""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from .. import UserError, champion, tell

ENV = Path(".env")
STRANGER = 10001  # who the service is where root owns the project: root it never is
TRAIN = "`make pipeline`, or `docker compose --profile train run --rm pipeline`"
PORTS = {"api": "PORT", "mlflow": "MLFLOW_PORT", "prometheus": "PROMETHEUS_PORT"}


def draw() -> None:
    """Add a password and the owner of the project to .env, and make the folders that the containers look for."""
    uid, gid = os.getuid(), os.getgid()
    drawn = {
        "POSTGRES_PASSWORD": secrets.token_hex(24),
        "PROJECT_USER": f"{uid}:{gid}",
        "SERVICE_USER": f"{uid or STRANGER}:{gid}",
    }
    text = ENV.read_text("utf-8")
    lacking = [f"{name}={value}\n" for name, value in drawn.items() if f"\n{name}=" not in f"\n{text}"]
    if lacking:
        with ENV.open("a", encoding="utf-8") as env:
            env.write(("" if text.endswith("\n") else "\n") + "".join(lacking))
    for folder in map(Path, ("models", "reports", "logs", "deploy")):  # read by other users, whatever the umask
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
    for file in Path("deploy").iterdir():
        file.chmod(0o644)
    if uid == 0:
        os.chown("logs", STRANGER, gid)
        os.chmod("logs", 0o2775)


def compose(*arguments: str) -> str:
    """Return what `docker compose` prints.

    Raises:
        UserError: it failed; the last line that it said.
    """
    done = subprocess.run(["docker", "compose", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError((done.stderr.strip() or "docker compose failed").splitlines()[-1])
    return done.stdout


def start(*arguments: str) -> None:
    """Start services, for the user to see how far it is.

    Raises:
        UserError: some did not come up; which, and their last words.
    """
    if subprocess.run(["docker", "compose", "up", "--detach", *arguments], check=False).returncode:
        found = map(json.loads, compose("ps", "--all", "--format", "json").splitlines())
        ill = [each["Service"] for each in found if each["State"] != "running" or each["Health"] == "unhealthy"]
        words = compose("logs", "--no-log-prefix", "--tail", "5", *ill) if ill else ""
        raise UserError(f"{', '.join(ill) or 'the stack'} did not come up; mend what is said here, and again\n{words}")


def free(port: int) -> bool:
    """Return whether nothing on this machine listens there."""
    with suppress(OSError), socket.create_server(("127.0.0.1", port)):
        return True
    return False


def reason(port: str) -> str:
    """Return why the service is not ready, "" if it is."""
    try:
        direct = build_opener(ProxyHandler({}))  # whatever proxy leads to the internet
        with direct.open(f"http://127.0.0.1:{port}/v2/health/ready", timeout=5):
            return ""
    except HTTPError as error:
        return str(json.load(error)["error"])
    except OSError as error:
        return str(error)


def up() -> str:
    """Start what is not running, wait for it, and return where everything is."""
    if not shutil.which("docker"):
        raise UserError("there is no docker here; install Docker Engine 28 or newer with its Compose plugin")
    if not ENV.exists():
        raise UserError("there is no .env, which holds what the containers need; run `make setup`")
    info = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False)
    if info.returncode:
        raise UserError("no container engine answers; start Docker, or see with `docker info` what it lacks")
    services = json.loads(compose("config", "--format", "json"))["services"]
    running = compose("ps", "--services", "--status", "running").split()
    places = {}
    for name in services:
        for port in services[name].get("ports", ()):
            places[name] = port["published"]
            if name not in running and port["published"].isdigit() and not free(int(port["published"])):
                raise UserError(f"port {port['published']} is taken; choose another one: make up {PORTS[name]}=<port>")
    start("--build")
    promoted = champion.read(Path("models/champion.json"))["version"]
    start("--wait", *(name for name in services if promoted or name != "api"))
    if not promoted or (told := reason(places["api"])):
        told = "none was promoted" if not promoted else told
        raise UserError(f"all is up, and the service has no model yet: {told}; {TRAIN} makes one")
    return ", ".join(f"{name} http://127.0.0.1:{port}" for name, port in places.items())


if __name__ == "__main__":
    if sys.argv[1:] == ["draw"]:
        draw()
    else:
        tell(up)
