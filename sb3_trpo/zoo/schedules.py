"""Schedules in rl_zoo3's files, of hyperparameters that it takes for plain numbers."""

from collections.abc import Callable
from typing import Any

from stable_baselines3.common.utils import LinearSchedule

SCHEDULED = ("target_kl", "noise_correlation")
Preprocess = Callable[[dict[str, Any]], dict[str, Any]]


def with_ours(preprocess: Preprocess) -> Preprocess:
    """
    Let rl_zoo3's preprocessing of hyperparameters read our schedules, too.

    :param preprocess: turns ``"lin_1e-3"`` into a schedule where rl_zoo3 knows of one
    :return: does so for ``SCHEDULED``, too
    """

    def with_schedules(hyperparams: dict[str, Any]) -> dict[str, Any]:
        read = {
            name: schedule(name, value) if name in SCHEDULED else value
            for name, value in hyperparams.items()
        }
        return preprocess(read)

    return with_schedules


def schedule(name: str, value: Any) -> Any:
    """
    Read a hyperparameter.

    :param name: of it
    :param value: as the file has it; ``"lin_X"`` falls from X to 0 over the training
    :return: the schedule; what is no string, as it is
    :raises ValueError: it is another string
    """
    if not isinstance(value, str):
        return value
    kind, _, start = value.partition("_")
    try:
        if kind == "lin":
            return LinearSchedule(float(start), 0.0, 1.0)
    except ValueError:
        pass  # refused like all others
    raise ValueError(f'{name} must be a number or "lin_X", X a number, got {value!r}')
