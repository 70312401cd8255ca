"""What the charts show besides lines."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sb3_trpo.report.logs import Array
from sb3_trpo.report.runs import EPISODES_PER_MEAN, Run, bound, phase_seconds
from sb3_trpo.report.theme import RUN_GID, Palette, colour

MOST_BANDS = 3
MOST_MARKS = 120
BAND = (10, 90)
PHASES = {"rollout": 0.8, "policy": 0.5, "critic": 0.2, "rest": 0.0}
"""Parts of an update to the opacity of their bars."""


def evaluations_and_spread(axes: Axes, runs: Sequence[Run], palette: Palette) -> None:
    """
    Draw evaluations as circles, and for few runs the spread of the training episodes.

    :param axes: to draw in
    :param runs: of the page
    :param palette: of the chart
    """
    for number, run in enumerate(runs):
        style: dict[str, Any] = {"color": colour(palette, number), "gid": RUN_GID.format(number)}
        evaluations = run.series("eval/mean_reward")
        if evaluations is not None:
            axes.plot(
                evaluations.steps, evaluations.values, "o", ms=4, mfc="none", mew=1.1, **style
            )
        if len(runs) <= MOST_BANDS and run.episodes is not None and len(run.episodes.returns):
            steps, low, high = _spread(run.episodes.steps, run.episodes.returns)
            axes.fill_between(steps, low, high, alpha=0.14, lw=0, **style)


def _spread(steps: Array, returns: Array) -> tuple[Array, Array, Array]:
    """Return quantiles of the last hundred episodes, at evenly spread ones."""
    ends = np.unique(np.linspace(1, len(returns), MOST_MARKS).astype(int))
    bands = [np.percentile(returns[max(end - EPISODES_PER_MEAN, 0) : end], BAND) for end in ends]
    low, high = np.array(bands).T
    return steps[ends - 1], low, high


def key_of_return(runs: Sequence[Run]) -> str:
    """
    Say what the marks beside the return mean.

    :param runs: of the page
    :return: as much as there is
    """
    parts = []
    if any(run.series("eval/mean_reward") is not None for run in runs):
        parts.append("Circles: evaluations.")
    if len(runs) <= MOST_BANDS and any(run.episodes is not None for run in runs):
        parts.append("Shaded: 10 % to 90 % of those hundred episodes, from the monitor files.")
    return " ".join(parts)


def key_of_kl(runs: Sequence[Run]) -> str:
    """
    Say what the marks beside the KL mean.

    :param runs: of the page
    :return: as much as there is
    """
    parts = []
    if any(bound(run) is not None for run in runs):
        parts.append("Dotted: δ.")
    searches = [run.series("train/is_line_search_success") for run in runs]
    if any(series is not None and (series.values == 0).any() for series in searches):
        parts.append("Crosses at the bottom: updates whose search found no step.")
    return " ".join(parts)


def bound_and_outcomes(axes: Axes, runs: Sequence[Run], palette: Palette) -> None:
    """
    Draw δ, and a cross for each update whose search found no step.

    :param axes: to draw in
    :param runs: of the page
    :param palette: of the chart
    """
    for number, run in enumerate(runs):
        style: dict[str, Any] = {"color": colour(palette, number), "gid": RUN_GID.format(number)}
        delta = bound(run)
        if delta is not None:
            axes.plot(delta.steps, delta.values, ls=":", lw=1.1, **style)
        success = run.series("train/is_line_search_success")
        if success is None:
            continue
        rejected = success.steps[success.values == 0]
        if len(rejected):
            shown = rejected[np.unique(np.linspace(0, len(rejected) - 1, MOST_MARKS).astype(int))]
            height = np.full(len(shown), 0.03 + 0.05 * (number % 6))
            where = axes.get_xaxis_transform()
            axes.plot(shown, height, "x", ms=4, mew=1.1, transform=where, **style)


def phase_bars(figure: Figure | None, runs: Sequence[Run], palette: Palette) -> float:
    """
    Draw a bar of a mean update's seconds for each run that logs them.

    :param figure: to draw in, the whole of it; None: only measure
    :param runs: of the page
    :param palette: of the chart
    :return: its height in inches; 0: no run logs them
    """
    timed = [(i, seconds) for i, run in enumerate(runs) if (seconds := phase_seconds(run))]
    height = 0.75 + 0.4 * len(timed) if timed else 0.0
    if figure is None or not timed:
        return height
    axes = figure.subplots()
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    for row, (number, seconds) in enumerate(timed):
        left, gid = 0.0, RUN_GID.format(number)
        for phase, opacity in PHASES.items():
            width = seconds.get(phase, 0.0)
            (bar,) = axes.barh(
                -row, width, 0.4, left, fc=(palette.ink, opacity), ec=palette.ink, lw=0.7
            )
            bar.set_gid(gid)
            left += width
        name = shortened(runs[number].name, 44)
        axes.text(0, -row + 0.27, name, parse_math=False, va="bottom", gid=gid)
    axes.set(yticks=[], ylim=(0.35 - len(timed), 0.85), xlabel="seconds per update")
    drawn = [phase for phase in PHASES if any(phase in seconds for _, seconds in timed)]
    keys = [Patch(fc=(palette.ink, PHASES[phase]), ec=palette.ink, lw=0.7) for phase in drawn]
    axes.legend(
        keys, drawn, ncols=4, loc="lower left", bbox_to_anchor=(-0.02, 1.0), columnspacing=1
    )
    return height


def shortened(name: str, length: int) -> str:
    """
    Take out the middle of a name that is too long for a chart.

    :param name: any
    :param length: to keep at most
    :return: the name, or its beginning and its end
    """
    if len(name) <= length:
        return name
    head = (length - 1) // 2
    return f"{name[:head]}…{name[len(name) - (length - 1 - head) :]}"
