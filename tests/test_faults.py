"""What breaks in the middle: a tracking server that is dead or mute, processes killed, two of them at once."""

import random
import re
import signal
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from projects import PACKAGE, Project, finished, started

KILLS = 10
RUNNING = "select count(*) from runs join tags using (run_uuid) where tags.key = 'receipt' and runs.status = 'RUNNING'"

CHAMPION_OF = f"""
import json, sys, mlflow
client = mlflow.MlflowClient(sys.argv[1], sys.argv[1])
print(json.dumps(client.get_model_version_by_alias({PACKAGE!r}, "champion").tags["bundle"]))
"""

BUNDLES_ARE_WHOLE = """
import json
from pathlib import Path
from flight_delays import bundle
found = [path.name for path in Path("models/versions").glob("[!.]*")]
for name in found:
    loaded = bundle.load(Path("models/versions") / name / "bundle")
    bundle.replay(loaded)
    assert loaded.version == name
print(json.dumps(found))
"""


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return int(server.getsockname()[1])


@contextmanager
def mute_server() -> Iterator[str]:
    """Yield the address of a server that accepts connections and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=64)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def sentence(output: str) -> str:
    """Return the one line in which `track` says what is wrong, no traceback around it."""
    assert "Traceback" not in output, output
    said = [line for line in output.splitlines() if line.startswith("track: ")]
    assert len(said) == 1, output
    return said[0]


def test_dead_tracking_server_stops_track_alone_and_the_next_repro_runs_it_alone(small: Project) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    small.set("train.learning_rate", 0.11)
    failed = small.repro(code=None, timeout=120, env={"MLFLOW_TRACKING_URI": dead})
    assert failed.ran[:4] == ["train", "export", "evaluate", "promote"]
    assert failed.ran[-1] == "track"
    assert dead in sentence(failed.output)
    assert not (small.path / "mlflow.db").exists()
    assert small.repro().ran == ["track"]
    assert small.repro().ran == []
    runs = small.runs()
    assert {run["status"] for run in runs} == {"FINISHED"}
    assert len({run["receipt"] for run in runs}) == len(runs) == 2


def test_mute_tracking_server_fails_track_in_one_sentence_and_bounded_time(small: Project) -> None:
    small.forget("track")
    with mute_server() as mute:
        failed = small.repro(code=None, timeout=60, env={"MLFLOW_TRACKING_URI": mute})
    assert failed.ran == ["track"]
    assert mute in sentence(failed.output)
    print(f"a mute tracking server: {failed.seconds:.1f} s (target 30 s)")
    assert small.repro().ran == ["track"]


def test_track_killed_in_mid_run_leaves_one_finished_run_after_the_next_repro(small: Project) -> None:
    small.forget("track")
    store = small.path / "mlflow.db"

    def in_mid_run() -> bool:
        if not store.exists():
            return False
        with closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True, timeout=5)) as database:
            try:
                return int(database.execute(RUNNING).fetchone()[0]) > 0
            except sqlite3.OperationalError:  # the tables are being made
                return False

    with started(small, "bash", "-c", small.command("track")) as track:
        while not in_mid_run():
            assert not finished(track, 0.01), "track was done before it could be killed"
        track.send_signal(signal.SIGKILL)
        assert finished(track, 10)
    assert [run["status"] for run in small.runs()] == ["RUNNING"]
    assert small.repro().ran == ["track"]
    assert [run["status"] for run in small.runs()] == ["FINISHED"]


def test_track_fills_a_real_server_with_runs_versions_and_the_champion(small: Project, tmp_path: Path) -> None:
    port = free_port()
    address, place = f"http://127.0.0.1:{port}", tmp_path / "server"
    place.mkdir()
    options = [
        "--backend-store-uri",
        f"sqlite:///{place}/store.db",
        "--artifacts-destination",
        str(place / "artifacts"),
    ]
    command = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", *options]
    with started(small, *command, env={"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}) as server:
        while not answers(port):
            assert not finished(server, 0.1), "the server did not start"
        small.run("make", "track", env={"MLFLOW_TRACKING_URI": address})
        again = small.run("make", "track", env={"MLFLOW_TRACKING_URI": address})
        assert "Traceback" not in again.output
        champion = small.champion["version"]
        assert small.python(CHAMPION_OF, address) == champion
        assert [(run["status"], run["bundle"]) for run in small.runs(address)] == [("FINISHED", champion)]


def answers(port: int) -> bool:
    """Return whether a server on this machine says that it is healthy."""
    try:
        with closing(socket.create_connection(("127.0.0.1", port), timeout=5)) as connection:
            connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            return b"200" in connection.recv(100)
    except OSError:
        return False


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])  # DVC runs a stage in the user's own
def test_a_stage_ends_with_the_repro_that_was_killed(built: Project, tmp_path: Path, shell: str) -> None:
    project = built.copy(tmp_path).chilled()
    with started(project, "python", "-u", "-m", "dvc", "repro", "train", env={"SHELL": shell}) as repro:
        assert repro.stdout
        while "fitting" not in repro.stdout.readline():
            assert repro.poll() is None, "dvc ended before the model was being fitted"
        repro.send_signal(signal.SIGKILL)
        rest = repro.stdout.read()  # the stage holds the pipe until it ends
    assert "train: " not in rest
    assert not (project.path / "models/fitted").exists()


def ended(project: Project) -> dict[str, str]:
    """Return the digests of all results but the decision, and what that comes to.

    Killed when the pointer had moved and DVC did not know it yet, the next run finds the challenger to be the champion.
    """
    found, decision = project.results(), project.decision
    del found["reports/decision.json"]
    return found | {"promoted": decision["version"] if decision["decision"] in ("promoted", "unchanged") else ""}


def test_killed_at_ten_random_moments_ends_with_the_same_results(built: Project, cold_s: float, tmp_path: Path) -> None:
    chance = random.Random(20131001)
    reference = ended(built)
    project = built.copy(tmp_path).chilled()
    killed: list[str] = []
    while len(killed) < KILLS:
        delay = chance.uniform(0.5, cold_s / 3)
        with_signal = (signal.SIGKILL, signal.SIGTERM)[len(killed) % 2]
        process = project.start("python", "-m", "dvc", "repro")
        if finished(process, delay):
            output, _ = process.communicate()
            assert process.returncode == 0, output
            assert ended(project) == reference
            project.chilled()
            continue
        process.send_signal(with_signal)
        assert finished(process, 30)
        killed.append(with_signal.name)
        champion = project.champion
        assert champion["version"] in (None, built.champion["version"])
        if champion["version"]:
            assert champion["version"] in project.python(BUNDLES_ARE_WHOLE)
        project.run("python", "-m", f"{PACKAGE}.commands.turn", "true")  # as `make pipeline` begins
    done = project.run("make", "pipeline")
    print(f"killed by {', '.join(killed)}; the last run had {len(done.ran)} stages to do")
    assert ended(project) == reference
    assert project.python(BUNDLES_ARE_WHOLE) == [built.champion["version"]]
    assert project.repro().ran == []
    assert not list(project.path.glob("*/.*.new")), "half-written folders were left behind"
    assert [run["status"] for run in project.runs()] == ["FINISHED"]


def test_files_that_a_killed_dvc_left_torn_do_not_stop_the_next_pipeline(small: Project) -> None:
    decided = {"reports/decision.json": ""}  # it says from now on that the challenger is the champion
    reference = small.results() | decided
    for torn in ("", small.read("dvc.lock")[:4096]):
        small.write("dvc.lock", torn)
        small.write(".dvc/tmp/rwlock", '{"read": {"da')
        small.run("make", "pipeline")
        assert small.results() | decided == reference
        assert small.repro().ran == []


def test_two_repros_at_once_end_in_the_state_of_one(built: Project, tmp_path: Path) -> None:
    project = built.copy(tmp_path).chilled()
    one, other = (project.start("python", "-m", "dvc", "repro") for _ in range(2))
    ends = [(process.communicate(timeout=300)[0], process.returncode) for process in (one, other)]
    assert 0 in [code for _, code in ends], ends
    for output, code in ends:
        if code:
            assert re.search(r"lock|busy|running|another", output, re.IGNORECASE), output
            assert "Traceback" not in output
    project.repro()
    assert project.results() == built.results()
    assert project.repro().ran == []
    assert [run["status"] for run in project.runs()] == ["FINISHED"]
