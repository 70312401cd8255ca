"""
Measure how fast updates and whole runs are, beside the other implementations.

    python -m benchmarks.speed                  # some twenty minutes, for the README
    python -m benchmarks.speed --quick          # under two minutes, to see where one stands
    python -m benchmarks.speed --only actor,update
    python -m benchmarks.speed --redraw benchmarks/speed/results.json
"""

import argparse
import sys
from pathlib import Path

import torch as th

from benchmarks.speed.figures import draw
from benchmarks.speed.measurement import Measurement, measure, read, write
from benchmarks.speed.quiet import says_quiet, with_one_thread
from benchmarks.speed.rows import NAMES
from benchmarks.speed.sizes import FULL, QUICK, SIZES
from benchmarks.speed.table import report

RESULTS = Path("benchmarks", "speed", "results.json")
PASSING = Path("runs", "speed")  # for what is not to be quoted


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in NAMES]:
        raise argparse.ArgumentTypeError(f"must be among {', '.join(NAMES)}, got {unknown}")
    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    how_much = parser.add_mutually_exclusive_group()
    how_much.add_argument("--sizes", choices=list(SIZES), default=FULL.name, help="how much")
    how_much.add_argument(
        "--quick", dest="sizes", action="store_const", const=QUICK.name, help="--sizes quick"
    )
    parser.add_argument("--only", type=_names, help=f"some rows, of {','.join(NAMES)}")
    parser.add_argument(
        "--out",
        type=Path,
        help=f"results as JSON, pictures beside it (default: {RESULTS}, or in {PASSING} for less "
        "than a full measurement)",
    )
    parser.add_argument("--noisy", action="store_true", help="measure beside learning runs")
    parser.add_argument("--redraw", type=Path, help="table and pictures of a JSON made earlier")
    return parser


def _show(measurement: Measurement, folder: Path) -> None:
    text = report(measurement)
    (folder / "table.md").write_text(f"{text}\n")
    print(f"\n{text}\n")
    for picture in draw(measurement, folder):
        print(picture)


def main(arguments: list[str] | None = None) -> int:
    """
    Carry out the command line.

    :param arguments: of it; None: those the process got
    :return: the exit status
    """
    options = _parser().parse_args(arguments)
    if options.redraw is not None:
        _show(read(options.redraw), options.redraw.parent)
        return 0
    if not (options.noisy or says_quiet()):
        return 2
    is_whole = options.only is None and options.sizes == FULL.name
    out = options.out or (RESULTS if is_whole else PASSING / f"{options.sizes}.json")
    names = options.only or [name for name in NAMES if name != "gpu" or th.cuda.is_available()]
    measurement = measure(SIZES[options.sizes], names)
    write(measurement, out)
    _show(measurement, out.parent)
    print(out)
    return 0


if __name__ == "__main__":
    with_one_thread("benchmarks.speed")
    sys.exit(main())
