"""The runs: which there are, and how one is made."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from benchmarks.learning.configuration import Configuration
from benchmarks.learning.single_run import perform

BASE = Configuration(
    algorithm="trpo",
    environment="HalfCheetah-v5",
    steps=100_000,
    n_envs=4,
    normalize={},
    settings={
        "n_steps": 512,
        "gamma": 0.99,
        "target_kl": 0.03,
        "cg_damping": 0.1,
        "n_critic_updates": 10,
        "learning_rate": 1e-3,
        "policy_kwargs": {"log_std_init": -0.5},
    },
)
LEVELS: dict[str, Sequence[float]] = {
    "target_kl": (0.003, 0.01, 0.03, 0.1, 0.3),
    "cg_damping": (0.001, 0.01, 0.1, 1.0, 10.0),
    "n_steps": (128, 256, 512, 1024, 2048),
    "n_critic_updates": (1, 3, 10, 30),
}
"""Of each setting, the base's among them."""
SEEDS = (200, 201, 202, 203, 204)

Row = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """
    A run to make.

    :param changes: of the base; empty for the base itself
    :param seed: of the training
    """

    changes: dict[str, float]
    seed: int

    def is_in(self, rows: Sequence[Row]) -> bool:
        """Tell whether a row of this run is there."""
        return any(row["changes"] == self.changes and row["seed"] == self.seed for row in rows)


def cells() -> Iterator[Cell]:
    """Yield every run: all settings with the first seed, then with the next."""
    for seed in SEEDS:
        yield Cell({}, seed)
        for name, levels in LEVELS.items():
            for level in levels:
                if level != BASE.settings[name]:
                    yield Cell({name: level}, seed)


def row_of(cell: Cell, base: Configuration = BASE) -> Row:
    """
    Make a run.

    :param cell: which
    :param base: whose settings it changes
    :return: plain JSON: what was changed, the seed and what came of it; of figures of updates the
        mean over the run
    """
    run = perform(base.changed(cell.changes), cell.seed)
    updates = {name: column for name, column in (run.updates or {}).items() if name != "rows"}
    return {
        "changes": cell.changes,
        "seed": cell.seed,
        "steps": run.steps,
        "n_updates": len(updates["step"]),
        "final_return": run.evaluation["mean"],
        "evaluation_returns": run.evaluation["returns"],
        "training_return": run.train_last100,
        "skipped_updates": run.skipped_updates,
        "last_std": updates["std"][-1],
        "means": {
            name: fmean(value for value in column if value is not None)
            for name, column in updates.items()
            if name != "step"
        },
        "cpu_s": run.cpu_s,
        "versions": run.versions,
        "machine": run.machine,
    }


def of_setting(rows: Sequence[Row], name: str) -> dict[float, list[Row]]:
    """
    Collect the runs in which one setting was changed alone, the base's among them.

    :param rows: of any runs
    :param name: of the setting
    :return: the runs by level, in order
    """
    levels = {}
    for level in LEVELS[name]:
        changes = {} if level == BASE.settings[name] else {name: level}
        if runs := [row for row in rows if row["changes"] == changes]:
            levels[level] = runs
    return levels
