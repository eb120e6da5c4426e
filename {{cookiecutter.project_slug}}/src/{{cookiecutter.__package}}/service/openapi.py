"""What `/openapi.json` says of the routes that FastAPI does not parse itself: from the contract that is served."""

import re
from typing import Any, NotRequired

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from ..checks import record
from .champion import Model

ERROR = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
JSON_ERROR = {"application/json": {"schema": ERROR}}
NOT_READY: dict[int | str, dict[str, Any]] = {503: {"description": "not ready, and why", "content": JSON_ERROR}}
NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"description": "no such model or version", "content": JSON_ERROR}}
REFUSED = {
    "400": "breaks the contract",
    "401": "brings no key, where one is needed",
    "403": "comes from a page or under a name that may not ask",
    "408": "arrived too slowly",
    "413": "too large",
    "415": "no JSON in UTF-8",
    "503": "not ready, or too much at once",
    "504": "took too long",
}
PREDICTION: Any = record(
    "Prediction",
    {"id": str, "prediction": bool | int | float | str, "probability": NotRequired[float | dict[str, float]]},
)
ANSWER = TypeAdapter(record("Answer", {"model_version": str, "predictions": list[PREDICTION]}))
ACCEPTED = TypeAdapter(record("Accepted", {"accepted": int, "unmatched": int}))


def in_path(path: str) -> dict[str, Any]:
    """Return the parameters that a path names."""
    names = re.findall(r"{(\w+)}", path)
    return {
        "parameters": [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    }


def describe(app: FastAPI, model: Model | None) -> dict[str, Any]:
    """Return the OpenAPI document; without a model it lacks the bodies that only a contract can tell."""
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    components = document.setdefault("components", {}).setdefault("schemas", {})
    if model:
        protocol = model.protocol
        for path, summary, *kinds in (
            ("/predict", "Answer rows", protocol.instances, ANSWER),
            ("/feedback", "Write down what turned out to be true", protocol.labels, ACCEPTED),
        ):
            asked, answer = (kind.json_schema(ref_template="#/components/schemas/{model}") for kind in kinds)
            components |= asked.pop("$defs", {}) | answer.pop("$defs", {})
            document["paths"][path] = {"post": _post(summary, asked, answer)}
    return document


def _post(summary: str, asked: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    good = {"description": "answered", "content": {"application/json": {"schema": answer}}}
    refused = {status: {"description": words, "content": JSON_ERROR} for status, words in REFUSED.items()}
    body = {"required": True, "content": {"application/json": {"schema": asked}}}
    return {"summary": summary, "requestBody": body, "responses": {"200": good, **refused}}
