# Everything runs from .venv, which `make install` makes out of a bare Python 3.11 or newer.
PYTHON ?= python3
MINUTES ?= 10
BIN := .venv/bin
UV ?= uv
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help install demo demo-production test test-slow test-faults test-attack fuzz chaos test-gpu check lock serve bench clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Stillhouse needs Python 3.11 or newer; set PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) -e '.[api,worker,demo]'
	touch $@

.venv/installed-dev: .venv/installed
	$(PIP) -e '.[dev]'
	touch $@

install: .venv/installed ## the service, the worker and the demo's data, in .venv

demo: install ## both modes on real images, from POST /jobs to a downloaded student
	$(BIN)/python examples/demo.py

demo-production: .venv/installed-dev ## the same on PostgreSQL, Valkey and a Celery worker
	$(BIN)/python examples/production.py

test: .venv/installed-dev ## the whole suite, on SQLite and on real PostgreSQL and Valkey servers
	$(BIN)/python -m pytest

test-slow: .venv/installed-dev ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

test-faults: .venv/installed-dev ## every fault on both deployments, those that take minutes too
	$(BIN)/python -m pytest -n 0 tests/faults -m "not gpu"

chaos: .venv/installed-dev ## MINUTES of random faults over real jobs, on both deployments; SEED repeats a run
	$(BIN)/python -m tests.chaos --deployment embedded --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))
	$(BIN)/python -m tests.chaos --deployment production --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

test-attack: .venv/installed-dev ## clients that mean harm, against a real server
	$(BIN)/python -m pytest -n 0 -m slow tests/attack

fuzz: .venv/installed-dev ## MINUTES of spoilt files for the readers of what people bring; SEED repeats a run
	$(BIN)/python -m tests.attack.readers --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

test-gpu: .venv/installed-dev ## the tests that need a CUDA device
	$(BIN)/python -m pytest -m gpu

check: .venv/installed-dev ## style, types and the walls between the rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# For the Python and the platform of the Dockerfile. Hashes are of all files of a release, whatever they are for.
LOCK := $(UV) pip compile --quiet --generate-hashes --annotation-style line --python-version 3.12 \
	--python-platform x86_64-manylinux_2_28 --constraint constraints.txt --custom-compile-command "make lock"

lock: ## what the images install, with its hashes: after a change of pyproject.toml or constraints.txt; needs uv
	$(LOCK) pyproject.toml --extra api --extra sweeps --output-file locks/api.txt
	$(LOCK) pyproject.toml --extra worker --extra sweeps --extra zoo --extra onnx --extra parquet --extra demo --output-file locks/worker.txt
	$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
		| $(LOCK) - --output-file locks/build.txt

serve: install ## the server and one worker on SQLite
	$(BIN)/kd serve

bench: .venv/installed-dev ## the figures in benchmarks/README.md
	$(BIN)/python benchmarks/service.py
	$(BIN)/python benchmarks/engine.py

clean: ## what `make` made
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
