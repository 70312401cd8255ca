"""A whole measurement, and its file."""

import json
import os
import time
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch as th

from benchmarks.learning.circumstances import machine, versions
from benchmarks.speed.evaluation import Record
from benchmarks.speed.quiet import learning_processes
from benchmarks.speed.rows import EXPERIMENTS, needed
from benchmarks.speed.sizes import Sizes

Measurement = dict[str, Any]
"""All that was measured, and on what, as JSON has it."""


def measure(sizes: Sizes, names: Collection[str]) -> Measurement:
    """
    Carry out the experiments that some rows need.

    :param sizes: how much
    :param names: of ``rows.NAMES``
    :return: every raw number; an experiment that failed leaves its ``error``
    """
    th.set_num_threads(1)
    load_before, disturbed_by = os.getloadavg()[0], len(learning_processes())
    records = {
        experiment: _record(experiment, sizes, contenders)
        for experiment, contenders in needed(names).items()
    }
    return {
        "sizes": asdict(sizes),
        "threads": th.get_num_threads(),
        "learning_runs_alive": disturbed_by,
        "load_average": [round(load_before, 2), round(os.getloadavg()[0], 2)],
        "versions": versions(),
        "machine": machine(),
        "records": records,
    }


def _record(experiment: str, sizes: Sizes, contenders: Collection[str]) -> Record:
    started = time.perf_counter()
    record: Record
    try:
        record = EXPERIMENTS[experiment](sizes, contenders)
    except RuntimeError as error:  # the others must not be lost
        record = {"error": str(error)}
    outcome = f"FAILED: {record['error']}" if "error" in record else "done"
    print(f"{experiment}: {outcome}, {time.perf_counter() - started:.0f} s", flush=True)
    return record


def write(measurement: Measurement, path: Path) -> None:
    """Write a measurement as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(measurement, indent=1, allow_nan=False) + "\n")


def read(path: Path) -> Measurement:
    """Read what :func:`write` wrote."""
    measurement: Measurement = json.loads(path.read_text())
    return measurement
