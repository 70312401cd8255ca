"""What decides a run, as plain JSON."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

Settings = dict[str, Any]
OUTSIDE_CONSTRUCTOR = ("n_envs", "normalize", "policy")


@dataclass(frozen=True)
class Configuration:
    """
    All that decides a run, its seed apart.

    :param algorithm: a key of ``suites.ALGORITHMS``
    :param environment: id of the task
    :param steps: timesteps to train for; SB3 rounds up to whole rollouts
    :param n_envs: environments stepped in turn
    :param normalize: arguments of ``VecNormalize`` beyond the discount factor, which is the
        algorithm's unless given; None for no ``VecNormalize``
    :param policy: policy alias
    :param settings: arguments of the constructor, ``gamma`` always among them
    """

    algorithm: str
    environment: str
    steps: int
    n_envs: int = 1
    normalize: dict[str, Any] | None = None
    policy: str = "MlpPolicy"
    settings: dict[str, Any] = field(default_factory=dict)

    def changed(self, changes: dict[str, Any]) -> "Configuration":
        """
        Return a copy with other settings, as a tuning run has them.

        :param changes: new values of ``n_envs``, ``normalize`` and ``policy``; every other key is
            an argument of the constructor. Values are replaced whole, ``policy_kwargs`` too
        :return: the changed copy
        :raises ValueError: the algorithm, the task or the steps would change
        """
        forbidden = sorted(changes.keys() & {"algorithm", "environment", "steps", "settings"})
        if forbidden:
            raise ValueError(f"a setting must not change {', '.join(forbidden)}")
        named = {key: value for key, value in changes.items() if key in OUTSIDE_CONSTRUCTOR}
        others = {key: value for key, value in changes.items() if key not in named}
        return replace(self, **named, settings={**self.settings, **others})

    def as_json(self) -> dict[str, Any]:
        """Return what a run records."""
        return asdict(self)
