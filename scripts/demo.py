"""Start the service of a baked project, send it a flight that no stage has seen, print the answer, stop the service."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

PATIENCE_S = 60
HELD_BACK = """
import pandas
from {package}.schema import CONTRACT
row = pandas.read_parquet("data/stream/stream.parquet").iloc[[0]]
print(row[CONTRACT.target].item())
print(row.drop(columns=CONTRACT.target).to_json(orient="records", date_format="iso"))
"""


def ask(url: str, body: bytes | None = None) -> bytes:
    """Return what the service answers to a GET, or to a POST of JSON."""
    request = urllib.request.Request(url, data=body, headers={"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return bytes(response.read())


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def wait_until_ready(url: str, service: subprocess.Popen[bytes]) -> None:
    """Wait for a verified model; end with what the service says where none comes."""
    until, said = time.monotonic() + PATIENCE_S, "it does not answer"
    while time.monotonic() < until and service.poll() is None:
        try:
            ask(f"{url}/v2/health/ready")
        except urllib.error.HTTPError as error:
            said = error.read().decode()
        except OSError:
            pass
        else:
            return
        time.sleep(0.1)
    sys.exit(f"demo: the service at {url} is not ready: {said}")


def main(project: Path) -> None:
    """Print a real flight, the answer to it, and what became of it."""
    package = project.name.replace("-", "_")
    code = [str((project / ".venv/bin/python").absolute()), "-c", HELD_BACK.format(package=package)]
    late, rows = subprocess.run(code, cwd=project, capture_output=True, text=True, check=True).stdout.splitlines()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = project / "logs/demo.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("wb") as output:
        command = ["make", "--no-print-directory", "serve", f"PORT={port}"]
        service = subprocess.Popen(
            command, cwd=project, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            wait_until_ready(url, service)
            answer = json.loads(ask(f"{url}/predict", b'{"instances": %s}' % rows.encode()))
        finally:
            os.killpg(service.pid, signal.SIGTERM)
            service.wait(PATIENCE_S)
    print(f"POST /predict {rows}")
    print(json.dumps(answer, indent=2))
    print(f"Late by the model: probability {answer['predictions'][0]['probability']:.3f}. Late in fact: {late}.")
    print(f"Reports: {project}/reports. The service again, with its page: make -C {project} serve")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
