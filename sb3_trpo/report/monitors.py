"""Reading the files of SB3's ``Monitor``: one line an episode, one file an environment."""

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sb3_trpo.report.logs import Array, running_clock, whole_lines


@dataclass(frozen=True)
class Episodes:
    """
    The episodes of all environments of a run in the order in which they ended.

    :param steps: environment steps of all finished episodes so far (N,)
    :param seconds: since the first environment was made (N,)
    :param returns: of each episode (N,)
    :param environment: id of the task; empty if the files do not say
    :param notes: what was missing or cut off
    """

    steps: Array
    seconds: Array
    returns: Array
    environment: str
    notes: tuple[str, ...] = ()


def read_monitors(paths: Iterable[Path]) -> Episodes:
    """
    Read the files of one run.

    :param paths: of the files
    :return: their episodes together
    """
    notes: list[str] = []
    ends, lengths, returns, starts, environments = [], [], [], [], []
    for path in paths:
        start, environment, rows = _read(path, notes)
        starts.append(start)
        environments.append(environment)
        ends.append(start + running_clock(rows[:, 2]))
        lengths.append(rows[:, 1])
        returns.append(rows[:, 0])
    end = np.concatenate(ends)
    order = np.argsort(end, kind="stable")
    return Episodes(
        steps=np.cumsum(np.concatenate(lengths)[order]),
        seconds=end[order] - min(starts),
        returns=np.concatenate(returns)[order],
        environment=next((e for e in environments if e not in ("", "None")), ""),
        notes=tuple(notes),
    )


def _read(path: Path, notes: list[str]) -> tuple[float, str, Array]:
    """Return start and task of the header, and return, length, end (N, 3) of the episodes."""
    whole = whole_lines(path)
    notes.extend(whole.notes)
    lines = list(whole.lines)
    start, environment = 0.0, ""
    if lines and lines[0].startswith("#"):
        try:
            header = dict(json.loads(lines.pop(0)[1:]))
            start, environment = float(header["t_start"]), str(header.get("env_id", ""))
        except (KeyError, TypeError, ValueError):
            notes.append(f"{path.name}: its first line is broken, its start is unknown")
    rows, broken = [], 0
    for row in csv.DictReader(lines):
        try:
            rows.append((float(row["r"]), float(row["l"]), float(row["t"])))
        except (KeyError, TypeError, ValueError):
            broken += 1
    if broken:
        notes.append(f"{path.name}: {broken} broken lines are left out")
    episodes = np.array(rows, dtype=np.float64).reshape(-1, 3)
    finite = np.isfinite(episodes).all(axis=1)
    if not finite.all():
        notes.append(
            f"{path.name}: {(~finite).sum()} episodes without a finite return are left out"
        )
    return start, environment, episodes[finite]


def rolling(values: Array, window: int) -> Array:
    """
    Average each value with those before it.

    :param values: (N,), all finite
    :param window: how many values at most
    :return: (N,)
    """
    sums = np.cumsum(np.concatenate([[0.0], values]))
    ends = np.arange(1, len(values) + 1)
    begins = np.maximum(ends - window, 0)
    return np.asarray((sums[ends] - sums[begins]) / (ends - begins))
