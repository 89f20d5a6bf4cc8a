# Two commands matter: `make demo` runs the main job on the shipped model and clip, `make test` runs the tests.
# Both set everything up on first use, inside .venv and build/, without root.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check
OUT ?= out

# Wheels of TensorRT-RTX exist for x86-64 only; elsewhere the demo says that the engine was not built. TensorRT's own
# headers, for the plug-in, come with the wheel kernel-lens, whose dependencies are not needed.
TENSORRT_HEADERS := kernel-lens==2.0.1
comma := ,
EXTRAS := all$(if $(filter x86_64,$(shell uname -m)),$(comma)tensorrt)

NATIVE_SOURCES := CMakeLists.txt $(shell find runtimes/native -type f)

.DEFAULT_GOAL := help
.PHONY: help demo test lint format bench setup clean

help: ## Show this help
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: setup ## Set up, then export the shipped model, prove parity on the shipped clip, measure, report
	$(BIN)/svf-edge demo -o $(OUT)/demo

test: setup ## Set up, then run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal $(TESTS)

lint: setup ## ruff, mypy and clang-format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	tools/mypy.sh $(abspath $(BIN)/mypy)
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files '*.c' '*.h' '*.cpp' '*.cu' '*.cuh')

format: setup ## Format Python and C++
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $$(git ls-files '*.c' '*.h' '*.cpp' '*.cu' '*.cuh')

bench: setup ## Run the benchmarks, write their result files, and generate the documents that show them
	$(BIN)/svf-edge demo -o $(OUT)/demo
	$(BIN)/python -m benchmarks.demo $(OUT)/demo/report.json
	$(BIN)/python -m benchmarks

setup: $(VENV)/.native ## Make .venv with everything in it and build the native libraries

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "svf-edge needs Python 3.11 or newer; run: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "Python's venv module is incomplete; install it (Debian: apt install python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	touch $@

# torch comes first and alone, pinned: another package's wider requirement would pull another build of it.
$(VENV)/.torch: $(VENV)/.python
	$(PIP) torch==2.13.0 numpy
	touch $@

$(VENV)/.packages: $(VENV)/.torch pyproject.toml
	$(BIN)/python tools/requirements.py $(EXTRAS) > $(VENV)/requirements.txt
	$(PIP) -r $(VENV)/requirements.txt
	$(if $(findstring tensorrt,$(EXTRAS)),$(PIP) --no-deps $(TENSORRT_HEADERS))
	touch $@

$(VENV)/.native: $(VENV)/.packages $(NATIVE_SOURCES)
	$(PIP) --no-build-isolation --no-deps --editable .
	touch $@

clean: ## Remove the environment, builds and results
	rm -rf $(VENV) build $(OUT)
