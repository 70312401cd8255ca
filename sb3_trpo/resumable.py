"""What lets training go on where it was, with a log that counts on."""

import os
import warnings
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.type_aliases import MaybeCallback

from sb3_trpo.call_arguments import check_given
from sb3_trpo.callback_locals import SharedLocals
from sb3_trpo.stored import StoredAlgorithm

SelfResumable = TypeVar("SelfResumable", bound="ResumableAlgorithm")


@dataclass(frozen=True)
class LearnCall:
    """
    How ``learn`` was called, as far as the log depends on it.

    :param log_interval: updates between two dumps of the log
    :param tb_log_name: name of the run in TensorBoard
    :param n_iterations_before: iterations of the call that this one continues
    """

    log_interval: int | None
    tb_log_name: str
    n_iterations_before: int = 0


class Continuation(Protocol):
    """What a resumed model has still to put back when it learns."""

    @property
    def n_iterations(self) -> int:
        """Iterations that the call of ``learn`` had behind it."""
        ...

    @property
    def learn_arguments(self) -> dict[str, Any]:
        """What that call was given beside a number of timesteps and a callback."""
        ...

    @property
    def log_folder(self) -> str | None:
        """Where it logged."""
        ...

    def begin(self, model: "ResumableAlgorithm", callback: BaseCallback) -> None:
        """
        Put it back.

        :param model: about to collect its first rollout
        :param callback: the outermost
        """
        ...


class ResumableAlgorithm(StoredAlgorithm):
    """An on-policy algorithm whose training can be interrupted between two rollouts."""

    _continuation: Continuation | None = None
    _call = LearnCall(1, "run")
    _run: str | None = None  # names the checkpoints of one training

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_continuation", "_call", "_run"]

    def learn(
        self: SelfResumable,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "OnPolicyAlgorithm",
        reset_num_timesteps: bool = True,  # noqa: FBT001, FBT002  # SB3's signature
        progress_bar: bool = False,  # noqa: FBT001, FBT002
    ) -> SelfResumable:
        """Train; the first call of a resumed model counts iterations on from the checkpoint's."""
        check_given(
            total_timesteps=total_timesteps,
            callback=callback,
            log_interval=log_interval,
            tb_log_name=tb_log_name,
            reset_num_timesteps=reset_num_timesteps,
            progress_bar=progress_bar,
        )
        if self.env is None:
            raise ValueError("env must be given to load() or set_env() before learn(), got None")
        self._call = LearnCall(log_interval, tb_log_name)
        if self._continuation is not None and reset_num_timesteps:
            warnings.warn(
                "A resumed model learns from zero, for reset_num_timesteps is True: "
                "learn_rest(model) does what was left at the checkpoint.",
                stacklevel=3,
            )
            self._continuation = None
        if self._continuation is not None:
            self._call = replace(self._call, n_iterations_before=self._continuation.n_iterations)
            # SB3 counts from 0 here; dump_logs() knows better which iterations to log.
            log_interval = log_interval and 1
        return super().learn(
            total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar
        )

    def dump_logs(self, iteration: int = 0) -> None:
        """
        Write the log.

        :param iteration: of ``learn``; 0: not to be shown
        :raises ValueError: it is no whole number
        """
        check_given(iteration=iteration)
        if iteration > 0 and self._call.n_iterations_before:
            iteration += self._call.n_iterations_before
            if iteration % (self._call.log_interval or 1):
                return
        super().dump_logs(iteration)

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        folder = None if self._continuation is None else self._continuation.log_folder
        # SB3 would take the newest run in that place, which may be another one by now.
        if self._custom_logger or folder is None or not os.path.isdir(folder):
            return super()._setup_learn(*args, **kwargs)
        formats = ["stdout", "tensorboard"] if self.verbose >= 1 else ["tensorboard"]
        self._logger, self._custom_logger = configure(folder, formats), True
        try:
            return super()._setup_learn(*args, **kwargs)
        finally:
            self._custom_logger = False

    def _at_boundary(self, callback: BaseCallback) -> None:
        """Do what belongs between two rollouts, before anything of the next one is drawn."""
        continuation, self._continuation = self._continuation, None
        if continuation is not None:
            continuation.begin(self, callback)
        if isinstance(callback, SharedLocals):
            callback.on_boundary()
