# One word per chore; `make help` prints this list. CI and pre-commit call the same words.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH := torch==2.13.0
STAMP := $(VENV)/.installed
PIP := $(BIN)/pip install -q --disable-pip-version-check
DATA ?= ../shared/data
EXTENSION := vscode-extension
APT := apt-get install -y -qq --no-install-recommends

.NOTPARALLEL:
.PHONY: help setup models try test extension test-editor test-editor-setup test-wheel lint fix types bench eval clean

help:  ## Show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(STAMP)  ## Create .venv and install holefill with everything its tests need

# torch first: the range in pyproject.toml alone would let pip choose a multi-gigabyte CUDA build.
$(STAMP): pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "holefill needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(call install,python3-venv)
	@echo "setup: installing into $(VENV) (a few minutes the first time)"
	$(PYTHON) -m venv $(VENV)
	$(PIP) '$(TORCH)'
	$(PIP) -e '.[dev,gpu]'
	mkdir -p .typing/holefill
	for d in lsp_server context model kernels evaluation; do ln -sfn ../../$$d .typing/holefill/$$d; done
	touch $@

models: $(STAMP)  ## Fetch the default model (491 MB, resumable, checked by hash)
	$(BIN)/holefill model pull qwen2.5-coder-0.5b

try: models  ## Complete a hole whose answer is in another file, and show how
	$(BIN)/holefill complete --example

# Cheap checks first; pytest last, so that its closing line is the run's.
test: lint types models test-wheel extension test-editor-setup  ## Run every test, real model and editor included
	$(BIN)/pytest

test-wheel: models  ## Build the wheel, install it in an empty environment, complete once from another folder
	.ci/test-wheel $(BIN)/python '$(TORCH)'

extension:  ## Build the VS Code extension (.vsix)
	@command -v npm >/dev/null || $(call install,npm)
	cd $(EXTENSION) && npm ci --no-audit --no-fund --loglevel=error && npm run --silent package

test-editor: models extension test-editor-setup  ## Type in the real VS Code, in a headless browser
	$(BIN)/pytest -m editor

test-editor-setup: $(STAMP)
	@command -v chromium >/dev/null || $(call install,chromium)

lint: $(STAMP)  ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

fix: $(STAMP)  ## Repair style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)  ## Strict mypy
	MYPYPATH=.typing $(BIN)/mypy -p holefill

bench: models  ## Speed, beside llama.cpp where llama_cpp is installed; one JSON line last
	$(BIN)/holefill bench

eval: models  ## HumanEval-FIM, CrossCodeEval and commit replay (DATA=../shared/data)
	$(BIN)/holefill eval humaneval-fim --data $(DATA)
	$(BIN)/holefill eval cceval --data $(DATA)
	$(BIN)/holefill eval replay --data $(DATA)

clean:  ## Remove the environment and build outputs
	rm -rf $(VENV) .typing build dist *.egg-info

# $(call install,PACKAGE): a Debian package, where we may install one; else say what to do.
define install
{ if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	echo "setup: installing the Debian package $(1)"; \
	export DEBIAN_FRONTEND=noninteractive; apt-get update -qq && $(APT) $(1) >/dev/null; \
else echo "$(1) is missing: install it (Debian: sudo apt-get install $(1)) and run make again" >&2; exit 1; fi; }
endef
