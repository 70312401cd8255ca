"""
The environments at a rollout's end, and how to get them into that state again.

The state inside an environment cannot be stored in general. But where an episode has just begun,
``reset()`` makes it again, if the generators stand as they stood before it. DummyVecEnv and
SubprocVecEnv reset within the last step; so the generators are looked at before that step and after
it. If the step drew numbers itself, the reset began somewhere in between (``reset_search.py``).
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecMonitor, VecNormalize, unwrap_vec_normalize

from sb3_trpo.checkpoint.env_access import EnvAccess, States, vec_wrappers
from sb3_trpo.checkpoint.random_states import common_states, same
from sb3_trpo.checkpoint.reset_search import ResetSearch
from sb3_trpo.normalizer_statistics import running_observations
from sb3_trpo.plain_data import is_plain


class LastStep:
    """
    What the generators were before the last step of a rollout, and after it.

    :param venv: the environments
    """

    def __init__(self, venv: VecEnv) -> None:
        self._access = EnvAccess.of(venv)
        self.before: list[States] = self._access.read()
        self._common = common_states()
        self.draws_here = False

    def end(self) -> None:
        """Take note of the step's end, and whether it used the whole process's generators."""
        self.draws_here = self._access.is_here and not same(self._common, common_states())


def can_be_gone_on_from(venv: VecEnv) -> bool:
    """
    Tell whether the environments still return numbers.

    One reward that is not finite makes the statistics of VecNormalize so for good, and with them
    all rewards that it normalises.

    :param venv: the environments
    :return: False if there is nothing to learn from them any more
    """
    normaliser = unwrap_vec_normalize(venv)
    if normaliser is None:
        return True
    running = list(running_observations(normaliser).values())
    if normaliser.norm_reward:
        running.append(normaliser.ret_rms)
    return all(bool(np.isfinite(x).all()) for rms in running for x in (rms.mean, rms.var))


def captured(venv: VecEnv, last_step: LastStep | None) -> dict[str, Any]:
    """
    Describe the environments.

    :param venv: between two rollouts
    :param last_step: of the rollout; None where it is not known
    :return: for ``pack`` and :func:`restore`
    """
    access, normaliser = EnvAccess.of(venv), unwrap_vec_normalize(venv)
    monitor = next((v for v in vec_wrappers(venv) if isinstance(v, VecMonitor)), None)
    is_known = last_step is not None and not last_step.draws_here
    return {
        **generators(venv),
        "before": last_step.before if last_step is not None and is_known else None,
        "options": venv.unwrapped._options if is_plain(venv.unwrapped._options) else None,
        "ids": access.ids(),
        "counters": [own if is_plain(own) else {} for own in access.counters()],
        "episode_count": None if monitor is None else monitor.episode_count,
        "normaliser": None if normaliser is None else _running(normaliser),
    }


def generators(venv: VecEnv) -> dict[str, Any]:
    """
    Describe the generators of environments, and the seeds that wait for a reset.

    :param venv: the environments
    :return: for ``pack`` and :func:`restore_generators`
    """
    return {"now": EnvAccess.of(venv).read(), "seeds": venv.unwrapped._seeds}


def restore_generators(venv: VecEnv, stored: dict[str, Any]) -> None:
    """
    Put generators and seeds back; environments of another number are left alone.

    :param venv: the environments
    :param stored: of :func:`generators`
    """
    if len(stored["now"]) == venv.num_envs:
        EnvAccess.of(venv).write(stored["now"])
        venv.unwrapped._seeds = stored["seeds"]


def _running(normaliser: VecNormalize) -> dict[str, Any]:
    return {
        "returns": normaliser.returns,
        "old_obs": normaliser.old_obs,
        "old_reward": normaliser.old_reward,
    }


@dataclass(frozen=True)
class Beginning:
    """
    Where the next rollout begins.

    :param observations: of all environments
    :param episode_starts: whether they open an episode
    """

    observations: Any
    episode_starts: np.ndarray


def restore(venv: VecEnv, stored: dict[str, Any], last: Beginning) -> Beginning:
    """
    Reset the environments; where an episode had just begun, into the same state.

    :param venv: the environments; the statistics of a VecNormalize are those of the checkpoint
    :param stored: of :func:`captured`
    :param last: as stored
    :return: as it is now: the others begin an episode
    """
    normaliser, base = unwrap_vec_normalize(venv), venv.unwrapped
    was_training = normaliser is not None and normaliser.training
    if normaliser is not None:
        normaliser.training = False  # its statistics have seen these observations
        wanted = stored["normaliser"]["old_obs"]
    else:
        wanted = last.observations
    try:
        fresh, is_back = _reset(venv, stored, wanted, last.episode_starts)
    finally:
        if normaliser is not None:
            normaliser.training = was_training
    EnvAccess.of(venv).set_counters(stored["counters"])
    for wrapper in vec_wrappers(venv):
        if isinstance(wrapper, VecMonitor) and stored["episode_count"] is not None:
            wrapper.episode_count = stored["episode_count"]
    if normaliser is not None:
        _restore_running(normaliser, stored["normaliser"], is_back)
    base._seeds = stored["seeds"]
    if stored["options"] is not None:
        base._options = stored["options"]
    starts = np.where(is_back, last.episode_starts, True)  # noqa: FBT003
    return Beginning(_mixed(last.observations, fresh, is_back), starts)


def _restore_running(normaliser: VecNormalize, stored: dict[str, Any], is_back: np.ndarray) -> None:
    normaliser.returns = np.where(is_back, stored["returns"], normaliser.returns)
    normaliser.old_obs = _mixed(stored["old_obs"], normaliser.old_obs, is_back)
    normaliser.old_reward = stored["old_reward"]


def _reset(
    venv: VecEnv, stored: dict[str, Any], wanted: Any, starts: np.ndarray
) -> tuple[Any, np.ndarray]:
    """Return the observations after the last of some resets, and which of them are as wanted."""
    access, normaliser = EnvAccess.of(venv), unwrap_vec_normalize(venv)
    now, has_begun = stored["now"], np.asarray(starts, dtype=bool)
    searches = [
        ResetSearch(access, stored["before"][i], now[i])
        if has_begun[i] and stored["before"] is not None
        else None
        for i in range(venv.num_envs)
    ]
    is_back = np.zeros(venv.num_envs, dtype=bool)
    is_settled = False
    while not is_settled:
        fresh = _reset_from(
            venv, access, [s.trial if s and s.trial else now[i] for i, s in enumerate(searches)]
        )
        seen = fresh if normaliser is None else normaliser.get_original_obs()
        after, is_settled = access.read(), True
        for i, search in enumerate(searches):
            if search is None or search.trial is None:
                continue
            is_back[i] = _row_is_same(seen, wanted, i) and same(after[i], now[i])
            if not is_back[i]:
                search.go_on(after[i])
                is_settled = False
    _warn_of_lost(has_begun & ~is_back)
    return fresh, is_back


def _reset_from(venv: VecEnv, access: EnvAccess, states: Sequence[States]) -> Any:
    base = venv.unwrapped
    base._reset_seeds()  # those of the model's own seed, which loading sets
    base._reset_options()
    access.write(states)
    return venv.reset()


def _row_is_same(seen: Any, wanted: Any, row: int) -> bool:
    if isinstance(wanted, dict):
        return all(_row_is_same(seen[key], wanted[key], row) for key in wanted)
    return np.array_equal(seen[row], wanted[row])


def _mixed(stored: Any, fresh: Any, is_back: np.ndarray) -> Any:
    if isinstance(stored, dict):
        return {key: _mixed(stored[key], fresh[key], is_back) for key in stored}
    mixed = np.array(fresh)
    mixed[is_back] = stored[is_back]
    return mixed


def _warn_of_lost(is_lost: np.ndarray) -> None:
    if is_lost.any():
        warnings.warn(
            f"{int(is_lost.sum())} of {len(is_lost)} environments had just begun an episode, and "
            "reset() does not begin it again: it does not depend on their np_random and spaces "
            "alone, or these cannot be reached. They begin another one; so training does not go on "
            "bit for bit as it would have.",
            stacklevel=4,
        )
