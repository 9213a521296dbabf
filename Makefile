# One word per chore; `make help` prints this list. CI and pre-commit call the same words.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH := torch==2.13.0
STAMP := $(VENV)/.installed

.PHONY: help setup models try test test-editor test-wheel lint fix types bench eval clean

help:  ## Show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(STAMP)  ## Create .venv and install holefill with everything its tests need

$(STAMP): pyproject.toml Makefile
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check '$(TORCH)'
	$(BIN)/pip install -q --disable-pip-version-check -e '.[dev,gpu]'
	mkdir -p .typing/holefill
	for d in lsp_server context model kernels evaluation; do ln -sfn ../../$$d .typing/holefill/$$d; done
	touch $@

models: $(STAMP)  ## Fetch the default model (491 MB, resumable, checked by hash)
	$(BIN)/holefill model pull qwen2.5-coder-0.5b

try: models  ## Complete a hole whose answer is in another file, and show how
	$(BIN)/holefill complete --example

test: models types-and-lint  ## Run every test this machine can run, real model and real editor included
	$(MAKE) --no-print-directory test-editor-setup
	$(BIN)/pytest

types-and-lint: lint types

test-editor-setup: $(STAMP)
	@:

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
	$(BIN)/holefill eval humaneval-fim --data $(or $(DATA),../shared/data)
	$(BIN)/holefill eval cceval --data $(or $(DATA),../shared/data)
	$(BIN)/holefill eval replay --data $(or $(DATA),../shared/data)

clean:  ## Remove the environment and build outputs
	rm -rf $(VENV) .typing build dist *.egg-info
