"""One training, from wherever it stands to its end, through whatever is thrown at it."""

import warnings
from pathlib import Path
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback, CallbackList

from benchmarks.soak.events import Events
from benchmarks.soak.faults import TEXT, TRUNCATED, Abandoned, Faults, truncate
from benchmarks.soak.tasks import TASKS, Task
from benchmarks.soak.vitals import VitalsCallback
from benchmarks.soak.watched import State, Watch, WatchedTRPO
from sb3_trpo.checkpoint import TrainingCheckpoint, learn_rest, newest_checkpoint, resume
from sb3_trpo.checkpoint.files import Damaged, read_checkpoint

EXPECTED = (TEXT, "is not finite at timestep", "updates in a row were skipped")
"""Words in the exceptions that a fault may end in."""


class Unsound(Exception):
    """Something is not as promised."""


class WatchedCheckpoint(TrainingCheckpoint):
    """
    Notes what goes into each checkpoint.

    :param folder: of the checkpoints
    :param events: where it is noted
    :param faults: which may happen in writing
    """

    def __init__(self, folder: Path, events: Events, faults: Faults | None) -> None:
        super().__init__(1, folder)
        self._events, self._faults = events, faults

    def _write(self) -> None:
        steps = self.model.num_timesteps
        newest = names(self._folder)[-1:]
        self._events.add("writing", steps=steps, digest=State.of(self._trpo).digest())
        if self._faults is None:
            super()._write()
        else:
            with warnings.catch_warnings(record=True) as told, self._faults.in_writing():
                warnings.simplefilter("always")
                super()._write()
            if told:
                is_sound = "No checkpoint could be written" in str(told[0].message)
                is_sound = is_sound and names(self._folder)[-1:] == newest
                self._faults.judge("warned of, older checkpoints kept", is_sound=is_sound)
        if names(self._folder)[-1:] != newest:
            self._events.add("written", name=names(self._folder)[-1])


def names(folder: Path) -> list[str]:
    """Return the names of the checkpoints in a folder, whole or not, the newest last."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


class Training:
    """
    A training in a folder.

    :param job: its task's name, seed and folder, and how likely faults are
    :param may_die: whether this process may kill itself
    :param vitals: measures the process in passing
    """

    def __init__(self, job: dict[str, Any], vitals: VitalsCallback, *, may_die: bool) -> None:
        self._task: Task = TASKS[job["task"]]
        self._seed, self._total = job["seed"], int(self._task.steps * job["size"])
        folder = Path(job["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._events = folder / "checkpoints", Events(folder / "events.jsonl")
        self._vitals = vitals
        n_starts = len(self._events.read("start"))
        rate = job["per_rollout"]
        seeds = [job["draws"], n_starts]
        self._faults = (
            Faults(self._events, seeds, per_rollout=rate, may_die=may_die) if rate else None
        )
        self._events.add("start", **job)

    def run(self) -> dict[str, Any]:
        """Train to the end; return the final score and what was counted."""
        WatchedTRPO.watch = self._faults or Watch()
        try:
            model = self._to_the_end()
            outcome = {
                "score": self._task.score(model),
                "steps": model.num_timesteps,
                "updates": model._n_updates,
                "skipped": model._n_skipped_updates,
            }
            if not self._total <= model.num_timesteps < self._total + self._task.rollout:
                raise Unsound(f"{model.num_timesteps} steps were made of {self._total}")
            self._events.add("end", **outcome)
            return outcome
        finally:
            WatchedTRPO.watch = Watch()
            self._events.close()

    def _to_the_end(self) -> WatchedTRPO:
        model, go_on = None, False
        while True:
            try:
                if model is None or not go_on:
                    model = None  # one at a time in memory
                    model = self._begun()
                return self._learnt(model)
            except (Exception, KeyboardInterrupt) as error:
                go_on = self._goes_on_after(error) and model is not None

    def _begun(self) -> WatchedTRPO:
        """Do what a script does that is started again: go on from the disk, or begin."""
        expected = self._expected()
        found = newest_checkpoint(self._folder)
        if (found and found.name) != expected:
            raise Unsound(f"the newest whole checkpoint must be {expected}, got {found}")
        if found is None:
            self._events.add("begin")
            return self._task.model(self._seed, self._faults)
        env = self._task.env(self._seed, self._faults)
        model = resume(self._folder, env, model_class=WatchedTRPO, device="cpu")
        assert isinstance(model, WatchedTRPO)
        steps = int(found.name.split("-")[-1])
        self._events.add("resume", steps=model.num_timesteps)
        digests = {event["steps"]: event["digest"] for event in self._events.read("writing")}
        if model.num_timesteps != steps or State.of(model).digest() != digests[steps]:
            raise Unsound(f"what was resumed is not what was written at {steps} steps")
        return model

    def _expected(self) -> str | None:
        """Return the newest checkpoint that nobody damaged, and see that it is no older than it
        should be."""
        touched = {event["name"] for event in self._events.read("damage")}
        whole, damaged = [], set()
        for name in names(self._folder):
            try:
                read_checkpoint(self._folder / name)
                whole.append(name)
            except Damaged as error:
                if name not in touched:
                    raise Unsound(f"damaged, and not by the soak: {error}") from error
                damaged.add(name)
        written = {event["name"] for event in self._events.read("written")}
        promised = max(written - touched, default="")
        found = whole[-1] if whole else None
        if promised and (found is None or found < promised):
            raise Unsound(f"checkpoint {promised} was written, and the newest is {found}")
        return found

    def _learnt(self, model: WatchedTRPO) -> WatchedTRPO:
        callbacks: list[BaseCallback] = [WatchedCheckpoint(self._folder, self._events, self._faults)]
        callbacks += [self._vitals] if self._faults is None else [self._faults, self._vitals]
        callback = CallbackList(callbacks)
        if model._continuation is not None:
            return learn_rest(model, callback)
        left = self._total - model.num_timesteps
        if left <= 0:
            return model
        return model.learn(left, callback, reset_num_timesteps=False)

    def _goes_on_after(self, error: BaseException) -> bool:
        """Judge an exception; tell whether to learn on with what is in memory."""
        faults = self._faults
        if faults is None or not any(words in str(error) for words in EXPECTED):
            raise error
        go_on = faults.draw(2) == 0
        if isinstance(error, Abandoned):
            self._damage(faults)
            go_on = False
        elif faults.fired is None:
            self._events.add("outcome", kind=None, outcome=f"again: {error!r}", is_sound=False)
            go_on = False
        how = "learnt on" if go_on else "resumed"
        faults.judge(f"{type(error).__name__}, {how}", is_sound=True)
        return go_on

    def _damage(self, faults: Faults) -> None:
        damage(self._folder, self._events, faults.draw(2**31))
        faults.fired = TRUNCATED


def damage(folder: Path, events: Events, draw: int) -> bool:
    """
    Cut the newest checkpoint short, if the one before is whole.

    :param folder: of checkpoints
    :param events: where it is noted
    :param draw: of what is cut, and where
    :return: whether it was done
    """
    damaged = {event["name"] for event in events.read("damage")}
    found = names(folder)
    if len(found) < 2 or found[-2] in damaged or found[-1] in damaged:
        return False
    events.add("damage", name=found[-1])  # first: this process may be killed after any line
    events.add("fault", kind=TRUNCATED, file=truncate(folder / found[-1], draw))
    return True
