"""What can be reached of the single environments behind a vectorised one."""

from collections.abc import Container, Iterator, Sequence
from typing import Any

import gymnasium as gym
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvWrapper

from sb3_trpo.checkpoint.random_states import State, generator_of, leaves

States = dict[str, State]
"""The states of an environment's generators, by name."""
_OWN = "np_random"
_SPACES = ("action_space", "observation_space")
_COUNTERS = ("total_steps", "episode_returns", "episode_lengths", "episode_times")
"""Of ``Monitor``, over all episodes."""


def vec_wrappers(venv: VecEnv) -> Iterator[VecEnv]:
    """Yield a vectorised environment and those that it wraps, from the outside in."""
    yield venv
    while isinstance(venv, VecEnvWrapper):
        venv = venv.venv
        yield venv


class EnvAccess:
    """
    The environments of a VecEnv that cannot be reached: EnvPool's, for one.

    :param venv: the environments
    """

    is_here = False
    """Whether the environments are in this process."""

    def __init__(self, venv: VecEnv) -> None:
        self._base = venv.unwrapped

    @staticmethod
    def of(venv: VecEnv) -> "EnvAccess":
        """
        Return what reaches most.

        :param venv: the environments
        :return: for these
        """
        base = venv.unwrapped
        if isinstance(base, DummyVecEnv):
            return HereAccess(base)
        try:
            has_generators = base.has_attr(_OWN)
        except (AttributeError, NotImplementedError):
            has_generators = False
        return WorkerAccess(base) if has_generators else EnvAccess(base)

    def read(self) -> list[States]:
        """Return the states of the generators that can be seen, for each environment."""
        return [{} for _ in range(self._base.num_envs)]

    def can_write(self, name: str) -> bool:  # noqa: ARG002
        """Tell whether a generator that can be seen can be set, too."""
        return False

    def write(self, states: Sequence[States]) -> None:
        """
        Set the generators that can be set.

        :param states: for each environment
        """

    def counters(self) -> list[dict[str, Any]]:
        """Return what each environment's ``Monitor`` counted so far."""
        return [{} for _ in range(self._base.num_envs)]

    def set_counters(self, counters: Sequence[dict[str, Any]]) -> None:
        """
        Let each environment's ``Monitor`` count on.

        :param counters: for each environment
        """

    def ids(self) -> list[str | None]:
        """Return the ids that the environments are registered by."""
        return [None for _ in range(self._base.num_envs)]


class HereAccess(EnvAccess):
    """
    Environments in this process: everything can be reached, in place.

    :param venv: the environments
    """

    is_here = True

    def __init__(self, venv: DummyVecEnv) -> None:
        super().__init__(venv)
        self._envs = venv.envs

    def read(self) -> list[States]:
        """Return the states of np_random and of the spaces of all layers of wrappers."""
        return [_states(_generators(env, make=())) for env in self._envs]

    def can_write(self, name: str) -> bool:  # noqa: ARG002
        """Return True: all that is seen is there."""
        return True

    def write(self, states: Sequence[States]) -> None:
        """Set the generators in place, so that whoever else holds one keeps it."""
        for env, wanted in zip(self._envs, states, strict=True):
            for name, generator in _generators(env, make=wanted).items():
                if name in wanted:
                    _set(generator, wanted[name])

    def counters(self) -> list[dict[str, Any]]:
        """Return the attributes of the environments' Monitors."""
        return [{name: getattr(m, name) for name in _COUNTERS} if m else {} for m in self._monitors]

    def set_counters(self, counters: Sequence[dict[str, Any]]) -> None:
        """Set the attributes of the environments' Monitors."""
        for monitor, wanted in zip(self._monitors, counters, strict=True):
            if monitor is not None:
                for name in _COUNTERS & wanted.keys():
                    setattr(monitor, name, wanted[name])

    def ids(self) -> list[str | None]:
        """Return the ids that the environments are registered by."""
        return [None if env.spec is None else env.spec.id for env in self._envs]

    @property
    def _monitors(self) -> list[Monitor | None]:
        found = (
            [layer for layer in _layers(env) if isinstance(layer, Monitor)] for env in self._envs
        )
        return [monitors[0] if monitors else None for monitors in found]


class WorkerAccess(EnvAccess):
    """
    Environments in other processes: attributes come as copies, and can be replaced.

    A space's generator can be seen; but a replaced space would be the outermost wrapper's alone.

    :param venv: the environments
    """

    def read(self) -> list[States]:
        """Return the states of np_random and of the outermost spaces."""
        states: list[States] = [_states({_OWN: own}) for own in self._base.get_attr(_OWN)]
        for attribute in _SPACES:
            for own, space in zip(states, self._base.get_attr(attribute), strict=True):
                own.update(_states({n: generator_of(leaf) for n, leaf in leaves(space, attribute)}))
        return states

    def can_write(self, name: str) -> bool:
        """Return True for np_random."""
        return name == _OWN

    def write(self, states: Sequence[States]) -> None:
        """Give the environments new np_randoms."""
        for index, (found, wanted) in enumerate(
            zip(self._base.get_attr(_OWN), states, strict=True)
        ):
            if _OWN in wanted and _set(found, wanted[_OWN]):
                self._base.set_attr(_OWN, found, indices=index)

    def counters(self) -> list[dict[str, Any]]:
        """Return the attributes of the environments' Monitors."""
        counters: list[dict[str, Any]] = [{} for _ in range(self._base.num_envs)]
        if self._have_monitors():
            for name in _COUNTERS:
                for own, value in zip(counters, self._base.get_attr(name), strict=True):
                    own[name] = value
        return counters

    def set_counters(self, counters: Sequence[dict[str, Any]]) -> None:
        """Set the attributes of the environments' Monitors, wherever among the wrappers."""
        if not self._have_monitors():
            return
        has_setter = self._base.has_attr("set_wrapper_attr")  # since gymnasium 1.0
        # Before, set_attr adds them to the outermost wrapper, in front of those of the Monitor.
        if not has_setter and set(self._base.env_method("class_name")) != {Monitor.__name__}:
            return
        for index, wanted in enumerate(counters):
            for name in _COUNTERS & wanted.keys():
                if has_setter:
                    self._base.env_method("set_wrapper_attr", name, wanted[name], indices=index)
                else:
                    self._base.set_attr(name, wanted[name], indices=index)

    def _have_monitors(self) -> bool:
        return all(self._base.env_is_wrapped(Monitor))


def _layers(env: gym.Env[Any, Any]) -> Iterator[gym.Env[Any, Any]]:
    yield env
    while isinstance(env, gym.Wrapper):
        env = env.env
        yield env


def _generators(env: gym.Env[Any, Any], make: Container[str]) -> dict[str, Any]:
    """Find an environment's generators; make those in ``make`` that spaces have not used yet."""
    found: dict[str, Any] = {_OWN: env.np_random}
    for depth, layer in enumerate(_layers(env)):
        for attribute in _SPACES:
            for name, leaf in leaves(getattr(layer, attribute), f"{attribute}@{depth}"):
                generator = leaf.np_random if name in make else generator_of(leaf)
                if not any(generator is known for known in found.values()):
                    found[name] = generator
    return found


def _states(generators: dict[str, Any]) -> States:
    """Return the states of those that are of today's kind (no RandomState)."""
    return {
        name: generator.bit_generator.state
        for name, generator in generators.items()
        if hasattr(generator, "bit_generator")
    }


def _set(generator: Any, state: State) -> bool:
    bits = getattr(generator, "bit_generator", None)
    if bits is None or bits.state["bit_generator"] != state.get("bit_generator"):
        return False
    bits.state = state
    return True
