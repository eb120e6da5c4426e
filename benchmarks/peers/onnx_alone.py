# mypy: ignore-errors
# It runs in a baked project's environment; nothing that it imports is installed for the template.
"""Print the rows/s of onnxruntime alone: `python onnx_alone.py <bundle> <seconds> < body`, its rows encoded once."""

import json
import sys
import time
from pathlib import Path

from flight_delays.bundle import columns_of, load, tensors
from flight_delays.encoding import encode

bundle, seconds, rows = load(Path(sys.argv[1])), float(sys.argv[2]), json.load(sys.stdin)["instances"]
feed = tensors(*encode(bundle.contract["features"], columns_of(rows)))
bundle.session.run(["scores"], feed)
begun, runs = time.perf_counter(), 0
while time.perf_counter() < begun + seconds:
    bundle.session.run(["scores"], feed)
    runs += 1
print(runs * len(rows) / (time.perf_counter() - begun))
