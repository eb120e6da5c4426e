import socket
import threading

import pytest
import uvicorn

from {{ cookiecutter.__package }}.service import patience

GET = b"GET / HTTP/1.1\r\nhost: here\r\n\r\n"


async def answer(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def connect(monkeypatch):
    """Return what opens a connection to a server that waits for a fifth of a second."""
    monkeypatch.setattr(patience, "HEAD_S", 0.2)
    monkeypatch.setattr(patience, "LOOK_S", 0.02)
    config = uvicorn.Config(answer, http=patience.Patience, lifespan="off", log_level="error", timeout_keep_alive=60)
    server, opened = uvicorn.Server(config), []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()

        def connection():
            opened.append(socket.create_connection(address, timeout=20))
            return opened[-1]

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
    received = b""
    while piece := client.recv(1000):
        received += piece
    assert received.endswith(b"ok")


def test_a_connection_that_is_idle_between_requests_is_left_alone(connect):
    client, silent = connect(), connect()
    client.sendall(GET)
    assert client.recv(1000)
    assert silent.recv(1) == b""  # by now the patience is over
    client.sendall(GET)
    assert client.recv(1000).endswith(b"ok")
