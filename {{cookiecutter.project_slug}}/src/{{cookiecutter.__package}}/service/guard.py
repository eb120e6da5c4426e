"""What every request passes before and after its route: who may ask, how much, how long, and what is written down."""

import asyncio
import base64
import hashlib
import hmac
import logging
import os
import re
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from time import perf_counter, time

from pydantic_core import to_json
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .. import UserError
from .counters import Counters
from .process_log import ProcessLog, stamp
from .protocol import BINARY, Refusal
from .settings import Settings, is_domain, is_loopback

OPEN = ("/v2/health/live", "/v2/health/ready")  # for probes; they say nothing of data
SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
DIGEST = re.compile(r"[0-9a-f]{64}\b")
ONCE = (b"host", b"content-type", b"content-encoding", b"authorization")
HOST_BYTES = 255
DRAINED = 8  # times the largest body: what is read and thrown away of one that was refused
FLUSH_S = 0.005
LINE = b'{"time":"%b","level":"INFO","message":"request","request_id":"%b",%b,"ms":%.3f}\n'
logger = logging.getLogger(__name__)


class Keys:
    """The digests of the keys that open the service; the file is read again when it has changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._digests, self._mark = self._read()
        except OSError as error:
            raise UserError(f"SERVICE_KEYS is {str(self.path)!r}, which cannot be read: {error}") from error
        if not self._digests:
            raise UserError(f"SERVICE_KEYS is {str(self.path)!r}; it holds no SHA-256 digest of a key, one a line")

    def holds(self, key: bytes) -> bool:
        """Return whether this is one of the keys; while the file is not there, those that it held go on."""
        try:
            if self.path.stat().st_mtime_ns != self._mark:
                self._digests, self._mark = self._read()
                logger.info("%s keys read from %s", len(self._digests), self.path)
        except OSError as error:
            logger.error("the keys of before go on: %s", error)
        given = hashlib.sha256(key).hexdigest()
        return sum(hmac.compare_digest(given, known) for known in self._digests) > 0

    def _read(self) -> tuple[list[str], int]:
        mark, lines = self.path.stat().st_mtime_ns, self.path.read_text("utf-8", "replace").splitlines()
        return [found[0] for line in lines if (found := DIGEST.match(line))], mark


class Post:
    """A route that takes a body: an ASGI application around `handle(body, **path_params)`, which returns JSON."""

    def __init__(self, path: str, handle: Callable[..., Awaitable[bytes]]) -> None:
        self.path, self.handle = path, handle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what the handler returns."""
        scope["route"] = self
        content = await self.handle(scope["body"], **scope.get("path_params", {}))
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})


class Guard:
    """The outermost application. It reads the body, whole and within limits, into `scope["body"]`.

    FastAPI routes what is behind it. To `posts` it goes straight: their cost is that of the framework.
    """

    def __init__(
        self, app: ASGIApp, posts: Iterable[Post], settings: Settings, counters: Counters, log: ProcessLog
    ) -> None:
        self.app, self.settings, self.counters, self.log = app, settings, counters, log
        self.posts = {post.path: post for post in posts if "{" not in post.path}
        self.keys = Keys(Path(settings.keys)) if settings.keys not in ("", "off") else None
        self.logged = logging.getLevelName(settings.log_level) <= logging.INFO
        self.buffered = 0
        self.noted: list[tuple[Scope, int, float, bytes, float]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a mistake of ours is a 500 with an id, its traceback stands in the log."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)  # the lifespan; there are no websockets
        begun, status = perf_counter(), 0
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}  # the server leaves the body off
        elif scope["method"] == "POST":
            scope["route"] = self.posts.get(scope["path"])
        headers = dict(scope["headers"])
        request_id = headers.get(b"x-request-id", b"")
        if not SANE_ID.fullmatch(request_id):
            request_id = os.urandom(8).hex().encode()

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                # a copy, since a response may be sent again
                message["headers"] = [*message["headers"], (b"x-request-id", request_id)]
            await send(message)

        try:
            app = self.app
            try:
                self._admit(scope, headers)
                if scope["method"] == "POST":
                    scope["body"] = await self._body(scope, receive)
                    app = self.posts.get(scope["path"], app)
                elif {b"content-length", b"transfer-encoding"} & headers.keys():
                    await self._body(scope, receive)  # of no use, but not to be sent for ever
                await app(scope, receive, answer)
            except Refusal as refusal:
                await self._refuse(refusal, receive, answer, "body_ended" in scope)
        except ConnectionAbortedError:
            status = 499  # the client is gone
        except Exception:
            logger.exception("request failed", extra={"fields": {"request_id": request_id.decode()}})
            if not status:
                told = f"something failed here; the log has it under request id {request_id.decode()}"
                await self._refuse(Refusal(500, told), receive, answer, body_ended=True)
        finally:
            self._note(scope, status, perf_counter() - begun, request_id)

    def _admit(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        host = headers.get(b"host")
        if len(headers) < len(scope["headers"]):
            names = [name for name, _ in scope["headers"]]
            for name in ONCE:
                if names.count(name) > 1:
                    raise Refusal(400, f"a request has one header {name.decode()}")
        if (host is None and scope["http_version"] == "1.1") or len(host or b"") > HOST_BYTES:
            raise Refusal(400, f"a request has one Host, of at most {HOST_BYTES} bytes")
        if self.settings.hosts == "local" and is_domain(_host(headers)):
            raise Refusal(403, "this service has no such name; ask it by an address, or set SERVICE_HOSTS=any")
        if self.settings.keys != "off" and scope["path"] not in OPEN and not self._known(scope, headers):
            browser = headers.get(b"sec-fetch-mode") == b"navigate"  # it asks a person, who gives the key as password
            challenge = {"www-authenticate": 'Basic realm="key as password"' if browser else "Bearer"}
            raise Refusal(401, "a key is needed: Authorization: Bearer <key>", challenge)
        origin = headers.get(b"origin")
        if origin and origin.partition(b"://")[2] != host:
            raise Refusal(403, "a page of another origin may not ask")
        if scope["method"] == "POST":
            _read_type(headers)
        if int(headers.get(b"content-length", b"0")) > self.settings.max_body_bytes:
            raise self._too_large()

    def _too_large(self) -> Refusal:
        return Refusal(413, f"the body is larger than {self.settings.max_body_bytes} bytes")

    def _known(self, scope: Scope, headers: dict[bytes, bytes]) -> bool:
        """Return whether a request needs no key or brings one."""
        server = (scope.get("server") or ("",))[0]
        local = is_loopback(self.settings.bind) and is_loopback(server) and is_loopback(_host(headers))
        if not self.keys:
            return local
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        given = given.strip()
        if scheme.lower() == b"basic":
            try:
                given = base64.b64decode(given).partition(b":")[2]
            except ValueError:
                return False
        return scheme.lower() in (b"basic", b"bearer") and self.keys.holds(given)

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        if "arrived" in scope:
            return await self._read(scope, receive)
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                return await self._read(scope, receive)
        except TimeoutError:
            raise Refusal(408, f"the body did not arrive within {self.settings.timeout_s:g} s") from None

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        chunks: list[bytes] = []
        size = 0
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ConnectionAbortedError
                chunks.append(message.get("body", b""))
                size += len(chunks[-1])
                self.buffered += len(chunks[-1])
                if not message.get("more_body"):
                    scope["body_ended"] = True
                if size > self.settings.max_body_bytes:
                    raise self._too_large()
                if "body_ended" in scope:
                    return b"".join(chunks)
                if self.buffered > self.settings.max_buffered_bytes:
                    raise Refusal(503, "too many bodies at once; try again", {"retry-after": "1"})
        finally:
            self.buffered -= size

    async def _refuse(self, refusal: Refusal, receive: Receive, send: Send, body_ended: bool) -> None:
        """Answer at once, then read on for a bounded while: a client that still sends would not see the answer."""
        body = to_json({"error": refusal.sentence})
        headers = {"content-type": "application/json", "content-length": str(len(body)), **refusal.headers}
        headers |= {} if body_ended else {"connection": "close"}
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": refusal.status, "headers": raw})
        await send({"type": "http.response.body", "body": body, "more_body": not body_ended})
        if body_ended:
            return
        left = DRAINED * self.settings.max_body_bytes
        with suppress(TimeoutError):
            async with asyncio.timeout(0 if refusal.status == 408 else self.settings.timeout_s):
                while left > 0 and (message := await receive()).get("more_body"):
                    left -= len(message["body"])
        await send({"type": "http.response.body", "body": b""})

    def _note(self, scope: Scope, status: int, seconds: float, request_id: bytes) -> None:
        scope.pop("body", None)
        self.noted.append((scope, status, seconds, request_id, time()))
        if len(self.noted) == 1:
            asyncio.get_running_loop().call_later(FLUSH_S, self.flush)

    def flush(self) -> None:
        """Count the requests of the last moments and write their lines: one by one they cost as much as a model."""
        noted, self.noted = self.noted, []
        lines: list[bytes] = []
        alike: dict[tuple[str, str, int], tuple[bytes, list[float]]] = {}
        for scope, status, seconds, request_id, at in noted:
            plain = scope["path"] if "endpoint" in scope and not scope["path_params"] else "-"
            route = str(getattr(scope.get("route"), "path", plain))
            key = (str(scope["method"]) if route != "-" else "-", route, status)
            if key not in alike:
                alike[key] = to_json(dict(zip(("method", "route", "status"), key, strict=True)))[1:-1], []
            told, spent = alike[key]
            spent.append(seconds)
            lines.append(LINE % (stamp(at).encode(), request_id, told, seconds * 1000))
        for (method, route, status), (_, spent) in alike.items():
            observe = self.counters.request_s.labels(method, route, str(status)).observe
            for seconds in spent:
                observe(seconds)
        if self.logged:
            self.log.put(b"".join(lines))


def _host(headers: dict[bytes, bytes]) -> str:
    """Return the host that a request names, without its port."""
    host = headers.get(b"host", b"").decode("latin-1")
    return host.rpartition(":")[0] or host


def _read_type(headers: dict[bytes, bytes]) -> None:
    """Refuse a body that is not JSON in UTF-8, or is packed."""
    kind, *parameters = (part.strip().lower() for part in headers.get(b"content-type", b"").split(b";"))
    fits = all(parameter.replace(b'"', b"") in (b"", b"charset=utf-8", b"charset=utf8") for parameter in parameters)
    if b"inference-header-content-length" in headers:
        raise Refusal(400, BINARY)
    if kind not in (b"", b"application/json") or not fits:
        raise Refusal(415, "a body is JSON in UTF-8: content type application/json, or none")
    packed = headers.get(b"content-encoding", b"identity").lower() != b"identity"
    if packed or headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
        raise Refusal(415, "a body is sent as it is, without content encoding")
