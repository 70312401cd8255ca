"""Logged figures as arrays: what the readers of all kinds of logs hand over."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """
    One key of a log.

    :param steps: environment steps of the rows (N,), increasing
    :param values: finite or not, as logged (N,)
    """

    steps: Array
    values: Array

    @classmethod
    def of(cls, steps: Array, values: Array) -> "Series":
        """
        Make a series of rows as written; of several at one step the last counts.

        :param steps: never decreasing (N,)
        :param values: (N,)
        :return: with each step once
        """
        last = np.append(np.diff(steps) > 0, True)[: len(steps)]
        return cls(steps[last], values[last])

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def finite(self) -> Array:
        """The values that are finite numbers."""
        return self.values[np.isfinite(self.values)]


@dataclass(frozen=True)
class Log:
    """
    What one log, or several merged, holds.

    :param series: key to figures
    :param texts: key to (step, text), for what is logged in words
    :param clock: seconds of training passed at each step; None: not logged
    :param hyperparameters: those that the log itself holds
    :param notes: what was missing, cut off or left out, for the reader
    """

    series: Mapping[str, Series] = field(default_factory=dict)
    texts: Mapping[str, tuple[tuple[float, str], ...]] = field(default_factory=dict)
    clock: Series | None = None
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lines:
    """
    The lines of a text log that were written whole.

    :param lines: without the last one, if it does not end
    :param notes: what was cut off
    """

    lines: list[str]
    notes: tuple[str, ...] = ()


def whole_lines(path: Path) -> Lines:
    """
    Read a text log; a crash may have cut its last line, whose numbers are then wrong.

    :param path: of the file
    :return: its whole lines
    """
    text = path.read_text(encoding="utf-8", errors="replace").replace("\0", "")
    lines = text.splitlines(keepends=True)
    if not lines or lines[-1].endswith("\n"):
        return Lines(lines)
    return Lines(lines[:-1], (f"{path.name}: the last line is cut off and left out",))


def kept_after_restarts(steps: Array) -> npt.NDArray[np.bool_]:
    """
    Tell which rows still count, where training went back to an earlier step and on from there.

    :param steps: of the rows, as written (N,)
    :return: False for a row that a later one with fewer steps supersedes (N,)
    """
    if len(steps) == 0:
        return np.ones(0, dtype=bool)
    lowest_from_here = np.minimum.accumulate(steps[::-1])[::-1]
    return np.asarray(steps <= lowest_from_here)


def running_clock(seconds: Array) -> Array:
    """
    Add up clocks that start from zero with each session.

    :param seconds: as logged (N,)
    :return: the same, never decreasing (N,)
    """
    back = np.diff(seconds, prepend=seconds[:1]) < 0
    previous = np.concatenate([seconds[:1], seconds[:-1]])
    return np.asarray(seconds + np.cumsum(np.where(back, previous, 0.0)))


def merged(first: Log, second: Log) -> Log:
    """
    Unite two logs of one run; where both have a key at a step, the first counts.

    :param first: preferred
    :param second: to fill in from
    :return: both
    """
    series = {
        key: _united(first.series.get(key), second.series.get(key))
        for key in (*first.series, *(key for key in second.series if key not in first.series))
    }
    return Log(
        series=series,
        texts={**second.texts, **first.texts},
        clock=second.clock if first.clock is None else first.clock,
        hyperparameters={**second.hyperparameters, **first.hyperparameters},
        notes=(*first.notes, *second.notes),
    )


def _united(first: Series | None, second: Series | None) -> Series:
    present = [series for series in (second, first) if series is not None]
    points = {
        step: value
        for series in present
        for step, value in zip(series.steps, series.values, strict=True)
    }
    steps = sorted(points)
    return Series(np.array(steps), np.array([points[step] for step in steps]))


def at_common_steps(first: Series, second: Series) -> tuple[Array, Array, Array]:
    """
    Pair two keys row by row.

    :param first: one key
    :param second: the other
    :return: steps, values of the first, values of the second, where both are finite
    """
    steps, i, j = np.intersect1d(first.steps, second.steps, return_indices=True)
    a, b = first.values[i], second.values[j]
    finite = np.isfinite(a) & np.isfinite(b)
    return steps[finite], a[finite], b[finite]
