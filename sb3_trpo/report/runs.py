"""A run: all that its folder says, in one place."""

import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from sb3_trpo.report.discovery import RunFiles, find_runs, labels
from sb3_trpo.report.events import read_events
from sb3_trpo.report.hyperparameters import plain_number, read_hyperparameters
from sb3_trpo.report.logs import Log, Series, at_common_steps, merged
from sb3_trpo.report.monitors import Episodes, read_monitors, rolling
from sb3_trpo.report.progress_csv import read_progress

EPISODES_PER_MEAN = 100
"""As in SB3's ``rollout/ep_rew_mean``."""


@dataclass(frozen=True)
class Run:
    """
    What is known of a run.

    :param name: tells it from the others of the page
    :param folder: where its logs lie
    :param algorithm: by its model, its settings or its log; may be empty
    :param log: its figures
    :param episodes: None: no monitor files
    :param hyperparameters: name to value
    :param sources: which logs were read
    :param notes: what was missing, cut off or left out
    """

    name: str
    folder: Path
    algorithm: str
    log: Log
    episodes: Episodes | None
    hyperparameters: Mapping[str, str]
    sources: str
    notes: tuple[str, ...] = field(default=())

    def series(self, *keys: str) -> Series | None:
        """Return the first of some keys that was logged with a finite number; else None."""
        for key in keys:
            series = self.log.series.get(key)
            if series is not None and len(series.finite):
                return series
        return None

    def number(self, name: str) -> float | None:
        """
        Return a hyperparameter that is one number.

        :param name: of it
        :return: None: unknown, or a schedule, say
        """
        return plain_number(self.hyperparameters.get(name))

    @property
    def has_figures(self) -> bool:
        """Whether there is anything to draw."""
        return bool(self.log.series) or (
            self.episodes is not None and len(self.episodes.returns) > 0
        )

    @property
    def environment(self) -> str:
        """Id of the task; empty if no file says."""
        known = self.hyperparameters.get("environment", "")
        return known or (self.episodes.environment if self.episodes else "")


def read_runs(folders: Sequence[str | Path]) -> list[Run]:
    """
    Read the runs in some folders.

    Where a folder holds several, one that ended before its first row is left out, with a warning.

    :param folders: each a run or several
    :return: the runs, each once
    :raises ValueError: a folder does not exist, or holds no log, or none that can be read
    """
    paths = [Path(folder) for folder in folders]
    found = [_read(files) for files in find_runs(paths)]
    runs = [run for run in found if run.has_figures]
    for run in found:
        if not run.has_figures:
            _leave_out(run, runs, paths)
    names = labels([run.folder for run in runs])
    return [replace(run, name=name) for run, name in zip(runs, names, strict=True)]


def _leave_out(empty: Run, runs: Sequence[Run], paths: Sequence[Path]) -> None:
    """Warn of a run that ended before its first row; raise if its folder holds no other."""
    reasons = "; ".join(empty.notes) or "they are empty"
    message = f"{empty.folder} holds logs without a single figure: {reasons}"
    around = [path for path in paths if empty.folder.is_relative_to(path)]
    if not any(run.folder.is_relative_to(path) for run in runs for path in around):
        raise ValueError(message)
    warnings.warn(f"{message}; it is left out", stacklevel=4)


def _read(files: RunFiles) -> Run:
    log = Log()
    if files.progress is not None:
        log = read_progress(files.progress)
    if files.events:
        events = read_events(files.events)
        # Wall times of event files are fractions of a second, progress.csv has whole seconds.
        log = replace(merged(log, events), clock=events.clock or log.clock)
    notes = list(log.notes)
    if files.evaluations is not None:
        log = merged(log, _read_evaluations(files.evaluations, notes))
    episodes = read_monitors(files.monitors) if files.monitors else None
    if episodes is not None:
        notes.extend(episodes.notes)
    hyperparameters = {
        **log.hyperparameters,
        **read_hyperparameters(files.models, files.settings, notes),
    }
    return Run(
        name="",
        folder=files.folder,
        algorithm=_algorithm(hyperparameters, log),
        log=log,
        episodes=episodes,
        hyperparameters=hyperparameters,
        sources=_sources(files),
        notes=tuple(notes),
    )


def _read_evaluations(path: Path, notes: list[str]) -> Log:
    try:
        with np.load(path, allow_pickle=False) as file:
            steps, results = file["timesteps"], file["results"]
        means = np.asarray(results, dtype=np.float64).mean(axis=1)
        return Log(series={"eval/mean_reward": Series(np.asarray(steps, dtype=np.float64), means)})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        notes.append(f"{path.name}: cannot be read ({error})")
        return Log()


def _algorithm(hyperparameters: Mapping[str, str], log: Log) -> str:
    """Name the algorithm: by its files, else by keys that it alone logs."""
    signs = {
        "train/kl_utilization": "TRPO",
        "train/kl_divergence_loss": "TRPO (sb3_contrib)",
        "train/clip_fraction": "PPO",
        "train/policy_loss": "A2C",
    }
    by_log = next((name for key, name in signs.items() if key in log.series), "")
    by_files = hyperparameters.get("algorithm", "")
    # rl_zoo3 writes "trpo" for whichever TRPO was registered; the model's attributes know.
    return by_log if by_files.lower() == by_log.lower() or not by_files else by_files


def _sources(files: RunFiles) -> str:
    parts = ["progress.csv"] if files.progress else []
    for paths, singular in ((files.events, "event file"), (files.monitors, "monitor file")):
        if paths:
            parts.append(f"{len(paths)} {singular}{'s' if len(paths) > 1 else ''}")
    if files.evaluations:
        parts.append("evaluations.npz")
    return ", ".join(parts)


def training_return(run: Run) -> Series | None:
    """
    Return the mean return of the last hundred episodes over steps.

    :param run: with a log of it, or monitor files to compute it from
    :return: None: it has neither
    """
    logged = run.series("rollout/ep_rew_mean")
    if logged is not None or run.episodes is None or not len(run.episodes.returns):
        return logged
    return Series(run.episodes.steps, rolling(run.episodes.returns, EPISODES_PER_MEAN))


def clock(run: Run) -> Series | None:
    """
    Return the seconds of training at each step, without pauses between sessions.

    :param run: any
    :return: None: no log says
    """
    if run.log.clock is not None or run.episodes is None or not len(run.episodes.returns):
        return run.log.clock
    return Series(run.episodes.steps, run.episodes.seconds)


def over_time(run: Run, series: Series | None) -> Series | None:
    """
    Replace steps by seconds.

    :param run: whose clock it is
    :param series: of the run
    :return: the same values over seconds; None: no log says when
    """
    time = clock(run)
    if series is None or time is None or not len(time):
        return None
    steps = np.concatenate([[0.0], time.steps])
    return Series(
        np.interp(series.steps, steps, np.concatenate([[0.0], time.values])), series.values
    )


def realised_kl(run: Run) -> Series | None:
    """
    Return the KL of each update, under TRPO's key or PPO's.

    :param run: any
    :return: None: not logged
    """
    return run.series("train/kl_divergence_loss", "train/approx_kl")


def bound(run: Run) -> Series | None:
    """
    Return δ: logged, or the hyperparameter if that is one number.

    :param run: any
    :return: None: unknown
    """
    logged, kl, target = run.series("train/target_kl"), realised_kl(run), run.number("target_kl")
    if logged is not None or kl is None or target is None:
        return logged
    return Series(kl.steps, np.full(len(kl), target))


def kl_utilization(run: Run) -> Series | None:
    """
    Return realised KL / δ: logged, or computed where δ is known.

    :param run: any
    :return: None: neither
    """
    logged, kl, delta = run.series("train/kl_utilization"), realised_kl(run), bound(run)
    if logged is not None or kl is None or delta is None:
        return logged
    steps, a, b = at_common_steps(kl, delta)
    positive = b > 0
    return Series(steps[positive], a[positive] / b[positive]) if positive.any() else None


def entropy(run: Run) -> Series | None:
    """
    Return the entropy; PPO and A2C log its negative as a loss.

    :param run: any
    :return: None: neither
    """
    logged, loss = run.series("train/entropy"), run.series("train/entropy_loss")
    if logged is not None or loss is None:
        return logged
    return Series(loss.steps, -loss.values)


def phase_seconds(run: Run) -> dict[str, float]:
    """
    Return the seconds of a mean update by its parts.

    :param run: any
    :return: part to seconds; empty: it does not log them
    """
    keys = {
        "rollout": "time/rollout_s",
        "policy": "time/policy_step_s",
        "critic": "time/critic_step_s",
    }
    parts = {part: run.series(key) for part, key in keys.items()}
    means = {part: float(s.finite.mean()) for part, s in parts.items() if s is not None}
    time, iterations = run.log.clock, run.series("time/iterations")
    if len(means) == len(keys) and time is not None and iterations is not None:
        _, seconds, count = at_common_steps(time, iterations)
        if len(count) > 1 and count[-1] > count[0]:
            whole = (seconds[-1] - seconds[0]) / (count[-1] - count[0])
            means["rest"] = max(0.0, float(whole) - sum(means.values()))
    return means
