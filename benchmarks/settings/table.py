"""The sweep as a table."""

from collections.abc import Sequence
from statistics import fmean, stdev

from benchmarks.settings.sweep import LEVELS, Row, of_setting

MEANS = ("kl_utilization", "improvement_ratio", "step_fraction", "explained_variance")


def table(rows: Sequence[Row]) -> str:
    """
    Write the sweep down.

    :param rows: of the sweep
    :return: Markdown: a row per setting and level
    """
    lines = [
        "| setting | final return | KL utilization | improvement ratio | step fraction "
        "| explained variance | last std | updates |",
        "|---" * 8 + "|",
    ]
    for name in LEVELS:
        for level, runs in of_setting(rows, name).items():
            means = {key: fmean(run["means"][key] for run in runs) for key in MEANS}
            cells = [
                f"`{name}={level:g}`",
                _with_spread([run["final_return"] for run in runs]),
                *(f"{value:.2f}" for value in means.values()),
                f"{fmean(run['last_std'] for run in runs):.2f}",
                str(runs[0]["n_updates"]),
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _with_spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation over seeds, and how many there are."""
    spread = f" ± {stdev(values):.0f}" if len(values) > 1 else ""
    text = f"{fmean(values):.0f}{spread} ({len(values)})"
    return text.replace("-", "−").replace(" ", "\u00a0")  # on one line
