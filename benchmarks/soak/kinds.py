"""What is thrown at a training, by name."""

import math

TEXT = "injected by the soak"
"""What every exception says that a fault raises."""


class Injected(Exception):
    """Nothing else raises it."""


class InjectedInterrupt(KeyboardInterrupt):
    """Nothing else raises it."""


class Abandoned(Exception):
    """The newest checkpoint is to be damaged: what is in memory is given up for the one before."""


_NUMBERS = {"NaN": math.nan, "inf": math.inf, "-inf": -math.inf, "1e30": 1e30}
REWARDS = {f"reward {name}": value for name, value in _NUMBERS.items()}
OBSERVATIONS = {f"observation {name}": value for name, value in _NUMBERS.items()}
RAISED_IN_STEP: dict[str, type[Exception]] = {
    "environment raises": Injected,
    "environment runs out of memory": MemoryError,
}
THRICE = "reward NaN, three rollouts running"
IN_ENV = (*REWARDS, *OBSERVATIONS, *RAISED_IN_STEP, THRICE)
INTERRUPT = "KeyboardInterrupt in an update"
EXCEPTION = "exception in an update"
NO_MEMORY = "allocation fails in an update"
CURVATURE = "curvature NaN"
DISK_FULL = "disk full"
TRUNCATED = "checkpoint truncated"
SURVIVED = (*IN_ENV, INTERRUPT, EXCEPTION, NO_MEMORY, CURVATURE, DISK_FULL, TRUNCATED)
"""What a process lives through."""
KILLED_WRITING, KILLED = "SIGKILL in writing", "SIGKILL"
ALL_KINDS = (*SURVIVED, KILLED_WRITING, KILLED)
