"""Which runs a command is about, and which of them are still to do."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.learning import store
from benchmarks.learning.configuration import Configuration
from benchmarks.learning.configurations import configuration
from benchmarks.learning.models import constructor_defaults
from benchmarks.learning.suites import CELLS, FIRST_TUNING_SEED, seeds


@dataclass(frozen=True)
class Job:
    """
    A run to do.

    :param configuration: its settings
    :param seed: of the training
    :param path: where its file goes
    """

    configuration: Configuration
    seed: int
    path: Path

    def __str__(self) -> str:
        # The folder tells a variant from the others of its experiment.
        where = self.path.parents[1].name
        run = f"{self.configuration.algorithm} {self.configuration.environment} seed {self.seed}"
        return f"{where}: {run}"


@dataclass(frozen=True)
class Progress:
    """
    What is done of some jobs.

    :param finished: runs whose files are whole
    :param left: jobs to do, in order; those with a broken file among them
    """

    finished: list[store.Run]
    left: list[Job]


def reported_jobs(
    folder: Path, algorithms: Sequence[str], environments: Sequence[str], only: Sequence[int] | None
) -> list[Job]:
    """
    List runs of the benchmark itself: seed 0 of all, then seed 1, and so on.

    :param folder: of the results
    :param algorithms: keys of ``ALGORITHMS``
    :param environments: ids of tasks
    :param only: the seeds to do, as far as they are reported; None: all that are
    :return: the jobs
    """
    cells = _cells(algorithms, environments)
    reported = {cell: seeds(*cell) for cell in cells}
    wanted = sorted({seed for of_cell in reported.values() for seed in of_cell})
    return [
        job(folder, configuration(*cell), seed)
        for seed in wanted
        for cell in cells
        if seed in reported[cell] and (only is None or seed in only)
    ]


def trial_jobs(
    folder: Path,
    algorithms: Sequence[str],
    environments: Sequence[str],
    *,
    seeds: Sequence[int],
    steps: int | None,
    changes: dict[str, Any],
) -> list[Job]:
    """
    List runs that are never reported: shorter ones, or with other settings.

    :param folder: of these runs alone
    :param algorithms: keys of ``ALGORITHMS``
    :param environments: ids of tasks
    :param seeds: of the training
    :param steps: timesteps; None: the benchmark's
    :param changes: settings to change
    :return: the jobs, seed by seed
    """
    jobs = []
    for seed in seeds:
        for cell in _cells(algorithms, environments):
            changed = configuration(*cell).changed(changes)
            jobs.append(job(folder, replace(changed, steps=steps or changed.steps), seed))
    return jobs


def check_tuning_seeds(seeds: Sequence[int]) -> None:
    """
    Keep tuning away from what is reported.

    :param seeds: of a tuning run
    :raises ValueError: one of them is too low
    """
    low = [seed for seed in seeds if seed < FIRST_TUNING_SEED]
    if low:
        raise ValueError(f"seeds must be >= {FIRST_TUNING_SEED} for tuning, got {low}")


def progress(jobs: Sequence[Job]) -> Progress:
    """
    Look up what is done.

    :param jobs: to look up
    :return: what is done and what is left
    :raises ValueError: a run is there that was made with another seed or other settings than its
        job's
    """
    done, others = Progress([], []), []
    for job in jobs:
        try:
            run = store.read(job.path)
        except (FileNotFoundError, store.BrokenRunError):
            done.left.append(job)
            continue
        done.finished.append(run)
        defaults = constructor_defaults(job.configuration)
        if run.seed != job.seed or not run.is_of(job.configuration, defaults):
            others.append(job.path)
    if others:
        files = "".join(f"\n  {path}" for path in others)
        raise ValueError(
            "runs made with other settings or seeds, or for other steps (trials are not reported): "
            f"delete them to redo them:{files}"
        )
    return done


def finished(jobs: Sequence[Job]) -> list[store.Run]:
    """
    Read the runs that are finished; those that are broken are named and left out.

    :param jobs: to look up
    :return: their runs
    :raises ValueError: as :func:`progress`
    """
    done = progress(jobs)
    for left in done.left:
        if left.path.exists():
            print(f"left out, not a finished run: {left.path}", file=sys.stderr)
    return done.finished


def _cells(algorithms: Sequence[str], environments: Sequence[str]) -> list[tuple[str, str]]:
    """Return the cells of the table in its own order, whatever the order on the command line."""
    return [cell for cell in CELLS if cell[0] in algorithms and cell[1] in environments]


def job(folder: Path, settings: Configuration, seed: int) -> Job:
    """
    Return a run to do, with its place below a folder of results.

    :param folder: of the results
    :param settings: of the run
    :param seed: of the training
    :return: the job
    """
    path = store.path_of(folder, settings.algorithm, settings.environment, seed)
    return Job(settings, seed, path.resolve())
