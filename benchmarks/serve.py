"""What the service costs: requests/s, latency, memory and start, against its peers and the least that answers.

Each side is one process on one core and serves the same trained model the same JSON body, one row of a flight, over
16 connections that stay open; the client has the other core. The sides take turns, and what is reported are medians
over rounds. Before anything is timed, each side's probabilities must be those that the bundle had on the day of export.

The client is the loop in `load`: with bare uvicorn it reaches what `wrk -t1 -c16` does (both about 46,000
requests/s on the machine where it was written), so it holds up no side, and nothing has to be installed for it.

A project is baked and its pipeline run, in a temporary folder; BentoML, which no project has, is installed there too.
Linux only: `taskset` and /proc. Neighbours lower requests/s on all sides; `a core's µs each` bears them best.
"""

import argparse
import http.client
import json
import os
import platform
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from repro import HERE, QUIET, bake, run

PEERS = HERE / "peers"
RESULTS = HERE / "results" / "serve.json"
SIDES = {
    "ours": "this service",
    "constant": "FastAPI, parses and answers a constant",
    "onnx": "FastAPI + onnxruntime, the plain way",
    "bare": "bare uvicorn, answers a constant",
    "sklearn": "FastAPI + scikit-learn, the plain way",
    "mlflow": "`mlflow models serve`",
    "bentoml": "BentoML",
}
CONSTANT = ("constant", "bare")
# as `make serve` has it
QUICK = ("--no-proxy-headers", "--ws", "none", "--no-access-log", "--no-server-header", "--log-level", "warning")
BENTOML = ("bentoml==1.4.39", "uvicorn[standard]")  # and the project's own versions of:
SHARED = ("numpy", "pandas", "scikit-learn", "skops")
CORES = sorted(os.sched_getaffinity(0))
SERVER, CLIENT = CORES[0], CORES[-1]
CONNECTIONS, ROWS, STARTS, WARM_S = 16, 1000, 5, 0.5
CALM = 3  # times as many rounds at half of full load: one hiccup of the machine decides a p99
TOLERANCE = 1e-5  # of a probability
READY_S, ANSWER_S = 60, 30  # after that a side has failed
SPIN_S = 1e-4  # before a request is due: a process that sleeps until then wakes up too late
HEALTH = b"GET /v2/health/ready HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"


@dataclass(frozen=True)
class Side:
    """How a side is started, `{port}` being its port, and where it answers."""

    command: list[str]
    folder: Path
    path: str = "/predict"
    environment: dict[str, str] = field(default_factory=dict)


class Server(NamedTuple):
    """A side that runs, in a session of its own."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    path: str


class Load(NamedTuple):
    """What a load came to."""

    answers: int
    per_s: float
    p50_ms: float
    p99_ms: float


def post(path: str, rows: list[dict[str, Any]]) -> bytes:
    """Return a request with these rows."""
    body = json.dumps({"instances": rows}).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def size(data: bytes) -> int:
    """Return how many bytes the response has that begins so, or 0 while that cannot be told."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return 0
    head = data[: end + 2].lower()
    at = head.find(b"content-length:") + 15
    if not head.startswith(b"http/1.1 200 ") or at < 15:
        sys.exit(f"200 and a content length were expected, not\n{data[:1000].decode(errors='replace')}")
    return end + 4 + int(head[at : head.index(b"\r", at)])


def load(port: int, request: bytes, seconds: float, rate: float = 0, connections: int = CONNECTIONS) -> Load:
    """Send the request over and over for some seconds, and read every answer.

    Each connection sends when its last answer is there; or, given a rate, requests fall due that many times a second,
    and the time that one waits for a connection counts as its latency.
    """
    opened = [socket.create_connection(("127.0.0.1", port), ANSWER_S) for _ in range(connections)]
    idle = deque(opened)
    due: dict[socket.socket, float] = {}  # when the request was due that a connection waits for
    parts: dict[socket.socket, bytes] = {}
    latencies: list[float] = []
    begun = now = following = time.perf_counter()
    while due or now < begun + seconds:
        while idle and following <= now < begun + seconds:
            connection = idle.popleft()
            due[connection] = following if rate else now
            connection.sendall(request)
            following += 1 / rate if rate else 0
        paced = rate and idle and now < begun + seconds
        readable = select.select(due, [], [], max(0, following - now - SPIN_S) if paced else ANSWER_S)[0]
        if not readable and not paced:
            sys.exit(f"no answer within {ANSWER_S} s")
        for connection in readable:
            received = connection.recv(1 << 20)
            if not received:
                sys.exit("the server closed a connection")
            data = parts.pop(connection, b"") + received
            now = time.perf_counter()
            if len(data) == size(data):
                latencies.append(now - due.pop(connection))
                idle.append(connection)
            else:
                parts[connection] = data
        now = time.perf_counter()
    for connection in opened:
        connection.close()
    percentiles = statistics.quantiles(latencies, n=100)
    return Load(len(latencies), len(latencies) / (now - begun), percentiles[49] * 1000, percentiles[98] * 1000)


def sides(project: Path, folder: Path, chosen: list[str]) -> dict[str, Side]:
    """Return the chosen sides, made ready to be started; `folder` is for what they need."""
    tools, of_project = project / ".venv/bin", {"PROJECT": str(project)}
    at = ["--host", "127.0.0.1", "--port", "{port}"]
    make = ["make", "--dry-run", "serve", "SERVICE_BIND=127.0.0.1", "PORT={port}"]
    found = {"ours": Side(["sh", "-c", subprocess.check_output(make, cwd=project, text=True)], project)}
    for app in ("constant", "onnx", "bare", "sklearn"):
        command = [str(tools / "uvicorn"), "--factory", f"apps:{app}", "--app-dir", str(PEERS), *at]
        found[app] = Side([*command, *QUICK], folder, environment=of_project)
    if "mlflow" in chosen:
        model = str(folder / "mlflow")
        run(folder, str(tools / "python"), str(PEERS / "mlflow_model.py"), str(project), model)
        command = [str(tools / "mlflow"), "models", "serve", "--model-uri", model, "--env-manager", "local", *at]
        # it calls uvicorn by name
        calls = {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "UVICORN_ACCESS_LOG": "false"}
        found["mlflow"] = Side([*command, "--workers", "1"], folder, "/invocations", calls)
    if "bentoml" in chosen:
        command = [bento(project, folder / "bento"), "serve", "--working-dir", str(PEERS), "bento_service:Model", *at]
        home = {"BENTOML_DO_NOT_TRACK": "true", "BENTOML_HOME": str(folder / "home")}
        home["PYTHONPATH"] = str(project / "src")  # the pipeline's first step is the project's own
        found["bentoml"] = Side(command, folder, environment=of_project | home)
    return {name: found[name] for name in SIDES if name in chosen}


def bento(project: Path, folder: Path) -> str:
    """Make an environment with BentoML and the project's versions of what the model needs, and return its command."""
    uv, python = str(Path(sys.executable).with_name("uv")), str(project / ".venv/bin/python")
    names = "; ".join(f"print('{name}==' + version('{name}'))" for name in SHARED)
    versions = subprocess.check_output([python, "-c", f"from importlib.metadata import version; {names}"], text=True)
    run(folder.parent, uv, "venv", "--python", python, str(folder))
    run(folder.parent, uv, "pip", "install", "--python", str(folder), *BENTOML, *versions.split())
    return str(folder / "bin/bentoml")


def start(name: str, side: Side, log: Path) -> Server:
    """Start a side on a free port of 127.0.0.1 and on the server's core."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SERVICE_")}
    with log.open("ab") as output:
        process = subprocess.Popen(
            ["taskset", "-c", str(SERVER), *(word.replace("{port}", str(port)) for word in side.command)],
            cwd=side.folder,
            env=clean | QUIET | side.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return Server(name, process, port, side.path)


def processes(server: Server) -> dict[int, list[str]]:
    """Return what proc(5) says of the server and of all that it started, by id: `stat` from its third field on."""
    stats: dict[int, list[str]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            stats[int(path.parent.name)] = path.read_text().rpartition(") ")[2].split()
    found = {server.process.pid}
    while below := {pid for pid, stat in stats.items() if int(stat[1]) in found} - found:
        found |= below
    return {pid: stats[pid] for pid in found if pid in stats}


def usage(server: Server) -> tuple[float, float]:
    """Return the seconds on a core and the MiB in memory of the server and all that it started."""
    stats = processes(server).values()
    ticks, pages = (sum(int(stat[11]) + int(stat[12]) for stat in stats), sum(int(stat[21]) for stat in stats))
    return ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def stop(server: Server) -> None:
    """End what was started; BentoML's worker is in a session of its own, and would outlive a killed parent."""
    started = processes(server)
    with suppress(ProcessLookupError, subprocess.TimeoutExpired):
        os.killpg(server.process.pid, signal.SIGTERM)
        server.process.wait(10)
    for pid, stat in started.items():
        with suppress(OSError):  # it has ended
            if Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[19] == stat[19]:  # begun then
                os.kill(pid, signal.SIGKILL)
    server.process.wait(10)


@contextmanager
def running(name: str, side: Side, log: Path, probe: bytes) -> Iterator[tuple[Server, float]]:
    """Give a side that answers the probe with 200, and the seconds from its start until it did; then end it."""
    begun = time.perf_counter()
    server = start(name, side, log)
    try:
        while not answers(server.port, probe):
            if server.process.poll() is not None or time.perf_counter() > begun + READY_S:
                sys.exit(f"{name} does not serve:\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.005)
        yield server, time.perf_counter() - begun
    finally:
        stop(server)


def answers(port: int, request: bytes) -> bool:
    """Return whether the answer is a 200."""
    try:
        with socket.create_connection(("127.0.0.1", port), ANSWER_S) as connection:
            connection.sendall(request)
            return connection.recv(12) == b"HTTP/1.1 200"
    except ConnectionError:
        return False


def compare(server: Server, rows: list[dict[str, Any]], expected: list[float]) -> None:
    """End the benchmark unless the side's probabilities are the expected ones."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=ANSWER_S)
    connection.request("POST", server.path, json.dumps({"instances": rows}), {"content-type": "application/json"})
    answer = json.load(connection.getresponse())
    connection.close()
    found = [row["probability"] if isinstance(row, dict) else row[-1] for row in answer.get("predictions", [])]
    if len(found) != len(expected) or not all(abs(a - b) <= TOLERANCE for a, b in zip(found, expected, strict=True)):
        sys.exit(f"{server.name} answers {str(answer)[:500]}, where {expected[:3]} and so on were expected")


def measure(project: Path, folder: Path, chosen: list[str], rounds: int, seconds: float) -> dict[str, Any]:
    """Return the figures of every round."""
    version = json.loads((project / "models/champion.json").read_text())["version"]
    bundle = project / "models/versions" / version / "bundle"
    golden = json.loads((bundle / "golden.json").read_text())
    rows, expected = golden["rows"], [scores[1] for scores in golden["scores"]]
    many = (rows * ROWS)[:ROWS]
    prepared = sides(project, folder, chosen)
    found: dict[str, Any] = {"requests_per_s": {}, "core_us": {}, "memory_mib": {}, "rows_per_s": {}, "start_s": []}
    found |= {"alone_per_s": {}, "half_load_ms": {}}
    os.sched_setaffinity(0, {CLIENT})

    def note(figure: str, name: str, value: Any) -> None:
        found[figure].setdefault(name, []).append(value)

    with ExitStack() as stack:
        servers: dict[str, Server] = {}
        for name, side in prepared.items():
            one = post(side.path, rows[:1])
            servers[name], took = stack.enter_context(running(name, side, folder / f"{name}.log", one))
            if name not in CONSTANT:
                compare(servers[name], rows, expected)
            load(servers[name].port, one, WARM_S)
            print(f"{name} answers, {took:.1f} s after its start", file=sys.stderr)
        for number in range(rounds):
            for name, server in servers.items():
                before = usage(server)[0]
                done = load(server.port, post(server.path, rows[:1]), seconds)
                note("requests_per_s", name, done.per_s)
                note("core_us", name, (usage(server)[0] - before) / done.answers * 1e6)
            print(f"round {number + 1} of {rounds} done", file=sys.stderr)
        found["memory_mib"] = {name: usage(server)[1] for name, server in servers.items()}
        one = post("/predict", rows[:1])
        pair = [name for name in ("ours", "constant") if name in servers]
        for _ in range(CALM * rounds):
            for name in pair:
                half = statistics.median(found["requests_per_s"][name]) / 2
                note("half_load_ms", name, load(servers[name].port, one, seconds, half)[2:])
        for _ in range(rounds):
            for name in pair:
                note("alone_per_s", name, load(servers[name].port, one, seconds, connections=1).per_s)
            if "ours" in servers:
                done = load(servers["ours"].port, post("/predict", many), seconds)
                note("rows_per_s", "ours", ROWS * done.per_s)
                note("rows_per_s", "onnxruntime", onnxruntime_alone(project, bundle, many, seconds))
    for _ in range(STARTS if "ours" in prepared else 0):
        with running("ours", prepared["ours"], folder / "starts.log", HEALTH) as (_, took):
            found["start_s"].append(took)
    return found


def onnxruntime_alone(project: Path, bundle: Path, rows: list[dict[str, Any]], seconds: float) -> float:
    """Return the rows/s without a service, on the server's core."""
    command = ["taskset", "-c", str(SERVER), str(project / ".venv/bin/python"), str(PEERS / "onnx_alone.py")]
    body = json.dumps({"instances": rows}).encode()
    return float(subprocess.check_output([*command, str(bundle), str(seconds)], input=body))


def ratio(above: list[float], below: list[float]) -> float:
    """Return the median over rounds of what one side is to the other: in a round both meet the same neighbours."""
    return float(f"{statistics.median(a / b for a, b in zip(above, below, strict=True)):.3g}")


def summary(found: dict[str, Any]) -> dict[str, Any]:
    """Return medians and the ratios that docs and targets speak of, then the figures of every round."""
    rates, alone, rows = found["requests_per_s"], found["alone_per_s"], found["rows_per_s"]
    figures: dict[str, float] = {}
    for name, spreads in found["half_load_ms"].items():
        p50, p99 = ([spread[k] for spread in spreads] for k in (0, 1))
        title = f"{SIDES[name]}, at half of full load"
        figures |= {f"{title}: {of}, ms": round(statistics.median(ms), 3) for of, ms in (("p50", p50), ("p99", p99))}
        figures[f"{title}: p99 ÷ p50"] = ratio(p99, p50)
        calmest = p99.index(min(p99))
        figures[f"{title}: p99 ÷ p50 in the calmest round"] = ratio([p99[calmest]], [p50[calmest]])
    if "ours" in alone and "constant" in alone:
        figures["requests/s on one connection ÷ those of FastAPI with a constant"] = ratio(*alone.values())
    if "ours" in rates:
        figures[f"rows/s in bodies of {ROWS:,} rows"] = round(statistics.median(rows["ours"]))
        figures["the same ÷ onnxruntime alone"] = ratio(*rows.values())
        figures["from start to ready, s"] = round(statistics.median(found["start_s"]), 2)
    return {
        "machine": {"cores": len(CORES), "python": platform.python_version(), "system": platform.system()},
        "requests_per_s": {name: round(statistics.median(taken)) for name, taken in rates.items()},
        "ours_to": {name: ratio(rates["ours"], rates[name]) for name in rates if "ours" in rates},
        "core_us": {name: round(statistics.median(taken)) for name, taken in found["core_us"].items()},
        "memory_mib": {name: round(mib) for name, mib in found["memory_mib"].items()},
        "figures": figures,
        "rounds": found,
    }


def main() -> None:
    """Measure, print the tables and write them down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="each loads every side once")
    parser.add_argument("--seconds", type=float, default=3, help="of one load")
    parser.add_argument("--only", default=",".join(SIDES), help="some of the sides; then nothing is written down")
    parser.add_argument("--project", type=Path, help="a baked one whose pipeline has run, instead of a new one")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",")
    if unknown := {*chosen} - {*SIDES}:
        parser.error(f"there is no side {min(unknown)!r}; the sides are {', '.join(SIDES)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are ended too
    with tempfile.TemporaryDirectory() as folder:
        project = arguments.project.resolve() if arguments.project else bake(Path(folder, "baked"))
        if not arguments.project:
            run(project, "make", "setup", "pipeline")
        report = summary(measure(project, Path(folder), chosen, arguments.rounds, arguments.seconds))
    if {*chosen} == {*SIDES}:
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps(report, indent=2) + "\n")
    columns = ("requests_per_s", "ours_to", "core_us", "memory_mib")
    print("| | requests/s | this service ÷ it | a core's µs each | MiB |\n|---|---|---|---|---|")
    for name in report["requests_per_s"]:
        print(f"| {SIDES[name]} | {' | '.join(str(report[column].get(name, '')) for column in columns)} |")
    print("\n| | |\n|---|---|")
    for title, value in report["figures"].items():
        print(f"| {title} | {value:,} |")


if __name__ == "__main__":
    main()
