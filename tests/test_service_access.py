"""Who may ask: nothing is reachable beyond the machine without a key, and no page of another origin asks at all."""

import base64
import hashlib
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from projects import NOTHING, PACKAGE, Project
from services import Answer, Service, ask, example, free_port, request, serving, until

HEALTH = ("/v2/health/live", "/v2/health/ready")
CLOSED = [
    *(("GET", path) for path in "/ /example /model /metrics /docs /openapi.json /v2 /v2/models /nothing".split()),
    *(("GET", f"/v2/models/{PACKAGE}{path}") for path in ("", "/ready", "/versions/1")),
    *(("POST", path) for path in ("/predict", "/feedback", f"/v2/models/{PACKAGE}/infer", "/nothing")),
    ("DELETE", "/predict"),
    ("OPTIONS", "/predict"),
]
KEYS = ("first key", "sécond-kéy-0123456789", "third:with:colons")


def lines(*keys: str) -> str:
    """Return a file of keys: a digest a line, and comments."""
    digests = [hashlib.sha256(key.encode()).hexdigest() for key in keys]
    return "# who may ask\n\n" + "".join(f"{digest} team {number}\n" for number, digest in enumerate(digests))


def bearer(key: str) -> dict[str, str]:
    """Return the header that carries a key."""
    return {"Authorization": f"Bearer {key.encode().decode('latin-1')}"}


def basic(key: str, user: str = "anyone") -> dict[str, str]:
    """Return the header that carries a key as a password."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{key}".encode()).decode()}


def status(service: Service, path: str, headers: Mapping[str, str] = NOTHING, method: str = "GET") -> int:
    """Return the status of an answer; that of a closed door has the form of every error and asks for a key."""
    answer = ask(service, path, b"{}" if method == "POST" else None, headers=headers, method=method)
    if answer.status == 401:
        assert answer.error
        assert "www-authenticate" in answer.headers
    return answer.status


@pytest.fixture(scope="module")
def loopback(small_built: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Yield the service as it starts by default: on loopback, without keys."""
    with serving(small_built.copy(tmp_path_factory.mktemp("loopback"))) as found:
        yield found


@pytest.fixture(scope="module")
def locked(small_built: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Yield a service with three keys."""
    project = small_built.copy(tmp_path_factory.mktemp("locked"))
    project.write("keys", lines(*KEYS))
    with serving(project, env={"SERVICE_KEYS": "keys"}) as found:
        yield found


def test_with_keys_everything_but_health_needs_one(locked: Service) -> None:
    assert [status(locked, path) for path in HEALTH] == [200, 200]
    assert {closed: status(locked, closed[1], method=closed[0]) for closed in CLOSED} == dict.fromkeys(CLOSED, 401)


def test_each_of_several_keys_opens_as_bearer_and_as_a_password(locked: Service) -> None:
    for key in KEYS:
        assert status(locked, "/example", basic(key)) == 200, key
        assert status(locked, "/example", basic(key, user="")) == 200, key
        assert status(locked, "/example", bearer(key)) == 200 or not key.isascii(), key
    assert ask(locked, "/predict", {"instances": [{}]}, headers=bearer(KEYS[0])).status == 400


@pytest.mark.parametrize(
    "header",
    [
        bearer("first keY"),
        bearer(""),
        {"Authorization": "first key"},
        {"Authorization": "Digest first key"},
        bearer(hashlib.sha256(KEYS[0].encode()).hexdigest()),
        {"Authorization": f"Basic {base64.b64encode(KEYS[0].encode()).decode()}"},
        basic("first key:"),
        basic("wrong"),
        {"Authorization": "Basic first key"},
        {"Authorization": "Basic ////"},
        {"Authorization": "Bearer " + "x" * 10_000},
        {"X-API-Key": "first key"},
        {"Cookie": "key=first key"},
    ],
    ids=str,
)
def test_any_other_key_is_refused(locked: Service, header: dict[str, str]) -> None:
    assert status(locked, "/example", header) == 401
    assert status(locked, "/predict", header, "POST") == 401


def test_a_key_in_the_address_is_none(locked: Service) -> None:
    assert status(locked, "/example?key=first%20key") == 401


def test_keys_are_in_no_output_and_no_answer(locked: Service) -> None:
    secret = "a key that is wrong but nearly right"
    answer = ask(locked, "/example", headers=bearer(secret))
    until(lambda: '"status":401' in locked.output, "the line of a refused request")
    everything = answer.body.decode() + str(answer.headers) + locked.output
    assert not any(key in everything for key in (secret, *KEYS))
    assert not any(hashlib.sha256(key.encode()).hexdigest() in everything for key in KEYS)


def test_a_refused_request_with_a_large_body_gets_its_answer(locked: Service) -> None:
    answer = ask(locked, "/predict", b" " * 3_000_000)
    assert answer.status == 401
    assert answer.error


def test_keys_change_while_the_service_runs(small: Project) -> None:
    small.write("keys", lines("old"))
    with serving(small, env={"SERVICE_KEYS": "keys"}) as service:
        assert status(service, "/example", bearer("old")) == 200
        small.write("keys.new", lines("new", "other"))
        (small.path / "keys.new").replace(small.path / "keys")
        until(lambda: status(service, "/example", bearer("new")) == 200, "the new key")
        assert status(service, "/example", bearer("other")) == 200
        assert status(service, "/example", bearer("old")) == 401
        (small.path / "keys").unlink()
        answers = [ask(service, "/example", headers=bearer(key)) for key in ("old", "new", "never")]
        assert [answer.status for answer in answers] in ([401, 200, 401], [401, 401, 401])
        small.write("keys", "no digest at all\n")
        assert ask(service, "/example", headers=bearer("never")).status == 401
        assert ask(service, "/v2/health/ready").status == 200
        small.write("keys", lines("newest"))
        until(lambda: status(service, "/example", bearer("newest")) == 200, "the newest key")
    assert "Traceback" not in service.output


@pytest.mark.parametrize(
    "content", [None, b"", b"# nothing\n", b"secret key\n", b"abc123\n", b"\xff\xfe\x00", b"0" * 63]
)
def test_keys_that_cannot_be_read_stop_the_start_in_one_sentence(
    small_built: Project, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "keys"
    if content is not None:
        path.write_bytes(content)
    refuses_to_start(small_built, {"SERVICE_KEYS": str(path)}, str(path))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SERVICE_MAX_ROWS", "many"),
        ("SERVICE_MAX_ROWS", "0"),
        ("SERVICE_MAX_BODY_BYTES", "-1"),
        ("SERVICE_QUEUE", "0"),
        ("SERVICE_TIMEOUT_S", "nan"),
        ("SERVICE_TIMEOUT_S", "0"),
        ("SERVICE_LOG_MAX_BYTES", "64 MiB"),
        ("SERVICE_LOG_LEVEL", "LOUD"),
    ],
)
def test_a_setting_that_is_none_stops_the_start_in_one_sentence(small_built: Project, name: str, value: str) -> None:
    refuses_to_start(small_built, {name: value}, name)


def refuses_to_start(project: Project, env: dict[str, str], named: str) -> None:
    """Assert that the service does not start, and says why in one sentence that names what is wrong."""
    done = project.run("make", "serve", code=None, timeout=60, env=env | {"PORT": str(free_port())})
    assert "Traceback" not in done.output, done.output
    said = done.lines(named)
    assert len(said) == 1, done.output


def test_beyond_loopback_everything_but_health_needs_a_key(small: Project) -> None:
    with serving(small, env={"SERVICE_BIND": "0.0.0.0"}) as service:
        assert [status(service, path) for path in HEALTH] == [200, 200]
        assert {closed: status(service, closed[1], method=closed[0]) for closed in CLOSED} == dict.fromkeys(CLOSED, 401)
        assert status(service, "/example", bearer("any")) == 401


def test_beyond_loopback_keys_open_and_off_opens_to_all(small: Project) -> None:
    small.write("keys", lines("first"))
    with serving(small, env={"SERVICE_BIND": "0.0.0.0", "SERVICE_KEYS": "keys"}) as service:
        assert [status(service, "/example", header) for header in (bearer("first"), NOTHING)] == [200, 401]
    with serving(small, env={"SERVICE_BIND": "0.0.0.0", "SERVICE_KEYS": "off"}) as service:
        assert ask(service, "/predict", example(service)).status == 200
        assert status(service, "/example", {"Host": "model.example.org"}) == 200


def test_started_past_make_beyond_loopback_still_needs_a_key(small: Project) -> None:
    """Uvicorn's own `--host` opens the socket; the service knows only what it sees of it."""
    address = outer_address()
    port = free_port()
    command = [".venv/bin/uvicorn", f"{PACKAGE}.service.app:app", "--host", "0.0.0.0", "--port", str(port)]
    process = small.start(*command)
    try:
        until(lambda: reached(address, port, "/v2/health/live") == 200, "the service")
        assert reached(address, port, "/example") == 401
    finally:
        process.terminate()
        process.communicate(timeout=30)


def outer_address() -> str:
    """Return an address of this machine that is not loopback; nothing is sent to find it."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return str(probe.getsockname()[0])


def reached(address: str, port: int, path: str) -> int:
    """Return the status of an answer at another address of this machine, 0 where nothing listens yet."""
    try:
        with socket.create_connection((address, port), timeout=5) as connection:
            connection.sendall(request(path, None, {"Host": "localhost", "Connection": "close"}, "GET"))
            return int(connection.recv(100).split()[1])
    except ConnectionError:
        return 0


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:8000", "127.8.8.8", "[::1]", "api:8000"]
)
def test_this_machine_s_own_names_need_no_key(loopback: Service, host: str) -> None:
    assert status(loopback, "/example", {"Host": host}) == 200


@pytest.mark.parametrize(
    "host",
    [
        "rebound.example.org",
        "rebound.example.org:8000",
        "127.0.0.1.example.org",
        "localhost.example.org",
        "192.0.2.7",
        "10.0.0.1:80",
    ],
)
def test_a_name_that_another_machine_may_own_needs_a_key(loopback: Service, host: str) -> None:
    assert status(loopback, "/example", {"Host": host}) == 401
    assert status(loopback, "/predict", {"Host": host}, "POST") == 401
    assert status(loopback, "/v2/health/live", {"Host": host}) == 200


@pytest.mark.parametrize(
    "origin",
    [
        "https://elsewhere.example.org",
        "http://localhost:1",
        "http://127.0.0.1",
        "null",
        "file://",
        "http://",
        "https://",
        "x",
        "http://127.0.0.1:{port}@a.example",
    ],
)
def test_a_page_of_another_origin_is_refused(loopback: Service, origin: str) -> None:
    header = {"Host": f"127.0.0.1:{loopback.port}", "Origin": origin.format(port=loopback.port)}
    asked = [ask(loopback, "/predict", example(loopback), headers=header), ask(loopback, "/example", headers=header)]
    asked.append(
        ask(loopback, "/predict", headers=header | {"Access-Control-Request-Method": "POST"}, method="OPTIONS")
    )
    assert [answer.status for answer in asked] == [403] * 3
    assert all("access-control-allow-origin" not in answer.headers for answer in asked)


def test_the_service_s_own_page_may_ask(loopback: Service) -> None:
    for name in ("127.0.0.1", "localhost"):
        host = f"{name}:{loopback.port}"
        answer = ask(loopback, "/predict", example(loopback), headers={"Host": host, "Origin": f"http://{host}"})
        assert answer.status == 200


def test_a_page_of_another_origin_is_refused_whatever_key_it_brings(locked: Service) -> None:
    answer: Answer = ask(locked, "/example", headers=bearer(KEYS[0]) | {"Origin": "https://elsewhere.example.org"})
    assert answer.status == 403


def test_a_page_can_be_no_frame_of_another_and_runs_its_own_script_alone(loopback: Service) -> None:
    policy = ask(loopback, "/").headers.get("content-security-policy", "")
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_log_files_are_readable_by_the_group_that_reads_them(loopback: Service) -> None:
    assert ask(loopback, "/predict", example(loopback)).status == 200
    for path in (loopback.project.path / "logs").glob("*.jsonl"):
        assert path.stat().st_mode & 0o644 == 0o644


def test_settings_stand_in_env_unless_the_environment_says_otherwise(small: Project) -> None:
    small.write(".env", "SERVICE_MAX_ROWS=4\nSERVICE_BIND=0.0.0.0\nSERVICE_KEYS=off\n")
    rows = json.loads(next((small.path / "models").rglob("golden.json")).read_text())["rows"]

    def statuses(service: Service) -> list[int]:
        return [ask(service, "/predict", {"instances": rows[:count]}).status for count in (4, 5)]

    with serving(small) as service:
        assert statuses(service) == [200, 400]
        assert reached(outer_address(), service.port, "/example") == 200
    with serving(small, env={"SERVICE_MAX_ROWS": "5", "SERVICE_BIND": "127.0.0.1", "SERVICE_KEYS": ""}) as service:
        assert statuses(service) == [200, 200]
        assert reached(outer_address(), service.port, "/example") == 0
