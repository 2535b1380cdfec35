# raytag: `make demo` sets everything up on a fresh machine and runs the main job; `make test` tests.

BIN := .venv/bin
VERSIONS := 3.11 3.12 3.13 3.14
PIP_INSTALL := python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PYTEST := python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

# The first interpreter of $(2) that is a Python of $(1). Each is run: a shim of pyenv may be there and fail.
first = $(shell for python in $(2); do $$python -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] \
	not in "$(1)".split())' 2>/dev/null && command -v $$python && break; done)
named = $(foreach version,$(1),python$(version) $${PYENV_ROOT:-~/.pyenv}/versions/$(version).*/bin/python)
PYTHON ?= $(call named,$(VERSIONS)) python3

# Makes the environment $(1) with the first of $(3) that is a Python of $(2), unless it has one of them already.
venv = $(if $(and $(wildcard $(1)/bin/pip),$(call first,$(2),$(1)/bin/python)),,$(or $(call first,$(2),$(3)),\
	$(error raytag needs Python 3.11, 3.12, 3.13 or 3.14 ($(lastword $(3)): $(shell $(lastword $(3)) --version 2>&1 \
	| head -n 1)). Install one, or name it: make demo PYTHON=/path/to/python3.12)) -m venv --clear $(1))

.PHONY: help setup demo test test-long test-all test-pythons lint format bench clean

help:
	@echo "make demo          set up .venv, then train and blend on the built-in demo data (no download, no GPU)"
	@echo "make test          set up .venv, then run the tests of every day: minutes"
	@echo "make test-long     run the others: nodes and workers that die, launches on several cards"
	@echo "make test-pythons  run what needs no torch on the other Pythons that are here"
	@echo "make test-all      all three"
	@echo "make lint          ruff and mypy"
	@echo "make format        let ruff format the code"
	@echo "make bench         the speed claims, side by side with what they are compared to"
	@echo "make clean         remove .venv and the caches in here (never runs/)"

setup: .venv/.installed

# torch first and by its pinned version: any other request could bring another build of it
.venv/.installed: pyproject.toml constraints.txt
	$(call venv,.venv,$(VERSIONS),$(PYTHON))
	$(BIN)/$(PIP_INSTALL) torch
	$(BIN)/$(PIP_INSTALL) --editable '.[dev]'
	touch $@

# a small network and few experiments: less than five minutes on two cores
demo: setup
	$(BIN)/python launch.py --space specaug_mixup --num-samples 6 --epochs 20 --set model.base_size=8
	$(BIN)/python ensemble_search.py

test: setup
	$(BIN)/$(PYTEST) -m 'not long' $(ARGS)

test-long: setup
	$(BIN)/$(PYTEST) --numprocesses 2 -m long $(ARGS)

test-all:
	$(MAKE) --no-print-directory test
	$(MAKE) --no-print-directory test-long
	$(MAKE) --no-print-directory test-pythons

# The tests that need no torch, on the other Pythons that are here: torch for those may be gigabytes.
OTHERS := $(filter-out 3.11,$(VERSIONS))
test-pythons:
	@$(foreach version,$(OTHERS),$(if $(call first,$(version),$(call named,$(version))),\
		$(MAKE) --no-print-directory test-python-$(version),echo "Python $(version) is not here: not tested") &&) true

$(OTHERS:%=test-python-%): test-python-%: .venv-%/.installed
	RAYTAG_LEAST_PASSED=1000 .venv-$*/bin/$(PYTEST) -m 'not long' --ignore-glob='*_cli.py' $(ARGS)

$(OTHERS:%=.venv-%/.installed): .venv-%/.installed: pyproject.toml constraints.txt
	$(call venv,.venv-$*,$*,$(call named,$*))
	$(@D)/bin/python -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; print(*( \
		line for line in project["dependencies"] + project["optional-dependencies"]["dev"] \
		if not line.startswith("torch")), sep="\n")' > $(@D)/requirements.txt
	$(@D)/bin/$(PIP_INSTALL) --requirement $(@D)/requirements.txt
	$(@D)/bin/$(PIP_INSTALL) --no-deps --editable .
	touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf .venv .venv-3.* .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
