"""Faults, drawn at random, thrown one at a time, and judged."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from benchmarks.soak.disk import DeadlyDisk, full_disk
from benchmarks.soak.events import Events
from benchmarks.soak.kinds import (
    DISK_FULL,
    IN_ENV,
    KILLED_WRITING,
    OBSERVATIONS,
    RAISED_IN_STEP,
    REWARDS,
    SURVIVED,
    TEXT,
    THRICE,
    TRUNCATED,
    Abandoned,
)
from benchmarks.soak.update_faults import in_update
from benchmarks.soak.watched import State, WatchedTRPO
from sb3_trpo import TRPO
from sb3_trpo.checkpoint import files as checkpoint_files

_MOST_OPERATIONS = 25
"""Of a checkpoint on the disk, from ``mkdir`` to the last of the one that is deleted."""


class Faults(BaseCallback):
    """
    Arms a fault at the start of some rollouts, and judges what comes of it.

    :param events: where all is written down
    :param seed: of what is drawn
    :param per_rollout: how likely one is
    :param may_die: whether this process may kill itself
    """

    def __init__(
        self, events: Events, seed: list[int], *, per_rollout: float, may_die: bool
    ) -> None:
        super().__init__()
        self._events, self._per_rollout = events, per_rollout
        self._rng = np.random.default_rng(seed)
        self._kinds = (*SURVIVED, KILLED_WRITING) if may_die else SURVIVED
        self._armed: str | None = None
        self.fired: str | None = None  # and not yet judged
        self._n_steps_left, self._n_rollouts_more = 0, 0
        self._update_s = 0.05  # until one has been timed

    def draw(self, n: int) -> int:
        """Draw a number below ``n``."""
        return int(self._rng.integers(n))

    # --- arming and judging -----------------------------------------------------------------------

    def _on_rollout_start(self) -> None:
        self._armed = None
        if self._n_rollouts_more:
            self._n_rollouts_more -= 1
            self._arm(THRICE)
        elif self._rng.random() < self._per_rollout:
            self._arm(str(self._rng.choice(self._kinds)))
            self._n_rollouts_more = 2 if self._armed == THRICE else 0

    def _arm(self, kind: str) -> None:
        if kind == TRUNCATED:
            raise Abandoned(TEXT)
        self._armed = kind
        if kind in IN_ENV:
            self._n_steps_left = self.draw(self.model.n_steps * self.model.n_envs)  # type: ignore[attr-defined]  # it is TRPO's

    def _on_step(self) -> bool:
        return True

    def _fire(self) -> None:
        """Write down that the armed fault happens now."""
        self.fired, self._armed = self._armed, None
        self._events.add("fault", kind=self.fired, steps=self.num_timesteps)

    def judge(self, outcome: str, *, is_sound: bool) -> None:
        """Write down what came of the last fault, and whether that is as promised."""
        if self.fired is not None or not is_sound:
            self._events.add("outcome", kind=self.fired, outcome=outcome, is_sound=is_sound)
        self.fired = None

    # --- throwing ---------------------------------------------------------------------------------

    def spoil(self, result: list[Any]) -> None:
        """Let the armed fault happen to what an environment returns, if it is time."""
        if self._armed not in IN_ENV:
            return
        self._n_steps_left -= 1
        if self._n_steps_left >= 0:
            return
        kind = self._armed
        self._fire()
        if kind in RAISED_IN_STEP:
            raise RAISED_IN_STEP[kind](TEXT)
        if kind in OBSERVATIONS:
            result[0] = np.full_like(result[0], OBSERVATIONS[kind])
        else:
            result[1] = REWARDS.get(kind, math.nan)

    def update(self, model: WatchedTRPO) -> None:
        """Do an update with the armed fault in it, and look whether it was whole or none."""
        before, n_skipped = State.of(model), model._n_skipped_updates
        started = time.perf_counter()
        try:
            with in_update(self._armed, self._rng, self._fire, seconds=self._update_s):
                TRPO.train(model)
        except BaseException as error:
            after = State.of(model)
            # It may come when all was done.
            if not (after.same_as(before) or after.is_sound_after(before)):
                self.judge(f"update torn by {type(error).__name__}", is_sound=False)
            raise
        self._update_s = time.perf_counter() - started
        after = State.of(model)
        if model._n_skipped_updates > n_skipped:
            self.judge("update skipped", is_sound=after.same_as(before))
        else:
            self.judge("update taken", is_sound=after.is_sound_after(before))

    @contextmanager
    def in_writing(self) -> Iterator[None]:
        """Let the armed fault happen while a checkpoint is written."""
        if self._armed == DISK_FULL:
            self._fire()
            with full_disk():
                yield
            return
        if self._armed == KILLED_WRITING:
            self._fire()
            disk: Any = DeadlyDisk(1 + self.draw(_MOST_OPERATIONS))
            checkpoint_files.os = disk
        yield


class FaultyEnv(gym.Wrapper):
    """
    An environment that fails when it is told to.

    :param env: that does not
    :param faults: which tell
    """

    def __init__(self, env: gym.Env, faults: Faults) -> None:
        super().__init__(env)
        self._faults = faults

    def step(self, action: Any) -> Any:
        """Step, and spoil the result if it is time."""
        result = [*self.env.step(action)]
        self._faults.spoil(result)
        return tuple(result)
