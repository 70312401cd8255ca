"""
Change one hyperparameter at a time on a cheap task, and draw what it does.

    python -m benchmarks.settings             # the runs that are missing, then the pictures
    python -m benchmarks.settings --redraw    # the pictures alone

The runs are made one after the other; a command that was stopped goes on where it was.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch as th

from benchmarks.settings.figures import draw
from benchmarks.settings.sweep import BASE, Row, cells, row_of
from benchmarks.settings.table import table

HERE = Path("benchmarks", "settings")


def read(path: Path) -> list[Row]:
    """
    Read the runs that there are.

    :param path: of their file
    :return: the rows; none if there is no file
    :raises ValueError: they were made with another base
    """
    if not path.exists():
        return []
    stored = json.loads(path.read_text())
    if stored["base"] != json.loads(json.dumps(asdict(BASE))):
        raise ValueError(f"{path} holds runs with another base; move it away to start anew")
    rows: list[Row] = stored["runs"]
    return rows


def write(path: Path, rows: list[Row]) -> None:
    """
    Write the runs, so that the file is always a whole one.

    :param path: of their file
    :param rows: the runs
    """
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(f'{{"base":{json.dumps(asdict(BASE))},\n"runs":[\n{lines}\n]}}\n')
    temporary.replace(path)


def main(arguments: list[str] | None = None) -> int:
    """
    Carry out the command line.

    :param arguments: of it; None: those the process got
    :return: the exit status
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.settings",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--redraw", action="store_true", help="make no run")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of runs and pictures")
    options = parser.parse_args(arguments)
    th.set_num_threads(1)
    path = options.out / "results.json"
    rows = read(path)
    if not options.redraw:
        options.out.mkdir(parents=True, exist_ok=True)
        for cell in cells():
            if not cell.is_in(rows):
                rows.append(row_of(cell))
                write(path, rows)
                print(cell, f"{rows[-1]['final_return']:.0f}", flush=True)
    if not rows:
        print(f"error: {path} holds no runs", file=sys.stderr)
        return 2
    (options.out / "table.md").write_text(table(rows))
    print(*draw(rows, options.out), options.out / "table.md", sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
