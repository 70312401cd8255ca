"""The report's sections on our runs beside the tables."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.learning import tables
from benchmarks.learning.experiments import (
    ABLATION,
    EQUAL_TIME,
    FRESH,
    OWN,
    SEEDS,
    VARIANTS,
    jobs,
)
from benchmarks.learning.marks import marks_table
from benchmarks.learning.pace import Paces
from benchmarks.learning.selection import finished
from benchmarks.learning.store import Run
from benchmarks.learning.suites import ALGORITHMS, OURS, SUITES

COMMAND = "python -m benchmarks.learning run --experiment"

FRESH_TEXT = f"""## On seeds that no choice was made on

{ALGORITHMS[OURS]} on seeds {SEEDS[FRESH][0]} to {SEEDS[FRESH][-1]} (`{COMMAND}
{FRESH}`), the others' runs as above."""

OWN_TEXT = f"""## With a setting of their own

On these tasks one setting for all costs much. {ALGORITHMS[OURS]} with changes found on tuning
seeds, on the seeds of the table (`{COMMAND} {OWN}`); the others' settings are
for the task, too."""

EQUAL_TIME_TEXT = f"""## As long as PPO takes

{ALGORITHMS[OURS]} for as many steps as fit into the time in which {ALGORITHMS["ppo"]} takes its
own, schedules set for that length, the mean at the end of as many policies (`{COMMAND}
{EQUAL_TIME}`). CPU minutes are steps at the paces of the pictures over time."""

ABLATION_TEXT = f"""## One part changed at a time

{ALGORITHMS[OURS]} with one setting changed, on the seeds of the ablation (`{COMMAND}
{ABLATION}`). Last column: the mean over tasks and seeds of the score divided by the mean score of
our setting on the same task and seeds, and in brackets its 95 % interval, as above."""


@dataclass(frozen=True)
class Beside:
    """
    Finished runs beside the tables.

    :param fresh: on seeds that no choice was made on
    :param own: with settings of their own for single tasks
    :param longer: as long as PPO takes
    :param variants: with one part changed, by name of ``VARIANTS``
    """

    fresh: list[Run]
    own: list[Run]
    longer: list[Run]
    variants: dict[str, list[Run]]

    def all_runs(self) -> list[Run]:
        """Return them all."""
        return [*self.fresh, *self.own, *self.longer, *itertools.chain(*self.variants.values())]


def read(folder: Path) -> Beside:
    """
    Read what is finished.

    :param folder: of the experiments; any number of runs may be missing
    :return: the runs
    :raises ValueError: one was made with other settings than today's
    """
    fresh, own, longer, changed = (
        jobs(name, folder, list(SUITES["mujoco"]), None)
        for name in (FRESH, OWN, EQUAL_TIME, ABLATION)
    )
    variants = {
        name: finished([job for job in changed if job.path.parents[1].name == name])
        for name in VARIANTS
    }
    return Beside(finished(fresh), finished(own), finished(longer), variants)


def sections(runs: Sequence[Run], extra: Beside, paces: Paces) -> list[str]:
    """
    Write the sections there are runs for.

    :param runs: finished runs of the tables
    :param extra: those beside them
    :param paces: that turn steps into time
    :return: pieces of Markdown
    """
    others = [run for run in runs if run.algorithm != OURS]
    found = [
        (FRESH_TEXT, extra.fresh, lambda: marks_table([*extra.fresh, *others], [])),
        (OWN_TEXT, extra.own, lambda: tables.own_settings(runs, extra.own)),
        (EQUAL_TIME_TEXT, extra.longer, lambda: tables.equal_time(runs, extra.longer, paces)),
        (
            ABLATION_TEXT,
            any(extra.variants.values()),
            lambda: tables.ablation(runs, extra.variants),
        ),
    ]
    return [piece for text, there, table in found if there for piece in (text, "", table(), "")]
