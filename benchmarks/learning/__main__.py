"""
Run the learning benchmark, or make its report.

    python -m benchmarks.learning run [--suite mujoco] [--only trpo,ppo] [--env Hopper-v5]
    python -m benchmarks.learning run --steps 2048                     # a short trial
    python -m benchmarks.learning run --label wide --setting '{"target_kl": 0.06}'    # tuning
    python -m benchmarks.learning run --experiment ablation
    python -m benchmarks.learning steps             # that ours takes in PPO's time (pace.py)
    python -m benchmarks.learning report
"""

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from benchmarks.learning import experiments, pace, selection
from benchmarks.learning.runner import do_missing
from benchmarks.learning.suites import ALGORITHMS, ALL_OF_OURS, FIRST_TUNING_SEED, SUITES, TASKS

HERE = Path("benchmarks", "learning")
RESULTS, TRIALS, TUNING, EXPERIMENTS, REPORT = (
    HERE / name for name in ("results", "trials", "tuning", "experiments", "report")
)
PACES = HERE / "paces" / "steps-10240"


def _names(allowed: list[str]) -> Any:
    """Return an argument type: names of a list, separated by commas."""

    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in allowed]:
            raise argparse.ArgumentTypeError(f"must be among {', '.join(allowed)}, got {unknown}")
        return names

    return parse


def _seeds(text: str) -> list[int]:
    seeds = list(dict.fromkeys(int(part) for part in text.split(",")))  # each once
    if min(seeds) < 0:
        raise argparse.ArgumentTypeError(f"must be >= 0, got {text}")
    return seeds


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be >= 1, got {number}")
    return number


def _setting(text: str) -> dict[str, Any]:
    try:
        setting = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"must be JSON: {error}") from error
    if not isinstance(setting, dict):
        raise argparse.ArgumentTypeError(f"must be a JSON object, got {text}")
    return setting


def _label(text: str) -> str:
    if not text.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise argparse.ArgumentTypeError(f"must be of letters, digits and -_. alone, got {text!r}")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.learning",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="do the runs that are missing")
    run.add_argument("--only", type=_names(list(ALGORITHMS)), help=f"of {','.join(ALGORITHMS)}")
    run.add_argument("--suite", choices=list(SUITES), help="one suite of tasks")
    run.add_argument("--env", type=_names(TASKS), help="some tasks, separated by commas")
    run.add_argument(
        "--seeds",
        type=_seeds,
        help="seeds, separated by commas (default: all; of trials 0; of tuning runs 100 to 102)",
    )
    run.add_argument("--jobs", type=_positive, default=2, help="runs at a time (default: 2)")
    run.add_argument("--steps", type=_positive, help="a trial of this length, in another folder")
    run.add_argument("--label", type=_label, help="name of a tuning run: its folder")
    run.add_argument("--setting", type=_setting, help="JSON of the settings that --label changes")
    run.add_argument(
        "--experiment", choices=experiments.NAMES, help="runs of ours beside the table"
    )
    run.add_argument(
        "--out",
        type=Path,
        help=f"folder of the runs, for one command at a time (default: {RESULTS}, {TRIALS}, "
        f"{TUNING} or {EXPERIMENTS})",
    )
    report = commands.add_parser("report", help="make tables and pictures from the finished runs")
    report.add_argument("--results", type=Path, default=RESULTS, help="folder of the runs")
    report.add_argument(
        "--experiments", type=Path, default=EXPERIMENTS, help="folder of the runs beside the table"
    )
    report.add_argument("--paces", type=Path, default=PACES, help="folder of short runs for times")
    report.add_argument("--out", type=Path, default=REPORT, help="folder of the report")
    steps = commands.add_parser("steps", help="print how many steps ours takes in a peer's time")
    steps.add_argument("--paces", type=Path, default=PACES, help="folder of the short runs")
    steps.add_argument("--peer", choices=list(ALGORITHMS), default="ppo", help="whose time")
    return parser


def _jobs(options: argparse.Namespace) -> tuple[Path, list[selection.Job]]:
    """Return the folder and the jobs that the options mean; trials never mix with results."""
    tasks = list(SUITES[options.suite]) if options.suite else TASKS
    environments = [task for task in tasks if options.env is None or task in options.env]
    if options.setting is not None and options.label is None:
        raise ValueError("--setting needs a --label, the name of the tuning run's folder")
    if options.experiment is not None:
        given = [name for name in ("only", "steps", "label", "setting") if vars(options)[name]]
        if given:
            raise ValueError(f"--experiment has its own settings, got --{given[0]} beside it")
        folder = options.out or EXPERIMENTS
        return folder, experiments.jobs(options.experiment, folder, environments, options.seeds)
    algorithms = options.only or (list(ALL_OF_OURS) if options.label else list(ALGORITHMS))
    if options.label is None and options.steps is None:
        folder = options.out or RESULTS
        return folder, selection.reported_jobs(folder, algorithms, environments, options.seeds)
    if options.label is not None:
        folder = (options.out or TUNING) / options.label
        seeds = options.seeds or list(range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + 3))
        selection.check_tuning_seeds(seeds)
    else:
        folder, seeds = options.out or TRIALS, options.seeds or [0]
    if options.steps is not None:
        folder = folder / f"steps-{options.steps}"
    jobs = selection.trial_jobs(
        folder,
        algorithms,
        environments,
        seeds=seeds,
        steps=options.steps,
        changes=options.setting or {},
    )
    return folder, jobs


def _run(options: argparse.Namespace) -> int:
    folder, jobs = _jobs(options)
    if not jobs:
        raise ValueError("no run of the benchmark matches --only, --suite, --env and --seeds")
    failed = do_missing(folder, jobs, n_jobs=options.jobs)
    for job in failed:
        print(f"failed: {job}", file=sys.stderr)
    return 1 if failed else 0


def _report(options: argparse.Namespace) -> int:
    from benchmarks.learning import idle  # it simulates
    from benchmarks.learning.report import make_report  # matplotlib is for the report alone

    command = shlex.join(["python", "-m", "benchmarks.learning", *sys.argv[1:]])
    folders = options.results, options.experiments, options.paces
    make_report(*folders, idle=idle.read(idle.RETURNS), out=options.out, command=command)
    return 0


def _steps(options: argparse.Namespace) -> int:
    paces = pace.seconds_per_step(pace.short_runs(options.paces))
    print(pace.steps_in_peers_time(paces, options.peer))
    return 0


def main() -> int:
    """Carry out the command line; return the exit status."""
    options = _parser().parse_args()
    try:
        commands = {"run": _run, "report": _report, "steps": _steps}
        return commands[options.command](options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where this one stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
