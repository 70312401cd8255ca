# Every command makes the virtual environment it needs, with the tested versions.
PYTHON ?= python3
VENV ?= .venv
ENV ?= HalfCheetah-v5
STEPS ?= 200000
SEED ?= 0
MINUTES ?= 120
FILES ?= 100000
PIP = $(VENV)/bin/python -m pip install --quiet --constraint constraints.txt

.PHONY: train test test-all test-wheel test-matrix lint type docs dist audit bench-import bench-learning bench-report bench-speed bench-scaling bench-settings soak reliability fuzz

# torch comes first and by itself: its pinned version then satisfies whoever asks for torch.
$(VENV)/base: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) $$(grep '^torch==' constraints.txt)
	touch $@

$(VENV)/train: $(VENV)/base pyproject.toml
	$(PIP) --editable ".[mujoco,extra]"
	touch $@

$(VENV)/dev: $(VENV)/base pyproject.toml
	$(PIP) --editable ".[dev]"
	touch $@

$(VENV)/bench: $(VENV)/base pyproject.toml
	$(PIP) --editable ".[bench]"
	touch $@

$(VENV)/docs: $(VENV)/base pyproject.toml
	$(PIP) --editable ".[docs]"
	touch $@

train: $(VENV)/train
	$(VENV)/bin/python examples/train.py --env $(ENV) --steps $(STEPS) --seed $(SEED) \
		$(if $(RESUME),--resume)

test: $(VENV)/dev
	$(VENV)/bin/python -m pytest -n 2 -m "not slow"

test-all: $(VENV)/dev
	$(VENV)/bin/python -m pytest -n 2

# In environments of their own, below .nox.
test-wheel: $(VENV)/dev
	$(VENV)/bin/nox --session wheel

test-matrix: $(VENV)/dev
	$(VENV)/bin/nox --session oldest newest

lint: $(VENV)/dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pydoclint --quiet sb3_trpo

type: $(VENV)/dev
	$(VENV)/bin/mypy
	$(VENV)/bin/python -m pytest -n 0 -q tests/test_typing.py

dist: $(VENV)/dev
	rm -rf dist
	$(VENV)/bin/python -m build
	$(VENV)/bin/twine check --strict dist/*

# Asks a database of advisories: it needs the network.
audit: $(VENV)/dev
	$(VENV)/bin/pip-audit --strict --requirement constraints.txt --no-deps --disable-pip

bench-import: $(VENV)/dev
	$(VENV)/bin/python -m benchmarks.import_time

docs: $(VENV)/docs
	rm -rf docs/_build
	$(VENV)/bin/python -m sphinx -W --keep-going --quiet docs docs/_build/html
	$(VENV)/bin/python docs/check_links.py docs/_build/html
	@echo docs/_build/html/index.html

bench-learning: $(VENV)/bench
	$(VENV)/bin/python -m benchmarks.learning run --jobs 2

bench-report: $(VENV)/bench
	$(VENV)/bin/python -m benchmarks.learning report

bench-speed: $(VENV)/bench
	$(VENV)/bin/python -m benchmarks.speed

bench-scaling: $(VENV)/dev
	$(VENV)/bin/python -m benchmarks.scaling

bench-settings: $(VENV)/bench
	$(VENV)/bin/python -m benchmarks.settings

# Loads changed files with trusted=False; FIRST_PART=<thousands done> goes on after an interruption.
fuzz: $(VENV)/dev
	$(VENV)/bin/python -m tests.fuzz --files $(FILES) --first-part $(or $(FIRST_PART),0)

# Tests of reliability and security, counted by promise: docs/reliability.md shows the table.
reliability: $(VENV)/dev
	$(VENV)/bin/python -m benchmarks.reliability

# Random faults and kills for two hours; MINUTES=10 for less. Exits with 1 if a mark is missed.
soak: $(VENV)/dev
	rm -rf runs/soak
	$(VENV)/bin/python -m benchmarks.soak --minutes $(MINUTES) --seed $(SEED) --out runs/soak
