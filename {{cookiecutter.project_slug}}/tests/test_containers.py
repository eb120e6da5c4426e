"""What stands in Dockerfile, compose.yaml and deploy/ and elsewhere too, held together."""

import json
import re
from pathlib import Path

import yaml
from services import running, settings_in

from {{ cookiecutter.__package }}.commands.turn import CONTAINED
from {{ cookiecutter.__package }}.commands.up import PORTS
from {{ cookiecutter.__package }}.service.settings import Settings

DOCKERFILE, MAKEFILE = (Path(name).read_text("utf-8") for name in ("Dockerfile", "Makefile"))
COMPOSE = Path("compose.yaml").read_text("utf-8")
SERVICES = yaml.safe_load(COMPOSE)["services"]
ALERTS = Path("deploy/alerts.yml").read_text("utf-8")


def test_the_image_serves_as_make_serve_does():
    recipe = re.search(r"^serve:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)[1].replace("\\\n", "")
    made = re.sub(r"\$\(if .*?--env-file \.env\)", "", recipe.partition("exec .venv/bin/")[2]).split()
    image = json.loads(re.findall(r"^CMD (\[.*?\])$", DOCKERFILE.replace("\\\n", ""), re.MULTILINE)[-1])
    fixed = {"$(SERVICE_BIND)": "0.0.0.0", "$(PORT)": "8000"}
    assert image == [fixed.get(word, word) for word in made]


def test_an_engine_is_given_more_time_to_stop_than_the_service_takes():
    seconds = int(re.search(r"--timeout-graceful-shutdown\D+(\d+)", DOCKERFILE)[1])
    assert all(int(service["stop_grace_period"].rstrip("s")) > seconds for service in SERVICES.values())


def test_every_container_is_bounded_and_may_do_nothing_but_its_work():
    for name, service in SERVICES.items():
        assert (service["read_only"], service["cap_drop"], service["init"]) == (True, ["ALL"], True), name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert {"mem_limit", "cpus", "pids_limit", "stop_grace_period"} <= {*service}, name
        assert "privileged" not in service, name
        assert ("healthcheck" in service) == (name not in ("api", "pipeline")), name  # that of `api` is in its image
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), name
            assert "${" + PORTS[name] + ":-" in port, name
    assert "HEALTHCHECK" in DOCKERFILE.partition("AS serve\n")[2]


def test_the_service_gets_the_operator_s_limits_and_cannot_write_models_and_reports():
    api = SERVICES["api"]
    assert {volume.split(":", 1)[1] for volume in api["volumes"]} == {"/app/models:ro", "/app/reports:ro", "/app/logs"}
    places = {"bind", "log_dir", "models_dir", "reports_dir"}  # these are the image's own
    assert {*api["environment"]} == {f"SERVICE_{name.upper()}" for name in Settings.model_fields if name not in places}
    assert not (api["environment"].keys() & {"POSTGRES_PASSWORD"})


def test_every_variable_is_explained_or_drawn():
    example = Path(".env.example").read_text("utf-8")
    drawn = {"POSTGRES_PASSWORD", "PROJECT_USER", "SERVICE_USER"}
    named = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", COMPOSE))
    assert named - drawn == {name for name in named if re.search(f"^# {name}=", example, re.MULTILINE)}
    assert all("${" + name + ":?run make setup once}" in COMPOSE for name in drawn)


def test_where_dvc_lies_in_a_container_is_known():
    assert "WORKDIR /app\n" in DOCKERFILE.partition("AS train-build\n")[2]
    assert CONTAINED == "/app/.venv/"


def test_images_are_named_by_tag():
    named = [
        *re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE),
        *re.findall(r"^ +image: (\S+)", COMPOSE, re.MULTILINE),
    ]
    assert len(named) == 6
    assert all(re.fullmatch(r"[a-z/]+:[a-z0-9.-]+", name) and not name.endswith("latest") for name in named)


def test_alerts_speak_of_what_the_service_tells(tmp_path):
    names = set(re.findall(r"\b((?:model|monitor|http|prediction)_[a-z_]+)[{\[]", ALERTS))
    names |= {"model_info", "model_promoted_timestamp_seconds", "model_refused"}
    assert len(names) > 6
    told = Path("src/{{ cookiecutter.__package }}/service/counters.py").read_text("utf-8")
    bases = {re.sub(r"_(total|count|bucket)$", "", name) for name in names}
    assert {name for name in bases if f'"{name}"' not in told} == set()
    with running(settings_in(tmp_path)) as ask:
        assert ask("GET", "/metrics").status == 200
