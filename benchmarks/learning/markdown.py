"""Numbers and tables as Markdown has them."""

from collections.abc import Collection, Sequence

import numpy as np

from benchmarks.learning.aggregates import Estimate


def score_cell(scores: Collection[float]) -> str:
    """
    Return what a table says of several runs.

    :param scores: one per seed
    :return: mean ± standard deviation (number of seeds)
    """
    if not scores:
        return "none"
    values = list(scores)
    mean = float(np.mean(values))
    digits = 0 if abs(mean) >= 1000 else 1
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return signed(f"{mean:.{digits}f}{spread} ({len(values)})")


def interval(result: Estimate) -> str:
    """
    Return a statistic and its interval in brackets.

    :param result: both
    :return: two digits each
    """
    if result.interval is None:
        return signed(f"{result.value:.2f}")
    low, high = result.interval
    return signed(f"{result.value:.2f} [{low:.2f}, {high:.2f}]")


def signed(text: str) -> str:
    """
    Give a text of numbers minus signs that are as wide as a plus.

    :param text: with hyphens
    :return: with minus signs
    """
    return text.replace("-", "−")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """
    Return a Markdown table.

    :param header: names of the columns
    :param rows: cells
    :return: its lines
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
