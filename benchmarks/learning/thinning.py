"""Long series made short, so that a run's file stays small."""

from collections.abc import Mapping, Sequence

import numpy as np

Columns = dict[str, list[float | None]]


def thin(
    columns: Mapping[str, Sequence[float | None]], *, n_steps: int, max_points: int
) -> Columns:
    """
    Shorten a table of figures over steps; one that is short enough is kept exactly.

    The steps are cut into ``max_points`` bins of equal width, and the rows of a bin averaged,
    column by column, without missing values. ``"rows"`` counts what each point stands for.

    :param columns: of equal lengths, ``"step"`` among them, in order of the steps; None is missing
    :param n_steps: steps of the whole run
    :param max_points: most rows of the result; at least 1
    :return: the columns and ``"rows"``
    """
    steps = np.asarray(columns["step"], dtype=float)
    if len(steps) <= max_points:
        return {
            **{name: list(column) for name, column in columns.items()},
            "rows": [1] * len(steps),
        }
    bins = np.minimum((steps - 1) * max_points // n_steps, max_points - 1)
    starts = np.flatnonzero(np.diff(bins, prepend=-1.0))
    thinned: Columns = {
        name: _means(np.asarray(column, dtype=float), starts) for name, column in columns.items()
    }
    thinned["rows"] = np.diff(starts, append=len(steps)).tolist()
    return thinned


def _means(column: np.ndarray, starts: np.ndarray) -> list[float | None]:
    present = np.isfinite(column)
    sums = np.add.reduceat(np.where(present, column, 0.0), starts)
    counts = np.add.reduceat(present.astype(float), starts)
    return [
        float(f"{total / count:.7g}") if count else None
        for total, count in zip(sums, counts, strict=True)
    ]
