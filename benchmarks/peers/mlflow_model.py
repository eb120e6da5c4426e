# mypy: ignore-errors
# It runs in a baked project's environment; nothing that it imports is installed for the template.
"""Save the fitted pipeline for `mlflow models serve`: `python mlflow_model.py <project> <folder>`.

Without a signature, which MLflow would check on each request: with one it answers a fifth fewer.
"""

import sys
from pathlib import Path

import mlflow.sklearn
import skops.io

path = Path(sys.argv[1]) / "models/fitted/model.skops"
types = skops.io.get_untrusted_types(file=path)
mlflow.sklearn.save_model(
    skops.io.load(path, trusted=types),
    sys.argv[2],
    pyfunc_predict_fn="predict_proba",
    pip_requirements=["scikit-learn"],  # given, since to find them out takes seconds
    skops_trusted_types=[*types, "numpy.dtype"],
)
