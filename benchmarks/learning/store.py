"""One finished run, one file: written whole or not at all."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.learning.configuration import Configuration
from benchmarks.learning.thinning import Columns


class BrokenRunError(ValueError):
    """A file that holds no finished run."""


@dataclass(frozen=True)
class Run:
    """
    All that a finished run leaves behind.

    :param algorithm: a key of ``suites.ALGORITHMS``
    :param environment: id of the task
    :param seed: of the training
    :param steps: timesteps taken
    :param configuration: all settings, as ``Configuration`` has them
    :param defaults: constructor's defaults that the configuration left as they were
    :param versions: of Python and the packages
    :param machine: the kind of machine
    :param curve: finished episodes: step, wall_s, cpu_s, return, length, and rows, the number of
        episodes that a point is the mean of
    :param updates: figures of our updates, likewise; None for the peers
    :param skipped_updates: of ours; None for the peers
    :param evaluation: seed, returns, lengths, mean and standard deviation of the final episodes
    :param train_last100: mean return of the last 100 training episodes, of the finite ones; None if
        there is none
    :param wall_s: seconds that ``learn`` took
    :param cpu_s: seconds of processor time that ``learn`` took
    """

    algorithm: str
    environment: str
    seed: int
    steps: int
    configuration: dict[str, Any]
    defaults: dict[str, Any]
    versions: dict[str, Any]
    machine: dict[str, Any]
    curve: Columns
    updates: Columns | None
    skipped_updates: int | None
    evaluation: dict[str, Any]
    train_last100: float | None
    wall_s: float
    cpu_s: float

    def is_of(self, configuration: Configuration, defaults: dict[str, Any]) -> bool:
        """
        Tell whether the run was made with exactly these settings.

        :param configuration: the settings
        :param defaults: the constructor's today, as ``defaults`` above
        :return: whether all arguments are the same, named or left out. One that the run does not
            know came later; it makes no difference while it is 0, False or None
        """
        wanted = json.loads(json.dumps(configuration.as_json()))
        made = dict(self.configuration)
        now = {**defaults, **wanted.pop("settings")}
        then = {**self.defaults, **made.pop("settings")}
        same = all(key in now and now[key] == value for key, value in then.items())
        later = now.keys() - then.keys()
        return made == wanted and same and not any(now[key] for key in later)


def path_of(folder: Path, algorithm: str, environment: str, seed: int) -> Path:
    """Return where a run's file lies below a folder of results."""
    return folder / environment / f"{algorithm}-seed{seed}.json"


def write(path: Path, run: Run) -> None:
    """
    Write a finished run, so that a file of this name is always a whole one.

    :param path: where to
    :param run: what
    """
    text = json.dumps(asdict(run), allow_nan=False, separators=(",", ":"))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with temporary.open("w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def remove_leftovers(paths: Iterable[Path]) -> None:
    """
    Remove what killed writers left.

    :param paths: of the runs that they wrote; for whoever alone writes these
    """
    for path in paths:
        for temporary in path.parent.glob(f"{path.name}.*.tmp"):
            temporary.unlink()


def read(path: Path) -> Run:
    """
    Read a finished run.

    :param path: of its file
    :return: the run
    :raises BrokenRunError: the file is there and holds no whole run
    """
    try:
        data = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BrokenRunError(f"{path} is not JSON: {error}") from error
    names = {field.name for field in fields(Run)}
    if not isinstance(data, dict) or data.keys() != names:
        raise BrokenRunError(f"{path} must hold the fields {', '.join(sorted(names))}")
    return Run(**data)


def read_all(folder: Path) -> tuple[list[Run], list[Path]]:
    """
    Read all finished runs of a folder.

    :param folder: of the results
    :return: the runs, by name of their files, and the files that are broken
    """
    runs, broken = [], []
    for path in sorted(folder.glob("*/*.json")):
        try:
            runs.append(read(path))
        except BrokenRunError:
            broken.append(path)
    return runs, broken
