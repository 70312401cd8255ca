"""What SB3's callbacks count and remember, so that a resumed run stops and saves when it should."""

from collections.abc import Iterator
from typing import Any

from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    EvalCallback,
    EventCallback,
    EveryNTimesteps,
    StopTrainingOnMaxEpisodes,
    StopTrainingOnNoModelImprovement,
)

from sb3_trpo.checkpoint.environments import generators, restore_generators
from sb3_trpo.plain_data import is_plain

_KEPT: tuple[tuple[type[BaseCallback], tuple[str, ...]], ...] = (
    (BaseCallback, ("n_calls",)),
    (
        EvalCallback,
        (
            "best_mean_reward",
            "last_mean_reward",
            "evaluations_results",
            "evaluations_timesteps",
            "evaluations_length",
            "evaluations_successes",
        ),
    ),
    (EveryNTimesteps, ("last_time_trigger",)),
    (StopTrainingOnMaxEpisodes, ("n_episodes",)),
    (StopTrainingOnNoModelImprovement, ("last_best_mean_reward", "no_improvement_evals")),
)


def captured(callback: BaseCallback) -> dict[str, Any]:
    """
    Describe the callbacks of a call of ``learn``.

    :param callback: the outermost
    :return: for ``pack`` and :func:`restore`
    """
    return {name: _state(found) for name, found in _named(callback).items()}


def restore(callback: BaseCallback, stored: dict[str, Any]) -> None:
    """
    Let callbacks count on; those that were not there stay as they are.

    :param callback: the outermost
    :param stored: of :func:`captured`
    """
    for own, found in _named(callback).items():
        for name, value in stored.get(own, {}).items():
            if name == "eval_env" and isinstance(found, EvalCallback):
                restore_generators(found.eval_env, value)
            elif name in _kept(found):
                setattr(found, name, value)


def _state(callback: BaseCallback) -> dict[str, Any]:
    values = {name: getattr(callback, name) for name in _kept(callback)}
    kept = {name: value for name, value in values.items() if is_plain(value)}
    if isinstance(callback, EvalCallback):
        kept["eval_env"] = generators(callback.eval_env)
    return kept


def _kept(callback: BaseCallback) -> list[str]:
    return [name for kind, names in _KEPT if isinstance(callback, kind) for name in names]


def _named(callback: BaseCallback) -> dict[str, BaseCallback]:
    """Name callbacks by their classes, and by their order where a class is there twice."""
    named: dict[str, BaseCallback] = {}
    for found in _all(callback):
        kind = type(found).__name__
        named[f"{kind} {sum(type(other) is type(found) for other in named.values())}"] = found
    return named


def _all(callback: BaseCallback) -> Iterator[BaseCallback]:
    yield callback
    inner: list[Any] = []
    if isinstance(callback, CallbackList):
        inner = callback.callbacks
    elif isinstance(callback, EventCallback):
        inner = [callback.callback, getattr(callback, "callback_on_new_best", None)]
    for child in inner:
        if child is not None:
            yield from _all(child)
