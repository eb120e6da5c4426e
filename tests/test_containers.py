"""`docker compose up` on a real engine: the stack comes up, serves, survives what befalls it, and closes the loop."""

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tasks
from containers import UP_S, Stack, owned, stack
from projects import PACKAGE, Project, finished, turn
from selenium import webdriver
from selenium.webdriver.common.by import By
from services import HOST, Service, ask, example, free_port, logged, until
from test_loop import STREAM_ROWS, asked_all_along
from test_page import FLAGS
from test_service_faults import loaded

pytestmark = pytest.mark.docker
TEMPLATE = Path(__file__).parent.parent
ALERTS = ["ServiceDown", "ServiceNotReady", "ModelRefused", "ErrorShare", "Latency", "LogDropped", "Drift", "ModelAge"]
MIB = 2**20


def predicted(service: Service) -> tuple[str, str]:
    """Return the version and the id of an answered row."""
    answer = ask(service, "/predict", example(service))
    assert answer.status == 200, answer
    return answer.json()["model_version"], answer.json()["predictions"][0]["id"]


@pytest.fixture(scope="module")
def shared(built: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield the whole stack of the default project, everything up and healthy."""
    project = built.copy(tmp_path_factory.mktemp("stack"))
    with stack(project, {"COMPOSE_PROFILES": "observability"}) as found:
        begun = time.perf_counter()
        found.up()
        print(f"up and healthy {time.perf_counter() - begun:.1f} s after the build")
        yield found


@pytest.fixture(autouse=True)
def _told(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Show what a test measured."""
    yield
    with capsys.disabled():
        print(capsys.readouterr().out, end="")


def test_all_is_healthy_and_a_prediction_is_answered_and_logged(shared: Stack) -> None:
    assert shared.health() == dict.fromkeys(["api", "mlflow", "monitor", "postgres", "prometheus"], "healthy")
    version, made = predicted(shared.service)
    assert version == shared.project.champion["version"]
    assert made in [line["id"] for line in logged(shared.project)]


def test_the_drift_report_is_on_the_page(shared: Stack) -> None:
    facts = ask(shared.service, "/model").json()
    assert facts["drift"]["decision"] == "insufficient_data"
    report = ask(shared.service, "/reports/drift.html")
    assert report.status == 200
    assert report.body == (shared.project.path / "reports/drift.html").read_bytes()


# What one side wrote the other reads: the bundle of the champion, by way of the tracking server alone.
READ = f"""
import json, sys, hashlib, mlflow
from pathlib import Path
path = Path(mlflow.artifacts.download_artifacts("models:/{PACKAGE}@champion"))
print(json.dumps({{p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in path.rglob("*.onnx")}}))
"""


def test_host_runs_go_to_the_composed_mlflow_and_are_read_in_a_container(shared: Stack) -> None:
    project = shared.project
    project.run("make", "track", env=shared.tracking)
    (run,) = project.runs(shared.tracking["MLFLOW_TRACKING_URI"])
    assert (run["status"], run["bundle"]) == ("FINISHED", project.champion["version"])
    model = project.path / f"models/versions/{run['bundle']}/bundle/model.onnx"
    expected = {"model.onnx": hashlib.sha256(model.read_bytes()).hexdigest()}
    inside = shared.compose("run", "--rm", "--no-TTY", "pipeline", "python", "-W", "ignore", "-c", READ).output
    (told,) = [line for line in inside.splitlines() if line.startswith("{")]
    assert json.loads(told) == expected
    assert not (project.path / "mlflow.db").exists()


def test_the_page_of_mlflow_shows_the_run(shared: Stack) -> None:
    shared.project.run("make", "track", env=shared.tracking)
    options = webdriver.ChromeOptions()
    for flag in (*FLAGS.split(), "--window-size=1400,1000"):
        options.add_argument(flag)
    with webdriver.Chrome(options) as browser:
        browser.get(f"{shared.tracking['MLFLOW_TRACKING_URI']}/#/models/{PACKAGE}")
        body = browser.find_element(By.TAG_NAME, "body")
        shown = ("Version 1", f"{shared.project.champion['version']}", "champion")
        until(lambda: all(text in body.text for text in shown), "the registered version on MLflow's page", 60)


def test_prometheus_asks_the_service_and_knows_the_alerts(shared: Stack) -> None:
    def targets() -> list[str]:
        return [target["health"] for target in shared.get("prometheus", "/api/v1/targets")["data"]["activeTargets"]]

    until(lambda: targets() == ["up"], "a scraped target", 60)
    groups = shared.get("prometheus", "/api/v1/rules")["data"]["groups"]
    assert {rule["name"] for group in groups for rule in group["rules"]} == {*ALERTS}
    until(
        lambda: all(
            rule["health"] == "ok"
            for group in shared.get("prometheus", "/api/v1/rules")["data"]["groups"]
            for rule in group["rules"]
        ),
        "every rule evaluated",
        60,
    )
    found = shared.get("prometheus", "/api/v1/query?query=model_info")["data"]["result"]
    assert [each["metric"]["version"] for each in found] == [shared.project.champion["version"]]


@pytest.mark.parametrize("name", ["mlflow", "postgres", "monitor"])
def test_what_is_killed_comes_back_and_predictions_go_on(shared: Stack, name: str) -> None:
    before = shared.inspect(name)["RestartCount"]
    with asked_all_along(shared.service) as statuses:
        shared.kill(name)
        until(lambda: shared.inspect(name)["RestartCount"] > before, f"{name} to be started again", 60)
        until(lambda: shared.health()[name] == "healthy", f"{name} to be healthy again", 120)
        until(lambda: len(statuses) > 50, "answers")
    assert set(statuses) == {200}
    experiments = "/api/2.0/mlflow/experiments/search?max_results=10"
    until(lambda: shared.get("mlflow", experiments)["experiments"], "MLflow to answer", 60)


def test_after_a_restart_of_everything_runs_registry_and_logs_are_there(shared: Stack) -> None:
    shared.project.run("make", "track", env=shared.tracking)
    runs, lines = shared.project.runs(shared.tracking["MLFLOW_TRACKING_URI"]), logged(shared.project)
    registry = f"/api/2.0/mlflow/registered-models/alias?name={PACKAGE}&alias=champion"
    champion = shared.get("mlflow", registry)
    shared.compose("down")
    shared.up()
    assert shared.project.runs(shared.tracking["MLFLOW_TRACKING_URI"]) == runs
    assert shared.get("mlflow", registry) == champion
    assert logged(shared.project)[: len(lines)] == lines
    predicted(shared.service)


def test_the_image_and_its_process_are_small_and_quick(shared: Stack) -> None:
    image = shared.inspect("api")["Image"]
    sizes = shared.project.run("docker", "history", "--format", "{{.Size}}", "--human=false", image).output.split()
    (name,) = re.findall(r"^FROM (\S+) AS serve$", shared.project.read("Dockerfile"), re.MULTILINE)
    (base,) = json.loads(shared.project.run("docker", "image", "inspect", name).output)
    above = sum(map(int, sizes)) - base["Size"]
    pid = shared.compose("exec", "--no-TTY", "api", "cat", "/proc/1/task/1/children").output.strip()
    status = shared.compose("exec", "--no-TTY", "api", "cat", f"/proc/{pid}/status").output
    resident = int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024  # type: ignore[index]
    container, starts = shared.container("api"), []
    for _ in range(5):
        shared.project.run("docker", "stop", container)
        begun = time.perf_counter()
        with subprocess.Popen(["docker", "start", container], stdout=subprocess.DEVNULL):
            until(lambda: _status(shared.service) == 200, "the service to be ready")
            starts.append(time.perf_counter() - begun)
    starts.sort()
    print(
        f"above the base {above / 1e6:.0f} MB, resident {resident / MIB:.0f} MiB, ready {starts[2]:.2f} s after start"
    )
    assert above <= 250e6
    assert resident <= 130 * MIB


def _status(service: Service) -> int:
    try:
        return ask(service, "/v2/health/ready").status
    except OSError:
        return 0


def test_the_service_runs_as_nobody_special(shared: Stack) -> None:
    for name in ("api", "mlflow"):
        read = "read pid < /proc/1/task/1/children; cat /proc/$pid/status"
        status = shared.compose("exec", "--no-TTY", name, "sh", "-c", read).output
        facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert "0" not in facts["Uid"].split(), name
        for held in ("CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb"):
            assert int(facts[held], 16) == 0, (name, held)
        assert facts["NoNewPrivs"] == "1", name
        for path in ("/app/x", "/x", "/etc/x"):
            assert shared.compose("exec", "--no-TTY", name, "touch", path, code=None).code != 0
    for path in ("models/x", "reports/x"):
        refused = shared.compose("exec", "--no-TTY", "api", "touch", path, code=None)
        assert "Read-only file system" in refused.output
    tools = "for tool in gcc cc make git pip uv dvc mlflow; do command -v $tool && exit 1; done; true"
    found = shared.compose("exec", "--no-TTY", "api", "sh", "-c", f"export PATH=/app/.venv/bin:/usr/bin:/bin; {tools}")
    assert found.output == ""
    heavy = "import importlib.util as u; print([m for m in ('sklearn', 'pandas', 'mlflow', 'dvc') if u.find_spec(m)])"
    assert shared.compose("exec", "--no-TTY", "api", "python", "-c", heavy).output.strip() == "[]"


def test_nothing_is_published_beyond_this_machine(shared: Stack) -> None:
    for name in shared.health():
        ports = shared.inspect(name)["NetworkSettings"]["Ports"] or {}
        assert {each["HostIp"] for bound in ports.values() for each in bound or ()} <= {"127.0.0.1"}
    assert shared.inspect("monitor")["HostConfig"]["NetworkMode"] == "none"
    headers = {"Host": f"evil.example.org:{shared.ports['api']}"}
    assert ask(shared.service, "/example", headers=headers).status == 403


def test_no_secret_lies_in_a_layer_or_in_the_history(shared: Stack, tmp_path: Path) -> None:
    secret = re.search(r"^POSTGRES_PASSWORD=(\w+)$", shared.project.read(".env"), re.MULTILINE)
    assert secret
    for name in ("api", "mlflow"):
        image = shared.inspect(name)["Image"]
        told = shared.project.run("docker", "history", "--no-trunc", image).output
        told += shared.project.run("docker", "image", "inspect", image).output
        assert secret[1] not in told
        assert not re.search(r"(?i)password|secret|token", told), name
        folder = tmp_path / name
        folder.mkdir()
        shared.project.run("sh", "-c", f"docker save {image} | tar -x -C {folder}", timeout=UP_S)
        layers = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        assert sum(path.stat().st_size for path in layers) > 100e6
        assert not [path for path in layers if _holds(path, secret[1].encode())], name
        names = "\n".join(
            subprocess.run(["tar", "-tf", path], capture_output=True, text=True, check=False).stdout for path in layers
        )
        own = [line for line in names.splitlines() if line.startswith("app/") and "/site-packages/" not in line]
        assert own
        assert not [line for line in own if re.search(r"\.env$|/\.git/|/keys$|\.pem$|/data/|/logs/|\.parquet$", line)]
        shutil.rmtree(folder)


def _holds(path: Path, wanted: bytes) -> bool:
    with path.open("rb") as file:
        kept = b""
        while block := file.read(16 * MIB):
            if wanted in kept + block:
                return True
            kept = block[-len(wanted) :]
    return False


def test_alerts_fire_when_they_should_and_not_before(shared: Stack, tmp_path: Path) -> None:
    shutil.copy(shared.project.path / "deploy/alerts.yml", tmp_path)
    cases, image = (TEMPLATE / "tests/alerts_test.yml").read_text("utf-8"), shared.inspect("prometheus")["Image"]
    assert {name for name in ALERTS if f'{{alertname="{name}"' in cases} == {*ALERTS}
    tmp_path.chmod(0o755)
    for text, code in ((cases, 0), (cases.replace("0+50x60", "0+5x60"), 1)):
        (tmp_path / "test.yml").write_text(text)
        command = ("docker", "run", "--rm", "--network=none", "-v", f"{tmp_path}:/rules:ro", "--entrypoint", "promtool")
        shared.project.run(*command, image, "test", "rules", "/rules/test.yml", code=code)


def test_stopped_under_load_every_accepted_request_is_answered(shared: Stack) -> None:
    service = shared.service
    (network,) = shared.inspect("api")["NetworkSettings"]["Networks"].values()
    service.host, service.port = network["IPAddress"], 8000  # past the engine's proxy, which accepts for itself
    with loaded(service, 16, middle=8, large=2) as load:
        at = time.monotonic()
        shared.compose("stop", "api")
        seconds = time.monotonic() - at
    dropped = [sent - at for sent in load.sent_at if sent < at]
    print(f"{load.answers:,} answers under load, {len(dropped)} dropped by `docker compose stop` in {seconds:.1f} s")
    assert dropped == []
    assert load.odd == []
    assert shared.inspect("api")["State"]["ExitCode"] in (0, 143)
    written = {line["id"] for line in logged(shared.project)}
    assert [made for made in load.ids if made not in written] == []
    shared.up()


def test_two_replicas_rolled_one_by_one_lose_nothing(shared: Stack) -> None:
    first = free_port()
    ports = (first, first + 1)
    env = {"PORT": f"{first}-{first + 1}"}
    shared.compose("up", "--detach", "--wait", "--scale", "api=2", env=env)
    failed, answered, over = list[str](), [0], threading.Event()

    def client() -> None:
        turn = 0
        while not over.is_set():
            for _ in range(4):  # the client tries the other one
                turn += 1
                service = Service("", ports[turn % 2], None, shared.project)  # type: ignore[arg-type]
                try:
                    if ask(service, "/predict", body).status == 200:
                        answered[0] += 1
                        break
                except OSError:
                    continue
            else:
                failed.append("four in a row")

    body = ask(Service("", first, None, shared.project), "/example").body  # type: ignore[arg-type]
    clients = [threading.Thread(target=client, daemon=True) for _ in range(4)]
    for each in clients:
        each.start()
    for index in range(2):
        container = shared.container("api", index)
        shared.project.run("docker", "stop", container)
        shared.project.run("docker", "start", container)
        until(lambda i=index: shared.inspect("api", i)["State"]["Health"]["Status"] == "healthy", "it to be back", 60)  # type: ignore[misc]
    over.set()
    for each in clients:
        each.join(30)
    print(f"two replicas rolled under four clients: {answered[0]:,} answered, {len(failed)} failed")
    assert answered[0] > 100
    assert failed == []
    shared.compose("up", "--detach", "--wait", "--scale", "api=1")


def test_what_is_wrong_on_the_machine_is_said_in_one_sentence(shared: Stack, tmp_path: Path) -> None:
    project = shared.project

    def says(part: str, **env: str) -> None:
        done = project.run("make", "--no-print-directory", "up", code=2, env=env)
        assert part in done.output, done.output
        assert "Traceback" not in done.output
        said = [line for line in done.output.splitlines() if line.startswith("up: ")]
        assert len(said) == 1, done.output

    says("no container engine answers; start Docker", ENSURE_DOCKER="", DOCKER_HOST="unix:///nowhere.sock")
    shared.compose("stop", "api")
    with socket.create_server((HOST, shared.ports["api"])):
        says(f"port {shared.ports['api']} is taken; choose another one: make up PORT=<port>")
    kept = project.read(".env")
    project.write(".env", re.sub("^POSTGRES_PASSWORD=.*\n", "", kept, flags=re.MULTILINE))
    says("POSTGRES_PASSWORD is missing a value: run make setup once")
    (project.path / ".env").unlink()
    says("there is no .env, which holds what the containers need; run `make setup`")
    missing = shared.compose("config", "--quiet", code=None)
    assert "is missing a value: run make setup once" in missing.output
    project.write(".env", kept)
    (project.path / ".env").chmod(0o600)
    shared.up()


@pytest.fixture(scope="module")
def young(bare: Callable[[Path], Project], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, int]]:
    """Yield the stack of a small project that has trained nothing yet, and who owns its folder."""
    project = turn(bare(tmp_path_factory.mktemp("young")), tasks.BINARY)
    for parameter, value in {"min_rows": 50, "window_rows": 50, "fresh_labels": 80, "fresh_days": 7}.items():
        project.set(f"monitor.{parameter}", value)
    project.set("promote.margin", 0.2)  # so few rows say little; this is about the swap
    project.set("promote.min_test_days", 3)
    owner = owned(project)
    with stack(project) as found:
        yield found, owner


def test_without_a_model_all_but_the_service_is_healthy_and_training_makes_it_ready(young: tuple[Stack, int]) -> None:
    found, owner = young
    done = found.project.run("make", "--no-print-directory", "up", code=2, timeout=900)
    (said,) = done.lines("up: all is up")
    assert "the service has no model yet" in said
    assert "docker compose --profile train run --rm pipeline" in said
    health = found.health()
    assert {name for name in health if health[name] == "healthy"} == {"mlflow", "monitor", "postgres"}
    assert ask(found.service, "/v2/health/live").status == 200
    refused = ask(found.service, "/v2/health/ready")
    assert refused.status == 503
    assert "names no version yet" in refused.error
    before = found.inspect("api")["State"]["StartedAt"]
    found.train()
    assert found.project.decision["decision"] == "promoted"
    until(lambda: _status(found.service) == 200, "the service to be ready")
    until(lambda: found.health()["api"] == "healthy", "the engine to know it", 60)
    assert found.inspect("api")["State"]["StartedAt"] == before
    runs = found.project.runs(found.tracking["MLFLOW_TRACKING_URI"])
    assert [run["bundle"] for run in runs] == [found.project.champion["version"]]
    everything = {path for path in found.project.path.rglob("*") if ".venv" not in path.parts}
    assert [path for path in everything if path.lstat().st_uid != owner] == []
    again = found.train()
    assert again.ran == []
    assert "nothing new is labelled" in again.output
    predicted(found.service)


def test_the_loop_closes_through_the_containers(young: tuple[Stack, int]) -> None:
    found, owner = young
    project, old = found.project, found.project.champion["version"]
    assert old, "the test before has trained a model"
    rows = project.python(STREAM_ROWS)
    with asked_all_along(found.service) as statuses:
        project.run("make", "simulate", env={"URL": found.service.url, "ROWS": str(rows)})
        if os.getuid() == 0:
            project.run("chown", f"{owner}:{owner}", "logs/simulated.json")
        until(lambda: project.json("reports/drift.json")["decision"] == "retrain", "the monitor to ask for it", 120)
        assert ask(found.service, "/model").json()["drift"]["decision"] == "retrain"
        found.train()
        decision = project.decision
        new = project.champion["version"]
        print(f"through the containers: {decision['decision']}, {'; '.join(decision['reasons'])}")
        if decision["decision"] == "promoted":
            assert new != old
            until(lambda: predicted(found.service)[0] == new, "the service to answer from the new version")
        else:
            assert new == old
            assert ask(found.service, "/model").json()["gate"] == decision
    assert set(statuses) == {200}


def test_a_killed_pipeline_leaves_nothing_that_stops_the_next(young: tuple[Stack, int]) -> None:
    found, _ = young
    project = found.project
    locks = project.path / ".dvc/tmp/rwlock"

    def written() -> str:
        try:
            return str(json.loads(locks.read_text()).get("write"))
        except (OSError, ValueError):
            return ""

    found.compose("stop", "monitor")  # it would take its turn, and mend, before it is looked at
    project.set("train.max_iter", 100_000)  # it is killed long before
    name = f"killed-{os.getpid()}"
    running = project.start("docker", "compose", "--profile", "train", "run", "--rm", "--name", name, "pipeline")
    until(lambda: "models/fitted" in written(), "the stage", 120)
    project.run("docker", "kill", name)
    assert finished(running, 60)
    running.communicate()
    assert "models/fitted" in written()
    project.set("train.max_iter", 61)
    done = found.train()
    assert "train" in done.ran
    assert found.train().ran == []


def test_the_files_please_their_linters(shared: Stack) -> None:
    hadolint = TEMPLATE / ".venv/bin/hadolint"
    shared.project.run(str(hadolint), "--failure-threshold", "style", "Dockerfile")
    order = ("service-keys-order", "services-alphabetical-order", "require-project-name-field")  # matters of taste
    without = [word for rule in order for word in ("--disable-rule", rule)]
    shared.project.run("npx", "--yes", "dclint@3.1.0", *without, "--max-warnings", "0", "compose.yaml", timeout=300)
    for profiles in ("", "train", "observability", "train,observability"):
        shared.compose("config", "--quiet", env={"COMPOSE_PROFILES": profiles})
