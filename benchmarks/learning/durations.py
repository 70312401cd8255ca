"""How long the runs that are left will take."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

from benchmarks.learning.configuration import Configuration


class Durations:
    """Seconds per step of finished runs, by algorithm and task."""

    def __init__(self) -> None:
        self._seconds_per_step: dict[tuple[str, str], list[float]] = defaultdict(list)

    def note(self, algorithm: str, environment: str, *, steps: int, seconds: float) -> None:
        """
        Learn from a finished run.

        :param algorithm: of the run
        :param environment: of the run
        :param steps: that it took
        :param seconds: wall-clock
        """
        self._seconds_per_step[algorithm, environment].append(seconds / steps)

    def expected(self, configuration: Configuration) -> float | None:
        """
        Estimate one run from its like, or from all runs where there is none of its like.

        :param configuration: of the run
        :return: seconds; None while no run has finished
        """
        key = (configuration.algorithm, configuration.environment)
        known = self._seconds_per_step.get(key)
        if known is None:
            known = [fmean(speeds) for speeds in self._seconds_per_step.values()]
        return configuration.steps * fmean(known) if known else None

    def time_left(
        self,
        waiting: Sequence[Configuration],
        running: Sequence[tuple[Configuration, float]],
        *,
        n_jobs: int,
    ) -> float | None:
        """
        Estimate when all will be done.

        :param waiting: runs not started
        :param running: runs started, each with its seconds so far
        :param n_jobs: runs at a time
        :return: seconds; None while no run has finished
        """
        expected = [self.expected(configuration) for configuration in waiting]
        for configuration, elapsed in running:
            whole = self.expected(configuration)
            expected.append(None if whole is None else max(whole - elapsed, 0.0))
        known = [seconds for seconds in expected if seconds is not None]
        if len(known) < len(expected):
            return None
        return max([sum(known) / n_jobs, *known])  # a run cannot be shared


def in_words(seconds: float | None) -> str:
    """Return a duration as people read it."""
    if seconds is None:
        return "unknown"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
