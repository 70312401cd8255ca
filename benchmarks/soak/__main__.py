"""
Train for hours under random faults and kills.

    python -m benchmarks.soak                           # two hours, for the documentation
    python -m benchmarks.soak --minutes 10
    python -m benchmarks.soak --report runs/soak        # the table of what is there so far
"""

import argparse
import json
import signal
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.learning.circumstances import machine, versions
from benchmarks.soak.report import measured, missed, table
from benchmarks.soak.supervisor import Supervisor
from benchmarks.soak.tasks import TASKS

RESULTS = Path("benchmarks", "soak", "results.json")
FULL_MINUTES = 120.0


def soak(supervisor: Supervisor, minutes: float) -> bool:
    """
    Train until the time is over, and the round that is under way.

    :param supervisor: of the workers
    :param minutes: how long
    :return: whether it came to its end
    """
    ends = time.monotonic() + 60 * minutes
    try:
        for number in count():
            supervisor.round(number, list(TASKS)[number % len(TASKS)])
            if time.monotonic() > ends:
                return True
    except KeyboardInterrupt:
        print("interrupted: this is what there is")
    finally:
        supervisor.close()
    return False


def main(arguments: list[str] | None = None) -> int:
    """
    Carry out the command line.

    :param arguments: of it; None: those the process got
    :return: 0, or 1 if a mark was missed
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=FULL_MINUTES)
    parser.add_argument("--seed", type=int, default=0, help="of what is thrown when")
    parser.add_argument("--size", type=float, default=1.0, help="share of a training's steps")
    parser.add_argument("--per-rollout", type=float, default=0.12, help="how likely a fault is")
    parser.add_argument("--out", type=Path, default=Path("runs", "soak"), help="an empty folder")
    parser.add_argument("--json", type=Path, help="where the figures go (out/results.json)")
    parser.add_argument("--report", type=Path, help="only report on a folder of earlier")
    options = parser.parse_args(arguments)
    out = options.report or options.out
    around: dict[str, Any] = {"versions": versions(), "machine": machine()}
    whole = True
    if options.report is None:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            parser.error(f"--out must be an empty folder, got {out}")
        started = time.time()
        # kill without a number ends it as Ctrl-C does: with a report.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        supervisor = Supervisor(
            out, options.seed, size=options.size, per_rollout=options.per_rollout
        )
        whole = soak(supervisor, options.minutes)
        around["minutes"], around["seed"] = (time.time() - started) / 60, options.seed
    found = {**around, **measured(out)}
    found["missed"] = missed(found, with_scores=options.size >= 1)
    found["whole"] = whole
    results = options.json or out / "results.json"
    results.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{table(found)}\n\n{results}")
    for mark in found["missed"]:
        print(f"MISSED: {mark}")
    return 1 if found["missed"] or not whole else 0


if __name__ == "__main__":
    sys.exit(main())
