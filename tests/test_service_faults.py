"""What breaks under the service: killed, stopped, its disk full. What it acknowledged is written, once and whole."""

import json
import os
import resource
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from projects import Project, finished
from services import Service, ask, example, logged, metric, request, serving, until

UNLIMITED = resource.RLIM_INFINITY

READ_BACK = """
import json, sys, pandas as pd
from pathlib import Path
read = {path.name: pd.read_json(path, lines=True, dtype=False) for path in sorted(Path(sys.argv[1]).glob("*.jsonl"))}
print(json.dumps({name: len(lines) for name, lines in read.items() if len(lines)}))
"""


@dataclass
class Load:
    """Clients that ask without a pause until the service is gone, and what they know of each request."""

    service: Service
    ids: list[str] = field(default_factory=list)  # of predictions whose answer was read to its end
    sent_at: list[float] = field(default_factory=list)  # of requests that got no whole answer: when the last byte left
    odd: list[object] = field(default_factory=list)  # any answer but 200
    answers: int = 0

    def client(self, body: bytes) -> None:
        """Ask on one connection after another until none can be made."""
        data = request("/predict", body)
        while True:
            try:
                connection = self.service.connect(timeout=60)
            except OSError:
                return
            with connection:
                sent = 0.0
                try:
                    while True:
                        sent = 0.0
                        connection.send(data)
                        sent = time.monotonic()
                        answer = connection.read()
                        if answer.status != 200:
                            self.odd.append((answer.status, answer.body))
                            continue
                        self.answers += 1
                        self.ids += [row["id"] for row in answer.json()["predictions"]]
                except OSError:
                    if sent:
                        self.sent_at.append(sent)


@contextmanager
def loaded(service: Service, small: int, middle: int = 0, large: int = 0) -> Iterator[Load]:
    """Yield the load of so many clients of requests of 3, 150 and 3,000 rows; the block has to end the service."""
    load, rows = Load(service), example(service)["instances"]
    sizes = [1] * small + [50] * middle + [1000] * large
    bodies = [json.dumps({"instances": rows * size}).encode() for size in sizes]
    threads = [threading.Thread(target=load.client, args=(body,), daemon=True) for body in bodies]
    for thread in threads:
        thread.start()
    until(lambda: load.answers >= 20 * small, "the first answers")
    yield load
    for thread in threads:
        thread.join(90)
        assert not thread.is_alive(), "a client waits for an answer that does not come"


def killed(service: Service) -> None:
    """Kill the service's process and wait for the end of `make serve`."""
    os.kill(service.pid, signal.SIGKILL)
    assert finished(service.process, 30)


def segments(project: Project, kind: str = "predictions") -> dict[str, bytes]:
    """Return the bytes of each segment of a log."""
    return {path.name: path.read_bytes() for path in sorted((project.path / "logs").glob(f"{kind}-*.jsonl"))}


def torn(data: bytes) -> list[bytes]:
    """Return the lines of a segment, its unfinished last one left out, that do not parse."""
    wrong = []
    for line in data.split(b"\n")[:-1]:
        try:
            json.loads(line)
        except ValueError:
            wrong.append(line)
    return wrong


def test_killed_under_load_no_acknowledged_line_is_lost_or_torn(small: Project) -> None:
    acknowledged: list[str] = []
    for _ in range(2):  # the second one runs beside what the first has left
        with serving(small, env={"SERVICE_LOG_MAX_BYTES": "1000000"}) as service, loaded(service, 16, large=2) as load:
            killed(service)
        assert load.odd == []
        acknowledged += load.ids
    left = segments(small)
    assert {name: torn(data) for name, data in left.items() if torn(data)} == {}
    lines = [json.loads(line)["id"] for data in left.values() for line in data.split(b"\n")[:-1]]
    written = Counter(lines)
    assert max(written.values()) == 1
    assert [made for made in acknowledged if made not in written] == []
    print(f"killed twice: {len(acknowledged):,} acknowledged, {len(lines):,} lines in {len(left)} segments, 0 lost")
    last = small.path / "logs" / max(left)
    with last.open("ab") as segment:
        segment.write(b'{"time":"2024-01-01T00:00:00.000+00:00","id":"torn')
    with serving(small) as service:
        made = [row["id"] for row in ask(service, "/predict", example(service)).json()["predictions"]]
        counts = small.python(READ_BACK, str(small.path / "logs"))
        assert sum(counts.values()) == len(lines) + len(made)
        assert [line["id"] for line in logged(small) if line["id"] not in written] == made


def test_a_log_that_another_running_service_writes_is_left_alone(small: Project) -> None:
    with serving(small) as one, serving(small) as other:
        for number in range(20):
            asked = (one, other)[number % 2]
            assert ask(asked, "/predict", example(asked)).status == 200
        assert len(segments(small)) == 2
    assert len({line["id"] for line in logged(small)}) == 20 * 3


def test_a_segment_that_cannot_be_mended_does_not_stop_the_start(small: Project) -> None:
    (small.path / "logs/predictions-19700101T000000-folder.jsonl").mkdir(parents=True)
    (small.path / "logs/predictions-19700101T000000-nowhere.jsonl").symlink_to(small.path / "nowhere")
    with serving(small) as service:
        assert ask(service, "/predict", example(service)).status == 200
        assert metric(service, "prediction_log_dropped_total") == 0
        assert "Traceback" not in service.output


@pytest.mark.parametrize("to_make", [False, True], ids=["to the service", "to make"])
def test_stopped_under_load_every_accepted_request_is_answered(small: Project, to_make: bool) -> None:
    with serving(small) as service, loaded(service, 16, middle=16, large=2) as load:
        at = time.monotonic()
        if to_make:
            service.process.send_signal(signal.SIGTERM)
            assert finished(service.process, 40)
            assert service.process.returncode in (0, 2, 143, -signal.SIGTERM)
        else:
            assert service.stopped(40) in (0, 143)
        seconds = time.monotonic() - at
    dropped = [sent - at for sent in load.sent_at if sent < at]
    print(
        f"{load.answers:,} answers, stopped in {seconds:.2f} s; {len(dropped)} sent before and dropped, "
        f"{len(load.sent_at) - len(dropped)} sent after it"
    )
    assert dropped == []
    assert load.odd == []
    lines = Counter(line["id"] for line in logged(small))
    assert [made for made in load.ids if lines[made] != 1] == []
    assert "Traceback" not in service.output


def test_stopped_while_nobody_asks_it_ends_at_once(small: Project) -> None:
    with serving(small) as service, service.connect() as idle:
        idle.ask("/example")
        begun = time.monotonic()
        assert service.stopped() in (0, 143)
        assert time.monotonic() - begun < 10


def test_stopped_by_the_keyboard_it_ends_cleanly(small: Project) -> None:
    with serving(small) as service:
        os.kill(service.pid, signal.SIGINT)
        assert finished(service.process, 30)
        assert "Traceback" not in service.output


def full(service: Service, soft: int) -> None:
    """Let the service's process make no file larger than that: writing beyond fails as on a full disk."""
    resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (soft, UNLIMITED))


def test_with_the_disk_full_predictions_go_on_are_counted_and_are_logged_again(small: Project) -> None:
    with serving(small) as service:
        body = example(service)
        rows = len(body["instances"])

        def made() -> list[str]:
            answer = ask(service, "/predict", body)
            assert answer.status == 200
            return [row["id"] for row in answer.json()["predictions"]]

        before = made()
        size = sum(map(len, segments(small).values()))
        full(service, size + 100)  # room for a part of a line
        cut = made()
        full(service, 0)
        lost = [each for _ in range(20) for each in made()]
        assert metric(service, "prediction_log_dropped_total") in (21 * rows, 20 * rows)
        answer = ask(service, "/feedback", {"labels": [{"id": before[0], "label": "yes"}]})
        assert answer.status in (200, 503)
        full(service, UNLIMITED)
        after = made()
        dropped = metric(service, "prediction_log_dropped_total")
        made()
        assert metric(service, "prediction_log_dropped_total") == dropped
        again = ask(service, "/feedback", {"labels": [{"id": before[0], "label": "yes"}]})
        assert again.status == 200
        assert ask(service, "/v2/health/ready").status == 200
    assert {name: torn(data) for name, data in segments(small).items() if torn(data)} == {}
    assert all(data.endswith(b"\n") for data in segments(small).values())
    ids = [line["id"] for line in logged(small)]
    assert ids[: len(before)] == before
    assert len(ids) == len(set(ids))
    assert set(after) <= set(ids)
    assert not set(lost) & set(ids)
    assert set(cut) <= set(ids) or not set(cut) & set(ids)
    assert "Traceback" not in service.output
    assert sum(small.python(READ_BACK, str(small.path / "logs")).values()) >= len(ids)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Yield the folder of a file system of its own that holds 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True, check=False
        )
        if shutil.which("mount")
        else None
    )
    if mounted is None or mounted.returncode:
        pytest.skip("nothing may be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_on_a_really_full_disk_the_same_holds(small: Project, disk: Path) -> None:
    (disk / "ballast").write_bytes(b"x" * 128 * 1024)
    with serving(small, env={"SERVICE_LOG_DIR": str(disk)}) as service:
        body = {"instances": example(service)["instances"] * 20}

        def dropped() -> float:
            assert ask(service, "/predict", body).status == 200
            return metric(service, "prediction_log_dropped_total")

        until(dropped, "the disk to be full")
        for _ in range(5):
            dropped()
        (disk / "ballast").unlink()
        dropped()
        count = dropped()
        assert dropped() == count
        ids = [line["id"] for line in logged(small, folder=str(disk))]
        assert len(ids) == len(set(ids)) > 60
    assert {path.name: torn(path.read_bytes()) for path in disk.glob("*.jsonl") if torn(path.read_bytes())} == {}
    assert all(path.read_bytes().endswith(b"\n") for path in disk.glob("*.jsonl") if path.stat().st_size)


def test_where_nothing_can_be_written_at_all_predictions_go_on(small: Project) -> None:
    small.write("a file", "")
    with serving(small, env={"SERVICE_LOG_DIR": "a file"}) as service:
        for _ in range(3):
            assert ask(service, "/predict", example(service)).status == 200
        assert metric(service, "prediction_log_dropped_total") == 9
        assert ask(service, "/v2/health/ready").status == 200


def test_segments_are_rotated_by_size_and_lose_nothing(small: Project) -> None:
    with serving(small, env={"SERVICE_LOG_MAX_BYTES": "10000"}) as service:
        body = example(service)
        made = [row["id"] for _ in range(60) for row in ask(service, "/predict", body).json()["predictions"]]
        large = ask(service, "/predict", {"instances": body["instances"] * 50}).json()["predictions"]
        assert ask(service, "/predict", body).status == 200
    sizes = [len(data) for data in segments(small).values()]
    print(f"{len(sizes)} segments, the largest of single requests {sorted(sizes)[-2]} bytes")
    assert len(sizes) > 4
    assert [size for size in sizes if size > 10_000] == [max(sizes)]  # the one large request
    ids = [line["id"] for line in logged(small)]
    assert set(made) <= set(ids)
    assert {row["id"] for row in large} <= set(ids)
    assert len(ids) == len(set(ids)) == len(made) + len(large) + 3
    assert sum(small.python(READ_BACK, str(small.path / "logs")).values()) == len(ids)
