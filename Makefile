# Everything a person or CI runs. `make demo` and `make test` need Python >= 3.10 with its headers, gcc and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The venv's commands first: tests start `tbsdk` and `pytest` as a user would.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench bench-quick bench-runner soak sanitize clean

help:  ## show this
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(BIN)/python:
	@echo "setting up $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(f"Python 3.10 or newer is needed, this is {sys.version.split()[0]}; try: make PYTHON=python3.12 demo" if sys.version_info < (3, 10) else 0)'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.demo: $(BIN)/python pyproject.toml
	@echo "installing triton-backend-sdk into $(VENV), with NumPy, tritonclient and pytest (40 MB)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[client,test]'
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml
	@echo "installing triton-backend-sdk into $(VENV), and what the tests need: mypy, ruff, moto, BentoML and more"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[client,remote,dev]'
	@touch $(VENV)/.demo $@

demo: $(VENV)/.demo  ## write, build and serve a backend, and send it requests
	@$(BIN)/tbsdk demo --into build

test: $(VENV)/.dev  ## lint, types and every test, on the real server
	@$(BIN)/tbsdk server install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@TBSDK_REQUIRE_REAL=1 $(BIN)/python -m pytest -n 4 --dist loadscope

bench: $(VENV)/.dev  ## measure against the stock Python backend and a C floor
	@$(BIN)/python benchmarks/bench.py

bench-quick: $(VENV)/.dev  ## the same in four minutes, noisier
	@$(BIN)/python benchmarks/bench.py --quick

bench-runner: $(VENV)/.dev  ## measure the Runner beside hand-written tritonclient code: half a minute
	@$(BIN)/python benchmarks/runner.py

soak: $(VENV)/.dev  ## a million requests: does memory stay flat?
	@$(BIN)/python benchmarks/soak.py

# libstdc++ too: Triton's core throws, and the sanitizer looks for that function before the core is opened.
# Triton deletes the sequencer of iterative models as its base class, which has no virtual destructor.
sanitize: $(VENV)/.dev  ## the request path's tests with the shim under AddressSanitizer
	@CFLAGS="-fsanitize=address -g -fno-omit-frame-pointer" \
		LD_PRELOAD="$$($${CC:-gcc} -print-file-name=libasan.so) $$($${CC:-gcc} -print-file-name=libstdc++.so.6)" \
		ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:new_delete_type_mismatch=0 PYTHONMALLOC=malloc $(BIN)/python -m pytest -q tests/runtime

clean:  ## remove the venv and what was built
	@rm -rf $(VENV) build
