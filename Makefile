# One word per chore; `make help` prints this list. CI and pre-commit call the same words.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH := torch==2.13.0
STAMP := $(VENV)/.installed
PIP := $(BIN)/pip install -q --disable-pip-version-check
DATA ?= ../shared/data

.NOTPARALLEL:
.PHONY: help setup models try test checkers extension test-editor test-editor-setup test-wheel lint fix types bench bench-gpu eval clean

help:  ## Show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(STAMP)  ## Create .venv and install holefill with everything its tests need

# torch first: the range in pyproject.toml alone would let pip choose a multi-gigabyte CUDA build.
$(STAMP): pyproject.toml Makefile $(wildcard kernels/native/*.cpp kernels/native/*.h)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "holefill needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		{ [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq python3-venv; } || \
		{ echo "this Python cannot make environments: sudo apt-get install python3-venv, then make again" >&2; exit 1; }
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
test: lint types models test-wheel test-editor-setup checkers  ## Run every test, real model and editor included
	$(BIN)/pytest

test-wheel: models  ## Build the wheel, install it in an empty environment, complete once from another folder
	.ci/test-wheel $(BIN)/python '$(TORCH)'

extension:  ## Build the VS Code extension (.vsix)
	vscode-extension/e2e/setup.sh extension

test-editor: models test-editor-setup  ## Type in the real VS Code, in a headless browser
	$(BIN)/pytest -m editor

# TypeScript 7, the type oracle of the TypeScript cases; without npm those tests say why they do not run.
checkers:
	if command -v npm >/dev/null; then \
		npm install --prefix tests/context/types --ignore-scripts --no-audit --no-fund --silent; fi

# Chromium, VS Code and Neovim, and the extension itself.
test-editor-setup: $(STAMP)
	vscode-extension/e2e/setup.sh

lint: $(STAMP)  ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

fix: $(STAMP)  ## Repair style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)  ## Strict mypy, tests included
	MYPYPATH=.typing $(BIN)/mypy -p holefill -p tests

bench: models  ## Speed, beside llama.cpp where llama_cpp is installed; one JSON line last
	$(BIN)/holefill bench

bench-gpu: $(STAMP)  ## The same on a GPU, beside transformers; status 3 where there is none
	$(BIN)/holefill bench --gpu -o evaluation/results/bench-gpu.jsonl

eval: models  ## HumanEval-FIM, CrossCodeEval and commit replay (DATA=../shared/data)
	$(BIN)/holefill eval humaneval-fim --data $(DATA)
	$(BIN)/holefill eval cceval --data $(DATA)
	$(BIN)/holefill eval replay --data $(DATA)

clean:  ## Remove the environment and build outputs
	rm -rf $(VENV) .typing build dist *.egg-info
