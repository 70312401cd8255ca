"""
Train for hours under random faults and kills.

    python -m benchmarks.soak                        # two hours, for the documentation
    python -m benchmarks.soak --minutes 10
    python -m benchmarks.soak --report runs/soak     # the table of what is there so far

Ctrl-C, or kill, ends it early, with the table of what there is.
"""

import argparse
import json
import signal
import sys
import time
from itertools import count
from pathlib import Path

from benchmarks.learning.circumstances import machine, versions
from benchmarks.soak.marks import missed
from benchmarks.soak.report import measured, table
from benchmarks.soak.supervisor import Supervisor
from benchmarks.soak.tasks import TASKS

FULL_MINUTES = 120.0
CIRCUMSTANCES = "circumstances.json"


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


def report(out: Path, results: Path) -> bool:
    """
    Print and write the figures.

    :param out: folder of a soak
    :param results: JSON file that they are written to; the table goes beside it, as Markdown
    :return: whether all marks are met
    """
    around = json.loads((out / CIRCUMSTANCES).read_text())
    found = {**around, **measured(out)}
    found["missed"] = missed(found, with_scores=around["size"] >= 1)
    results.write_text(json.dumps(found, indent=1) + "\n")
    results.with_suffix(".md").write_text(table(found) + "\n")
    print(f"{table(found)}\n\n{results}")
    for mark in found["missed"]:
        print(f"MISSED: {mark}")
    return not found["missed"]


def parser() -> argparse.ArgumentParser:
    """Return that of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--minutes", type=float, default=FULL_MINUTES)
    made.add_argument("--seed", type=int, default=0, help="of what is thrown when")
    made.add_argument("--size", type=float, default=1.0, help="share of a training's steps")
    made.add_argument("--per-rollout", type=float, default=0.12, help="how likely a fault is")
    made.add_argument("--out", type=Path, default=Path("runs", "soak"), help="an empty folder")
    made.add_argument("--json", type=Path, help="where the figures go (results.json in out)")
    made.add_argument("--report", type=Path, metavar="OUT", help="only report on such a folder")
    return made


def main(arguments: list[str] | None = None) -> int:
    """
    Carry out the command line.

    :param arguments: of it; None: those the process got
    :return: 0; 1 if a mark was missed, or if it was interrupted
    """
    options = parser().parse_args(arguments)
    out = options.report or options.out
    is_whole = True
    if options.report is None:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            parser().error(f"--out must be an empty folder, got {out}")
        given = {name: getattr(options, name) for name in ("seed", "size", "per_rollout")}
        around = {**given, "versions": versions(), "machine": machine()}
        (out / CIRCUMSTANCES).write_text(json.dumps(around, indent=1) + "\n")
        # kill ends it as Ctrl-C does, which is not passed on to what runs in the background.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        is_whole = soak(Supervisor(out, **given), options.minutes)
    is_met = report(out, options.json or out / "results.json")
    return 0 if is_met and is_whole else 1


if __name__ == "__main__":
    sys.exit(main())
