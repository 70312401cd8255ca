"""A finding: a sentence that a run's own numbers say."""

from dataclasses import dataclass

from sb3_trpo.report.logs import Array, Series

FEWEST_ROWS = 5
"""With fewer no judgement is passed."""


@dataclass(frozen=True)
class Finding:
    """
    One sentence or two about one run.

    :param text: with the figures it rests on
    :param worth_a_look: something is unusual, and the text says what to try
    """

    text: str
    worth_a_look: bool = False


def number(value: float) -> str:
    """
    Write a figure in a sentence.

    :param value: any
    :return: three digits, or more where the figure is a whole number's
    """
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return text.replace("-", "−")


def percent(share: float) -> str:
    """
    Write a share in a sentence.

    :param share: between 0 and 1
    :return: in percent
    """
    figure = f"{100 * share:.0f}" if share >= 0.01 or share == 0 else "below 1"
    return f"{figure}\N{NO-BREAK SPACE}%"


def late(series: Series) -> Array:
    """
    Return the finite values of the last quarter of a run.

    :param series: of a key
    :return: at least one
    """
    values = series.finite
    return values[-max(1, len(values) // 4) :]


def too_few(series: Series) -> list[Finding]:
    """
    Say that no judgement is possible.

    :param series: of a key
    :return: how many rows there are
    """
    return [Finding(f"{len(series.finite)} rows: too few to judge.")]
