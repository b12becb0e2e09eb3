# Two commands set everything up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check slow docs clean

# The library alone, for its demo; the papers' tables are a distribution of their own, which the tests want too.
$(VENV)/.library: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -e .
	touch $@

$(VENV)/.installed: $(VENV)/.library papers/pyproject.toml
	$(BIN)/pip install -q -e ".[test]" -e papers
	touch $@

demo: $(VENV)/.library
	$(BIN)/asterism demo
	@echo "    (in this shell first: source $(BIN)/activate)"

# One process a core, one thread each: small tests gain nothing from threads, and threads that wait cost much.
# Neighbours stay together, as they share fits, but a process that is done takes over from one that is not.
test: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

slow: $(VENV)/.installed
	$(BIN)/python -m pytest -m slow

check: $(VENV)/.installed
	$(BIN)/ruff format --check src papers tests benchmarks
	$(BIN)/ruff check src papers tests benchmarks
	$(BIN)/mypy
	MYPYPATH=src:papers/src:benchmarks $(BIN)/mypy --explicit-package-bases benchmarks
	$(BIN)/python -m pytest tests/test_house_rules.py

$(VENV)/.documented: $(VENV)/.installed
	$(BIN)/pip install -q -e ".[docs]"
	touch $@

# Warnings are errors.
docs: $(VENV)/.documented
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build
	@echo docs/_build/index.html

clean:
	rm -rf $(VENV) demo docs/_build .pytest_cache .mypy_cache .ruff_cache
