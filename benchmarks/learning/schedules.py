"""Settings that change over a run, written as JSON and turned into callables for the model."""

from dataclasses import dataclass
from typing import Any

from torch import nn

ACTIVATIONS = {"ReLU": nn.ReLU, "Tanh": nn.Tanh}


@dataclass(frozen=True)
class Linear:
    """
    A straight line over a run, of SB3's remaining progress (from 1 down to 0).

    :param start: value at the start of the run
    :param end: value at its end
    """

    start: float
    end: float

    def __call__(self, progress: float) -> float:
        """Return the value at a remaining progress."""
        # SB3's progress falls below 0 when the steps are rounded up to whole rollouts, and a
        # negative learning rate or clip range would spoil a peer's last update.
        return self.end + (self.start - self.end) * max(progress, 0.0)


def linear(start: float, end: float = 0.0) -> dict[str, list[float]]:
    """
    Return how a settings file writes a :class:`Linear`: ``{"linear": [start, end]}``.

    :param start: value at the start of the run
    :param end: value at its end; rl_zoo3's ``lin_X`` is ``linear(X)``
    :return: plain JSON
    """
    return {"linear": [start, end]}


def resolve(settings: dict[str, Any]) -> dict[str, Any]:
    """
    Turn settings as they are recorded into arguments of an SB3 constructor.

    :param settings: plain JSON: a schedule is ``{"linear": [start, end]}``, an activation function
        in ``policy_kwargs`` its name
    :return: the same with callables and classes in their places
    :raises ValueError: a schedule or an activation function is not one of those
    """
    arguments: dict[str, Any] = {
        name: _schedule(name, value)
        if isinstance(value, dict) and name != "policy_kwargs"
        else value
        for name, value in settings.items()
    }
    policy_kwargs = dict(arguments.get("policy_kwargs", {}))
    if "activation_fn" in policy_kwargs:
        policy_kwargs["activation_fn"] = _activation(policy_kwargs["activation_fn"])
    if policy_kwargs:
        arguments["policy_kwargs"] = policy_kwargs
    return arguments


def _schedule(name: str, value: dict[str, Any]) -> Linear:
    ends = value.get("linear")
    kinds = [type(end) for end in ends] if isinstance(ends, list) else []
    if set(value) != {"linear"} or len(kinds) != 2 or not {*kinds} <= {int, float}:
        raise ValueError(f'{name} must be a number or {{"linear": [start, end]}}, got {value}')
    return Linear(*value["linear"])


def _activation(name: str) -> type[nn.Module]:
    if name not in ACTIVATIONS:
        raise ValueError(f"activation_fn must be one of {', '.join(ACTIVATIONS)}, got {name!r}")
    return ACTIVATIONS[name]
