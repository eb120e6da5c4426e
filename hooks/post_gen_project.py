"""Keep the files that the answers choose, delete the others, and make the folder a git repository.

Safe to run again, needs no network, commits nothing.
"""

import os
import subprocess
import sys
from pathlib import Path

# The answers are checked before this file is rendered: each is one of its choices.
CHOSEN = {
    "licence": "{{ cookiecutter.licence }}",
    "dvc_remote": "{{ cookiecutter.dvc_remote }}",
    "ci": "{{ cookiecutter.ci }}",
    "kubernetes": "{{ cookiecutter.kubernetes }}",
}


def in_place(*files: str) -> dict[str, str]:
    """Return files that stay where they are baked."""
    return dict(zip(files, files, strict=True))


# option -> choice -> {file of that choice: where it goes}
FILES: dict[str, dict[str, dict[str, str]]] = {
    "licence": {
        choice: {f"licences/{choice}": "LICENSE"} for choice in ("MIT", "Apache-2.0", "BSD-3-Clause", "Proprietary")
    },
    "dvc_remote": {
        "local": {".dvc/config-local": ".dvc/config"},
        "s3": {".dvc/config-s3": ".dvc/config", "requirements/remote-s3.lock": "requirements/remote.lock"},
        "gs": {".dvc/config-gs": ".dvc/config", "requirements/remote-gs.lock": "requirements/remote.lock"},
        "azure": {".dvc/config-azure": ".dvc/config", "requirements/remote-azure.lock": "requirements/remote.lock"},
    },
    "ci": {
        "github": in_place(
            ".github/workflows/ci.yml",
            ".github/workflows/retrain.yml",
            ".github/dependabot.yml",
            ".github/pull_request_template.md",
            ".github/CODEOWNERS",
        ),
        "gitlab": {
            ".gitlab-ci.yml": ".gitlab-ci.yml",
            ".github/pull_request_template.md": ".gitlab/merge_request_templates/Default.md",
            ".github/CODEOWNERS": ".gitlab/CODEOWNERS",
        },
        "none": {},
    },
    "kubernetes": {
        "no": {},
        "yes": in_place(
            "k8s/Dockerfile",
            "k8s/Dockerfile.dockerignore",
            "k8s/kustomization.yaml",
            "k8s/storage.yaml",
            "k8s/api.yaml",
            "k8s/jobs.yaml",
            "k8s/network.yaml",
        ),
    },
}


def keep_chosen_files() -> None:
    """Move what was chosen into place; nothing is left of the other choices, nor of an earlier bake's."""
    for option, choices in FILES.items():
        chosen = choices[CHOSEN[option]]
        for source, target in chosen.items():
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            Path(source).replace(target)
        known = {path for files in choices.values() for pair in files.items() for path in pair}
        for name in known - set(chosen.values()):
            Path(name).unlink(missing_ok=True)
            remove_empty(Path(name).parent)


def remove_empty(folder: Path) -> None:
    """Remove a folder of the project that holds nothing, and those around it that then hold nothing."""
    while folder != Path() and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def start_git() -> None:
    """Make the folder a git repository of its own unless it is one, whatever repository lies around it."""
    if Path(".git").exists():
        return
    # GIT_DIR and its like, set while git runs a hook of its own, would name another repository.
    outside = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        subprocess.run(["git", "init", "-q", "-b", "main"], check=True, env=outside)
    except (OSError, subprocess.CalledProcessError):
        print("git init did not work here: install git 2.28 or newer and run git init -b main.", file=sys.stderr)


if __name__ == "__main__":
    keep_chosen_files()
    start_git()
