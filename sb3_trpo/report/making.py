"""Making a report: from folders of runs to files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
    if isinstance(folders, (str, Path)) or not folders:
        raise ValueError(f"folders must be a list of at least one folder, got {folders!r}")
    if smooth < 1:
        raise ValueError(f"smooth must be >= 1, got {smooth}")
    file = Path(output)
    if file.suffix.lower() not in (".html", ".htm"):
        file = file / DEFAULT_NAME
    runs = read_runs(folders)
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
