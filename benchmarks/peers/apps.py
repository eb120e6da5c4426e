# mypy: ignore-errors
# ruff: noqa: PLC0415  each app imports what it alone needs
# It runs in a baked project's environment; nothing that it imports is installed for the template.
"""What somebody would write without the template: `uvicorn --factory apps:<name>`, for the project in $PROJECT.

The routes are `async def`: that is the faster way here, the constant one by a half. `serve.py` measures them.
"""

import json
import os
from pathlib import Path

from fastapi import FastAPI
from pydantic import BaseModel

PROJECT = Path(os.environ["PROJECT"])
TEXTS = ("carrier", "origin", "dest")
ANSWER = {"predictions": [{"prediction": False, "probability": 0.25}]}


class Row(BaseModel):
    """The features of one flight."""

    carrier: str
    origin: str
    dest: str
    distance: int
    departure_minute: int
    arrival_minute: int
    weekday: int
    temperature: float | None
    dew_point: float | None
    humidity: float | None
    wind_direction: float | None
    wind_speed: float | None
    precipitation: float | None
    pressure: float | None
    visibility: float | None


NUMBERS = tuple(name for name in Row.model_fields if name not in TEXTS)


class Body(BaseModel):
    """A request."""

    instances: list[Row]


class Prediction(BaseModel):
    """The answer to one row."""

    prediction: bool
    probability: float


class Answer(BaseModel):
    """A response."""

    predictions: list[Prediction]


def answer(probabilities) -> Answer:
    """Return the response to rows with these probabilities."""
    return Answer(predictions=[Prediction(prediction=p >= 0.5, probability=p) for p in probabilities.tolist()])


def bare():
    """Return an ASGI function that answers a constant: what uvicorn alone can do."""
    body = json.dumps(ANSWER).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]

    async def app(scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    return app


def constant():
    """Return a route that parses the body with Pydantic and answers a constant."""
    app = FastAPI()

    @app.post("/predict")
    async def predict(body: Body):
        return ANSWER

    return app


def onnx():
    """Return a route that asks the exported model."""
    import numpy as np
    import onnxruntime

    version = json.loads((PROJECT / "models/champion.json").read_text())["version"]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # more would spin for the one core
    session = onnxruntime.InferenceSession(PROJECT / "models/versions" / version / "bundle/model.onnx", options)
    app = FastAPI()

    @app.post("/predict")
    async def predict(body: Body) -> Answer:
        numbers = np.array([[getattr(row, name) for name in NUMBERS] for row in body.instances], np.float32)
        texts = np.array([[getattr(row, name) or "" for name in TEXTS] for row in body.instances], object)
        return answer(session.run(["scores"], {"numbers": numbers, "texts": texts})[0][:, 1])

    return app


def sklearn():
    """Return a route that asks the fitted pipeline."""
    import pandas as pd
    import skops.io

    path = PROJECT / "models/fitted/model.skops"
    model = skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
    app = FastAPI()

    @app.post("/predict")
    async def predict(body: Body) -> Answer:
        frame = pd.DataFrame([row.model_dump() for row in body.instances])
        return answer(model.predict_proba(frame)[:, 1])

    return app
