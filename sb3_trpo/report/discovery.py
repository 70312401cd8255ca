"""Finding runs: which of the files in a folder are the logs of one run."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LOOKED_FOR = "progress.csv, TensorBoard event files (*tfevents*), monitor files (*monitor.csv)"

JOINT = "+"
"""Between folders of one run: rl_zoo3 puts TensorBoard's logs where it is told to, elsewhere."""

WITHOUT_MEANING = "tensorboard"
"""Name of a folder inside a run's own, in which SB3 counts the trainings."""


@dataclass(frozen=True)
class RunFiles:
    """
    What lies there of one run.

    :param folder: of the run
    :param progress: its ``progress.csv``
    :param events: its event files
    :param monitors: its training environments' monitor files
    :param evaluations: what SB3's ``EvalCallback`` wrote
    :param settings: rl_zoo3's ``config.yml`` and ``args.yml``
    :param models: saved models, the newest first
    """

    folder: Path
    progress: Path | None = None
    events: tuple[Path, ...] = ()
    monitors: tuple[Path, ...] = ()
    evaluations: Path | None = None
    settings: tuple[Path, ...] = ()
    models: tuple[Path, ...] = ()


@dataclass
class _Files:
    """All files of interest beneath a folder, by kind."""

    progress: list[Path] = field(default_factory=list)
    events: list[Path] = field(default_factory=list)
    monitors: list[Path] = field(default_factory=list)
    other: list[Path] = field(default_factory=list)

    @property
    def kinds(self) -> tuple[list[Path], ...]:
        return self.progress, self.events, self.monitors

    def __bool__(self) -> bool:
        return any(self.kinds)


def find_runs(folders: Sequence[Path]) -> list[RunFiles]:
    """
    Find the runs in some folders, each of which may be a run or hold several.

    :param folders: to look in, subfolders included; ``A+B`` is one run whose logs lie in two
    :return: the runs, each once
    :raises ValueError: a folder does not exist, or holds no log
    """
    runs: dict[Path, RunFiles] = {}
    for folder in folders:
        parts = [Path(part) for part in str(folder).split(JOINT)]
        if folder.is_dir():
            found = _runs_in(folder, [])
        elif all(part.is_dir() for part in parts):
            found = _joined(parts)
        else:
            raise ValueError(f"{folder} is not a folder; a folder with logs is expected")
        if not found:
            raise ValueError(f"{folder} holds no logs; looked for {LOOKED_FOR}, subfolders too")
        for run in found:
            runs.setdefault(run.folder.resolve(), run)
    return list(runs.values())


def _joined(parts: Sequence[Path]) -> list[RunFiles]:
    """Make one run of folders that each hold a part of its logs."""
    files = _Files()
    for part in map(_beneath, parts):
        for mine, others in zip(
            (*files.kinds, files.other), (*part.kinds, part.other), strict=True
        ):
            mine.extend(others)
    return [_run(parts[0], files, [])] if files else []


def _runs_in(folder: Path, inherited: Iterable[Path]) -> list[RunFiles]:
    """
    Split a folder into runs.

    It is one run if no kind of log lies in more than one place; else each subfolder is looked at by
    itself, and what lies beside them (a saved model, monitor files) goes with the newest of them.
    """
    files = _beneath(folder)
    if not files:
        return []
    direct = _Files()
    for name in sorted(os.listdir(folder)):
        _sort_in(direct, folder / name)
    if _is_one_run(files, direct):
        return [_run(_innermost(folder), files, inherited)]
    subfolders = [folder / name for name in sorted(os.listdir(folder)) if (folder / name).is_dir()]
    if direct.progress or direct.events:
        nested = [s for s in subfolders if (found := _beneath(s)).progress or found.events]
        for subfolder in (s for s in subfolders if s not in nested):
            extra = _beneath(subfolder)
            direct.monitors += extra.monitors
            direct.other += extra.other
        return [_run(folder, direct, inherited), *(r for s in nested for r in _runs_in(s, []))]
    beside = [*inherited, *direct.monitors, *direct.other]
    holding = [s for s in subfolders if _beneath(s)]
    newest = max(holding, key=_newest_log)
    return [run for s in holding for run in _runs_in(s, beside if s == newest else [])]


def _innermost(folder: Path) -> Path:
    """Return where all files of interest lie: of logs/trpo/CartPole-v1_1, the last folder."""
    files = _beneath(folder)
    paths = [path for paths in (*files.kinds, files.other) for path in paths]
    return Path(os.path.commonpath([path.parent for path in paths]))


def _is_one_run(files: _Files, direct: _Files) -> bool:
    places = [len({path.parent for path in paths}) for paths in files.kinds]
    if direct.progress or direct.events:  # several environments may each have a folder
        places = places[:2]
    return max(places) <= 1


def _newest_log(folder: Path) -> float:
    return max(path.stat().st_mtime for paths in _beneath(folder).kinds for path in paths)


def _beneath(folder: Path) -> _Files:
    files = _Files()
    for parent, subfolders, names in os.walk(folder):
        subfolders.sort()
        for name in sorted(names):
            _sort_in(files, Path(parent, name))
    return files


def _sort_in(files: _Files, path: Path) -> None:
    if not path.is_file():
        return
    if path.name == "progress.csv":
        files.progress.append(path)
    elif "tfevents" in path.name:
        files.events.append(path)
    elif path.name.endswith("monitor.csv"):
        # An evaluation's episodes are not training's: its folder or file is called so everywhere.
        if "eval" not in path.name.lower() and not path.parent.name.lower().startswith("eval"):
            files.monitors.append(path)
    elif path.name in ("evaluations.npz", "config.yml", "args.yml") or path.suffix == ".zip":
        files.other.append(path)


def _run(folder: Path, files: _Files, inherited: Iterable[Path]) -> RunFiles:
    other = [*files.other, *inherited]
    evaluations = [path for path in other if path.name == "evaluations.npz"]
    models = [path for path in other if path.suffix == ".zip"]
    monitors = [*files.monitors, *(path for path in inherited if path.name.endswith("monitor.csv"))]
    return RunFiles(
        folder=folder,
        progress=files.progress[0] if files.progress else None,
        events=tuple(files.events),
        monitors=tuple(monitors),
        evaluations=evaluations[0] if evaluations else None,
        settings=tuple(path for path in other if path.suffix == ".yml"),
        models=tuple(sorted(models, key=lambda path: path.stat().st_mtime, reverse=True)),
    )


def labels(folders: Sequence[Path]) -> list[str]:
    """
    Name runs by as few of the last parts of their paths as tell them apart and say something.

    :param folders: of the runs, each once
    :return: a name each
    """
    parts = [folder.resolve().parts for folder in folders]
    names = []
    for own in parts:
        length = 3 if own[-2:-1] == (WITHOUT_MEANING,) else 1  # "TRPO_1" is every run's
        while length < len(own) and sum(p[-length:] == own[-length:] for p in parts) > 1:
            length += 1
        name = "/".join(own[-length:])
        names.append("".join(letter if letter.isprintable() else "\ufffd" for letter in name))
    return names
