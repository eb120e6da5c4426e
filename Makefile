# Each target is a line or two. The tests and the workflow call these same targets.
export UV_PYTHON_DOWNLOADS = never
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
CODE := hooks tests scripts $(wildcard benchmarks)
PROJECT := {{cookiecutter.project_slug}}
# A file of tests stays in one process; each process builds projects of its own.
PARALLEL := --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder
PINNED := --quiet --universal --generate-hashes --no-header --no-emit-index-url --no-annotate
# The entries of the second lock whose package is not in the first.
NOT_IN := awk '/^[a-z0-9]/ { split($$1, pin, "=="); keep = FNR != NR && !(pin[1] in base); if (FNR == NR) base[pin[1]] } keep'

.DEFAULT_GOAL := help
.PHONY: help setup bake demo test test-docker check bench pictures lock

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 8

setup: .venv/installed  ## install the template's own tools into .venv

bake: setup  ## bake the default answers into demo/
	.venv/bin/cookiecutter . --no-input --overwrite-if-exists --output-dir demo

demo: bake  ## bake, install, run the whole pipeline, serve its model, ask it about a real flight
	$(MAKE) -C demo/flight-delays setup pipeline
	@cat demo/flight-delays/reports/decision.md
	@.venv/bin/python scripts/demo.py demo/flight-delays

test: setup  ## run the tests that need no container engine; ARGS="-k hooks" runs some
	.venv/bin/pytest $(or $(ARGS),-m "not docker and not alone" $(PARALLEL))
	$(if $(ARGS),,.venv/bin/pytest -m alone)

test-docker: bake  ## run those that need one, with Compose; ARGS="-k killed" runs some
	$${ENSURE_DOCKER:-:} $$(sed -n 's/^FROM \([^ ]*\).*/\1/p; s/^ *image: //p' demo/*/Dockerfile demo/*/compose.yaml | sort -u)
	.venv/bin/pytest -m docker $(ARGS)

check: setup  ## lint, format, types
	.venv/bin/ruff check $(CODE)
	.venv/bin/ruff format --check $(CODE)
	.venv/bin/mypy $(CODE)

bench: setup  ## run the benchmarks; results in benchmarks/results/
	.venv/bin/python benchmarks/repro.py
	.venv/bin/python benchmarks/serve.py
	.venv/bin/python benchmarks/drift.py
	.venv/bin/python benchmarks/million.py
	.venv/bin/python benchmarks/adopt.py
	.venv/bin/python scripts/newcomer.py

pictures: setup  ## bake, run and retrain a project, and take docs/images/ from it; needs Chromium
	.venv/bin/python scripts/pictures.py

lock: setup  ## pin requirements.lock, and the locks of the DVC remotes against the project's dev.lock
	$(UV) pip compile $(PINNED) --upgrade pyproject.toml --output-file requirements.lock
	cd "$(PROJECT)/requirements" && for remote in s3 gs azure; do echo "dvc-$$remote" | "$(if $(filter /%,$(firstword $(UV))),,$(CURDIR)/)$(UV)" pip compile $(PINNED) \
	  --upgrade --python-version 3.11 --constraints dev.lock --output-file "$(CURDIR)/.venv/remote.lock" - \
	  && $(NOT_IN) dev.lock "$(CURDIR)/.venv/remote.lock" > "remote-$$remote.lock" || exit 1; done

.venv/installed: requirements.lock | $(UV)
	$(UV) venv --quiet --allow-existing .venv
	$(UV) pip sync --quiet --python .venv/bin/python requirements.lock
	touch $@

.uv/bin/uv:
	python3 -m venv .uv && .uv/bin/pip install --quiet uv==0.13.9
