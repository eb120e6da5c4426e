"""Clients of others: two of the Open Inference Protocol, and one that tries all that the OpenAPI document says."""

import asyncio
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from projects import PACKAGE, Project
from services import Service, ask, example, serving

DTYPES = {"FP64": np.float64, "INT64": np.int64, "BOOL": np.bool_, "BYTES": np.object_}
EXAMPLES = 60
SECONDS = 90
Way = dict[str, list[Any]]


@pytest.fixture(scope="module")
def service(small_built: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Yield the service of the small binary project."""
    with serving(small_built.copy(tmp_path_factory.mktemp("peers"))) as found:
        yield found


@pytest.fixture(scope="module")
def columns(service: Service) -> dict[str, tuple[str, np.ndarray[Any, Any]]]:
    """Return name -> datatype and values, in the types that the service's own metadata ask for."""
    rows = [row for row in example(service)["instances"] if None not in row.values()]
    inputs = ask(service, f"/v2/models/{PACKAGE}").json()["inputs"]
    return {
        tensor["name"]: (
            tensor["datatype"],
            np.array([row[tensor["name"]] for row in rows], dtype=DTYPES[tensor["datatype"]]),
        )
        for tensor in inputs
    }


@pytest.fixture(scope="module")
def expected(service: Service) -> Way:
    """Return what `/predict` answers to the same rows."""
    rows = [row for row in example(service)["instances"] if None not in row.values()]
    found = ask(service, "/predict", {"instances": rows}).json()["predictions"]
    return {name: [row[name] for row in found] for name in ("prediction", "probability")}


def texts(values: Any) -> list[str]:
    """Return texts, which a client may hand out as bytes."""
    return [value.decode() if isinstance(value, bytes) else str(value) for value in np.asarray(values).ravel()]


def test_tritonclient_works_unchanged(service: Service, columns: Any, expected: Way) -> None:
    triton: Any = importlib.import_module("tritonclient.http")  # it says nothing of its types
    with triton.InferenceServerClient(f"127.0.0.1:{service.port}") as client:
        version = service.project.champion["version"]
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready(PACKAGE)
        assert client.is_model_ready(PACKAGE, version)
        assert not client.is_model_ready(PACKAGE, "1")
        assert not client.is_model_ready("another")
        assert client.get_server_metadata()["name"]
        metadata = client.get_model_metadata(PACKAGE)
        assert (metadata["name"], metadata["versions"]) == (PACKAGE, [version])
        assert {tensor["name"] for tensor in metadata["inputs"]} == set(columns)
        inputs = []
        for name, (datatype, values) in columns.items():
            inputs.append(triton.InferInput(name, [len(values)], datatype))
            inputs[-1].set_data_from_numpy(values, binary_data=False)
        asked = [triton.InferRequestedOutput(name) for name in ("prediction", "probability")]
        plain = [triton.InferRequestedOutput(name, binary_data=False) for name in ("prediction", "probability")]
        for outputs in (None, asked, plain):
            found = client.infer(PACKAGE, inputs, outputs=outputs, request_id="42")
            assert texts(found.as_numpy("prediction")) == expected["prediction"]
            assert np.abs(found.as_numpy("probability") - expected["probability"]).max() <= 1e-6
            assert found.get_response()["id"] == "42"
            assert found.get_response()["model_version"] == version
        named = client.infer(PACKAGE, inputs, model_version=version)
        assert texts(named.as_numpy("prediction")) == expected["prediction"]


def test_tritonclient_s_binary_tensors_are_refused_with_the_way_out(service: Service, columns: Any) -> None:
    triton: Any = importlib.import_module("tritonclient.http")
    error: Any = importlib.import_module("tritonclient.utils").InferenceServerException
    with triton.InferenceServerClient(f"127.0.0.1:{service.port}") as client:
        for only in (None, "weight"):  # all of them binary, or one
            inputs = []
            for name, (datatype, values) in columns.items():
                inputs.append(triton.InferInput(name, [len(values)], datatype))
                inputs[-1].set_data_from_numpy(values, binary_data=only in (None, name))
            with pytest.raises(error, match="binary_data=False") as refused:
                client.infer(PACKAGE, inputs)
            assert refused.value.status() == "400"


def kserve_inputs(kserve: Any, columns: Any, binary: bool) -> list[Any]:
    """Return the columns as kserve's inputs."""
    inputs = []
    for name, (datatype, values) in columns.items():
        inputs.append(kserve.InferInput(name=name, shape=[len(values)], datatype=datatype))
        inputs[-1].set_data_from_numpy(values, binary_data=binary)
    return inputs


def test_kserve_s_client_works_unchanged(service: Service, columns: Any, expected: Way) -> None:
    kserve: Any = importlib.import_module("kserve")
    asked = kserve.InferRequest(PACKAGE, kserve_inputs(kserve, columns, binary=False), request_id="42")

    async def talk() -> Any:
        async with kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2", timeout=10)) as client:
            assert await client.is_server_live(service.url)
            assert await client.is_server_ready(service.url)
            assert await client.is_model_ready(service.url, PACKAGE)
            assert not await client.is_model_ready(service.url, "another")
            return await client.infer(service.url, asked, model_name=PACKAGE)

    found = asyncio.run(talk())
    outputs = {output.name: output for output in found.outputs}
    assert (found.id, found.model_name) == ("42", PACKAGE)
    assert texts(outputs["prediction"].as_numpy()) == expected["prediction"]
    assert np.abs(outputs["probability"].as_numpy() - expected["probability"]).max() <= 1e-6


def test_kserve_s_binary_tensors_are_refused_with_the_way_out(service: Service, columns: Any) -> None:
    kserve: Any = importlib.import_module("kserve")
    asked = kserve.InferRequest(PACKAGE, kserve_inputs(kserve, columns, binary=True))

    async def talk() -> Any:
        async with kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2", timeout=10)) as client:
            return await client.infer(service.url, asked, model_name=PACKAGE)

    with pytest.raises(importlib.import_module("httpx").HTTPStatusError, match="binary_data=False") as refused:
        asyncio.run(talk())
    assert refused.value.response.status_code == 400


def test_schemathesis_finds_nothing_that_the_openapi_document_does_not_say(service: Service, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{service.url}/openapi.json", "--checks", "all"]
    command += ["--max-examples", str(EXAMPLES), "--seed", "1", "--generation-deterministic"]
    command += ["--no-color", "--request-timeout", "5"]
    command += ["--report", "json", "--report-json-path", str(report)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=SECONDS)
    print(done.stdout[-3000:])
    assert done.returncode == 0, done.stdout[-12_000:] + done.stderr[-2000:]
    assert "Traceback" not in service.output


def test_the_openapi_document_describes_every_route_of_the_service_s_own(service: Service) -> None:
    document = ask(service, "/openapi.json").json()
    described = {(path, method) for path, methods in document["paths"].items() for method in methods}
    model = "/v2/models/{name}"
    gets = ["/example", "/model", "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models"]
    gets += [f"{model}{version}{end}" for version in ("", "/versions/{version}") for end in ("", "/ready")]
    posts = ["/predict", "/feedback"]  # …/infer is described by the protocol (docs/decisions/0004-service.md)
    assert {(path, "get") for path in gets} | {(path, "post") for path in posts} == described
    for path, method in described:
        given = {parameter["name"] for parameter in document["paths"][path][method].get("parameters", [])}
        assert set(re.findall(r"{(\w+)}", path)) <= given, path
    text = json.dumps(document)
    assert all(name in text for name in ("weight", "visits", "insured", "kind", "street", "ordered", "sent", "parcel"))
