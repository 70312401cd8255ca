"""
A process that trains: jobs come in as lines of JSON, and their outcomes go out.

    python -m benchmarks.soak.worker [--vitals FILE] [--mortal]
"""

import argparse
import json
import sys
import traceback
from pathlib import Path

import torch as th

from benchmarks.soak.training import Training
from benchmarks.soak.vitals import VitalsCallback


def main() -> None:
    """Work until the input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--vitals", type=Path)
    parser.add_argument("--mortal", action="store_true", help="it may be told to kill itself")
    options = parser.parse_args()
    th.set_num_threads(1)
    vitals = VitalsCallback(options.vitals)
    tell({"ready": True})
    for line in sys.stdin:
        try:
            outcome = Training(json.loads(line), vitals, may_die=options.mortal).run()
        except BaseException as error:  # the supervisor is to know of any
            traceback.print_exc()
            outcome = {"error": repr(error)[:500], "traceback": traceback.format_exc()[-3000:]}
        tell(outcome)


def tell(outcome: dict) -> None:
    """Write a line."""
    sys.stdout.write(json.dumps(outcome) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
