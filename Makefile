# A fresh machine needs one of these, no more; both make their own environment.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready

.PHONY: demo test lint docs clean

demo: $(READY)            ## a synthetic 96-well plate with planted hits -> demo/run/report.html
	$(BIN)/profiler demo demo

test: $(READY)            ## the whole test suite
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(READY)            ## format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: $(READY)            ## docs/schema.md and docs/features.md, generated from code
	$(BIN)/python -c "from profiler.store.schema import describe; print(describe(), end='')" > docs/schema.md
	$(BIN)/python -c "from profiler.measure.describe import describe; print(describe(), end='')" > docs/features.md

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,dev]'
	touch $(READY)

clean:                    ## everything that make has made
	rm -rf $(VENV) demo
