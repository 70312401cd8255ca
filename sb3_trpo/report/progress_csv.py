"""Reading ``progress.csv``, which SB3's logger writes."""

import csv
from pathlib import Path

import numpy as np

from sb3_trpo.report.logs import Log, Series, kept_after_restarts, running_clock, whole_lines

STEPS = "time/total_timesteps"
ELAPSED = "time/time_elapsed"


def read_progress(path: Path) -> Log:
    """
    Read a file as it lies there, cut off by a crash or not.

    :param path: of the ``progress.csv``
    :return: its figures; empty with a note if it has none
    """
    whole = whole_lines(path)
    rows = list(csv.reader(whole.lines))
    notes = list(whole.notes)
    if not rows or STEPS not in rows[0]:
        notes.append(
            f"{path.name}: no column {STEPS}, so that it cannot be placed on the step axis"
        )
        return Log(notes=tuple(notes))
    header, body = rows[0], [row for row in rows[1:] if row]
    fitting = [row for row in body if len(row) == len(header)]
    steps = np.array([_number(row[header.index(STEPS)]) for row in fitting])
    fitting = [row for row, step in zip(fitting, steps, strict=True) if np.isfinite(step)]
    steps = steps[np.isfinite(steps)]
    if len(fitting) < len(body):
        notes.append(f"{path.name}: {len(body) - len(fitting)} broken lines are left out")
    kept = kept_after_restarts(steps)
    if not kept.all():
        notes.append(f"{path.name}: {(~kept).sum()} rows from before a restart are left out")
    fitting = [row for row, keep in zip(fitting, kept, strict=True) if keep]
    return _columns(header, fitting, steps[kept], tuple(notes))


def _columns(
    header: list[str], rows: list[list[str]], steps: np.ndarray, notes: tuple[str, ...]
) -> Log:
    """Make a log of rows that fit the header; numbers and words are told apart by cell."""
    series: dict[str, Series] = {}
    texts: dict[str, tuple[tuple[float, str], ...]] = {}
    for index, key in enumerate(header):
        cells = [row[index] for row in rows]
        filled = np.array([cell != "" for cell in cells], dtype=bool)
        values = np.array([_number(cell) for cell in cells])
        words = [not _is_number(cell) and cell != "" for cell in cells]
        if any(words):
            texts[key] = tuple(
                (step, cell) for step, cell, word in zip(steps, cells, words, strict=True) if word
            )
        elif filled.any():
            series[key] = Series.of(steps[filled], values[filled])
    elapsed = series.get(ELAPSED)
    clock = None if elapsed is None else Series(elapsed.steps, running_clock(elapsed.values))
    return Log(series=series, texts=texts, clock=clock, notes=notes)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _number(cell: str) -> float:
    return float(cell) if _is_number(cell) else float("nan")
