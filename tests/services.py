"""A running service for the tests: started as a person starts it, asked over plain sockets, stopped by SIGTERM.

    with serving(project, env={"SERVICE_TIMEOUT_S": "2"}) as service:
        assert ask(service, "/example").status == 200

`service.url` is where it answers.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from projects import NOTHING, Project, finished, stop

HOST = "127.0.0.1"
START_S = 30  # a hang bound, not a target
TERMINATED = ("Terminated", "Error 143")  # how make speaks of a recipe that SIGTERM ended


@dataclass(frozen=True)
class Answer:
    """One response; the names of its headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    def json(self) -> Any:
        """Return what the body holds; a body that is no JSON fails the test."""
        try:
            return json.loads(self.body)
        except ValueError:
            pytest.fail(f"{self.status} with a body that is no JSON: {self.body[:200]!r}")

    @property
    def error(self) -> str:
        """Return the sentence of an error, which is all that its body holds."""
        found = self.json()
        assert isinstance(found, dict), found
        assert list(found) == ["error"], found
        assert isinstance(found["error"], str), found
        return found["error"]


class Connection:
    """A socket to the service on which a test says what it likes."""

    def __init__(self, port: int, timeout: float = 10, host: str = HOST) -> None:
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.begun = time.perf_counter()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.socket.close()

    def send(self, data: bytes) -> "Connection":
        """Send bytes as they are, and return the connection."""
        self.begun = time.perf_counter()
        self.socket.sendall(data)
        return self

    def read(self, method: str = "POST") -> Answer:
        """Return the next response.

        Raises:
            ConnectionError: the service closed the connection without one.
            TimeoutError: there was none in time.
        """
        response = http.client.HTTPResponse(self.socket, method=method)
        with closing(response):
            try:
                response.begin()
                body = response.read()
            except http.client.HTTPException as error:
                raise ConnectionError(f"no response: {error!r}") from error
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, body, time.perf_counter() - self.begun)

    def ask(
        self, path: str, body: bytes | None = None, headers: Mapping[str, str] = NOTHING, method: str = ""
    ) -> Answer:
        """Return the answer to a request; one with a body is a POST of JSON unless it is said otherwise."""
        method = method or ("GET" if body is None else "POST")
        return self.send(request(path, body, headers, method)).read(method)


@dataclass
class Service:
    """A running service. `process` is that of `make serve`, `pid` the service's own."""

    url: str
    port: int
    process: subprocess.Popen[str] = field(repr=False)
    project: Project = field(repr=False)
    said: list[bytes] = field(default_factory=list, repr=False)
    reader: threading.Thread | None = field(default=None, repr=False)
    host: str = HOST

    def __str__(self) -> str:
        return self.url

    @property
    def output(self) -> str:
        """Return what the service has written to its standard output and error so far."""
        return b"".join(self.said).decode("utf-8", "replace")

    @property
    def pid(self) -> int:
        """Return the service's process: the innermost child of `make serve`."""
        pid = self.process.pid
        while children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            pid = int(children[0])
        return pid

    @property
    def resident_bytes(self) -> int:
        """Return the memory that the service's process holds."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))

    def connect(self, timeout: float = 10) -> Connection:
        """Return a new connection."""
        return Connection(self.port, timeout, self.host)

    def stopped(self, seconds: float = 30) -> int:
        """Send SIGTERM to the service unless it has ended; return 0, or 143 where the signal ended it.

        A service that is not done in time, or that ends in another way, fails the test.
        """
        if self.process.poll() is None:
            os.kill(self.pid, signal.SIGTERM)
        if not finished(self.process, seconds):
            pytest.fail(f"the service was not done {seconds} s after SIGTERM:\n{self.output[-3000:]}")
        if self.reader:
            self.reader.join(10)  # the last words
        if self.process.returncode == 2 and any(how in self.output[-300:] for how in TERMINATED):
            return 143
        assert self.process.returncode == 0, f"ended with {self.process.returncode}:\n{self.output[-3000:]}"
        return 0


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with closing(socket.create_server((HOST, 0))) as server:
        return int(server.getsockname()[1])


def request(path: str, body: bytes | None, headers: Mapping[str, str] = NOTHING, method: str = "POST") -> bytes:
    """Return the bytes of a request; `Host`, the content type and its length stand there unless they are given."""
    given = {name.lower() for name in headers}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if "host" not in given:
        lines.append(f"Host: {HOST}")
    if body is not None and "content-type" not in given:
        lines.append("Content-Type: application/json")
    if body is not None and not given & {"content-length", "transfer-encoding"}:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def ask(
    service: Service,
    path: str,
    body: object = None,
    *,
    headers: Mapping[str, str] = NOTHING,
    method: str = "",
    timeout: float = 10,
) -> Answer:
    """Return the answer to one request on a connection of its own; what is not bytes is sent as JSON."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    with service.connect(timeout) as connection:
        return connection.ask(path, data, headers, method)


def example(service: Service) -> dict[str, Any]:
    """Return the valid body that the service itself offers."""
    return dict(ask(service, "/example").json())


def metric(service: Service, name: str, part: str = "", headers: Mapping[str, str] = NOTHING) -> float:
    """Return the sum of a metric's samples whose labels hold `part`; 0 where there is none."""
    found = 0.0
    for line in ask(service, "/metrics", headers=headers).body.decode().splitlines():
        sample, _, value = line.rpartition(" ")
        if sample.split("{")[0] == name and part in sample:
            found += float(value)
    return found


def until(holds: Callable[[], object], what: str, seconds: float = 20) -> None:
    """Wait until something holds; past the bound the test fails with `what` was waited for."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"waited {seconds} s for: {what}"
        time.sleep(0.02)


def logged(project: Project, kind: str = "predictions", folder: str = "logs") -> list[dict[str, Any]]:
    """Return the lines of the service's own logs, `predictions` or `labels`; each of them parses."""
    paths = sorted((project.path / folder).glob(f"{kind}-*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_bytes().split(b"\n") if line]


def together(jobs: Iterable[Callable[[], object]]) -> None:
    """Run jobs at once, each on a thread of its own, and fail with the first error of any of them."""
    failed: list[BaseException] = []

    def run(job: Callable[[], object]) -> None:
        try:
            job()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
        assert not thread.is_alive(), "a job did not end within 300 s"
    if failed:
        raise failed[0]


@contextmanager
def serving(project: Project, *, env: Mapping[str, str] = NOTHING, ready: bool = True) -> Iterator[Service]:
    """Yield the project's service by `make serve` once it is live, and ready unless told otherwise.

    At the end of the block it gets SIGTERM and has to end with 0 or 143 in 30 s; one that a test has stopped or
    killed itself is left alone.
    """
    port = free_port()
    process = project.start("make", "serve", env={"PORT": str(port)} | dict(env))
    service = Service(f"http://{HOST}:{port}", port, process, project)
    service.reader = threading.Thread(target=_drain, args=(process, service.said), daemon=True)
    service.reader.start()
    try:
        _await(service, "/v2/health/live")
        if ready:
            _await(service, "/v2/health/ready")
        yield service
        if process.poll() is None:
            service.stopped()
    finally:
        stop(process)
        process.wait()
        service.reader.join(10)


def _drain(process: subprocess.Popen[str], said: list[bytes]) -> None:
    assert process.stdout
    while chunk := os.read(process.stdout.fileno(), 65_536):
        said.append(chunk)


def _await(service: Service, path: str) -> None:
    end, last = time.monotonic() + START_S, "no connection"
    while time.monotonic() < end:
        if service.process.poll() is not None:
            time.sleep(0.1)  # its last words are on the way
            pytest.fail(f"the service ended with {service.process.returncode}:\n{service.output[-3000:]}")
        try:
            answer = ask(service, path)
        except OSError as error:
            last = str(error)
        else:
            if answer.status == 200:
                return
            last = f"{answer.status} {answer.body[:500]!r}"
        time.sleep(0.02)
    pytest.fail(f"{path} was not 200 after {START_S} s ({last}):\n{service.output[-3000:]}")
