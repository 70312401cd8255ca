"""The callback that writes checkpoints."""

import io
import secrets
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from stable_baselines3.common.callbacks import BaseCallback

import sb3_trpo
from sb3_trpo.call_arguments import check_given
from sb3_trpo.callback_locals import BoundaryCallback
from sb3_trpo.checkpoint.environments import LastStep, can_be_gone_on_from
from sb3_trpo.checkpoint.files import as_folder, is_taken, remove_leftovers, write_checkpoint
from sb3_trpo.checkpoint.layout import files_of
from sb3_trpo.checkpoint.training_state import captured
from sb3_trpo.optim.checks import check, is_whole
from sb3_trpo.plain_data import pack

if TYPE_CHECKING:
    from sb3_trpo.trpo import TRPO


class TrainingCheckpoint(BoundaryCallback):
    """
    Write all that training consists of: :func:`~sb3_trpo.checkpoint.resume` goes on from it.

    A checkpoint is written between two rollouts, when ``save_freq`` steps have been made since the
    last one, and when ``learn()`` is through. It appears under its name when all of it is on the
    disk: a process that is killed leaves the newest whole one as it was. A disk that is full is
    warned of, and training goes on. So are statistics of VecNormalize that are not finite, as one
    such reward leaves them for good: the checkpoints from before it remain.

    Give it to ``learn()`` itself, or in a list; to each of several processes that learn together
    (the first writes, for all of them). One folder is for one training.

    :param save_freq: calls of ``env.step()`` between two checkpoints, each of as many timesteps as
        there are environments; at least 1, which is every rollout
    :param path: folder of the checkpoints; it is made if it is missing
    :param keep: how many of the newest remain; at least 1
    :param verbose: 1: say what is written
    :raises ValueError: an argument is out of range
    """

    def __init__(
        self, save_freq: int, path: str | Path, keep: int = 2, *, verbose: int = 0
    ) -> None:
        for name, value in (("save_freq", save_freq), ("keep", keep)):
            check(name, value, "a whole number >= 1", is_right=is_whole(value, 1))
        folder = as_folder(path)
        check_given(verbose=verbose)
        super().__init__(verbose)
        self._save_freq, self._folder, self._keep = int(save_freq), folder, int(keep)
        self._n_calls_at_last = 0
        self._n_rollouts = -1  # of this call of learn(); -1: before the first boundary
        self._last_step: LastStep | None = None
        self._outermost: BaseCallback = self

    @property
    def _trpo(self) -> "TRPO":
        return self.model  # type: ignore[return-value]  # _init_callback has looked

    def _init_callback(self) -> None:
        if not isinstance(self.model, sb3_trpo.TRPO):
            raise ValueError(
                "TrainingCheckpoint is for TRPO, MaskableTRPO and RecurrentTRPO, got "
                f"{type(self.model).__name__}"
            )
        if self.parent is not None:
            raise ValueError(
                "TrainingCheckpoint must be given to learn(), by itself or in a list, not to "
                f"{type(self.parent).__name__}"
            )
        group = self._trpo._processes
        self._trpo._run = group.exchange(self._trpo._run or secrets.token_hex(8))[0]
        fault = group.exchange(self._fault() if group.rank == 0 else "")[0]
        if fault:
            raise ValueError(fault)

    def _fault(self) -> str:
        """Prepare the folder; say what is wrong with it."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if is_taken(self._folder, str(self._trpo._run)):
                return (
                    f"path must be a folder without checkpoints of another training, got "
                    f"{str(self._folder)!r}: go on from these by resume(), or name another folder"
                )
            remove_leftovers(self._folder)
        except OSError as error:
            return f"path must be a folder to write to, got {str(self._folder)!r}: {error}"
        return ""

    def _on_training_start(self) -> None:
        self._n_rollouts, self._last_step = -1, None

    def on_boundary(self, outermost: BaseCallback) -> None:
        """
        Write a checkpoint, if it is time.

        :param outermost: of all callbacks
        """
        self._outermost = outermost
        self._n_rollouts += 1
        if self._n_rollouts == 0:  # where a checkpoint was just taken from, if this goes on
            self._n_calls_at_last = self.n_calls
        elif self._says_the_first(self.n_calls - self._n_calls_at_last >= self._save_freq):
            self._write()
        self._last_step = None
        if self.model.n_steps == 1:  # type: ignore[attr-defined]  # it is TRPO's
            self._look_before_last_step()

    def _on_step(self) -> bool:
        model, buffer = self._trpo, self._trpo.rollout_buffer
        if buffer.pos == model.n_steps - 2:
            self._look_before_last_step()
        elif buffer.pos == model.n_steps - 1 and self._last_step is not None:
            self._last_step.end()
        return True

    def _look_before_last_step(self) -> None:
        model, group = self._trpo, self._trpo._processes
        n_left = model._total_timesteps - model.num_timesteps
        is_time = self.n_calls + 1 - self._n_calls_at_last >= self._save_freq
        # Several processes may count differently, and the first decides.
        if is_time or group.size > 1 or n_left <= model.n_envs:
            assert model.env is not None
            self._last_step = LastStep(model.env)

    def _on_training_end(self) -> None:
        group = self._trpo._processes
        # A callback that ends training leaves a rollout that is not full.
        is_between = all(group.exchange(self._trpo.rollout_buffer.full))
        self._n_rollouts += 1
        if is_between and self._says_the_first(self.n_calls > self._n_calls_at_last):
            self._write()

    def _says_the_first(self, value: bool) -> bool:  # noqa: FBT001
        """Return what the first of several processes thinks."""
        return bool(self._trpo._processes.exchange(value)[0])

    def _write(self) -> None:
        model, group = self._trpo, self._trpo._processes
        self._n_calls_at_last = self.n_calls
        assert model.env is not None
        if not all(group.exchange(can_be_gone_on_from(model.env))):
            if group.rank == 0:
                warnings.warn(
                    f"No checkpoint is written to {self._folder} at {model.num_timesteps} steps: "
                    "the statistics of VecNormalize are not finite, and nothing could be learnt "
                    "from there. Older ones are still there.",
                    stacklevel=2,
                )
            return
        n_iterations = model._call.n_iterations_before + self._n_rollouts
        state = captured(model, self._outermost, self._last_step, n_iterations)
        ranks = group.exchange(pack(state))
        if group.rank > 0:
            return
        zipped = io.BytesIO()
        model.save(zipped)
        try:
            path = write_checkpoint(
                self._folder,
                files_of(zipped.getvalue(), ranks),
                run=str(model._run),
                num_timesteps=model.num_timesteps,
                keep=self._keep,
            )
        except OSError as error:
            warnings.warn(
                f"No checkpoint could be written to {self._folder} at {model.num_timesteps} steps; "
                f"older ones are still there, and training goes on: {error}",
                stacklevel=2,
            )
            return
        if self.verbose >= 1:
            print(f"Checkpoint: {path}")
