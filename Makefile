# Two commands matter: `make demo` and `make test`. Both need only Python 3.10+ and the package registries.
PYTHON ?= python3
SECONDS ?= 60
MINUTES ?= 1
SOAK ?=
BIN := .venv/bin

.PHONY: help demo soak test lint format bench-test clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

# Made by whichever target needs it first; made again when the dependencies change.
.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: .venv/installed ## three simulated terminals, the real listener, no Frappe: make demo SECONDS=60
	@$(BIN)/python -m hikvision_frappe.demo --seconds $(SECONDS)

soak: .venv/installed ## 200 simulated devices, faults by chance; on a bench or SOAK="--local --seed 7": make soak MINUTES=30
	@$(BIN)/python tests/bench/soak.py --minutes $(MINUTES) $(SOAK)

test: .venv/installed ## everything that can run here; with a Frappe bench (FRAPPE_BENCH) its tests too
	$(BIN)/python -m pytest
	$(BIN)/python tests/bench_runner.py

bench-test: .venv/installed ## only the tests that need a bench
	$(BIN)/python tests/bench_runner.py

lint: .venv/installed ## ruff, mypy, the layers, dead code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vulture hikvision_frappe --min-confidence 90

format: .venv/installed ## let ruff write
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## forget the environment and caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info
