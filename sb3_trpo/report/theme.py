"""
The look of the charts: for PNGs in fixed colours, for the page in those that its style sheet sets.

For the page charts are drawn in stand-in colours, which become CSS variables: so one chart serves
light and dark.
"""

import io
import re
from dataclasses import dataclass
from html import escape
from typing import Any

from matplotlib.figure import Figure

LIGHT = ("#0a66c2", "#e0602f", "#12463f", "#a678f5", "#7d1a12", "#7f8a83")
DARK = ("#4b96ea", "#f9a826", "#a5ecd0", "#d2571c", "#d9b8ff", "#8f959e")
"""Runs' colours: contrast of 3 with the page, apart for colour-blind readers, too."""
DASHES = ("", "6 2", "6 2 1.3 2", "12 2.5", "5 1.5 1.3 1.5 1.3 1.5", "3 1.2")
"""Second sign of a run beside its colour, as SVG writes it; none is dotted, which δ is."""
INK, GRID = "#1c2127", "#d5d9de"
INK_STANDS_IN, GRID_STANDS_IN, RUN_STANDS_IN = "#000101", "#000201", "#0003{:02x}"
RUN_GID = "run-{}-"
"""Names an artist of a run, by the run's number."""


@dataclass(frozen=True)
class Palette:
    """
    Colours of a chart.

    :param ink: of text and axes
    :param grid: of what stays in the background
    :param runs: of the runs, in turn
    """

    ink: str
    grid: str
    runs: tuple[str, ...]


FIXED = Palette(INK, GRID, LIGHT)
STANDING_IN = Palette(
    INK_STANDS_IN, GRID_STANDS_IN, tuple(RUN_STANDS_IN.format(i) for i in range(len(LIGHT)))
)


def settings(palette: Palette, salt: str) -> dict[Any, Any]:
    """
    Return matplotlib's settings for a chart.

    :param palette: its colours
    :param salt: of the ids in its SVG, which then depend on nothing else
    :return: for ``matplotlib.rc_context``
    """
    inked = ("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor")
    return {
        **dict.fromkeys(inked, palette.ink),
        **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), palette.grid),
        "grid.color": palette.grid,
        "grid.linewidth": 0.6,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.formatter.limits": (-4, 5),
        "font.size": 9.0,
        "axes.labelsize": 9.0,
        "legend.frameon": False,
        "lines.linewidth": 1.4,
        "svg.fonttype": "none",  # text stays text: sharp, searchable, and small
        "svg.hashsalt": salt,
    }


def colour(palette: Palette, number: int) -> str:
    """
    Return a run's colour.

    :param palette: of the chart
    :param number: of the run
    :return: as matplotlib takes it
    """
    return palette.runs[number % len(palette.runs)]


def dashes(number: int) -> str:
    """
    Return a run's dashes, which differ when the colours come round again.

    :param number: of the run
    :return: for ``stroke-dasharray``; empty: solid
    """
    return DASHES[(number + number // len(LIGHT)) % len(DASHES)]


def line_style(number: int) -> str | tuple[float, tuple[float, ...]]:
    """
    Return a run's dashes as matplotlib takes them.

    :param number: of the run
    :return: a line style
    """
    pattern = dashes(number)
    return (0.0, tuple(float(length) for length in pattern.split())) if pattern else "-"


def svg_for_page(figure: Figure, panel: str, alternative: str, names: list[str]) -> str:
    """
    Write a chart as SVG to stand in the page.

    :param figure: drawn with :data:`STANDING_IN`
    :param panel: id of the panel, which goes before all ids of the chart
    :param alternative: what the chart shows, for those who do not see it
    :param names: of the runs, shown when the pointer rests on a line
    :return: the element
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing, transparent=True)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{panel}-", svg)
    svg = svg.replace(INK_STANDS_IN, "var(--ink)").replace(GRID_STANDS_IN, "var(--grid)")
    for number in range(len(LIGHT)):
        svg = svg.replace(RUN_STANDS_IN.format(number), f"var(--run-{number})")

    def titled(match: re.Match[str]) -> str:
        number = int(match[1])
        return f'<g class="run run-{number}"><title>{escape(names[number])}</title>'

    svg = re.sub(rf'<g id="{panel}-run-(\d+)-">', titled, svg)
    label = f'<svg role="img" aria-label="{escape(alternative)}"'
    return svg.replace("<svg", label, 1).rstrip()
