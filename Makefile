# Every command makes the virtual environment it needs, with the tested versions.
PYTHON ?= python3
VENV ?= .venv
ENV ?= HalfCheetah-v5
STEPS ?= 200000
SEED ?= 0
PIP = $(VENV)/bin/python -m pip install --quiet --constraint constraints.txt

.PHONY: train test test-all lint type bench-learning bench-report bench-speed bench-scaling

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

train: $(VENV)/train
	$(VENV)/bin/python examples/train.py --env $(ENV) --steps $(STEPS) --seed $(SEED) \
		$(if $(RESUME),--resume)

test: $(VENV)/dev
	$(VENV)/bin/python -m pytest -n 2 -m "not slow"

test-all: $(VENV)/dev
	$(VENV)/bin/python -m pytest -n 2

lint: $(VENV)/dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pydoclint --quiet sb3_trpo

type: $(VENV)/dev
	$(VENV)/bin/mypy

bench-learning: $(VENV)/bench
	$(VENV)/bin/python -m benchmarks.learning run --jobs 2

bench-report: $(VENV)/bench
	$(VENV)/bin/python -m benchmarks.learning report

bench-speed: $(VENV)/bench
	$(VENV)/bin/python -m benchmarks.speed

bench-scaling: $(VENV)/dev
	$(VENV)/bin/python -m benchmarks.scaling
