"""Learning with several processes: what they must agree on, and what they tell each other."""

import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv

from sb3_trpo.common_statistics import CommonStatistics
from sb3_trpo.distributed import Processes
from sb3_trpo.moments import Moments

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
    "cg_max_steps",
    "cg_damping",
    "cg_relative_tolerance",
    "line_search_shrinking_factor",
    "line_search_max_iter",
    "sub_sampling_factor",
    "num_timesteps",
)
"""Attributes that decide how many messages an update has, and what they mean."""
_WINDOWS = ("ep_info_buffer", "ep_success_buffer")
"""Attributes that hold the last episodes, for the log."""


def start_alike(model: "TRPO") -> int | None:
    """
    Give all processes the same networks, and each its own random numbers.

    The environments are seeded as one process would seed all of them together.

    :param model: just built
    :return: the seed of the random numbers that the processes draw in common; None for one process
    """
    group = model._processes
    if group.size == 1:
        return None
    for tensor in (*model.policy.parameters(), *model.policy.buffers()):
        group.from_first(tensor)
    drawn = int(np.random.randint(2**32, dtype=np.uint64)) if model.seed is None else model.seed
    starts = group.exchange((drawn, getattr(model, "n_envs", None) or 0))
    seed = int(starts[0][0])
    _seed_apart(model, seed, [n_envs for _, n_envs in starts])
    return seed


def _seed_apart(model: "TRPO", seed: int, n_envs: list[int]) -> None:
    rank = model._processes.rank
    env, model.env = model.env, None  # its environments have a place among those of all
    try:
        model.set_random_seed((seed + rank) % 2**32)
    finally:
        model.env = env
    if env is not None and model.seed is not None:
        env.seed((seed + sum(n_envs[:rank])) % 2**32)


def check_same_parameters(policy: BasePolicy, group: Processes) -> None:
    """
    Compare the parameters of all processes.

    :param policy: after an update
    :param group: the processes
    :raises RuntimeError: they are not bitwise equal
    """
    if group.size == 1:
        return
    digests = group.exchange(_digest(policy))
    if len(set(digests)) > 1:
        raise RuntimeError(
            f"The ranks' parameters have come apart (digests {digests}): they must be bitwise "
            "equal after every update. Are all ranks on the same kind of processor, with the same "
            "versions, and does nothing else change the policy?"
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
    increments: dict[str, Moments]


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
        self._statistics = CommonStatistics(env)
        offers = self._group.exchange(
            {
                **{name: _comparable(getattr(model, name)) for name in _SAME},
                "total_timesteps": total_timesteps,
                "class": type(model).__name__,
                "parameters": _digest(model.policy),
                "VecNormalize": self._statistics.fingerprint(),
                "n_envs": env.num_envs,
            }
        )
        n_envs = [offer.pop("n_envs") for offer in offers]
        self._n_envs = env.num_envs
        self.n_other_envs = sum(n_envs) - env.num_envs
        for name in offers[0]:
            values = [offer[name] for offer in offers]
            if any(value != values[0] for value in values):
                shown = "" if name == "VecNormalize" else f", got {values}"
                raise ValueError(f"{name} must be the same on all ranks{shown}")
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
        n_before = model.num_timesteps
        windows = [cast(deque[Any], getattr(model, name)) for name in _WINDOWS]
        # Without a bound, so that the new ones can be told from the old.
        for name, window in zip(_WINDOWS, windows, strict=True):
            setattr(model, name, deque(window))
        try:
            goes_on = collect()
        finally:
            seen = [getattr(model, name) for name in _WINDOWS]
            for name, window in zip(_WINDOWS, windows, strict=True):
                setattr(model, name, window)
        new = [list(after)[len(before) :] for after, before in zip(seen, windows, strict=True)]
        n_samples = (callback.n_calls - calls) * self._n_envs
        reports = self._group.exchange(
            _Report(goes_on, n_samples, new, self._statistics.increments())
        )
        model.num_timesteps = n_before + sum(report.n_samples for report in reports)
        for report in reports:
            for window, entries in zip(windows, report.windows, strict=True):
                window.extend(entries)
        self._statistics.take([report.increments for report in reports])
        return all(report.goes_on for report in reports)


def _comparable(value: Any) -> Any:
    return "a schedule" if callable(value) else value
