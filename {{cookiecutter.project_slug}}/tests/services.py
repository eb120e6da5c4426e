"""A champion on disk, and the service around it, asked without a socket: in ASGI, as a server speaks it."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from bundles import fitted_bundle, linear_bundle
from rows import MULTICLASS, REGRESSION, valid_rows

from {{ cookiecutter.__package }} import write_json
from {{ cookiecutter.__package }}.bundle import Bundle
from {{ cookiecutter.__package }}.service.app import NAME, create_app
from {{ cookiecutter.__package }}.service.protocol import Protocol
from {{ cookiecutter.__package }}.service.settings import Settings

NUMBERS = replace(REGRESSION, target="y", features=MULTICLASS.features)
LOCAL = ("127.0.0.1", 8000)
MARKER = "zq9marker"
DEADLINE_S = 30  # so that a test fails where an answer never ends


class Answer(NamedTuple):
    """What a client sees; status 0 if nothing was sent."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


def settings_in(folder: Path, **more: Any) -> Settings:
    """Return settings whose folders all lie in this one."""
    return Settings(models_dir=folder / "models", reports_dir=folder / "reports", log_dir=folder / "logs", **more)


def number_bundle(path: Path, bias: float) -> Bundle:
    """Return a bundle that answers bias + 2 label - output."""
    return linear_bundle(path, NUMBERS, valid_rows(NUMBERS, 20), bias, [2.0, -1.0])


def point(models: Path, version: str | None) -> None:
    """Write the pointer."""
    write_json(models / "champion.json", {"version": version, "previous": None, "blocked": []})


def promote(models: Path, draft: Path, version: str) -> str:
    """Move a sealed bundle to where a promotion puts it, point at it, and return its version."""
    (models / "versions" / version).mkdir(parents=True, exist_ok=True)
    draft.rename(models / "versions" / version / "bundle")
    point(models, version)
    return version


def promote_numbers(models: Path, bias: float) -> str:
    """Return the version of a bundle that answers bias + 2 label - output, now the champion."""
    made = number_bundle(models / "draft", bias)
    return promote(models, made.path, made.version)


def body_of(rows: Any) -> bytes:
    """Return the body that asks for these rows natively."""
    return json.dumps({"instances": rows}).encode()


def tensors_of(protocol: Protocol, rows: list[dict[str, Any]], **more: Any) -> bytes:
    """Return the body that asks for these rows as tensors."""
    inputs = [meta | {"shape": [len(rows)], "data": [row[meta["name"]] for row in rows]} for meta in protocol.inputs()]
    return json.dumps({"inputs": inputs, **more}).encode()


def logged(folder: Path, kind: str = "predictions") -> list[dict[str, Any]]:
    """Return the lines of a log."""
    return [json.loads(line) for path in sorted(folder.glob(f"{kind}-*")) for line in path.read_text().splitlines()]


def metric(counters: Any, sample: str, /, **labels: str) -> float:
    """Return the value of a metric, 0 where it was never counted."""
    return counters.registry.get_sample_value(sample, labels) or 0


async def exchange(
    app: Any,
    method: str,
    path: str,
    body: bytes | Iterable[bytes | None] = b"",
    *headers: tuple[str, str | bytes],
    host: str | None = "127.0.0.1:8000",
    server: tuple[str, int] = LOCAL,
) -> Answer:
    """Ask and return the answer. A list of chunks is a body without end; at None the client goes, else it stalls."""
    sent: list[dict[str, Any]] = []
    whole = iter([{"type": "http.request", "body": body}]) if isinstance(body, bytes) else None
    chunks = iter([] if isinstance(body, bytes) else body)

    async def receive() -> dict[str, Any]:
        if whole and (message := next(whole, None)):
            return message
        for chunk in chunks:
            more = {"type": "http.request", "body": chunk, "more_body": True}
            return {"type": "http.disconnect"} if chunk is None else more
        return await asyncio.Future()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    raw = [("host", host), *headers] if host is not None else headers
    path, _, query = path.partition("?")
    scope = {"type": "http", "scheme": "http", "http_version": "1.1", "root_path": "", "method": method, "path": path}
    scope |= {"raw_path": path.encode(), "query_string": query.encode(), "server": server, "client": ("127.0.0.1", 5)}
    scope["headers"] = [(k.lower().encode(), v if isinstance(v, bytes) else v.encode()) for k, v in raw]
    async with asyncio.timeout(DEADLINE_S):
        await app(scope, receive, send)
    if not sent:
        return Answer(0, {}, b"")
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    assert len(found) == len(sent[0]["headers"]), "a header stands twice"
    return Answer(sent[0]["status"], found, b"".join(message.get("body", b"") for message in sent[1:]))


def ask(*args: Any, **more: Any) -> Answer:
    """Ask from outside of any loop."""
    return asyncio.run(exchange(*args, **more))


@contextmanager
def running(settings: Settings) -> Iterator[Callable[..., Answer]]:
    """Start the service as a server does, yield what asks it, and end it."""
    guard = create_app(settings)
    guard.log.put = lambda lines: None  # by a thread, which pytest's capture would miss
    lifespan: AsyncIterator[None] = guard.app.router.lifespan_context(guard.app)
    with asyncio.Runner() as runner:
        runner.run(lifespan.__aenter__())
        try:
            yield lambda *args, **more: runner.run(exchange(guard, *args, **more))
        finally:
            runner.run(lifespan.__aexit__(None, None, None))
            for logger in (logging.getLogger(NAME), logging.getLogger("uvicorn")):
                logger.handlers.clear()
                logger.propagate = True
                logger.setLevel(logging.NOTSET)


@contextmanager
def serving(contract: Any, folder: Path) -> Iterator[tuple[Any, Callable[..., Answer]]]:
    """Serve a small bundle of a contract from a folder; yield the bundle and what asks the service."""
    made = fitted_bundle(folder / "models/draft", contract, valid_rows(contract, 40))
    promote(folder / "models", made.path, made.version)
    with running(settings_in(folder)) as ask:
        yield made, ask
