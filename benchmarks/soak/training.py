"""One training, from wherever it stands to its end, through whatever is thrown at it."""

from pathlib import Path
from typing import Any

from stable_baselines3.common.callbacks import CallbackList

from benchmarks.soak.disk import damage_newest
from benchmarks.soak.events import Events
from benchmarks.soak.faults import Faults
from benchmarks.soak.kinds import TEXT, TRUNCATED, Abandoned
from benchmarks.soak.promises import Unsound, begun_from, check_is_what_was_written
from benchmarks.soak.tasks import TASKS
from benchmarks.soak.vitals import VitalsCallback
from benchmarks.soak.watched import NoWatch, WatchedTRPO
from benchmarks.soak.watched_checkpoint import WatchedCheckpoint
from sb3_trpo.checkpoint import learn_rest, resume

_EXPECTED = (TEXT, "is not finite at timestep", "updates in a row were skipped")
"""Words in the exceptions that a fault may end in."""

_N_EPISODES = 20
"""Of the evaluation at the end."""


class Training:
    """
    A training in a folder.

    :param job: its task's name, seed and folder, and how likely faults are
    :param vitals: measures the process in passing
    :param may_die: whether this process may kill itself
    """

    def __init__(self, job: dict[str, Any], vitals: VitalsCallback, *, may_die: bool) -> None:
        self._task, self._seed = TASKS[job["task"]], job["seed"]
        self._total = int(self._task.steps * job["size"])
        self._n_episodes = max(1, int(_N_EPISODES * job["size"]))
        self._vitals = vitals
        folder = Path(job["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._events = folder / "checkpoints", Events(folder / "events.jsonl")
        self._faults: Faults | None = None
        if job["per_rollout"]:
            # Whoever goes on after a kill draws other faults.
            seed = [job["draws"], len(self._events.read("start"))]
            self._faults = Faults(
                self._events, seed, per_rollout=job["per_rollout"], may_die=may_die
            )
        self._events.add("start", **job)

    def run(self) -> dict[str, Any]:
        """Train to the end; return the final score and what was counted."""
        WatchedTRPO.watch = self._faults or NoWatch()
        try:
            model = self._to_the_end()
            if not self._total <= model.num_timesteps < self._total + self._task.rollout:
                raise Unsound(f"{model.num_timesteps} steps were made of {self._total}")
            outcome = {
                "score": self._task.score(model, self._n_episodes),
                "steps": model.num_timesteps,
                "updates": model._n_updates,
                "skipped": model._n_skipped_updates,
            }
            self._events.add("end", **outcome)
            return outcome
        finally:
            WatchedTRPO.watch = NoWatch()
            self._events.close()

    def _to_the_end(self) -> WatchedTRPO:
        model: WatchedTRPO | None = None
        while True:
            try:
                model = self._begun() if model is None else model
                return self._learnt(model)
            except (Exception, KeyboardInterrupt) as error:
                if not self._goes_on_after(error):
                    model = None

    def _begun(self) -> WatchedTRPO:
        """Do what a script does that is started again: go on from the disk, or begin."""
        found = begun_from(self._folder, self._events)
        env = self._task.env(self._seed, self._faults)
        if found is None:
            self._events.add("begin")
            return self._task.model(self._seed, env)
        model = resume(self._folder, env, model_class=WatchedTRPO, device="cpu")
        self._events.add("resume", steps=model.num_timesteps)
        check_is_what_was_written(model, found, self._events)
        assert isinstance(model, WatchedTRPO)
        return model

    def _learnt(self, model: WatchedTRPO) -> WatchedTRPO:
        saving = WatchedCheckpoint(self._folder, self._events, self._faults)
        faults = [] if self._faults is None else [self._faults]
        callback = CallbackList([saving, *faults, self._vitals])
        if model._continuation is not None:  # just resumed
            return learn_rest(model, callback)
        left = self._total - model.num_timesteps
        if left > 0:
            model.learn(left, callback, reset_num_timesteps=False)
        return model

    def _goes_on_after(self, error: BaseException) -> bool:
        """Judge an exception; tell whether to learn on with what is in memory."""
        faults = self._faults
        if faults is None or not any(words in str(error) for words in _EXPECTED):
            raise error
        go_on = faults.draw(2) == 0
        if isinstance(error, Abandoned):
            damage_newest(self._folder, self._events, faults.draw(2**31))
            faults.fired, go_on = TRUNCATED, False
        is_sound = faults.fired is not None  # or it came once more, from what an old one left
        go_on = go_on and is_sound
        how = "learnt on" if go_on else "resumed"
        faults.judge(f"{type(error).__name__}, {how}", is_sound=is_sound)
        return go_on
