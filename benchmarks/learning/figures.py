"""Learning curves: one panel per task, one line per algorithm."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes as Panel
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.learning.pace import Paces
from benchmarks.learning.store import Run
from benchmarks.learning.suites import ALGORITHMS

# Told apart by readers with any colour vision (Okabe and Ito); a variant has its kind's colour.
_BLUE, _ORANGE, _GREEN, _PINK = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
COLOURS = dict(
    zip(ALGORITHMS, (_BLUE, _ORANGE, _GREEN, _PINK, _BLUE, _GREEN, _BLUE, _GREEN), strict=True)
)
GRID_POINTS = 150
WINDOW = 0.04  # of a run, over which episodes are averaged
STYLE: Any = {
    "svg.hashsalt": "sb3_trpo",  # the same ids in every file
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 9,
}


@dataclass(frozen=True)
class Axis:
    """
    What a curve is drawn over.

    :param label: with the unit
    :param unit: steps, or seconds, in one of the unit
    :param is_time: whether it is of seconds instead of steps
    """

    label: str
    unit: float
    is_time: bool = False


OVER_STEPS = Axis("thousand steps", 1e3)
OVER_MINUTES = Axis("CPU minutes", 60.0, is_time=True)
OVER_SECONDS = Axis("CPU seconds", 1.0, is_time=True)


def smooth(
    x: np.ndarray, y: np.ndarray, weights: np.ndarray, *, grid: np.ndarray, window: float
) -> np.ndarray:
    """
    Average the points that lie within a window before each grid point.

    :param x: where the points are, ascending
    :param y: their values; NaN is left out
    :param weights: episodes that each stands for
    :param grid: where to look, ascending
    :param window: width, in units of ``x``
    :return: a value per grid point; empty windows are bridged, NaN before the first point
    """
    present = np.isfinite(y)
    x, y, weights = x[present], y[present], weights[present]
    counts = np.concatenate([[0.0], np.cumsum(weights)])
    sums = np.concatenate([[0.0], np.cumsum(weights * y)])
    first = np.searchsorted(x, grid - window, side="right")
    last = np.searchsorted(x, grid, side="right")
    inside = counts[last] - counts[first]
    known = inside > 0
    if not known.any():
        return np.full(len(grid), np.nan)
    means = (sums[last] - sums[first])[known] / inside[known]
    return np.asarray(np.interp(grid, grid[known], means, left=np.nan))


def curves(runs: Sequence[Run]) -> tuple[np.ndarray, np.ndarray]:
    """
    Bring the training curves of several seeds onto one grid.

    :param runs: of one algorithm on one task
    :return: the grid, in steps up to the end of the shortest run, and a row of returns per seed
    """
    grid = np.linspace(0.0, min(run.steps for run in runs), GRID_POINTS + 1)[1:]
    rows = []
    for run in runs:
        x, y, rows_of = (np.asarray(run.curve[k], float) for k in ("step", "return", "rows"))
        rows.append(smooth(x, y, rows_of, grid=grid, window=WINDOW * run.steps))
    return grid, np.asarray(rows)


def lines(
    runs: Sequence[Run], axis: Axis, paces: Paces
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """
    Bring the training curves of several algorithms onto one axis.

    :param runs: on one task
    :param axis: what to draw over
    :param paces: that turn steps into seconds
    :return: by algorithm, in the order of ``ALGORITHMS``: positions in units of the axis from where
        all seeds have finished an episode, and a row of returns per seed; on an axis of time
        without algorithms of unknown pace
    """
    with_curve = [run for run in runs if run.curve["step"]]
    found = {}
    for algorithm in ALGORITHMS:
        of_algorithm = [run for run in with_curve if run.algorithm == algorithm]
        if not of_algorithm:
            continue
        pace = paces.get((algorithm, of_algorithm[0].environment)) if axis.is_time else 1.0
        if pace is not None:
            grid, rows = curves(of_algorithm)
            started = ~np.isnan(rows).any(axis=0)
            found[algorithm] = (grid[started] * pace / axis.unit, rows[:, started])
    return found


def draw(runs: Sequence[Run], tasks: Sequence[str], axis: Axis, paces: Paces, stem: Path) -> None:
    """
    Draw a suite as PNG and SVG: the mean over seeds, within a band from the lowest to the highest.

    :param runs: finished runs
    :param tasks: ids of the suite's tasks, in order
    :param axis: what to draw over
    :param paces: that turn steps into seconds
    :param stem: the files' path, less the suffix
    """
    with mpl.rc_context(STYLE):
        columns = 2 if len(tasks) == 4 else 3
        n_rows = -(-len(tasks) // columns)
        figure = Figure(figsize=(3.4 * columns, 2.5 * n_rows + 0.4), layout="constrained")
        panels = figure.subplots(n_rows, columns, squeeze=False).flatten()
        shown: set[str] = set()
        for panel, task in zip(panels, tasks, strict=False):
            found = lines([run for run in runs if run.environment == task], axis, paces)
            _draw_panel(panel, found, task, axis)
            shown |= found.keys()
        for panel in panels[::columns]:
            panel.set_ylabel("return of training episodes")
        for panel in panels[len(tasks) :]:
            panel.axis("off")
        _draw_legend(figure, shown)
        figure.savefig(stem.with_suffix(".png"), dpi=130, metadata={"Software": None})
        figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})


def _draw_panel(
    panel: Panel, found: dict[str, tuple[np.ndarray, np.ndarray]], task: str, axis: Axis
) -> None:
    for algorithm, (x, rows) in found.items():
        colour = COLOURS[algorithm]
        panel.plot(x, rows.mean(axis=0), color=colour, lw=1.5)
        panel.fill_between(x, rows.min(axis=0), rows.max(axis=0), color=colour, alpha=0.15, lw=0)
    panel.set(title=task, xlabel=axis.label)
    panel.set_xlim(left=0)
    panel.grid(alpha=0.3, lw=0.5)
    if not panel.lines:
        panel.text(0.5, 0.5, "no run yet", transform=panel.transAxes, ha="center", color="0.5")


def _draw_legend(figure: Figure, present: set[str]) -> None:
    shown = [algorithm for algorithm in ALGORITHMS if algorithm in present]
    handles = [Line2D([], [], color=COLOURS[algorithm], lw=2) for algorithm in shown]
    labels = [ALGORITHMS[algorithm] for algorithm in shown]
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
