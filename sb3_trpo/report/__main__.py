"""The command line of the report."""

import argparse
import sys
from pathlib import Path

from sb3_trpo.report.making import DEFAULT_NAME, make_report


def parser_of_options() -> argparse.ArgumentParser:
    """Say what the command line takes."""
    parser = argparse.ArgumentParser(
        prog="python -m sb3_trpo.report",
        description="Turn the logs of runs into one HTML page that opens offline, and PNGs.",
        epilog="Reads progress.csv, TensorBoard event files and monitor files, whichever are "
        "there, and hyperparameters from a saved model or from rl_zoo3's config.yml.",
    )
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN_DIR",
        help="folder of a run, or of several; A+B for one run whose logs lie in two folders",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path(DEFAULT_NAME),
        help="the page, or a folder for it; PNGs go into a folder beside it (default: %(default)s)",
    )
    parser.add_argument("--title", default="", help="heading of the page (default: the runs)")
    parser.add_argument(
        "--smooth",
        type=int,
        default=1,
        metavar="N",
        help="average lines over N rows, the raw line faint behind (default: %(default)s, none)",
    )
    return parser


def main(arguments: list[str]) -> int:
    """
    Make a report.

    :param arguments: of the command line
    :return: exit status
    """
    parser = parser_of_options()
    options = parser.parse_args(arguments)
    try:
        report = make_report(
            options.runs, output=options.output, title=options.title, smooth=options.smooth
        )
    except (ValueError, OSError) as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2
    print(f"{report.page} and {len(report.pictures)} pictures in {report.pictures[0].parent}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
