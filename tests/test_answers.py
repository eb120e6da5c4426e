"""Every set of answers: which files a bake leaves, and that each of them is whole and legal where it will be used."""

import configparser
import itertools
import json
import re
import subprocess
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from conftest import TEMPLATE, Bake
from cookiecutter.exceptions import FailedHookException
from cookiecutter.main import cookiecutter

SOURCE = TEMPLATE / "{{cookiecutter.project_slug}}"
QUESTIONS = json.loads((TEMPLATE / "cookiecutter.json").read_text())
LICENCES, REMOTES, CI, KUBERNETES = (QUESTIONS[key] for key in ("licence", "dvc_remote", "ci", "kubernetes"))
VERSIONS = ["3.11", "3.12", "3.13"]
KEYS = ("licence", "dvc_remote", "ci", "kubernetes", "python_version")
SETS = [
    dict(zip(KEYS, answers, strict=True)) for answers in itertools.product(LICENCES, REMOTES, CI, KUBERNETES, VERSIONS)
]
# What only some answers leave. Written out, so that the hook's own table is held by something.
GITHUB = {
    f".github/{name}"
    for name in (
        "CODEOWNERS",
        "dependabot.yml",
        "pull_request_template.md",
        "workflows/ci.yml",
        "workflows/retrain.yml",
    )
}
GITLAB = {".gitlab-ci.yml", ".gitlab/CODEOWNERS", ".gitlab/merge_request_templates/Default.md"}
MANIFESTS = {f"k8s/{name}.yaml" for name in ("api", "jobs", "kustomization", "network", "storage")}
CLUSTER = {*MANIFESTS, "k8s/Dockerfile", "k8s/Dockerfile.dockerignore"}
LEFT_BY = {
    ("ci", "github"): GITHUB,
    ("ci", "gitlab"): GITLAB,
    ("kubernetes", "yes"): CLUSTER,
    **{("dvc_remote", remote): {"requirements/remote.lock"} for remote in ("s3", "gs", "azure")},
}
ALWAYS = {"LICENSE", ".dvc/config"}
CHOSEN_FROM = re.compile(r"licences/|\.dvc/config-|requirements/remote-")
URLS = {"local": "../../flight-delays-dvc", "s3": "s3://", "gs": "gs://", "azure": "azure://"}
TITLES = dict(zip(LICENCES, ("MIT License", "Apache License", "BSD 3-Clause", "All rights reserved"), strict=True))
# A brace pair in Python is Python's own: src/ is copied as it is, and the mark of a template names what it asks for.
MARK = re.compile(r"(?<!\$)\{\{|\{%|\{#|cookiecutter")
PYTHON_MARK = re.compile(r"\{%|\{#|cookiecutter")
ILLEGAL = re.compile(r'[<>:"|?*\\]|[. ](?:/|$)|(?:^|/)(?:con|nul|aux|prn|com\d|lpt\d)(?:\.|/|$)', re.IGNORECASE)


class Yaml(yaml.SafeLoader):
    """YAML as GitLab reads it: `!reference` names a part of another job."""


Yaml.add_constructor("!reference", lambda loader, node: loader.construct_sequence(node))  # type: ignore[arg-type]


def files(project: Path) -> set[str]:
    """Return the files of a project by name, those of its git repository aside."""
    found = (path.relative_to(project) for path in project.rglob("*") if path.is_file())
    return {path.as_posix() for path in found if path.parts[0] != ".git"}


def common() -> set[str]:
    """Return the files that every bake leaves, from what is committed or would be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", f"./{SOURCE.name}"]
    listed = subprocess.run(command, cwd=TEMPLATE, capture_output=True, text=True, check=True).stdout
    names = {name.strip('"').removeprefix(f"{SOURCE.name}/") for name in listed.splitlines()}
    names = {name for name in names if (SOURCE / name).is_file() and not CHOSEN_FROM.match(name)}
    names -= set().union(*LEFT_BY.values())
    return {name.replace("{{cookiecutter.__package}}", "flight_delays") for name in names} | ALWAYS


COMMON = common()


def documents(path: Path) -> list[Any]:
    """Return what a YAML file holds."""
    return list(yaml.load_all(path.read_text(), Yaml))


@pytest.mark.parametrize("answers", SETS, ids=lambda answers: "-".join(answers.values()))
def test_answer_set(
    tmp_path: Path, bake: Bake, answers: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    begun = time.perf_counter()
    project = bake(tmp_path, author="Ada Lovelace", **answers)
    record_property("bake_s", time.perf_counter() - begun)

    found = files(project)
    assert found == COMMON.union(*(LEFT_BY.get(answer, set()) for answer in answers.items()))
    assert [name for name in found if ILLEGAL.search(name)] == []
    assert len({name.lower() for name in found}) == len(found)
    folders = (path for path in project.rglob("*") if path.is_dir() and ".git" not in path.parts)
    assert [path for path in folders if not any(path.iterdir())] == []
    for name in found:
        text = (project / name).read_text("utf-8")
        mark = PYTHON_MARK if name.endswith(".py") else MARK
        assert mark.findall(name + text) == [], name
        if name.endswith((".yaml", ".yml", ".dvc")):
            assert all(documents(project / name)), name

    licence = (project / "LICENSE").read_text()
    assert TITLES[answers["licence"]] in licence
    assert "Copyright (c) Ada Lovelace" in licence
    assert f"PYTHON_VERSION := {answers['python_version']}\n" in (project / "Makefile").read_text()
    assert tomllib.loads((project / "pyproject.toml").read_text())["project"]["name"] == "flight-delays"
    config = configparser.ConfigParser()
    config.read(project / ".dvc/config")
    assert config["core"]["remote"] == "storage"
    assert config["'remote \"storage\"'"]["url"].startswith(URLS[answers["dvc_remote"]])
    assert set(config["'remote \"storage\"'"]) == {"url"}, "credentials belong into .dvc/config.local"
    if answers["dvc_remote"] != "local":
        assert f"\ndvc-{answers['dvc_remote']}==" in (project / "requirements/remote.lock").read_text()


@pytest.fixture(scope="module", params=itertools.product(CI, KUBERNETES), ids="-".join)
def chosen(request: pytest.FixtureRequest, bake: Bake, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bake of each choice of `ci` and `kubernetes`, under a name with an underscore."""
    ci, kubernetes = request.param
    return bake(tmp_path_factory.mktemp("chosen"), ci=ci, kubernetes=kubernetes, project_slug="late-trains_2")


def tool(name: str, *arguments: str) -> str:
    """Run a linter of the template's environment, which finds nothing wrong, and return what it says."""
    command = [str(TEMPLATE / ".venv/bin" / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def scripts(document: Any) -> Iterator[str]:
    """Yield every shell script of a workflow: `run` of GitHub, `script` of GitLab."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key == "run" and isinstance(value, str):
                yield value
            elif key == "script":
                yield "\n".join(line for line in value if isinstance(line, str))
            else:
                yield from scripts(value)
    elif isinstance(document, list):
        for item in document:
            yield from scripts(item)


def test_workflows_are_what_their_readers_take(chosen: Path) -> None:
    workflows = [str(path) for path in chosen.glob(".github/workflows/*.yml")]
    if workflows:
        tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)
        tool("check-jsonschema", "--builtin-schema", "vendor.dependabot", str(chosen / ".github/dependabot.yml"))
        tool("zizmor", "--offline", "--quiet", str(chosen / ".github"))
    gitlab = chosen / ".gitlab-ci.yml"
    if gitlab.exists():
        arguments = ("--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci", str(gitlab))
        tool("check-jsonschema", *arguments)
        assert "image: python:3." in gitlab.read_text()
    for path in [*map(Path, workflows), *([gitlab] if gitlab.exists() else [])]:
        found = [script for document in documents(path) for script in scripts(document)]
        assert len(found) >= 3
        for script in found:
            assert "${{" not in script, f"{path.name}: an expression in a script is text that runs"
            subprocess.run(["bash", "-n", "-c", script], check=True)


def test_linters_find_what_is_wrong(tmp_path: Path, bake: Bake) -> None:
    project = bake(tmp_path)
    workflow = project / ".github/workflows/ci.yml"
    good = workflow.read_text()
    workflow.write_text(good.replace("make audit", 'echo "${{ github.head_ref }}"'))
    with pytest.raises(AssertionError, match="template-injection"):
        tool("zizmor", "--offline", str(project / ".github"))
    workflow.write_text(good.replace("runs-on:", "runs_on:"))
    with pytest.raises(AssertionError, match="runs_on"):
        tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(workflow))


def test_actions_are_pinned_and_only_the_comment_may_write(tmp_path: Path, bake: Bake) -> None:
    text = (bake(tmp_path) / ".github/workflows/ci.yml").read_text()
    workflow = yaml.safe_load(text)
    used = re.findall(r"uses: (\S+)(.*)", text)
    assert len(used) > 5
    assert [u for u in used if not (re.search("@[0-9a-f]{40}$", u[0]) and re.fullmatch(r" # v[\d.]+", u[1]))] == []
    assert workflow["permissions"] == {"contents": "read"}
    allowed = {name: job["permissions"] for name, job in workflow["jobs"].items() if "permissions" in job}
    assert allowed == {"comment": {"pull-requests": "write"}}
    comment = workflow["jobs"]["comment"]["steps"]
    assert [step for step in comment if "uses" in step] == [], "the job that may write runs nothing of the change"
    assert all(job["timeout-minutes"] <= 60 for job in workflow["jobs"].values())


def manifests(project: Path) -> dict[tuple[str, str], Any]:
    """Return kind and name -> object, of every manifest that the kustomization lists."""
    listed = documents(project / "k8s/kustomization.yaml")[0]["resources"]
    assert {f"k8s/{name}" for name in listed} | {"k8s/kustomization.yaml"} == MANIFESTS
    found = [item for name in listed for item in documents(project / "k8s" / name)]
    return {(item["kind"], item["metadata"]["name"]): item for item in found}


def pods(objects: dict[tuple[str, str], Any]) -> dict[str, Any]:
    """Return the pod of each workload."""
    job = objects["CronJob", "monitor"]["spec"]["jobTemplate"]
    owners = {"api": objects["Deployment", "api"], "pipeline": objects["Job", "pipeline"], "monitor": job}
    return {name: owner["spec"]["template"]["spec"] for name, owner in owners.items()}


@pytest.fixture(scope="module")
def cluster(bake: Bake, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with manifests, under a name that Kubernetes would not take as it is."""
    return bake(tmp_path_factory.mktemp("cluster"), kubernetes="yes", project_slug="late-trains_2")


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_manifests_are_what_kubernetes_takes(cluster: Path, version: str) -> None:
    objects = manifests(cluster)
    for item in objects.values():
        kubernetes_validate.validate(item, version, strict=True)
    wrong = objects["Deployment", "api"] | {"spec": objects["Deployment", "api"]["spec"] | {"replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, version, strict=True)


def test_pods_may_do_nothing_that_they_need_not(cluster: Path) -> None:
    for name, pod in pods(manifests(cluster)).items():
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"requests", "limits"} <= set(container["resources"])
            assert ":" not in container["image"], "kustomize gives the tag"


def test_images_that_pods_name_are_those_that_kustomize_tags(cluster: Path) -> None:
    kustomization = documents(cluster / "k8s/kustomization.yaml")[0]
    named = {
        container["image"]
        for pod in pods(manifests(cluster)).values()
        for container in [*pod.get("initContainers", []), *pod["containers"]]
    }
    assert named == {image["name"] for image in kustomization["images"]} == {"late-trains_2-api", "late-trains_2-train"}
    assert kustomization["namespace"] == "late-trains-2"
    assert all(image["newTag"] for image in kustomization["images"])


def test_service_and_its_guards_mean_the_same_pods(cluster: Path) -> None:
    objects = manifests(cluster)
    label = objects["Deployment", "api"]["spec"]["template"]["metadata"]["labels"]
    assert objects["Service", "api"]["spec"]["selector"] == label
    for kind, key in (("PodDisruptionBudget", "selector"), ("Deployment", "selector")):
        assert objects[kind, "api"]["spec"][key]["matchLabels"] == label
    assert objects["NetworkPolicy", "requests"]["spec"]["podSelector"]["matchLabels"] == label
    assert objects["NetworkPolicy", "nothing"]["spec"]["policyTypes"] == ["Ingress", "Egress"]
    scaled = objects["HorizontalPodAutoscaler", "api"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == "api"
    assert scaled["minReplicas"] > objects["PodDisruptionBudget", "api"]["spec"]["minAvailable"]
    (api,) = pods(objects)["api"]["containers"]
    probes = {name: api[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    assert probes == {
        "startup": "/v2/health/live",
        "liveness": "/v2/health/live",
        "readiness": "/v2/health/ready",
    }


@pytest.mark.parametrize("answer", [("ci", "jenkins"), ("kubernetes", "maybe"), ("dvc_remote", "ftp")])
def test_choice_that_there_is_not_is_refused_in_one_sentence(
    tmp_path: Path,
    bake: Bake,
    cookiecutter_config: Path,
    capfd: pytest.CaptureFixture[str],
    answer: tuple[str, str],
) -> None:
    """On the command line cookiecutter refuses it itself; a replayed file of answers reaches the hook."""
    key, value = answer
    with pytest.raises(ValueError, match=f"{value} provided for choice variable {key}"):
        bake(tmp_path / "asked", **{key: value})
    bake(tmp_path / "good")
    answers = json.loads((cookiecutter_config.parent / f"{TEMPLATE.name}.json").read_text())
    answers["cookiecutter"] |= {key: value}
    replay = tmp_path / "replay.json"
    replay.write_text(json.dumps(answers))
    capfd.readouterr()
    with pytest.raises(FailedHookException):
        cookiecutter(
            str(TEMPLATE), replay=str(replay), output_dir=str(tmp_path / "out"), config_file=str(cookiecutter_config)
        )
    (sentence,) = capfd.readouterr().err.splitlines()
    assert sentence.startswith(f"{key} is {value!r}: choose ")
    assert not (tmp_path / "asked").exists()
    assert list(tmp_path.rglob("out/*")) == []
