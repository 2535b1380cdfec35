# raytag: `make demo` sets everything up on a fresh machine and runs the main job; `make test` tests.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: help setup demo test lint format bench clean

help:
	@echo "make demo    set up .venv, then train and blend on the built-in demo data (no download, no GPU)"
	@echo "make test    set up .venv, then run the tests"
	@echo "make lint    ruff and mypy"
	@echo "make format  let ruff format the code"
	@echo "make bench   the speed claims, side by side with what they are compared to"
	@echo "make clean   remove .venv and caches (never runs/)"

setup: .venv/.installed

# torch first and by its pinned version: any other request could bring another build of it
.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

# a small network and few experiments: minutes on two cores
demo: setup
	$(BIN)/python launch.py --space specaug_mixup --num-samples 6 --epochs 30 --set model.base_size=8
	$(BIN)/python ensemble_search.py

test: setup
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

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
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
