"""What befalls an update while it is made."""

import math
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch as th
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.soak.kinds import (
    CURVATURE,
    EXCEPTION,
    INTERRUPT,
    NO_MEMORY,
    TEXT,
    Injected,
    InjectedInterrupt,
)
from sb3_trpo.optim.fisher import FisherVectorProduct

_MOST_CALLS = 5000
_MOST_PRODUCTS = 4

Fire = Callable[[], None]


def in_update(
    kind: str | None, rng: np.random.Generator, fire: Fire, *, seconds: float
) -> AbstractContextManager:
    """
    Let a fault happen in the block.

    :param kind: of the fault; any other than those of updates: none
    :param rng: draws the moment
    :param fire: called when it happens
    :param seconds: that an update takes
    :return: around the update
    """
    if kind == INTERRUPT:
        return _interrupt(float(rng.uniform(1e-4, seconds)), fire)
    if kind == CURVATURE:
        return _spoilt_curvature(int(rng.integers(_MOST_PRODUCTS)), fire)
    if kind in (EXCEPTION, NO_MEMORY):
        # As many early as late, where an update takes some thousands.
        at = int(_MOST_CALLS ** rng.uniform(0, 1))
        no_memory = RuntimeError(f"DefaultCPUAllocator: can't allocate memory, {TEXT}")
        return TorchCalls(at, Injected(TEXT) if kind == EXCEPTION else no_memory, fire)
    return nullcontext()


@contextmanager
def _interrupt(seconds: float, fire: Fire) -> Iterator[None]:
    """Raise from a signal's handler, as Ctrl-C does: between any two instructions of Python."""

    def handler(*_: Any) -> None:
        fire()
        raise InjectedInterrupt(TEXT)

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class TorchCalls(TorchDispatchMode):
    """
    Raises at one operation of torch, autograd's included.

    :param at: which, from 1
    :param error: to raise
    :param fire: called before
    """

    def __init__(self, at: int, error: Exception, fire: Fire) -> None:
        super().__init__()
        self._n_left, self._error, self._fire = at, error, fire

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do what is asked for, or raise."""
        self._n_left -= 1
        if self._n_left == 0:
            self._fire()
            raise self._error
        return func(*args, **(kwargs or {}))


@contextmanager
def _spoilt_curvature(at: int, fire: Fire) -> Iterator[None]:
    """Let one of the Fisher-vector products be NaN."""
    real, count = FisherVectorProduct.__call__, 0

    def spoilt(*args: Any) -> th.Tensor:
        nonlocal count
        count += 1
        product = real(*args)
        if count != at + 1:
            return product
        fire()
        return product * math.nan

    FisherVectorProduct.__call__ = spoilt  # type: ignore[method-assign]
    try:
        yield
    finally:
        FisherVectorProduct.__call__ = real  # type: ignore[method-assign]
