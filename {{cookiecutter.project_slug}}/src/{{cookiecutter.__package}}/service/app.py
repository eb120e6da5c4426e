"""The service: FastAPI over the champion's bundle. `uvicorn <package>.service.app:app` starts it; see `make serve`."""

import asyncio
import base64
import gc
import hashlib
import os
import re
import signal
import sys
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.routing import Route

from .. import UserError, read_json
from . import openapi
from .champion import Champion, Model
from .counters import Counters
from .guard import Guard, Post
from .inference import LARGE_BYTES, Inference
from .prediction_log import Segments
from .process_log import ProcessLog, now
from .protocol import Refusal, is_ours
from .settings import Settings

NAME = __name__.partition(".")[0]
STOP_S = 0.2
PAGE = Path(__file__).with_name("page.html")


class Service:
    """What the routes share: settings, counters, the champion and the logs."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.counters = settings, Counters()
        self.counters.failure.labels(NAME, "400")
        self.champion = Champion(settings, self.counters, NAME)
        self.logs = {
            kind: Segments(settings.log_dir, kind, settings.log_max_bytes) for kind in ("predictions", "labels")
        }
        self.inference = Inference(NAME, settings, self.counters, self.logs["predictions"])

    @property
    def model(self) -> Model:
        """Return the model that answers now.

        Raises:
            Refusal: there is none yet, 503.
        """
        if self.champion.model is None:
            raise Refusal(503, f"not ready: {self.champion.reason}", {"retry-after": "1"})
        return self.champion.model

    async def predict(self, body: bytes) -> bytes:
        """Answer rows given as objects."""
        model = self.model
        return await self.inference.answer(model, body, model.protocol.read)

    async def infer(self, body: bytes, **path: str) -> bytes:
        """Answer rows given as tensors."""
        model = self.named(path)
        return await self.inference.answer(model, body, model.protocol.read_tensors)

    async def feedback(self, body: bytes) -> bytes:
        """Write labels down."""
        protocol = self.model.protocol

        def read() -> tuple[list[dict[str, Any]], bytes]:
            labels = protocol.read_labels(body)
            return labels, b"".join(to_json({"time": now(), **label}) + b"\n" for label in labels)

        labels, lines = await self.inference.apart(read) if len(body) > LARGE_BYTES else read()
        if not self.logs["labels"].append(lines):
            self.counters.dropped.labels("labels").inc(len(labels))
            raise Refusal(503, "the label log cannot be written; send these labels again", {"retry-after": "5"})
        unmatched = sum(not is_ours(label["id"]) for label in labels)
        self.counters.labels.inc(len(labels))
        self.counters.unmatched.inc(unmatched)
        return to_json({"accepted": len(labels), "unmatched": unmatched})

    def named(self, given: Mapping[str, str]) -> Model:
        """Return the model if a path names it, and its version where it names one."""
        model = self.model
        if given["name"] != NAME or given.get("version", model.version) != model.version:
            raise Refusal(404, "no such model or version; GET /v2/models names what is served")
        return model

    def report(self, name: str) -> Any:
        """Return a report as the pipeline last wrote it, None before it has or where it cannot be read."""
        return _read(self.settings.reports_dir / name)

    def facts(self) -> dict[str, Any]:
        """Return what the page shows: contract, card and promise of the champion, drift, the gate's last word."""
        model = self.champion.model
        facts: dict[str, Any] = {"ready": model is not None, "reason": self.champion.reason or None, "name": NAME}
        facts |= {"version": None, "features": [], "card": "", "promise": {}}
        facts |= {"drift": self.report("drift.json"), "gate": self.report("decision.json")}
        if model:
            beside = model.bundle.path.parent
            facts |= model.contract | {"version": model.version}
            facts["card"] = _read(beside / "card.md") or ""
            facts["promise"] = _read(beside / "promise.json") or {}
        return facts


def _read(path: Path) -> Any:
    """Return what a file holds that the answers do not depend on, None where it is not there or spoilt."""
    try:
        found = read_json(path) if path.suffix == ".json" else path.read_text("utf-8")
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict if path.suffix == ".json" else str) else None


def page() -> Response:
    """Return the page; the browser runs its own script and style and nothing else."""
    html = PAGE.read_text("utf-8")
    policy = ["default-src 'none'", "connect-src 'self'", "img-src data:", "base-uri 'none'", "frame-ancestors 'none'"]
    for tag in ("style", "script"):
        inside = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in inside]
        policy.append(" ".join([f"{tag}-src", *(f"'sha256-{found}'" for found in hashes)]))
    headers = {"content-security-policy": "; ".join(policy), "referrer-policy": "no-referrer"}
    return Response(html, media_type="text/html", headers=headers)


def stop_later() -> None:
    """Let uvicorn stop a moment after SIGTERM: it hangs up at once on connections whose next request lies unread."""
    stop = signal.getsignal(signal.SIGTERM)
    if callable(stop) and threading.current_thread() is threading.main_thread():
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, lambda: loop.call_later(STOP_S, stop, signal.SIGTERM, None))


def create_app(settings: Settings) -> Guard:
    """Return the application. It needs no model: it is live at once, and ready when a champion is there.

    Raises:
        UserError: the file of keys cannot be read.
    """
    service = Service(settings)
    infer = [f"/v2/models/{{name}}{version}/infer" for version in ("", "/versions/{version}")]
    posts = [Post("/predict", service.predict), Post("/feedback", service.feedback)]
    posts += [Post(path, service.infer) for path in infer]
    shown, process_log = page(), ProcessLog()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        stop_later()
        process_log.start(settings.log_level, NAME, "uvicorn")
        for log in service.logs.values():
            log.repair()
        await service.champion.look()
        gc.freeze()  # what stands by now stays: no collection need walk it while requests wait
        watch = asyncio.create_task(service.champion.watch())
        yield
        watch.cancel()
        guard.flush()
        service.inference.thread.shutdown()
        for log in service.logs.values():
            log.close()
        process_log.close()

    app = FastAPI(title=NAME, version="2", lifespan=lifespan, redoc_url=None, redirect_slashes=False)
    app.router.routes += [Route(post.path, post, methods=["POST"]) for post in posts]
    guard = Guard(app, posts, settings, service.counters, process_log)
    app.openapi = lambda: openapi.describe(app, service.champion.model)  # type: ignore[method-assign]

    @app.exception_handler(Refusal)
    async def refuse(request: Request, refusal: Refusal) -> Response:
        return JSONResponse({"error": refusal.sentence}, refusal.status, refusal.headers)

    @app.exception_handler(HTTPException)
    async def no_route(request: Request, error: HTTPException) -> Response:
        words = {404: "no such path; GET /docs lists them", 405: "this path has no such method"}
        return JSONResponse({"error": words.get(error.status_code, "refused")}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def fail(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": "something failed here; the log has it"}, 500)

    @app.get("/", include_in_schema=False)
    async def show() -> Response:
        return shown

    @app.get("/reports/drift.html", include_in_schema=False)
    @app.get("/reports/loop.html", include_in_schema=False)
    async def report(request: Request) -> Response:
        path = settings.reports_dir / Path(request.url.path).name
        if not path.exists():
            raise Refusal(404, "there is no such report yet; run `make pipeline`")
        headers = {"content-security-policy": "sandbox allow-scripts"}  # made from traffic
        return Response(path.read_bytes(), media_type="text/html", headers=headers)

    @app.get("/model")
    async def model_facts() -> dict[str, Any]:
        """Return contract, card, promise and drift status of what is served."""
        return service.facts()

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        guard.flush()
        service.inference.count()
        service.counters.refused.set(bool(service.champion.model and service.champion.reason))
        service.counters.decision.clear()
        if decision := (service.report("drift.json") or {}).get("decision"):
            service.counters.decision.labels(decision).set(1)
        return Response(generate_latest(service.counters.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/example", responses=openapi.NOT_READY)
    async def example() -> Response:
        """Return a valid body for `/predict`; its first row lacks nothing."""
        return Response(service.model.example, media_type="application/json")

    @app.get("/v2")
    async def server() -> dict[str, Any]:
        """Return what this server is."""
        return {"name": NAME, "version": "2", "extensions": []}

    @app.get("/v2/health/live")
    async def live() -> dict[str, Any]:
        """Return 200 while the process answers."""
        return {"live": True}

    @app.get("/v2/health/ready", responses=openapi.NOT_READY)
    async def ready() -> dict[str, Any]:
        """Return 200 when a verified model answers, else 503 and why not."""
        return {"ready": bool(service.model)}

    @app.get("/v2/models")
    async def models() -> dict[str, Any]:
        """Return exactly the version that is served, or nothing."""
        model = service.champion.model
        return {"models": [{"name": NAME, "version": model.version}] if model else []}

    for path in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        told: dict[str, Any] = {
            "responses": openapi.NOT_READY | openapi.NOT_FOUND,
            "openapi_extra": openapi.in_path(path),
        }

        @app.get(path, **told, operation_id=f"metadata{len(path)}")
        async def metadata(request: Request) -> dict[str, Any]:
            """Return the inputs and outputs of the model; POST …/infer takes them, by the Open Inference Protocol."""
            model = service.named(request.path_params)
            tensors = {"inputs": model.protocol.inputs(), "outputs": model.protocol.outputs()}
            return {"name": NAME, "versions": [model.version], "platform": "onnx_onnxruntime", **tensors}

        @app.get(f"{path}/ready", **told, operation_id=f"ready{len(path)}")
        async def model_ready(request: Request) -> dict[str, Any]:
            """Return 200 when this version answers."""
            return {"name": NAME, "ready": bool(service.named(request.path_params))}

    return guard


try:
    app = create_app(Settings.of(os.environ))
except UserError as error:
    sys.exit(f"serve: {error}")
