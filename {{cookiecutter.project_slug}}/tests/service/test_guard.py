import asyncio
import base64
import hashlib
import json
import os
import re

import pytest
from services import MARKER, ask, exchange, metric
from starlette.responses import JSONResponse

from {{ cookiecutter.__package }} import UserError
from {{ cookiecutter.__package }}.service import guard as module
from {{ cookiecutter.__package }}.service.counters import Counters
from {{ cookiecutter.__package }}.service.guard import DRAINED, Guard, Post
from {{ cookiecutter.__package }}.service.process_log import JsonLines
from {{ cookiecutter.__package }}.service.protocol import Refusal
from {{ cookiecutter.__package }}.service.settings import Settings

KEY, OTHER = "first key", "sécond"


class Told(list):
    """Keeps the lines of the process log."""

    put = list.append


async def behind(scope, receive, send):
    """Answer what is no post, as FastAPI does behind the guard."""
    await JSONResponse({"path": scope["path"]})(scope, receive, send)


async def echo(body, **path):
    return body


async def fail(body):
    raise ZeroDivisionError(MARKER)


async def refuse(body):
    raise Refusal(404, "not here", {"x-more": "1"})


def guard_of(**settings):
    posts = [Post("/echo", echo), Post("/fail", fail), Post("/refuse", refuse)]
    return Guard(behind, posts, Settings(**settings), Counters(), Told())


def digest(key):
    return hashlib.sha256(key.encode()).hexdigest()


@pytest.fixture
def keys(tmp_path):
    path = tmp_path / "keys"
    path.write_text(f"# who may ask\n\n{digest(KEY)}  ops, until March\r\n{digest(OTHER)}\n#{digest('old')}\n")
    return path


def basic(text):
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {KEY}", 200),
        (f"bearer {OTHER}".encode(), 200),
        (basic(f"anybody:{KEY}"), 200),
        (basic(f":{OTHER}"), 200),
        (None, 401),
        ("Bearer", 401),
        ("Bearer wrong", 401),
        (f"Bearer  {KEY}", 200),
        (f"Bearer {digest(KEY)}", 401),
        ("Bearer old", 401),
        (f"Digest {KEY}", 401),
        (KEY, 401),
        (basic(KEY), 401),
        (basic("anybody:wrong"), 401),
        ("Basic !", 401),
        (b"Basic \xff\xfe", 401),
        (b"Bearer \xff\xfe", 401),
    ],
)
def test_a_key_of_the_file_opens_as_bearer_or_as_password_of_basic(keys, authorization, status):
    headers = [("authorization", authorization)] if authorization else []
    answer = ask(guard_of(keys=str(keys), bind="0.0.0.0"), "GET", "/", b"", *headers, server=("10.0.0.5", 80))
    assert answer.status == status
    assert answer.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("localhost:8000", 200),
        ("api:8000", 200),
        ("[::1]:8000", 200),
        ("evil.example.org:8000", 403),
        ("evil.example.org", 403),
        ("127.0.0.1.evil.example.org", 403),
    ],
)
def test_where_only_this_machine_may_ask_no_name_of_the_internet_leads_here(host, status):
    guard = guard_of(bind="0.0.0.0", keys="off", hosts="local")
    assert ask(guard, "GET", "/", host=host, server=("172.18.0.3", 8000)).status == status
    if status == 403:
        assert ask(guard_of(bind="0.0.0.0", keys="off"), "GET", "/", host=host).status == 200


def test_a_person_s_browser_is_made_to_ask_for_the_key(keys):
    answer = ask(guard_of(keys=str(keys)), "GET", "/", b"", ("sec-fetch-mode", "navigate"))
    assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Basic realm="key as password"')


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready"])
def test_probes_need_no_key(keys, path):
    assert ask(guard_of(keys=str(keys)), "GET", path).status == 200
    assert ask(guard_of(keys=str(keys)), "GET", f"{path}/").status == 401


def test_a_changed_file_of_keys_counts_at_once(keys):
    guard = guard_of(keys=str(keys))
    first, renewed = ("authorization", f"Bearer {KEY}"), ("authorization", "Bearer new")
    assert [ask(guard, "GET", "/", b"", key).status for key in (first, renewed)] == [200, 401]
    keys.write_text(digest("new"))
    os.utime(keys, (1, 1))
    assert [ask(guard, "GET", "/", b"", key).status for key in (first, renewed)] == [401, 200]


@pytest.mark.parametrize(("text", "status"), [(None, 200), ("", 401), ("no digest", 401), ("\udcff", 401)])
def test_without_digests_nothing_starts_and_no_key_opens_but_where_the_file_is_gone(keys, text, status):
    guard = guard_of(keys=str(keys))
    keys.unlink()
    if text is not None:
        keys.write_text(text, "utf-8", "surrogateescape")
    with pytest.raises(UserError, match=r"^SERVICE_KEYS is '.*/keys'[,;] .+"):
        guard_of(keys=str(keys))
    for key, told in (("wrong", 401), (KEY, status)):
        assert ask(guard, "GET", "/", b"", ("authorization", f"Bearer {key}")).status == told


@pytest.mark.parametrize(
    ("bind", "server", "host", "status"),
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.1:8000", 200),
        ("127.0.0.1", "127.0.0.1", "localhost", 200),
        ("::1", "::1", "[::1]:8000", 200),
        ("127.0.0.1", "127.0.0.1", "evil.example.org:8000", 401),  # a name that points here: DNS rebinding
        ("127.0.0.1", "127.0.0.1", "10.0.0.5", 401),
        ("127.0.0.1", "10.0.0.5", "127.0.0.1", 401),
        ("0.0.0.0", "127.0.0.1", "127.0.0.1", 401),
        ("0.0.0.0", "10.0.0.5", "10.0.0.5:8000", 401),
    ],
)
def test_without_keys_only_this_machine_is_answered(bind, server, host, status):
    asked = {"host": host, "server": (server, 8000)}
    assert ask(guard_of(bind=bind), "GET", "/", **asked).status == status
    assert ask(guard_of(bind=bind, keys="off"), "GET", "/", **asked).status == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:8000", 200),
        ("https://127.0.0.1:8000", 200),
        ("http://127.0.0.1:9000", 403),
        ("http://evil.example.org", 403),
        ("null", 403),
    ],
)
def test_a_page_of_another_origin_may_not_ask(origin, status):
    assert ask(guard_of(), "GET", "/", b"", ("origin", origin)).status == status
    assert ask(guard_of(keys="off"), "POST", "/echo", b"1", ("origin", origin)).status == status


@pytest.mark.parametrize("second", ["127.0.0.1:8000", "evil.example.org"])
def test_a_request_with_two_hosts_is_refused(second):
    assert ask(guard_of(), "GET", "/", b"", ("host", second)).status == 400


@pytest.mark.parametrize("host", [None, "a" * 256])
def test_a_request_without_a_host_or_with_one_that_no_name_is_as_long_as_is_refused(host):
    assert ask(guard_of(keys="off"), "GET", "/", host=host).status == 400


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("content-type", ("text/plain", "application/json")),
        ("content-encoding", ("gzip", "identity")),
        ("authorization", ("Bearer wrong", "Bearer wrong")),
    ],
)
def test_a_header_that_decides_is_not_sent_twice(name, values):
    headers = [(name, value) for value in values]
    assert ask(guard_of(keys="off"), "POST", "/echo", b"1", *headers).status == 400


def test_head_is_answered_as_get_is():
    answers = [ask(guard_of(), method, "/echo") for method in ("GET", "HEAD")]
    assert answers[0].status == answers[1].status == 200


def test_what_is_refused_before_its_route_is_counted_under_it():
    guard = guard_of()
    assert ask(guard, "POST", "/echo", b"1", ("content-type", "text/plain")).status == 415
    guard.flush()
    labels = {"http_request_method": "POST", "http_route": "/echo", "http_response_status_code": "415"}
    assert metric(guard.counters, "http_server_request_duration_seconds_count", **labels) == 1


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("content-type", "application/json", 200),
        ("content-type", 'Application/JSON; charset="UTF-8"', 200),
        ("content-type", "", 200),
        ("content-encoding", "identity", 200),
        ("content-type", "text/plain", 415),
        ("content-type", "application/x-www-form-urlencoded", 415),
        ("content-type", "multipart/form-data; boundary=x", 415),
        ("content-type", "application/json; charset=latin-1", 415),
        ("content-type", "application/jsonp", 415),
        ("content-encoding", "gzip", 415),
        ("transfer-encoding", "gzip, chunked", 415),
        ("transfer-encoding", "chunked", 200),
        ("content-encoding", "identity, gzip", 415),
        ("inference-header-content-length", "5", 400),
    ],
)
def test_a_body_is_json_in_utf_8_and_sent_as_it_is(header, value, status):
    answer = ask(guard_of(), "POST", "/echo", b"[1]", (header, value))
    assert answer.status == status
    assert answer.body == b"[1]" or set(answer.json) == {"error"}


def test_a_body_may_be_as_large_as_is_set_and_no_larger():
    guard = guard_of(max_body_bytes=10)
    assert ask(guard, "POST", "/echo", b"x" * 10, ("content-length", "10")).body == b"x" * 10
    for body, told, connection in (
        (b"x" * 11, None, None),
        ([b"x" * 6, b"x" * 6, None], None, "close"),
        ([None], "11", "close"),
    ):
        answer = ask(guard, "POST", "/echo", body, *([("content-length", told)] if told else []))
        assert (answer.status, answer.json) == (413, {"error": "the body is larger than 10 bytes"})
        assert answer.headers.get("connection") == connection
    assert guard.buffered == 0


def test_of_a_refused_body_only_so_much_is_read_on():
    chunks = iter([b"x" * 10] * 100)
    assert ask(guard_of(max_body_bytes=10), "POST", "/echo", chunks).status == 413
    assert len(list(chunks)) == 100 - 2 - DRAINED


def test_a_body_that_stalls_is_refused_and_the_connection_closed():
    answer = ask(guard_of(timeout_s=0.01), "POST", "/echo", [b"x"])
    assert (answer.status, answer.headers["connection"]) == (408, "close")
    assert answer.json == {"error": "the body did not arrive within 0.01 s"}


def test_all_bodies_together_have_a_limit_and_it_is_free_again_afterwards():
    guard = guard_of(max_buffered_bytes=10, timeout_s=0.02)

    async def both():
        return await asyncio.gather(*(exchange(guard, "POST", "/echo", [b"x" * 6]) for _ in range(2)))

    slow, refused = asyncio.run(both())
    assert (slow.status, refused.status, refused.headers["retry-after"]) == (408, 503, "1")
    assert guard.buffered == 0
    assert ask(guard, "POST", "/echo", b"x" * 6).status == 200


def test_what_is_no_post_has_a_body_within_the_same_limits_or_none():
    guard = guard_of(max_body_bytes=10, timeout_s=0.01)
    assert ask(guard, "GET", "/", b"x", ("content-length", "1")).status == 200
    assert ask(guard, "DELETE", "/", b"", ("content-length", "11")).status == 413
    assert ask(guard, "PUT", "/", [b"x"], ("transfer-encoding", "chunked")).status == 408


def test_a_client_that_goes_away_while_it_sends_is_noted_and_not_answered():
    guard = guard_of()
    assert ask(guard, "POST", "/echo", [b"x", None]).status == 0
    assert guard.noted[0][1] == 499
    assert guard.buffered == 0


@pytest.mark.parametrize("sane", ["a", "Trace-1_2.3", "x" * 64])
def test_a_sane_request_id_is_kept(sane):
    assert ask(guard_of(), "POST", "/echo", b"", ("x-request-id", sane)).headers["x-request-id"] == sane


@pytest.mark.parametrize("insane", ["", "a b", "x" * 65, "é", 'a"}', "a\n"])
def test_another_request_id_is_replaced_in_refusals_too(insane):
    for path in ("/echo", "/refuse"):
        given = ask(guard_of(), "POST", path, b"", ("x-request-id", insane)).headers["x-request-id"]
        assert re.fullmatch("[0-9a-f]{16}", given)


def test_a_refusal_of_a_route_is_answered_with_its_headers():
    answer = ask(guard_of(), "POST", "/refuse", b"{}")
    assert (answer.status, answer.json, answer.headers["x-more"]) == (404, {"error": "not here"}, "1")
    assert "connection" not in answer.headers


def test_a_mistake_of_ours_is_a_500_with_an_id_and_its_traceback_stands_in_the_log(caplog):
    answer = ask(guard_of(), "POST", "/fail", b"{}", ("x-request-id", "id-5"))
    assert answer.status == 500
    assert answer.json == {"error": "something failed here; the log has it under request id id-5"}
    (line,) = [json.loads(JsonLines().format(record)) for record in caplog.records]
    assert (line["level"], line["request_id"]) == ("ERROR", "id-5")
    assert "ZeroDivisionError" in line["traceback"]


def requests_of(guard):
    """Ask for a known route, an unknown one and in an unknown way, with a marker wherever a value can stand."""
    marked = ("authorization", f"Bearer {MARKER}"), ("x-more", MARKER)
    ask(guard, "POST", f"/echo?q={MARKER}", MARKER.encode(), *marked, ("x-request-id", "id-5"))
    ask(guard, "GET", f"/{MARKER}", b"", *marked)
    ask(guard, MARKER.upper(), "/echo", b"", *marked)
    guard.flush()


def test_each_request_is_counted_and_logged_in_one_line_without_any_value():
    guard = guard_of()
    requests_of(guard)
    told = b"".join(guard.log).decode()
    assert MARKER not in told.lower()
    known, *unknown = map(json.loads, told.splitlines())
    assert set(known) == {"time", "level", "message", "request_id", "method", "route", "status", "ms"}
    assert (known["request_id"], known["method"], known["route"], known["status"]) == ("id-5", "POST", "/echo", 200)
    assert [(line["method"], line["route"]) for line in unknown] == [("-", "-")] * 2
    for method, route, count in (("POST", "/echo", 1), ("-", "-", 2)):
        labels = {"http_request_method": method, "http_route": route, "http_response_status_code": "200"}
        assert metric(guard.counters, "http_server_request_duration_seconds_count", **labels) == count


def test_above_info_requests_are_counted_and_not_logged():
    guard = guard_of(log_level="WARNING")
    requests_of(guard)
    assert guard.log == []
    labels = {"http_request_method": "POST", "http_route": "/echo", "http_response_status_code": "200"}
    assert metric(guard.counters, "http_server_request_duration_seconds_count", **labels) == 1
    assert guard.noted == []


def test_lines_are_written_by_themselves_soon_after(monkeypatch):
    guard = guard_of()
    monkeypatch.setattr(module, "FLUSH_S", 0)

    async def ask_and_wait():
        await exchange(guard, "POST", "/echo", b"")
        await asyncio.sleep(0.01)

    asyncio.run(ask_and_wait())
    assert json.loads(guard.log[0])["route"] == "/echo"


def test_what_is_no_request_is_passed_on():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    asyncio.run(Guard(app, [], Settings(), Counters(), Told())({"type": "lifespan"}, None, None))
    assert seen == ["lifespan"]
