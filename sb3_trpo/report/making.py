"""Making a report: from folders of runs to files."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sb3_trpo.optim.checks import check, check_all, is_whole
from sb3_trpo.report.charts import Drawing
from sb3_trpo.report.page import page
from sb3_trpo.report.panels import PANELS
from sb3_trpo.report.runs import read_runs

DEFAULT_NAME = "report.html"


@dataclass(frozen=True)
class Report:
    """
    What was written.

    :param page: the HTML file
    :param pictures: a PNG a panel, in the order of the page
    """

    page: Path
    pictures: tuple[Path, ...]


def make_report(
    folders: Sequence[str | Path],
    *,
    output: str | Path = DEFAULT_NAME,
    title: str = "",
    smooth: int = 1,
) -> Report:
    """
    Read runs and write a page about them, and a PNG for each of its panels beside it.

    :param folders: each a run, or a folder of several; ``A+B`` is one run in two folders
    :param output: the page, or a folder for ``report.html``; pictures go to ``report-png``
    :param title: heading of the page; empty: the runs' names
    :param smooth: rows to average lines over, the raw line faint behind; 1: none
    :return: the files
    :raises ValueError: a folder has no logs, or an argument is out of range
    """
    check_all("folders", folders, "folders", lambda x: isinstance(x, (str, os.PathLike)))
    if not folders:
        raise ValueError(f"folders must be a list of at least one folder, got {folders!r}")
    check("title", title, "a str", is_right=isinstance(title, str))
    check("smooth", smooth, "a whole number >= 1", is_right=is_whole(smooth, 1))
    file = _page_at(output)
    try:
        runs = read_runs(folders)
    except ValueError as error:
        raise ValueError(f"folders: {error}") from error
    names = ", ".join(run.name for run in runs)
    drawing = Drawing(runs, smooth)
    text = page(drawing, title or (f"Training: {names}" if len(runs) <= 3 else f"{len(runs)} runs"))

    pictures = file.parent / f"{file.stem}-png"
    pictures.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    written = []
    for panel in PANELS:
        picture = pictures / f"{panel.id}.png"
        picture.unlink(missing_ok=True)  # of an earlier report with other runs
        if panel.shows(runs):
            picture.write_bytes(drawing.png(panel))
            written.append(picture)
    return Report(file, tuple(written))


def _page_at(output: str | Path) -> Path:
    """Return where the page goes."""
    is_path = isinstance(output, (str, os.PathLike)) and str(output) != ""
    check("output", output, "a path", is_right=is_path)
    file = Path(output)
    if file.suffix.lower() not in (".html", ".htm"):
        file = file / DEFAULT_NAME
    is_in_file = any(parent.is_file() for parent in file.parents)
    if is_in_file or file.is_dir():
        raise ValueError(f"output must be a page in a folder, got {str(output)!r}")
    return file
