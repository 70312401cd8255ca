"""Faults, drawn at random and thrown one at a time."""

import math
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.soak.events import Events
from benchmarks.soak.watched import State, WatchedTRPO
from sb3_trpo import TRPO
from sb3_trpo.checkpoint import files as checkpoint_files
from sb3_trpo.optim.fisher import FisherVectorProduct

TEXT = "injected by the soak"
"""What every exception says that a fault raises."""


class Injected(Exception):
    """Nothing else raises it."""


class InjectedInterrupt(KeyboardInterrupt):
    """Nothing else raises it."""


class Abandoned(Exception):
    """The newest checkpoint was damaged: what is in memory is given up for what is on the disk."""


_NUMBERS = {"NaN": math.nan, "inf": math.inf, "-inf": -math.inf, "1e30": 1e30}
REWARDS = {f"reward {name}": value for name, value in _NUMBERS.items()}
OBSERVATIONS = {f"observation {name}": value for name, value in _NUMBERS.items()}
RAISED_IN_STEP = {"environment raises": Injected, "environment runs out of memory": MemoryError}
THRICE = "reward NaN, three rollouts running"
IN_ENV = (*REWARDS, *OBSERVATIONS, *RAISED_IN_STEP, THRICE)
IN_UPDATE = (
    "KeyboardInterrupt in an update",
    "exception in an update",
    "allocation fails in an update",
    "curvature NaN",
)
DISK_FULL, TRUNCATED, KILLED_WRITING = "disk full", "checkpoint truncated", "SIGKILL in writing"
KILLED = "SIGKILL"
KINDS = (*IN_ENV, *IN_UPDATE, DISK_FULL, TRUNCATED)
ALL_KINDS = (*KINDS, KILLED_WRITING, KILLED)


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
        self._events, self._rng, self._per_rollout = events, np.random.default_rng(seed), per_rollout
        self._kinds = (*KINDS, KILLED_WRITING) if may_die else KINDS
        self.armed: str | None = None
        self.fired: str | None = None  # and not yet judged
        self._countdown, self._n_more, self._update_s = 0, 0, 0.02

    # --- arming ---

    def _on_rollout_start(self) -> None:
        if self._n_more:
            self._n_more -= 1
            self._arm(THRICE)
        elif self._rng.random() < self._per_rollout:
            self._arm(str(self._rng.choice(self._kinds)))
            self._n_more = 2 if self.armed == THRICE else 0
        else:
            self.armed = None
        if self.armed == TRUNCATED:
            self.armed = None
            raise Abandoned(TEXT)

    def _arm(self, kind: str) -> None:
        self.armed = kind
        if kind in IN_ENV:
            size = self.model.n_steps * self.model.n_envs  # type: ignore[attr-defined]
            self._countdown = int(self._rng.integers(size))

    def _on_step(self) -> bool:
        return True

    def fire(self) -> None:
        """Write down that the armed fault happens now."""
        assert self.armed is not None
        self.fired, self.armed = self.armed, None
        self._events.add("fault", kind=self.fired, steps=self.num_timesteps)

    def judge(self, outcome: str, *, is_sound: bool) -> None:
        """Write down what came of the last fault, and whether that is as promised."""
        if self.fired is not None or not is_sound:
            self._events.add("outcome", kind=self.fired, outcome=outcome, is_sound=is_sound)
        self.fired = None

    # --- in the environments ---

    def spoil(self, result: list[Any]) -> None:
        """Let the armed fault happen to what an environment returns, if it is time."""
        if self.armed not in IN_ENV:
            return
        self._countdown -= 1
        if self._countdown >= 0:
            return
        kind = self.armed
        self.fire()
        if kind in RAISED_IN_STEP:
            raise RAISED_IN_STEP[kind](TEXT)
        if kind in OBSERVATIONS:
            result[0] = np.full_like(result[0], OBSERVATIONS[kind])
        else:
            result[1] = REWARDS.get(kind, math.nan)

    # --- in updates ---

    def update(self, model: WatchedTRPO) -> None:
        """Do an update with the armed fault in it, and look whether it was whole or none."""
        before, n_skipped = State.of(model), model._n_skipped_updates
        try:
            with self._in_update():
                TRPO.train(model)
        except BaseException as error:
            after = State.of(model)
            is_whole = after.n_updates == before.n_updates + 1  # it came when all was done
            is_sound = after.same_as(before) or (is_whole and after.is_finite())
            if not is_sound:
                self.judge(f"update torn by {type(error).__name__}", is_sound=False)
            raise
        after = State.of(model)
        if model._n_skipped_updates > n_skipped:
            self.judge("update skipped", is_sound=after.same_as(before))
        else:
            is_sound = after.is_finite() and after.n_updates == before.n_updates + 1
            self.judge("update taken", is_sound=is_sound)

    @contextmanager
    def _in_update(self) -> Iterator[None]:
        if self.armed == "KeyboardInterrupt in an update":
            with self._interrupt():
                yield
        elif self.armed == "exception in an update":
            with self._at_some_call(Injected(TEXT)):
                yield
        elif self.armed == "allocation fails in an update":
            with self._at_some_call(RuntimeError(f"DefaultCPUAllocator: no memory, {TEXT}")):
                yield
        elif self.armed == "curvature NaN":
            with self._spoilt_curvature():
                yield
        else:
            yield

    @contextmanager
    def _interrupt(self) -> Iterator[None]:
        def interrupt(*_: Any) -> None:
            self.fire()
            raise InjectedInterrupt(TEXT)

        before = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, float(self._rng.uniform(1e-4, 0.15)))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def _at_some_call(self, error: Exception) -> "TorchCalls":
        return TorchCalls(int(10 ** self._rng.uniform(0, 3.7)), error, self)

    @contextmanager
    def _spoilt_curvature(self) -> Iterator[None]:
        real, n_left = FisherVectorProduct.__call__, int(self._rng.integers(4))

        def spoilt(*args: Any) -> th.Tensor:
            nonlocal n_left
            n_left -= 1
            product = real(*args)
            if n_left != -1:
                return product
            self.fire()
            return product * math.nan

        FisherVectorProduct.__call__ = spoilt  # type: ignore[method-assign]
        try:
            yield
        finally:
            FisherVectorProduct.__call__ = real  # type: ignore[method-assign]

    # --- on the disk ---

    @contextmanager
    def in_writing(self) -> Iterator[None]:
        """Let the armed fault happen while a checkpoint is written."""
        if self.armed == DISK_FULL:
            self.fire()
            with full_disk():
                yield
        elif self.armed == KILLED_WRITING:
            self.fire()
            checkpoint_files.os = DeadlyDisk(int(self._rng.integers(1, 26)))
            yield
        else:
            yield

    def draw(self, n: int) -> int:
        """Draw a number below ``n``."""
        return int(self._rng.integers(n))


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


class TorchCalls(TorchDispatchMode):
    """Raises at the n-th operation of torch, autograd's included."""

    def __init__(self, n: int, error: Exception, faults: Faults) -> None:
        super().__init__()
        self._n_left, self._error, self._faults = n, error, faults

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._n_left -= 1
        if self._n_left == 0:
            self._faults.fire()
            raise self._error
        return func(*args, **(kwargs or {}))


class DeadlyDisk:
    """``os`` for a module: the process is killed at the n-th thing it does to the disk."""

    def __init__(self, n: int) -> None:
        self._n_left = n

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in ("mkdir", "open", "write", "fsync", "close", "rename", "unlink", "rmdir"):
            return real

        def counted(*args: Any) -> Any:
            self._n_left -= 1
            if self._n_left == 0:
                if name == "write":
                    real(args[0], bytes(args[1])[: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args)

        return counted


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file become larger than 5 kB: the kernel refuses, as where a disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def truncate(checkpoint: Path, draw: int) -> str:
    """Cut one file of a checkpoint short; return its name."""
    with suppress(IndexError):
        found = sorted(checkpoint.iterdir())
        file = found[draw % len(found)]
        os.truncate(file, draw % max(file.stat().st_size, 1))
        return file.name
    return ""
