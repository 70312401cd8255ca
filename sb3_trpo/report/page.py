"""Writing the page: one file that asks for nothing and runs nothing."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sb3_trpo.report.charts import Drawing
from sb3_trpo.report.findings import Finding, number
from sb3_trpo.report.logs import Series
from sb3_trpo.report.panels import PANELS, Panel
from sb3_trpo.report.runs import Run, clock, training_return
from sb3_trpo.report.theme import (
    DARK,
    INK,
    LIGHT,
    STANDING_IN,
    dashes,
    settings,
    svg_for_page,
)
from sb3_trpo.version import __version__

TEMPLATES = PackageLoader("sb3_trpo.report", "")

NO_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
"""What must not be in HTML, but may be in names of folders and in JSON."""


@dataclass(frozen=True)
class Row:
    """
    Of the table of values below a chart.

    :param run: number of the run
    :param quantity: what it is
    :param cells: rows logged, last, median, lowest, highest
    """

    run: int
    quantity: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Card:
    """
    A panel, ready for the template.

    :param panel: which
    :param svg: its chart
    :param key: what its marks mean
    :param findings: number of the run, what was found
    :param outside: what the chart does not show
    :param rows: its values
    """

    panel: Panel
    svg: Markup
    key: str
    findings: list[tuple[int, Finding]]
    outside: list[str]
    rows: list[Row]

    @property
    def worth_a_look(self) -> int:
        """How many findings are."""
        return sum(finding.worth_a_look for _, finding in self.findings)


def page(drawing: Drawing, title: str) -> str:
    """
    Write the page.

    :param drawing: of the runs
    :param title: its heading
    :return: HTML
    """
    runs = drawing.runs
    shown = [panel for panel in PANELS if panel.shows(runs)]
    environment = Environment(
        loader=TEMPLATES, autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.globals |= {"number": number, "dashes": dashes, "zip": zip}
    text = environment.get_template("page.html").render(
        title=title,
        runs=runs,
        overview=[overview(run) for run in runs],
        cards=[_card(drawing, panel) for panel in shown],
        missing=[p.title for p in PANELS if p not in shown and p.id != "skipped"],
        differing=hyperparameter_rows(runs, only_differing=True),
        hyperparameters=hyperparameter_rows(runs, only_differing=False),
        colours=list(zip(LIGHT, DARK, strict=True)),
        ink=INK,
        version=__version__,
    )
    return NO_TEXT.sub("\ufffd", text)


def _card(drawing: Drawing, panel: Panel) -> Card:
    rows, outside, said = [], [], []
    for chart in drawing.charts(panel):
        for index, run in enumerate(drawing.runs):
            series = chart.curve(run)
            if series is None:
                continue
            rows.append(Row(index, chart.label, values_of(series)))
            said.append(f"{run.name}: {chart.label} {number(series.finite[-1])} at the end")
            low, high = chart.window
            beyond = int(((series.finite < low) | (series.finite > high)).sum())
            if beyond:
                outside.append(f"{run.name}: {beyond} of {len(series.finite)} points lie outside.")
    with mpl.rc_context(settings(STANDING_IN, panel.id)):
        svg = svg_for_page(
            drawing.figure(panel, STANDING_IN),
            panel.id,
            f"Chart: {panel.title}. {'; '.join(said)}.",
            [run.name for run in drawing.runs],
        )
    findings = [(i, f) for i, run in enumerate(drawing.runs) for f in panel.findings(run)]
    return Card(
        panel, Markup(svg), panel.key(drawing.runs), findings, outside, rows
    )  # escaped there


def values_of(series: Series) -> tuple[str, ...]:
    """
    Say a line in figures.

    :param series: with a finite value
    :return: rows, last, median, lowest, highest
    """
    values = series.finite
    statistics = (values[-1], float(np.median(values)), values.min(), values.max())
    return (str(len(values)), *(f"{value:.6g}" for value in statistics))


def overview(run: Run) -> dict[str, Any]:
    """
    Say a run in one row.

    :param run: any
    :return: heading to cell
    """
    series, time = training_return(run), clock(run)
    steps = max((float(s.steps[-1]) for s in run.log.series.values() if len(s)), default=0.0)
    if run.episodes is not None and len(run.episodes.steps):
        steps = max(steps, float(run.episodes.steps[-1]))
    return {
        "algorithm": run.algorithm or "unknown",
        "environment": run.environment or "unknown",
        "steps": f"{steps:,.0f}",
        "time": "unknown" if time is None or not len(time) else f"{number(time.values[-1])} s",
        "return": "none yet" if series is None else number(series.finite[-1]),
        "logs": run.sources,
    }


def hyperparameter_rows(
    runs: Sequence[Run], *, only_differing: bool
) -> list[tuple[str, list[str | None]]]:
    """
    Compare hyperparameters.

    :param runs: to compare
    :param only_differing: leave out what all runs that say it have in common
    :return: name, and a value a run; None: its files do not say
    """
    names = sorted({name for run in runs for name in run.hyperparameters})
    rows = [(name, [run.hyperparameters.get(name) for run in runs]) for name in names]
    if only_differing:
        rows = [(name, values) for name, values in rows if len({*values} - {None}) > 1]
    return rows
