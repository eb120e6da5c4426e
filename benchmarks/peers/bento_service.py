# mypy: ignore-errors
# It runs in an environment of its own, which `serve.py` makes; nothing that it imports is installed for the template.
"""The fitted pipeline of the project in $PROJECT, one worker: `bentoml serve bento_service:Model`."""

import os
from pathlib import Path
from typing import Any

import bentoml
import pandas as pd
import skops.io


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Model:
    """`async def`, which is a little faster than `def` here."""

    def __init__(self) -> None:
        path = Path(os.environ["PROJECT"]) / "models/fitted/model.skops"
        self.model = skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))

    @bentoml.api
    async def predict(self, instances: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the answer to these rows."""
        found = self.model.predict_proba(pd.DataFrame(instances))[:, 1].tolist()
        return {"predictions": [{"prediction": p >= 0.5, "probability": p} for p in found]}
