import json
import socket
import threading
import time
from contextlib import suppress

import pytest
import uvicorn

from {{ cookiecutter.__package }}.service import patience

GET = b"GET / HTTP/1.1\r\nhost: here\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: here\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n"
LARGE = 64 * 2**20


async def answer(scope, receive, send):
    length, more = 0, True
    while more:
        message = await receive()
        length, more = length + len(message.get("body", b"")), message.get("more_body")
    body = {"/": b"ok", "/length": b"%d" % length}.get(scope["path"], b" " * LARGE)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def everything(client):
    """Return what comes until the server hangs up."""
    received = b""
    while piece := client.recv(2**16):
        received += piece
    return received


@pytest.fixture
def connect(monkeypatch):
    """Return what opens a connection to a server that waits for a fifth of a second."""
    monkeypatch.setattr(patience, "PATIENCE_S", 0.2)
    monkeypatch.setattr(patience, "LOOK_S", 0.02)
    config = uvicorn.Config(answer, http=patience.Patience, lifespan="off", log_level="error", timeout_keep_alive=3)
    server, opened = uvicorn.Server(config), []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()

        def connection():
            opened.append(socket.create_connection(address, timeout=20))
            return opened[-1]

        connection.server = server
        yield connection
        for each in opened:
            each.close()
        server.should_exit = True
        thread.join(20)


@pytest.mark.parametrize("begun", [b"", b"G", GET[:-2]])
def test_who_does_not_finish_a_head_is_hung_up_on(connect, begun):
    client = connect()
    client.sendall(begun)
    assert client.recv(1) == b""


def test_who_does_not_finish_the_second_head_is_hung_up_on_too(connect):
    client = connect()
    client.sendall(GET + GET[:10])
    assert everything(client).endswith(b"ok")


def test_a_connection_that_is_idle_between_requests_is_left_alone(connect):
    client, silent = connect(), connect()
    client.sendall(GET)
    assert client.recv(1000)
    assert silent.recv(1) == b""  # by now the patience is over
    client.sendall(GET)
    assert client.recv(1000).endswith(b"ok")


def test_a_body_is_read_though_an_upgrade_is_offered(connect):
    client = connect()
    offer = b"connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"
    for _ in range(2):
        client.sendall(b"POST /length HTTP/1.1\r\nhost: here\r\n" + offer + b"content-length: 9\r\n\r\nupgrade:2")
        assert client.recv(1000).endswith(b"\r\n\r\n9")


@pytest.mark.parametrize("upgrade", [b"h2c", b"websocket"])
@pytest.mark.parametrize("first", [b"", GET])
def test_an_upgrade_that_comes_in_parts_ends_the_connection_and_its_body_is_no_request(connect, first, upgrade):
    client = connect()
    client.sendall(first + b"POST /length HTTP/1.1\r\nhost: here\r\nconnection: Upgrade\r\nUpg")
    time.sleep(0.05)
    client.sendall(b"rade: " + upgrade + b"\r\ncontent-length: %d\r\n\r\n" % len(GET) + GET)
    received = everything(client)
    assert received.count(b"HTTP/1.1 200") == bool(first)
    assert received.count(b"HTTP/1.1 400") == 1


def test_an_upgrade_behind_a_request_in_one_piece_is_not_answered_and_its_body_is_no_request(connect):
    client = connect()
    head = b"POST /length HTTP/1.1\r\nhost: here\r\nconnection: Upgrade\r\nUpgrade: h2c\r\n"
    client.sendall(GET + head + b"content-length: %d\r\n\r\n" % len(GET) + GET)
    assert everything(client).count(b"HTTP/1.1 200") == 1


def test_blank_lines_between_requests_do_not_keep_a_connection(connect):
    client = connect()
    client.sendall(GET)
    assert client.recv(1000).endswith(b"ok")
    client.sendall(b"\r\n")
    assert client.recv(1) == b""


def test_who_takes_nothing_of_an_answer_is_hung_up_on(connect):
    client = connect()
    client.sendall(GET.replace(b"/", b"/large", 1))
    for _ in range(3):
        assert connect().recv(1) == b""  # by now the patience is over
    received = 0
    with suppress(ConnectionResetError):
        while piece := client.recv(2**20):
            received += len(piece)
    assert received < LARGE


def test_who_takes_an_answer_slowly_gets_it(connect):
    client, received = connect(), 0
    client.sendall(GET.replace(b"/", b"/large", 1))
    while received < LARGE:
        piece = client.recv(2**20)
        assert piece, received
        received += len(piece)
        time.sleep(0.01)


@pytest.mark.parametrize(
    "begun",
    [b"GET /" + b"a" * 2000, GET[:-2] + b"x: 1\r\n" * 400, GET[:-2] + b"x: " + b"a" * 2000],
    ids=["path", "headers", "header"],
)
def test_a_head_is_not_endless(connect, monkeypatch, begun):
    monkeypatch.setattr(patience, "HEAD_BYTES", 1000)
    client = connect()
    client.sendall(begun)
    assert everything(client).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("begun", [b"1;" + b"x" * 2000, b"0\r\n" + b"x: 1\r\n" * 400], ids=["extension", "trailers"])
def test_what_stands_beside_a_body_is_not_endless(connect, monkeypatch, begun):
    monkeypatch.setattr(patience, "HEAD_BYTES", 1000)
    client = connect()
    client.sendall(POST)
    assert client.recv(1000).startswith(b"HTTP/1.1 100 ")
    client.sendall(begun)
    assert everything(client).startswith(b"HTTP/1.1 400 ")


def test_what_is_no_request_is_refused_in_json(connect):
    client = connect()
    client.sendall(b"no request\r\n\r\n")
    head, _, body = everything(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-length: %d" % len(body) in head
    assert list(json.loads(body)) == ["error"]


def test_who_sends_no_more_after_a_whole_request_gets_the_answer_and_nobody_else(connect):
    for begun, answers in ((GET, 1), (GET + GET, 2), (GET + GET[:-2], 1), (GET[:-2], 0), (POST + b"2\r\n{}", 0)):
        for _ in range(5):
            client = connect()
            client.sendall(begun)
            client.shutdown(socket.SHUT_WR)
            assert everything(client).count(b"200 OK") == answers


def test_what_comes_as_the_service_stops_is_answered_and_ends_the_connection(connect, monkeypatch):
    monkeypatch.setattr(patience, "STOP_S", 5)
    monkeypatch.setattr(patience, "PATIENCE_S", 20)
    client, new = connect(), connect()
    client.sendall(GET)
    assert client.recv(1000).endswith(b"ok")
    connect.server.should_exit = True
    with suppress(ConnectionRefusedError):
        while True:
            connect()
            time.sleep(0.01)
    for each in (client, new):
        each.sendall(GET)
        answer = everything(each)
        assert answer.endswith(b"ok")
        assert b"connection: close" in answer
