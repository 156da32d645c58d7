# Everything runs in .venv, which `make` sets up by itself from the pinned, hashed requirements.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo test lint format fuzz bench bench-smoke lock clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

setup: $(READY) ## the environment in .venv

$(READY): requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Hushpost needs Python 3.11 or newer; name one with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY) ## the main job, end to end, checked; cleans up after itself
	$(BIN)/python -m demo

test: $(READY) ## all tests
	$(BIN)/python -m pytest -n auto --dist loadfile

lint: $(READY) ## style, types, layer rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## rewrite the sources in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

fuzz: $(READY) ## attack the decoders for some minutes, with a new seed
	$(BIN)/python -m tests.fuzz

bench: $(READY) ## every measurement of the README, with its baseline; some minutes
	$(BIN)/python -m benchmarks

bench-smoke: $(READY) ## whether the measurements still work; their figures mean nothing
	$(BIN)/python -m benchmarks --smoke

lock: $(READY) ## pin the dependencies anew
	$(BIN)/pip-compile --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras --extra dev \
	  --no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	  -o requirements/dev.txt pyproject.toml
	$(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --constraint requirements/dev.txt \
	  --no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	  -o requirements/run.txt pyproject.toml

clean: ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
