# make demo   set up an environment in .venv and run simulator, reducer and dashboard together
# make test   the same, and run every check and test
# Both need Python 3.11 or newer and make, nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
DEMO_ARGS ?=

.PHONY: demo test lint unit bench screenshots clean

demo: $(VENV)/.installed
	$(BIN)/rtcal demo $(DEMO_ARGS)

test: lint unit

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The kernels run twice: compiled, and as plain Python, where an index out of bounds is an error.
unit: $(VENV)/.installed-test
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest tests/rtcal/kernels
	$(BIN)/python -m pytest

bench: $(VENV)/.installed
	$(BIN)/rtcal bench kernels

# Pictures of the display, taken with Chromium, for a person to look at.
screenshots: $(VENV)/.installed-test
	$(BIN)/python -m tests.browser.screenshots build/screenshots

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "rtcal needs Python 3.11 or newer; name one: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || $(PYTHON) -m virtualenv $(VENV) || \
	  { rm -rf $(VENV); echo "no virtual environment could be made: apt-get install python3-venv"; exit 1; }

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing into $(VENV) ..."
	@$(PIP) --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing with test tools into $(VENV) ..."
	@$(PIP) --editable '.[csw,test,dev]'
	@touch $@ $(VENV)/.installed
