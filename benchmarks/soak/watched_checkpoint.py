"""Checkpoints, with a note of what goes into each, and faults while they are written."""

import warnings
from pathlib import Path

from benchmarks.soak.disk import names
from benchmarks.soak.events import Events
from benchmarks.soak.faults import Faults
from benchmarks.soak.watched import State
from sb3_trpo.checkpoint import TrainingCheckpoint


class WatchedCheckpoint(TrainingCheckpoint):
    """
    Writes a checkpoint at each end of a rollout.

    :param folder: of the checkpoints
    :param events: where is noted what they must hold, and which are written
    :param faults: which may happen in writing
    """

    def __init__(self, folder: Path, events: Events, faults: Faults | None) -> None:
        super().__init__(1, folder)
        self._events, self._faults = events, faults

    def _write(self) -> None:
        before = names(self._folder)[-1:]
        digest = State.of(self._trpo).digest()
        self._events.add("writing", steps=self.model.num_timesteps, digest=digest)
        if self._faults is None:
            super()._write()
        else:
            self._write_under(self._faults, before)
        after = names(self._folder)[-1:]
        if after != before:
            self._events.add("written", name=after[0])

    def _write_under(self, faults: Faults, before: list[str]) -> None:
        with warnings.catch_warnings(record=True) as told, faults.in_writing():
            warnings.simplefilter("always")
            super()._write()
        if told:
            is_warning = "No checkpoint could be written" in str(told[0].message)
            is_sound = is_warning and names(self._folder)[-1:] == before
            faults.judge("warned of, older checkpoints kept", is_sound=is_sound)
