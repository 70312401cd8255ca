"""
The tasks that gymnasium does not have: invalid actions, and hidden velocities.

Importing this module registers them.
"""

from collections.abc import Sequence
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from sb3_contrib.common.envs import (
    InvalidActionEnvDiscrete,
    InvalidActionEnvMultiBinary,
    InvalidActionEnvMultiDiscrete,
)


class Seen(gym.ObservationWrapper[np.ndarray, Any, np.ndarray]):
    """
    Show a part of a vector of observations.

    :param env: with a Box of one dimension
    :param seen: indices of what is shown
    """

    def __init__(self, env: gym.Env[np.ndarray, Any], seen: Sequence[int]) -> None:
        super().__init__(env)
        self._seen = list(seen)
        space = cast(spaces.Box, env.observation_space)
        low, high = space.low[self._seen], space.high[self._seen]
        self.observation_space = spaces.Box(low, high, dtype=space.dtype.type)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        """Return what is shown of it."""
        return observation[self._seen]


def _without_velocities(task: str, seen: Sequence[int]) -> Any:
    def make(**kwargs: Any) -> gym.Env[Any, Any]:
        return Seen(gym.make(task, **kwargs), seen)

    return make


# SB3's identity tasks with actions that are invalid at random: to be learnt is the observed one.
gym.register("InvalidActionDiscrete-v0", lambda: InvalidActionEnvDiscrete(80, 100, 60))
gym.register(
    "InvalidActionMultiDiscrete-v0", lambda: InvalidActionEnvMultiDiscrete([20, 20], 100, 24)
)
gym.register("InvalidActionMultiBinary-v0", lambda: InvalidActionEnvMultiBinary(10, 100, 6))
# Positions alone: of cart and pole; sine and cosine of the angle; joints of the cheetah.
gym.register("CartPoleNoVelocity-v1", _without_velocities("CartPole-v1", [0, 2]))
gym.register("PendulumNoVelocity-v1", _without_velocities("Pendulum-v1", [0, 1]))
gym.register("HalfCheetahNoVelocity-v5", _without_velocities("HalfCheetah-v5", range(8)))
