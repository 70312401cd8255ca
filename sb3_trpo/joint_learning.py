"""Learning with several processes: what they must agree on, and what they tell each other."""

import zlib
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv

from sb3_trpo.common_statistics import CommonStatistics
from sb3_trpo.distributed import Processes

if TYPE_CHECKING:
    from sb3_trpo.trpo import TRPO

_SAME = (
    "batch_size",
    "gamma",
    "gae_lambda",
    "ent_coef",
    "normalize_advantage",
    "n_critic_updates",
    "max_grad_norm",
    "learning_rate",
    "target_kl",
    "match_kl",
    "center_td_errors",
    "clipped_actions",
    "noise_correlation",
    "average_last",
    "cg_max_steps",
    "cg_damping",
    "cg_relative_tolerance",
    "line_search_shrinking_factor",
    "line_search_max_iter",
    "sub_sampling_factor",
    "num_timesteps",
    "_n_updates",
)
"""Attributes that decide how many messages an update has, and what they mean."""
_WINDOWS = ("ep_info_buffer", "ep_success_buffer")
"""Attributes that hold the last episodes, for the log."""


@dataclass(frozen=True)
class Crew:
    """
    The rollouts of all processes, as they will be.

    :param shapes: T and E of each, by rank
    :param rank: of this process
    """

    shapes: tuple[tuple[int, int], ...]
    rank: int

    @classmethod
    def of(cls, model: "TRPO") -> "Crew":
        """
        Ask all processes.

        :param model: about to be built; without environments it will have no rollouts
        :return: their answers
        """
        group = model._processes
        shapes = group.exchange((model.n_steps, getattr(model, "n_envs", None) or 0))
        return cls(tuple(shapes), group.rank)

    @property
    def n_samples(self) -> int:
        """Samples of all processes in an update."""
        return sum(n_steps * n_envs for n_steps, n_envs in self.shapes)

    @property
    def first_env(self) -> int:
        """Place of this process's first environment among those of all."""
        return sum(n_envs for _, n_envs in self.shapes[: self.rank])

    @property
    def n_other_envs(self) -> int:
        """Environments of the other processes."""
        return sum(n_envs for _, n_envs in self.shapes) - self.shapes[self.rank][1]


def start_alike(model: "TRPO") -> CommonStatistics | None:
    """
    Give all processes the same networks, and each its own random numbers.

    :param model: just built
    :return: the normalisation that they have in common; None for one process or without
        environments
    :raises ValueError: the models or the normalisations differ
    """
    group = model._processes
    if group.size == 1:
        return None
    _check_same(group, _anatomy(model))
    for tensor in (*model.policy.parameters(), *model.policy.buffers()):
        group.from_first(tensor)
    if model.seed is None:
        # Below what EnvPool takes, whose environments each have a number of their own.
        drawn = group.exchange(int(np.random.randint(2**31 - 2**20)))
        model.set_random_seed(drawn[0])
    return None if model.env is None else common_statistics(group, model.env)


def common_statistics(group: Processes, env: VecEnv) -> CommonStatistics:
    """
    Take note of what the processes' VecNormalize has in common.

    :param group: the processes
    :param env: of this one
    :return: to be kept
    :raises ValueError: the statistics differ
    """
    statistics = CommonStatistics(env)
    prints = group.exchange(statistics.fingerprint())
    if any(other != prints[0] for other in prints):
        raise ValueError(
            "VecNormalize's statistics must be the same on all ranks when a model gets its "
            "environments: load them from one file on every rank, or begin with new ones that "
            "were never stepped nor reset"
        )
    return statistics


def _anatomy(model: "TRPO") -> dict[str, Any]:
    """Return what of a model must be equal before its parameters can be."""
    return {
        "class": type(model).__name__,
        "device": model.device.type,
        "optimizer_class": type(model.policy.optimizer).__name__,
        "The policy's parameters (names, shapes, dtypes)": [
            (name, tuple(tensor.shape), str(tensor.dtype), tensor.requires_grad)
            for name, tensor in (*model.policy.named_parameters(), *model.policy.named_buffers())
        ],
        # The order of a sum depends on them, and with it the last bit.
        "torch.get_num_threads()": th.get_num_threads(),
    }


def _check_same(group: Processes, own: dict[str, Any]) -> None:
    offers = group.exchange(own)
    for name in own:
        values = [offer[name] for offer in offers]
        if any(value != values[0] for value in values):
            shown = "" if name.endswith(("dtypes)", "parameters")) else f", got {values}"
            raise ValueError(f"{name} must be the same on all ranks{shown}")


def seed_apart(model: "TRPO", seed: int, set_random_seed: Callable[[int], None]) -> None:
    """
    Seed this process's random numbers: exploration by its rank, environments by their place.

    The environments are seeded as one process would seed all of them together.

    :param model: one of several
    :param seed: common to all
    :param set_random_seed: SB3's, of the model
    """
    env, model.env = model.env, None
    try:
        set_random_seed((seed + model._crew.rank) % 2**32)
    finally:
        model.env = env
    if env is not None:
        env.seed((seed + model._crew.first_env) % 2**32)


def check_same_parameters(policy: BasePolicy, group: Processes) -> None:
    """
    Compare the parameters of all processes.

    :param policy: after an update
    :param group: the processes
    :raises RuntimeError: they are not bitwise equal
    """
    if group.size == 1:
        return
    digest = _digest(policy) % 2**20  # so that float64 holds the sums of squares exactly
    total, squares = group.sum(th.tensor([digest, digest**2], dtype=th.float64)).tolist()
    if int(total) ** 2 != group.size * int(squares):  # Cauchy-Schwarz: equal iff all are
        raise RuntimeError(
            "The ranks' parameters have come apart: they must be bitwise equal after every update. "
            "Are all ranks on the same kind of processor, with the same versions and threads, and "
            "does nothing else change the policy?"
        )


def _digest(policy: BasePolicy) -> int:
    digest = 0
    with th.no_grad():
        for tensor in (*policy.parameters(), *policy.buffers()):
            flat = tensor.detach().reshape(-1).cpu().contiguous()
            digest = zlib.crc32(flat.view(th.uint8).numpy().tobytes(), digest)
    return digest


def share_buffers(policy: BasePolicy, group: Processes) -> None:
    """
    Take the module buffers of rank 0 (running statistics of the critic's batch normalisation).

    :param policy: after an update
    :param group: the processes
    """
    if group.size > 1:
        for buffer in policy.buffers():
            group.from_first(buffer)


@dataclass(frozen=True)
class _Report:
    """What one process tells the others at the end of its rollout."""

    goes_on: bool
    n_samples: int
    windows: list[list[Any]]
    increments: dict[str, RunningMeanStd]


class _Window(deque[Any]):
    """
    The last episodes, and which of them are new.

    :param before: the last episodes so far
    """

    def __init__(self, before: deque[Any]) -> None:
        super().__init__(before, before.maxlen)
        self.new: list[Any] = []

    def __reduce__(self) -> tuple[Any, ...]:
        """Be a plain deque in a file that a callback saves in the midst of a rollout."""
        return deque, (list(self), self.maxlen)

    def append(self, entry: Any) -> None:
        """Take an entry in, and note it."""
        self.new.append(entry)
        super().append(entry)

    def extend(self, entries: Iterable[Any]) -> None:
        """Take entries in, and note them."""
        for entry in entries:
            self.append(entry)


class JointLearning:
    """
    One call of ``learn`` by several processes.

    :param model: about to reset its environments
    :param env: the environments
    :param total_timesteps: as given to ``learn``
    :raises ValueError: the processes do not agree on what they are about to do
    """

    def __init__(self, model: "TRPO", env: VecEnv, total_timesteps: int) -> None:
        self._model, self._group = model, model._processes
        if model._statistics is None or not model._statistics.are_of(env):
            model._statistics = common_statistics(self._group, env)
        own = {name: _comparable(getattr(model, name)) for name in _SAME}
        own |= {"total_timesteps": total_timesteps, "parameters": _digest(model.policy)}
        _check_same(self._group, own)
        if self._group.rank > 0:
            model.set_logger(Logger(None, []))

    def collect(self, collect: Callable[[], bool], callback: BaseCallback) -> bool:
        """
        Collect a rollout, and learn of those of the others.

        :param collect: fills this process's buffer; False if the callback ended it early
        :param callback: called at each step
        :return: False if any process's callback ended its rollout early
        """
        model, calls = self._model, callback.n_calls
        n_before, statistics = model.num_timesteps, cast(CommonStatistics, model._statistics)
        windows = [cast(deque[Any], getattr(model, name)) for name in _WINDOWS]
        noting = [_Window(window) for window in windows]
        for name, noter in zip(_WINDOWS, noting, strict=True):
            setattr(model, name, noter)
        try:
            goes_on = collect()
        finally:
            for name, window in zip(_WINDOWS, windows, strict=True):
                setattr(model, name, window)
        n_samples = (callback.n_calls - calls) * model.n_envs
        new = [noter.new for noter in noting]
        reports = self._group.exchange(_Report(goes_on, n_samples, new, statistics.increments()))
        model.num_timesteps = n_before + sum(report.n_samples for report in reports)
        for report in reports:
            for window, entries in zip(windows, report.windows, strict=True):
                window.extend(entries)
        statistics.take([report.increments for report in reports])
        return all(report.goes_on for report in reports)


def _comparable(value: Any) -> Any:
    """Return a value, or what a schedule is at the start, in the middle and at the end."""
    return [float(value(progress)) for progress in (1.0, 0.5, 0.0)] if callable(value) else value
