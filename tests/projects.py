"""Real projects for the scenario tests: baked, set up and taken through the pipeline once a session, then copied.

One virtual environment serves every project of a session: a copy links it, and `PYTHONPATH` puts its own `src` first.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import tasks
import yaml

PACKAGE = "flight_delays"
STAGES = ["ingest", "validate", "split", "train", "export", "evaluate", "promote", "monitor", "track"]
ONE_CORE = ("taskset", "-c", "0")
NOTHING: Mapping[str, str] = {}
OUTSIDE = ("GIT_", "DVC_", "MLFLOW_", "VIRTUAL_ENV", "PYTHON", "MAKE", "SERVICE_")
QUIET = {"DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true", "LC_ALL": "C.UTF-8"}
AUTHOR = {
    f"GIT_{role}_{part}": value
    for role in ("AUTHOR", "COMMITTER")
    for part, value in (("NAME", "T"), ("EMAIL", "t@example.org"))
}
# What a run must leave alike wherever it ran; models/fitted/model.skops and reports/drift.html may differ.
RESULTS = ["data/**/*", "models/challenger/**/*", "models/versions/**/*", "reports/*.json", "reports/plots/*.csv"]


@dataclass(frozen=True)
class Done:
    """A command that ended: its exit code, everything it said, and how long it took."""

    command: str
    code: int
    output: str
    seconds: float

    @property
    def ran(self) -> list[str]:
        """Return the DVC stages whose command was run, in order."""
        return re.findall(r"^Running stage '(\w+)':", self.output, re.MULTILINE)

    def lines(self, part: str) -> list[str]:
        """Return the lines that hold `part`."""
        return [line for line in self.output.splitlines() if part in line]


@dataclass(frozen=True)
class Project:
    """A baked project and the environment that its commands run in."""

    path: Path
    environment: dict[str, str] = field(default_factory=dict)

    def variables(self, env: Mapping[str, str]) -> dict[str, str]:
        """Return the environment variables: nothing of the outside that git, DVC, MLflow or Python would heed."""
        outside = {name: value for name, value in os.environ.items() if not name.startswith(OUTSIDE)}
        path = {"PATH": f"{self.path / '.venv/bin'}:{os.environ['PATH']}", "PYTHONPATH": str(self.path / "src")}
        site = {"DVC_SITE_CACHE_DIR": str(self.path / ".dvc/tmp/site")}
        return outside | QUIET | AUTHOR | path | site | self.environment | dict(env)

    def start(self, *command: str, env: Mapping[str, str] = NOTHING) -> subprocess.Popen[str]:
        """Start a command in a session of its own, its output in one pipe."""
        return subprocess.Popen(
            command,
            cwd=self.path,
            env=self.variables(env),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *command: str, code: int | None = 0, timeout: float = 300, env: Mapping[str, str] = NOTHING) -> Done:
        """Run a command to its end; past the timeout kill it with all its children. A `code` of None is any but 0."""
        begun = time.perf_counter()
        process = self.start(*command, env=env)
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            stop(process)
            output, _ = process.communicate()
            pytest.fail(f"{' '.join(command)} was not done after {timeout} s:\n{output}")
        done = Done(" ".join(command), process.returncode, output, time.perf_counter() - begun)
        as_expected = done.code == code if code is not None else done.code != 0
        expected = "any but 0" if code is None else code
        assert as_expected, f"{done.command} ended with {done.code}, expected {expected}:\n{output[-6000:]}"
        return done

    def repro(
        self, *arguments: str, code: int | None = 0, timeout: float = 300, env: Mapping[str, str] = NOTHING
    ) -> Done:
        """Run `dvc repro`."""
        return self.run("python", "-m", "dvc", "repro", *arguments, code=code, timeout=timeout, env=env)

    def dvc(self, *arguments: str) -> Done:
        """Run a DVC command."""
        return self.run("python", "-m", "dvc", *arguments)

    def git(self, *arguments: str) -> str:
        """Return what a git command says."""
        return self.run("git", *arguments).output

    def commit(self) -> None:
        """Commit everything, in the name of a test."""
        self.git("config", "user.name", "T")
        self.git("config", "user.email", "t@example.org")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "All")

    def command(self, stage: str) -> str:
        """Return the command of a stage as dvc.yaml gives it, for a shell."""
        return str(yaml.safe_load(self.read("dvc.yaml"))["stages"][stage]["cmd"]).replace("\\$", "$")

    def stages(self, *names: str) -> Done:
        """Run the commands of some stages without DVC, one after another, and return the last."""
        return self.run("bash", "-ec", "\n".join(f"({self.command(name)})" for name in names))

    def python(self, code: str, *arguments: str, timeout: float = 300) -> Any:
        """Run Python code in the project's environment and return the JSON of its last line."""
        done = self.run("python", "-W", "ignore", "-c", code, *arguments, timeout=timeout)
        lines = done.output.splitlines()
        return json.loads(lines[-1]) if lines else None

    def read(self, name: str) -> str:
        """Return the text of a file."""
        return (self.path / name).read_text("utf-8")

    def write(self, name: str, content: str) -> None:
        """Write a text file."""
        (self.path / name).write_text(content, "utf-8")

    def json(self, name: str) -> Any:
        """Return what a JSON file holds."""
        return json.loads(self.read(name))

    def replace(self, name: str, old: str, new: str) -> None:
        """Replace a text that stands in a file exactly once."""
        text = self.read(name)
        assert text.count(old) == 1, f"{name} holds {old!r} {text.count(old)} times"
        self.write(name, text.replace(old, new))

    def set(self, parameter: str, value: object) -> None:
        """Change one value of params.yaml, as an editor would: `section.key`, the rest of the line stays."""
        section, key = parameter.split(".")
        line = re.compile(rf"(^{section}:\n(?:[ ].*\n|\n|#.*\n)*?  {key}: *)(\"[^\"]*\"|[^\s#]+)", re.MULTILINE)
        text, count = line.subn(lambda found: f"{found[1]}{value}", self.read("params.yaml"))
        assert count == 1, f"params.yaml holds {parameter} {count} times"
        self.write("params.yaml", text)

    @property
    def champion(self) -> dict[str, Any]:
        """Return models/champion.json."""
        return dict(self.json("models/champion.json"))

    @property
    def decision(self) -> dict[str, Any]:
        """Return reports/decision.json."""
        return dict(self.json("reports/decision.json"))

    def metric(self, name: str) -> tuple[float, float, float]:
        """Return the low end, the value and the high end of a metric of reports/metrics.json."""
        metrics = self.json("reports/metrics.json")
        low, high = metrics["intervals"][name]
        return low, metrics[name], high

    @property
    def lock(self) -> dict[str, Any]:
        """Return the stages of dvc.lock."""
        return dict(yaml.safe_load(self.read("dvc.lock"))["stages"])

    def forget(self, stage: str) -> None:
        """Take a stage out of dvc.lock, as if it had never been run."""
        lock = yaml.safe_load(self.read("dvc.lock"))
        del lock["stages"][stage]
        self.write("dvc.lock", yaml.safe_dump(lock, sort_keys=False))

    def without_champion(self) -> "Project":
        """Take back every promotion, and return the project."""
        self.write("models/champion.json", '{\n  "version": null,\n  "previous": null,\n  "blocked": []\n}\n')
        shutil.rmtree(self.path / "models/versions")
        return self

    def chilled(self) -> "Project":
        """Remove all that a pipeline made (outputs, cache, locks, tracking store), and return the project."""
        outputs = [output["path"] for stage in self.lock.values() for output in stage.get("outs", [])]
        for name in [*outputs, ".dvc/cache", ".dvc/tmp", "dvc.lock", "mlflow.db", "mlruns", "models/versions"]:
            path = self.path / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        self.write("models/champion.json", '{\n  "version": null,\n  "previous": null,\n  "blocked": []\n}\n')
        return self

    def digests(self, *patterns: str) -> dict[str, str]:
        """Return the SHA-256 of every file that a pattern names."""
        found = {path for pattern in patterns for path in self.path.glob(pattern)}
        return {
            path.relative_to(self.path).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(found)
            if path.is_file() and path.name != ".gitignore"
        }

    def results(self) -> dict[str, str]:
        """Return the digests of all that is promised to be the same wherever it runs, and of the pointer."""
        return self.digests(*RESULTS, "models/champion.json")

    def copy(self, folder: Path, name: str = "flight-delays") -> "Project":
        """Return a copy in `folder` that links this project's virtual environment, its tracking store left behind."""
        target = folder / name
        left = shutil.ignore_patterns(".venv", "site", "mlflow.db", "mlruns", "mlartifacts")
        shutil.copytree(self.path, target, symlinks=True, ignore=left)
        link_environment(self.path, target)
        return Project(target, self.environment)

    def runs(self, store: str = "") -> list[dict[str, str]]:
        """Return status, receipt and bundle of every run of MLflow's store, by default ./mlflow.db."""
        found = self.python(RUNS, store or f"sqlite:///{self.path / 'mlflow.db'}")
        return list(found)


RUNS = f"""
import json, sys, mlflow
client = mlflow.MlflowClient(sys.argv[1])
experiment = client.get_experiment_by_name({PACKAGE!r})
runs = client.search_runs([experiment.experiment_id], max_results=1000) if experiment else []
tags = ("receipt", "bundle")
print(json.dumps([dict(status=run.info.status, **{{tag: run.data.tags.get(tag) for tag in tags}}) for run in runs]))
"""


def stop(process: subprocess.Popen[str]) -> None:
    """Kill a process that `Project.start` started, with the children that it left."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


@contextmanager
def started(project: Project, *command: str, env: Mapping[str, str] = NOTHING) -> Iterator[subprocess.Popen[str]]:
    """Yield a running command; whatever is left of it at the end of the block is killed."""
    process = project.start(*command, env=env)
    try:
        yield process
    finally:
        stop(process)
        process.communicate()


def link_environment(source: Path, target: Path) -> None:
    """Make `target/.venv` a virtual environment that shares the programs and packages of `source/.venv`."""
    (target / ".venv").mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (target / ".venv" / name).symlink_to((source / ".venv" / name).resolve())


def finished(process: subprocess.Popen[str], seconds: float) -> bool:
    """Wait at most that long for a process, and return whether it has ended."""
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def build(bake: Callable[..., Path], folder: Path) -> Project:
    """Return the default project: baked, set up, one cold `dvc repro`; its seconds lie in cold_s.txt beside it."""
    project = Project(bake(folder))
    project.run("make", "setup", timeout=600)
    cold = project.repro()
    assert cold.ran == STAGES, cold.output
    (folder / "cold_s.txt").write_text(f"{cold.seconds:.1f}")
    return project


def turn(project: Project, task: tasks.Task) -> Project:
    """Give a project another contract, source and parameters, and return it: what who adopts it does by hand."""
    package = f"src/{PACKAGE}"
    project.write(f"{package}/schema.py", task.schema)
    project.write(f"{package}/stages/ingest.py", tasks.ingest(task.source))
    project.write(f"{package}/params.py", tasks.params(project.read(f"{package}/params.py"), task.ingest_params))
    project.write("params.yaml", tasks.sections(project.read("params.yaml"), task.ingest))
    for parameter, value in task.settings.items():
        project.set(parameter, value)
    return project


@pytest.fixture(scope="session")
def built(bake: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return the default project after its pipeline. Tests read it and copy it, and leave it as it is."""
    return build(bake, tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="session")
def cold_s(built: Project) -> float:
    """Return how long the cold pipeline of `built` took."""
    return float((built.path.parent / "cold_s.txt").read_text())


@pytest.fixture
def ready(built: Project, tmp_path: Path) -> Project:
    """Return a copy of `built` to do anything with."""
    return built.copy(tmp_path)


@pytest.fixture(scope="session")
def bare(bake: Callable[..., Path], built: Project) -> Callable[[Path], Project]:
    """Return `bare(folder)`: a fresh bake there that links the virtual environment of `built`."""

    def make(folder: Path) -> Project:
        project = Project(bake(folder))
        link_environment(built.path, project.path)
        return project

    return make


@pytest.fixture(scope="session")
def small_built(bare: Callable[[Path], Project], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return the small binary project after its pipeline, its first model promoted."""
    project = turn(bare(tmp_path_factory.mktemp("small")), tasks.BINARY)
    assert project.repro().ran == STAGES
    assert project.decision["decision"] == "promoted", project.decision
    return project


@pytest.fixture
def small(small_built: Project, tmp_path: Path) -> Project:
    """Return a copy of the small binary project to do anything with."""
    return small_built.copy(tmp_path)
