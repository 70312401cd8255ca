"""
Measure how far more environments and more processes go.

    python -m benchmarks.scaling            # some ten minutes, for the documentation
    python -m benchmarks.scaling --quick    # a minute
    python -m benchmarks.scaling --redraw benchmarks/scaling/results.json
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch as th

from benchmarks.learning.circumstances import machine, versions
from benchmarks.scaling import environments, ranks
from benchmarks.scaling.report import report
from benchmarks.speed.quiet import learning_processes, says_quiet, with_one_thread

PARTS = ("contrib", "ranks", "messages", "dealing_s", "environments")
RESULTS = Path("benchmarks", "scaling", "results.json")
PASSING = Path("runs", "scaling", "quick.json")


def measure(sizes: environments.Sizes, n_updates: int, parts: Collection[str]) -> dict[str, Any]:
    """
    Measure.

    :param sizes: of the runs in one process
    :param n_updates: of the runs in several
    :param parts: which, of ``PARTS``
    :return: every raw number, and on what it was measured
    """
    th.set_num_threads(1)
    n_ranks = [1, 2, *(n for n in (4, 8, 16) if n <= (os.cpu_count() or 1))]
    how: dict[str, Callable[[], Any]] = {
        "contrib": lambda: environments.beside_contrib(sizes),
        "ranks": lambda: [
            ranks.learning(size, n_updates, *case) for case in ranks.CASES for size in n_ranks
        ],
        "messages": ranks.messages,
        "dealing_s": ranks.dealing_s,
        "environments": lambda: environments.by_kind_and_number(sizes),
    }
    around = {
        "learning_runs_alive": len(learning_processes()),
        "versions": versions(),
        "machine": machine(),
    }
    return {**around, **{part: how[part]() for part in PARTS if part in parts}}


def main(arguments: list[str] | None = None) -> int:
    """
    Carry out the command line.

    :param arguments: of it; None: those the process got
    :return: the exit status
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="little of everything, not to quote")
    parser.add_argument("--only", choices=PARTS, help="one part, beside the others' last figures")
    parser.add_argument("--noisy", action="store_true", help="measure beside learning runs")
    parser.add_argument("--redraw", type=Path, help="the tables of a JSON made earlier")
    options = parser.parse_args(arguments)
    if options.redraw is not None:
        print(report(json.loads(options.redraw.read_text())))
        return 0
    if not (options.noisy or says_quiet()):
        return 2
    sizes = environments.QUICK if options.quick else environments.FULL
    out = PASSING if options.quick else RESULTS
    out.parent.mkdir(parents=True, exist_ok=True)
    parts = [options.only] if options.only else PARTS
    measurement = json.loads(out.read_text()) if options.only else {}
    measurement.update(measure(sizes, 2 if options.quick else 20, parts))
    out.write_text(json.dumps(measurement, indent=1, allow_nan=False) + "\n")
    print(f"\n{report(measurement)}\n\n{out}")
    return 0


if __name__ == "__main__":
    with_one_thread("benchmarks.scaling")
    sys.exit(main())
