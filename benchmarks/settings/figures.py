"""One picture per setting: the return, and the figure of the log that explains it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes as Panel
from matplotlib.figure import Figure

from benchmarks.learning.figures import STYLE
from benchmarks.settings.sweep import BASE, LEVELS, Row, of_setting

BLUE, GREY = "#0072B2", "0.6"


@dataclass(frozen=True)
class Quantity:
    """
    What a panel shows.

    :param label: of its axis
    :param of: takes it from a run
    """

    label: str
    of: Callable[[Row], float]


RETURN = Quantity("final return, deterministic", lambda row: row["final_return"])
STD = Quantity("std of the actions at the end", lambda row: row["last_std"])
IMPROVEMENT = Quantity("improvement_ratio", lambda row: row["means"]["improvement_ratio"])
FRACTION = Quantity("step_fraction", lambda row: row["means"]["step_fraction"])
EXPLAINED = Quantity("explained_variance", lambda row: row["means"]["explained_variance"])
BESIDE = {
    "target_kl": (IMPROVEMENT, STD),
    "cg_damping": (FRACTION,),
    "n_steps": (EXPLAINED, IMPROVEMENT),
    "n_critic_updates": (EXPLAINED,),
}
"""What the picture of a setting shows beside the return."""


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """
    Draw one picture per setting: a point per run, a line through the means.

    :param rows: of the sweep
    :param folder: to draw to
    :return: the files
    """
    files = []
    with mpl.rc_context(STYLE):
        for name in LEVELS:
            levels = of_setting(rows, name)
            quantities = (RETURN, *BESIDE[name])
            figure = Figure(figsize=(9.0, 2.6), layout="constrained")
            for panel, quantity in zip(
                figure.subplots(1, len(quantities)), quantities, strict=True
            ):
                _draw_panel(panel, levels, name, quantity)
            files.append(folder / f"{name}.png")
            figure.savefig(files[-1], dpi=130, metadata={"Software": None})
    return files


def _draw_panel(
    panel: Panel, levels: dict[float, list[Row]], name: str, quantity: Quantity
) -> None:
    values = {level: [quantity.of(row) for row in runs] for level, runs in levels.items()}
    for level, of_level in values.items():
        panel.plot([level] * len(of_level), of_level, "o", color=GREY, ms=3.5)
    means = [sum(of_level) / len(of_level) for of_level in values.values()]
    panel.plot(list(values), means, color=BLUE, lw=1.5)
    panel.axvline(BASE.settings[name], color=GREY, lw=0.8, ls=":")
    panel.set(xscale="log", xlabel=name, ylabel=quantity.label)
    panel.set_xticks(list(values), [f"{level:g}" for level in values])
    panel.minorticks_off()
    if min(min(of_level) for of_level in values.values()) > 0:
        panel.set_ylim(bottom=0)  # lest noise look like an effect
    panel.grid(alpha=0.3, lw=0.5)
