"""
Where a second of ``learn()`` goes, from samples of the stack.

A timer of the kernel interrupts the process every other millisecond; the time since the last
interrupt belongs to what the stack shows. Nothing is wrapped, so the code that runs is the code
that is measured: a wrapped policy, say, would take another path.
"""

import contextlib
import functools
import inspect
import signal
import time
from collections import Counter
from collections.abc import Collection, Iterator
from types import FrameType
from typing import Any

import sb3_contrib

from benchmarks.speed.models import build, real_env
from benchmarks.speed.sizes import Sizes
from sb3_trpo.critic_step import critic_step

INTERVAL_S = 0.002
PARTS = ("environment", "policy", "rest of the rollout", "actor step", "critic / update", "other")
# Files and functions of the policy's forward pass, in SB3 and in ours.
_POLICY_FILES = ("common/policies.py", "common/distributions.py", "sb3_trpo/samplers.py")
_POLICY_FUNCTIONS = ("general", "plain", "_values", "_log_prob")
_CRITIC_LOOP = "for _ in range(self.n_critic_updates)"


def shares(sizes: Sizes, contenders: Collection[str]) -> dict[str, Any]:
    """
    Measure what ``learn()`` with one environment spends its time on.

    :param sizes: how many steps
    :param contenders: algorithms
    :return: what is recorded: by contender, seconds by part, and steps
    """
    measured = {}
    for name in contenders:
        settings = {"n_steps": sizes.n_steps} if "trpo" in name else {}
        model = build(name, real_env(1, 0), 0, **settings)
        model.learn(sizes.n_steps)  # torch loads a lot at its first update
        with sampling() as seconds:
            model.learn(sizes.learn_rollouts * sizes.n_steps)
        measured[name] = {
            "seconds": {part: seconds[part] for part in PARTS},
            "steps": model.num_timesteps,
        }
    return {"parts": measured}


@contextlib.contextmanager
def sampling() -> Iterator[Counter[str]]:
    """Sum up the seconds of each part while the block runs (in the main thread)."""
    seconds: Counter[str] = Counter()
    _line_of_critic()  # reads a source file, which is not for an interrupt
    last = time.perf_counter()

    def note(_: int, frame: FrameType | None) -> None:
        nonlocal last
        # By the clock and not by the count: a long call into C delays the interrupt.
        seconds[part_of(stack_of(frame))] += time.perf_counter() - last
        last = time.perf_counter()
        signal.setitimer(signal.ITIMER_REAL, INTERVAL_S)  # one at a time: never within another

    before = signal.signal(signal.SIGALRM, note)
    signal.setitimer(signal.ITIMER_REAL, INTERVAL_S)
    try:
        yield seconds
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


Call = tuple[str, str, int]
"""A frame: its file, its function and its line."""


def stack_of(frame: FrameType | None) -> list[Call]:
    """Return the calls of a stack, the innermost first."""
    calls = []
    while frame is not None:
        calls.append((frame.f_code.co_filename, frame.f_code.co_name, frame.f_lineno))
        frame = frame.f_back
    return calls


def part_of(stack: list[Call]) -> str:
    """
    Tell what a stack is busy with.

    :param stack: the innermost call first
    :return: one of ``PARTS``
    """
    functions = {function for _, function, _ in stack}
    if "collect_rollouts" in functions:
        return _part_of_rollout(stack)
    if "train" not in functions:
        return "other"
    if critic_step.__name__ in functions:
        return "critic / update"
    file, _, line = next(call for call in reversed(stack) if call[1] == "train")
    if file.endswith("sb3_contrib/trpo/trpo.py"):
        return "critic / update" if line >= _line_of_critic() else "actor step"
    return "actor step" if file.endswith("sb3_trpo/trpo.py") else "critic / update"


def _part_of_rollout(stack: list[Call]) -> str:
    for file, function, _ in stack:
        if "/common/vec_env/" in file:
            return "environment"
        if file.endswith(_POLICY_FILES):
            return "policy"
        if file.endswith("sb3_trpo/rollouts.py") and function in _POLICY_FUNCTIONS:
            return "policy"
    return "rest of the rollout"


@functools.cache
def _line_of_critic() -> int:
    """Return where sb3_contrib's ``train()`` turns from the actor to the critic."""
    lines, first = inspect.getsourcelines(sb3_contrib.TRPO.train)
    return first + next(i for i, line in enumerate(lines) if _CRITIC_LOOP in line)
