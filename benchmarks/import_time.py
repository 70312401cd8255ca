"""
What ``import sb3_trpo`` adds to the time of ``import stable_baselines3``.

``python -m benchmarks.import_time``. Each round is a fresh interpreter that imports the one, then
the other; bytecode is written, as it is where a wheel is installed. The processor's time is what to
look at on a machine that has other work as well.
"""

import argparse
import os
import statistics
import subprocess
import sys

CODE = """
import time
marks = [(time.perf_counter(), time.process_time())]
import stable_baselines3
marks.append((time.perf_counter(), time.process_time()))
import sb3_trpo
marks.append((time.perf_counter(), time.process_time()))
for before, after in zip(marks, marks[1:]):
    print(*(1e3 * (b - a) for a, b in zip(before, after)))
"""
COLUMNS = [
    "stable_baselines3, wall",
    "stable_baselines3, processor",
    "sb3_trpo, wall",
    "sb3_trpo, processor",
]


def measured() -> list[float]:
    """Milliseconds of one fresh interpreter, in the order of ``COLUMNS``."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    env["OMP_NUM_THREADS"] = "1"
    printed = subprocess.check_output([sys.executable, "-c", CODE], env=env, text=True)
    return [float(number) for number in printed.split()]


def main() -> None:
    """Print the median and the quartiles of each column, in milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    rounds = parser.parse_args().rounds
    measured()  # writes the bytecode
    rows = [measured() for _ in range(rounds)]
    for name, times in zip(COLUMNS, zip(*rows, strict=True), strict=True):
        low, median, high = statistics.quantiles(times, n=4, method="inclusive")
        print(f"{name:<30}{median:8.1f} ms   (quartiles {low:.1f} to {high:.1f})")


if __name__ == "__main__":
    main()
