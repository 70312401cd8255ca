"""What is noted down while a model learns."""

import math
import time

from stable_baselines3.common.callbacks import BaseCallback

FIGURES = (  # of our updates, under ``train/`` in the log
    "kl_utilization",
    "line_search_steps",
    "step_fraction",
    "explained_variance",
    "std",
    "improvement_ratio",
)


class Recorder(BaseCallback):
    """
    Note every finished episode, and the log's figures of every update that has them.

    Returns and lengths are ``Monitor``'s, thus before ``VecNormalize``; a return that is not finite
    is None. Both times count from the
    start of ``learn``.

    :param with_updates: note the figures of the updates, too
    """

    def __init__(self, *, with_updates: bool) -> None:
        super().__init__()
        names = ("step", "wall_s", "cpu_s", "return", "length")
        self.episodes: dict[str, list[float | None]] = {name: [] for name in names}
        self.updates: dict[str, list[float | None]] = {name: [] for name in ("step", *FIGURES)}
        self.skipped_updates = 0
        self._with_updates = with_updates

    def _on_training_start(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode" in info:
                episode_return = info["episode"]["r"]
                row = (
                    self.model.num_timesteps,
                    round(time.perf_counter() - self._wall, 3),
                    round(time.process_time() - self._cpu, 3),
                    episode_return if math.isfinite(episode_return) else None,
                    info["episode"]["l"],
                )
                for column, value in zip(self.episodes.values(), row, strict=True):
                    column.append(value)
        return True

    # SB3 writes and clears the log before train(), so that train()'s figures are there from the
    # end of an update until after the next rollout.
    def _on_rollout_start(self) -> None:
        self._note_update()

    def _on_training_end(self) -> None:
        self._note_update()

    def _note_update(self) -> None:
        log = self.logger.name_to_value
        if not self._with_updates or "train/update_skipped" not in log:
            return
        self.skipped_updates = int(log["train/update_skipped"])
        self.updates["step"].append(self.model.num_timesteps)
        for name in FIGURES:  # missing after a skipped update
            value = float(log.get(f"train/{name}", math.nan))
            self.updates[name].append(float(f"{value:.5g}") if math.isfinite(value) else None)
