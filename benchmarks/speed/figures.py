"""Two pictures: where a second goes, and what an update costs."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes as Panel
from matplotlib.figure import Figure

from benchmarks.learning.figures import COLOURS, STYLE
from benchmarks.learning.suites import ALGORITHMS
from benchmarks.speed.evaluation import Record, mebibytes, seconds
from benchmarks.speed.measurement import Measurement
from benchmarks.speed.shares import PARTS

PART_COLOURS = ("#009E73", "#56B4E9", "#BBBBBB", "#0072B2", "#E69F00", "#666666")
LEAST_LABELLED = 0.05  # of a second; narrower bars have no room for a number


def draw(measurement: Measurement, folder: Path) -> list[Path]:
    """
    Draw what was measured.

    :param measurement: as read from its file
    :param folder: for the pictures, PNG and SVG
    :return: the files
    """
    records, files = measurement["records"], []
    with mpl.rc_context(STYLE):
        if "parts" in records.get("shares", {}):
            figure = _seconds(records["shares"]["parts"])
            files += _save(figure, folder / "where_a_second_goes")
        if "costs" in records.get("growth_with_batch", {}):
            figure = _costs(records["growth_with_batch"]["costs"])
            files += _save(figure, folder / "cost_of_an_update")
    return files


def _seconds(parts: dict[str, Record]) -> Figure:
    figure = Figure(figsize=(8, 0.55 * len(parts) + 1.2), layout="constrained")
    panel = figure.subplots()
    names = [name for name in ALGORITHMS if name in parts]
    labels = []
    for place, name in enumerate(names):
        spent = parts[name]["seconds"]
        total, left = sum(spent.values()), 0.0
        labels.append(f"{ALGORITHMS[name]}\n{parts[name]['steps'] / total:,.0f} steps/s")
        for part, colour in zip(PARTS, PART_COLOURS, strict=True):
            share = spent[part] / total
            panel.barh(place, share, left=left, color=colour, label=part if place == 0 else None)
            if share >= LEAST_LABELLED:
                panel.text(left + share / 2, place, f"{share:.0%}", ha="center", va="center")
            left += share
    panel.set(yticks=range(len(names)), yticklabels=labels, xlim=(0, 1), xlabel="share of a second")
    panel.invert_yaxis()
    figure.legend(loc="outside upper center", ncols=len(PARTS), frameon=False)
    return figure


def _costs(costs: dict[str, list[Record]]) -> Figure:
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    time_panel, memory_panel = figure.subplots(1, 2)
    _label(time_panel, "seconds per update")
    _label(memory_panel, "growth of memory, MiB")
    for name in (name for name in ALGORITHMS if name in costs):
        samples = [cost["samples"] for cost in costs[name]]
        for panel, need in ((time_panel, seconds), (memory_panel, mebibytes)):
            needs = [need(cost) for cost in costs[name]]
            panel.plot(samples, needs, "o-", color=COLOURS[name], label=ALGORITHMS[name])
            panel.set_xticks(samples, [f"{n / 1024:g}k" for n in samples], minor=False)
            panel.set_xticks([], minor=True)
    time_panel.legend(frameon=False)
    return figure


def _label(panel: Panel, label: str) -> None:
    panel.set(xscale="log", yscale="log", xlabel="samples of a rollout", ylabel=label)
    panel.grid(alpha=0.3, lw=0.5)


def _save(figure: Figure, stem: Path) -> list[Path]:
    stem.parent.mkdir(parents=True, exist_ok=True)
    png, svg = stem.with_suffix(".png"), stem.with_suffix(".svg")
    figure.savefig(png, dpi=130, metadata={"Software": None})
    figure.savefig(svg, metadata={"Date": None})
    return [png, svg]
