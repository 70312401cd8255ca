"""Drawing the charts of a panel with matplotlib."""

import io
import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from sb3_trpo.report.logs import Array, Series
from sb3_trpo.report.marks import shortened
from sb3_trpo.report.monitors import rolling
from sb3_trpo.report.panels import Chart, Panel
from sb3_trpo.report.runs import Run
from sb3_trpo.report.theme import FIXED, RUN_GID, Palette, colour, line_style, settings

WIDTH = 3.9
"""Inches: as wide as a card of the page or a phone, so that letters keep their size."""
HEIGHT = {1: 2.5, 2: 3.8}
"""Inches, by the number of charts."""
MOST_POINTS = 600
"""Of a line; more than a card has pixels would only weigh."""
FAR_APART = 10.0
"""From which ratio to the lowest median on an "auto" scale is logarithmic."""
MOST_TICKS = 6
"""Of a logarithmic axis. No axis lets its length decide: the layout would go round in a circle."""
STEPS = [1, 2, 2.5, 5, 10]
"""Between ticks, times a power of ten."""
UNITS = ((7200.0, 3600.0, "hours"), (300.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))
"""Seconds from which on, seconds in it, name."""


@dataclass(frozen=True)
class Drawing:
    """
    What all charts of a page share.

    :param runs: of the page
    :param smooth: rows to average a line over; 1: none
    """

    runs: Sequence[Run]
    smooth: int = 1

    def figure(self, panel: Panel, palette: Palette) -> Figure:
        """
        Draw a panel.

        :param panel: which
        :param palette: its colours
        :return: the figure, to be saved under the same settings
        """
        charts = self.charts(panel)
        bars = panel.bars(None, self.runs, palette) if panel.bars else 0.0
        below = HEIGHT[len(charts)] if charts else 0.0
        figure = Figure(figsize=(WIDTH, bars + below), layout="constrained")
        heights = [bars, below] if bars else [below]
        parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False).flat
        if panel.bars and bars:
            panel.bars(parts[0], self.runs, palette)
        all_axes = parts[-1].subplots(len(charts), 1, sharex=True, squeeze=False).flat
        unit, name = self._x_axis(panel)
        for chart, axes in zip(charts, all_axes, strict=True):
            self._draw(chart, axes, palette, unit)
        _label_x(axes, name)
        return figure

    def _x_axis(self, panel: Panel) -> tuple[float, str]:
        """Return what one unit of the axis holds, and its name."""
        if panel.x == "steps":
            return 1.0, "environment steps"
        curves = [chart.curve(run) for chart in panel.charts for run in self.runs]
        longest = max(float(series.steps[-1]) for series in curves if series is not None)
        _, unit, name = next(u for u in UNITS if longest >= u[0])
        return unit, f"{name} of training"

    def charts(self, panel: Panel) -> list[Chart]:
        """
        Return those charts of a panel that some run has a line for.

        :param panel: which
        :return: from top to bottom
        """
        return [c for c in panel.charts if any(c.curve(run) is not None for run in self.runs)]

    def _draw(self, chart: Chart, axes: Axes, palette: Palette, unit: float) -> None:
        curves = [(number, chart.curve(run)) for number, run in enumerate(self.runs)]
        lines = [(number, series) for number, series in curves if series is not None]
        _set_scale(axes, chart, [series for _, series in lines])
        for height in chart.references:
            if height > 0 or axes.get_yscale() == "linear":
                axes.axhline(height, color=palette.ink, lw=0.8, alpha=0.5)
        for number, series in lines:
            finite = np.isfinite(series.values)
            steps, values = series.steps[finite] / unit, series.values[finite]
            style: dict[str, Any] = {
                "color": colour(palette, number),
                "gid": RUN_GID.format(number),
            }
            if self.smooth > 1:
                axes.plot(*thinned(steps, values), lw=0.7, alpha=0.3, **style)
                values = rolling(values, self.smooth)
            few: dict[str, Any] = {"marker": "o", "ms": 3.0} if len(values) < 3 else {}
            axes.plot(*thinned(steps, values), ls=line_style(number), **few, **style)
        if chart.mark:
            chart.mark(axes, self.runs, palette)
        axes.set_ylabel(chart.label)
        _keep_window(axes, chart)

    def png(self, panel: Panel) -> bytes:
        """
        Draw a panel for itself, with title and legend.

        :param panel: which
        :return: the file's content
        """
        with mpl.rc_context(settings(FIXED, panel.id)), warnings.catch_warnings():
            # A name may have letters that the font lacks; boxes stand for them then.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            figure = self.figure(panel, FIXED)
            figure.suptitle(panel.title)
            drawn = [
                number
                for number, run in enumerate(self.runs)
                if any(chart.curve(run) is not None for chart in panel.charts)
            ]
            handles = [Line2D([], [], color=colour(FIXED, i), ls=line_style(i)) for i in drawn]
            names = [shortened(self.runs[i].name, 44) for i in drawn]
            figure.set_figheight(figure.get_figheight() + 0.3 + 0.2 * len(names))
            legend = figure.legend(handles, names, loc="outside lower left", handlelength=3)
            for text in legend.get_texts():
                text.set_parse_math(False)  # a dollar sign in a name is no formula
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png", dpi=160, facecolor="white")
        return buffer.getvalue()


def _set_scale(axes: Axes, chart: Chart, lines: list[Series]) -> None:
    positive = [s.finite[s.finite > 0] for s in lines]
    medians = [float(np.median(values)) for values in positive if len(values)]
    highest = [float(np.percentile(values, 95)) for values in positive if len(values)]
    far_apart = bool(medians) and max(*medians, *highest) > FAR_APART * min(medians)
    if medians and (chart.scale == "log" or (chart.scale == "auto" and far_apart)):
        axes.set_yscale("log", nonpositive="mask")
        axes.yaxis.set_major_locator(LogLocator(numticks=MOST_TICKS))
        axes.yaxis.set_minor_locator(LogLocator(subs=(2.0, 5.0), numticks=MOST_TICKS))
        # Raised exponents would be too small to read.
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        whole = all((s.finite == s.finite.round()).all() for s in lines)
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=STEPS, integer=whole, min_n_ticks=1))


def _keep_window(axes: Axes, chart: Chart) -> None:
    low, high = axes.get_ylim()
    if axes.get_yscale() == "log" and high > 100 * low:  # powers of ten are labels enough
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(max(low, chart.window[0]), min(high, chart.window[1] + 0.03))


def _label_x(axes: Axes, name: str) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=STEPS))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlabel(name)


def thinned(steps: Array, values: Array) -> tuple[Array, Array]:
    """
    Keep of a long line the lowest and the highest point of each stretch, so that no peak is lost.

    :param steps: (N,)
    :param values: (N,), all finite
    :return: both, no longer than :data:`MOST_POINTS`
    """
    if len(steps) <= MOST_POINTS:
        return steps, values
    edges = np.linspace(0, len(steps), MOST_POINTS // 2 + 1).astype(int)
    kept = [
        begin + extreme
        for begin, end in itertools.pairwise(edges)
        for extreme in sorted({int(values[begin:end].argmin()), int(values[begin:end].argmax())})
    ]
    return steps[kept], values[kept]
