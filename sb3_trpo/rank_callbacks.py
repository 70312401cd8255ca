"""Callbacks where several processes learn together."""

import copy

from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    CheckpointCallback,
    EvalCallback,
    EventCallback,
    ProgressBarCallback,
)

from sb3_trpo.callback_locals import SharedLocals

_OF_THE_FIRST_ALONE = (EvalCallback, CheckpointCallback, ProgressBarCallback)


class RankCallbacks(SharedLocals):
    """
    The outermost callback of one of several processes.

    :param callbacks: those of the user
    :param n_other_envs: environments of the other processes, which step at the same time
    """

    def __init__(self, callbacks: list[BaseCallback], n_other_envs: int) -> None:
        super().__init__(callbacks)
        self._n_other_envs = n_other_envs

    def on_step(self) -> bool:
        """Count the timesteps of all processes, and call the callbacks."""
        self.model.num_timesteps += self._n_other_envs
        return super().on_step()


def called_here(callbacks: list[BaseCallback], rank: int) -> list[BaseCallback]:
    """
    Leave out what rank 0 alone shall do: evaluate, save, show progress.

    :param callbacks: of the user, the same on each process
    :param rank: of this one
    :return: those to call
    """
    if rank == 0:
        return callbacks
    return [kept for callback in callbacks if (kept := _elsewhere(callback)) is not None]


def _elsewhere(callback: BaseCallback) -> BaseCallback | None:
    if isinstance(callback, _OF_THE_FIRST_ALONE):
        return None
    if type(callback) is CallbackList:
        return CallbackList(called_here(callback.callbacks, rank=1))
    if isinstance(callback, EventCallback) and callback.callback is not None:
        inner = _elsewhere(callback.callback)
        if inner is None:
            return None
        callback = copy.copy(callback)
        callback.callback = inner
    return callback


class JointProgressBar(ProgressBarCallback):
    """A progress bar that counts the timesteps of all processes."""

    def _on_step(self) -> bool:
        self.pbar.update(self.num_timesteps - self.pbar.n - self._n_before)
        return True

    def _on_training_start(self) -> None:
        super()._on_training_start()
        self._n_before = self.model.num_timesteps
