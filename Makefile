# Sets up a checkout by itself: `make demo` and `make test` work on a fresh machine with Python 3.11 to 3.14.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11
JOBS ?= 2
BENCH_ARGS ?= table
PYTEST_ARGS ?=

NATIVE := tools/build_native.py tools/hatch_build.py $(wildcard segspec/ops/native/*.cc segspec/ops/native/*.h)

PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
INSTALL := $(PIP) install --quiet --only-binary :all: --require-hashes
INSTALL_SEGSPEC := $(PIP) install --quiet --no-deps --no-build-isolation --editable .

LOCK = uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-build \
	--no-header --no-emit-index-url $(if $(UPGRADE),--upgrade)

.PHONY: help
help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/run.stamp ## Train a small SegNet on synthetic pictures, test it and say where its pictures are
	$(BIN)/segspec train specs/segnet_squares.yaml solvers/squares.yaml --run runs/demo --overwrite
	$(BIN)/segspec compute-bn-stats runs/demo
	$(BIN)/segspec test runs/demo
	@echo
	@echo "Curves: runs/demo/curves.png    Masks, overlays, sheets and tables: runs/demo/test/"

.PHONY: test
test: lint ## Run every check that CI runs
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal $(PYTEST_ARGS)

.PHONY: lint
lint: $(VENV)/dev.stamp ## Check style, types and generated files, without running a test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/generate.py --check

.PHONY: format
format: $(VENV)/dev.stamp ## Put the code into the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: generate
generate: $(VENV)/dev.stamp ## Write the files that are derived from the layer types
	$(BIN)/python tools/generate.py

.PHONY: bench
bench: $(VENV)/oracle.stamp ## Measure speed and memory side by side with PyTorch (BENCH_ARGS: what, see docs/performance.md)
	@mkdir -p runs
	$(BIN)/python tools/bench/bench.py $(BENCH_ARGS) --out runs/bench.json --markdown runs/bench.md

.PHONY: oracle
oracle: $(VENV)/oracle.stamp ## Install the other implementations that tests compare with

.PHONY: lock
lock: ## Pin the dependencies again after a change in pyproject.toml (UPGRADE=1: to their newest versions)
	@command -v uv >/dev/null || { echo "make lock needs uv: pipx install uv" >&2; exit 1; }
	$(LOCK) pyproject.toml --output-file requirements/run.txt
	$(LOCK) --group build --constraint requirements/run.txt --output-file requirements/build.txt
	$(LOCK) pyproject.toml --group dev --constraint requirements/run.txt --constraint requirements/build.txt \
		--output-file requirements/dev.txt
	$(LOCK) --group oracle --constraint requirements/dev.txt --excludes requirements/torch.txt \
		--output-file requirements/oracle.txt

.PHONY: clean
clean: ## Remove what make made; runs/ and data/ stay
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps make a second call quick.
$(VENV)/run.stamp: pyproject.toml requirements/run.txt requirements/build.txt $(NATIVE) | $(BIN)/python
	@echo "Installing segspec and what it needs; the first time this takes minutes"
	$(INSTALL) --requirement requirements/run.txt --requirement requirements/build.txt
	$(INSTALL_SEGSPEC)
	@touch $@

$(VENV)/dev.stamp: pyproject.toml requirements/dev.txt requirements/build.txt $(NATIVE) | $(BIN)/python
	@echo "Installing segspec and its tests' tools; the first time this takes minutes"
	$(INSTALL) --requirement requirements/dev.txt --requirement requirements/build.txt
	$(INSTALL_SEGSPEC)
	@touch $@

$(VENV)/oracle.stamp: requirements/oracle.txt requirements/torch.txt $(VENV)/dev.stamp
	$(INSTALL) --no-deps --requirement requirements/oracle.txt
	$(PIP) install --quiet --requirement requirements/torch.txt
	@touch $@

$(BIN)/python:
	@for python in $(PYTHON); do \
		"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null || continue; \
		"$$python" -c 'import ensurepip, venv' 2>/dev/null || { \
			echo "$$python cannot make virtual environments; on Debian: apt install python3-venv" >&2; exit 1; }; \
		exec "$$python" -m venv --clear $(VENV); \
	done; \
	echo "Found no Python 3.11 to 3.14 among: $(PYTHON)" >&2; \
	echo "On Debian: apt install python3 python3-venv; or name one: make PYTHON=/path/to/python3.12 ..." >&2; \
	exit 1
