"""Starts workers, gives them jobs, kills some."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.soak.disk import damage_newest
from benchmarks.soak.events import Events
from benchmarks.soak.kinds import KILLED, KILLED_WRITING

HANGS_AFTER_S = 900.0
_MOST_KILLS = 5
"""Of a training, by the supervisor."""
_DAMAGED_AFTER_KILL = 0.2
KINDS = ("undisturbed", "faults", "kills")
"""Of trainings: two processes live for all of the first and of the second, the third's die."""
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


class Worker:
    """
    A process of :mod:`benchmarks.soak.worker`.

    :param log: file of its standard error
    :param arguments: of its command line
    """

    def __init__(self, log: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "benchmarks.soak.worker", *arguments]
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **_ONE_THREAD},
                # Ctrl-C is the supervisor's, which ends its workers itself.
                start_new_session=True,
            )
        self.answer(HANGS_AFTER_S)

    def give(self, job: dict[str, Any]) -> None:
        """Let it begin a job."""
        assert self._process.stdin is not None
        self._process.stdin.write((json.dumps(job) + "\n").encode())
        self._process.stdin.flush()

    def answer(self, timeout_s: float) -> dict[str, Any] | None:
        """Return its next line; {"died": status} if it died, None if it is still busy."""
        output = self._process.stdout
        assert output is not None
        if not select.select([output], [], [], timeout_s)[0]:
            return None
        line = output.readline()
        if line.endswith(b"\n"):
            return dict(json.loads(line))
        return {"died": self._process.wait()}

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


class Supervisor:
    """
    Trains again and again: undisturbed, under faults, and under faults and kills.

    :param out: folder of everything
    :param seed: of what is drawn
    :param size: share of a training's steps
    :param per_rollout: how likely a fault is
    """

    def __init__(self, out: Path, *, seed: int, size: float, per_rollout: float) -> None:
        self._out, self._size, self._per_rollout = out, size, per_rollout
        self._seed, self._rng = seed, np.random.default_rng([seed, 1])
        self._residents: dict[str, Worker] = {}
        self._n_lives: dict[str, int] = {}
        self._seconds: list[float] = []

    def round(self, number: int, task: str) -> None:
        """Do a training of each kind with the same seed."""
        for kind in KINDS:
            job = {
                "task": task,
                "seed": number,
                "draws": self._seed * 1000 + number,
                "size": self._size,
                "per_rollout": 0.0 if kind == "undisturbed" else self._per_rollout,
                "folder": str(self._out / f"{number:04d}-{task}-{kind}"),
            }
            started = time.monotonic()
            outcome = self._killed(job) if kind == "kills" else self._in_resident(kind, job)
            seconds = time.monotonic() - started
            run = {"task": task, "seed": number, "kind": kind, "seconds": seconds, **outcome}
            with (self._out / "runs.jsonl").open("a") as file:
                file.write(json.dumps(run) + "\n")

    def _in_resident(self, kind: str, job: dict[str, Any]) -> dict[str, Any]:
        """Give a job to the process that lives for all of them."""
        if kind not in self._residents:
            life = self._n_lives[kind] = self._n_lives.get(kind, 0) + 1
            vitals = self._out / f"vitals-{kind}-{life}.jsonl"
            log = self._out / f"{kind}-{life}.log"
            self._residents[kind] = Worker(log, "--vitals", str(vitals))
        started = time.monotonic()
        self._residents[kind].give(job)
        answer = self._residents[kind].answer(HANGS_AFTER_S)
        if kind == "undisturbed":
            self._seconds.append(time.monotonic() - started)
        if answer is None or "died" in answer:
            self._residents.pop(kind).kill()
            return {"error": "hung" if answer is None else f"died: {answer['died']}"}
        return answer

    def _killed(self, job: dict[str, Any]) -> dict[str, Any]:
        """Kill at random moments whoever does a job, and let others go on."""
        n_kills = int(self._rng.integers(1, _MOST_KILLS + 1))
        longest = float(np.median(self._seconds)) / 2
        while True:
            patience = float(self._rng.uniform(0, longest)) if n_kills else HANGS_AFTER_S
            answer = self._one_life(job, patience)
            if answer is None and not n_kills:
                return {"error": "hung"}
            is_killed = answer is None or answer.get("died") == -signal.SIGKILL
            if answer is not None and not is_killed:
                return {"error": f"died: {answer['died']}"} if "died" in answer else answer
            n_kills -= answer is None
            self._after_kill(Path(job["folder"]), KILLED if answer is None else KILLED_WRITING)

    def _one_life(self, job: dict[str, Any], patience_s: float) -> dict[str, Any] | None:
        """Give a job to a process of its own; kill that when patience ends."""
        worker = Worker(self._out / "kills.log", "--mortal")
        try:
            worker.give(job)
            return worker.answer(patience_s)
        finally:
            worker.kill()

    def _after_kill(self, folder: Path, kind: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        events = Events(folder / "events.jsonl")
        if kind == KILLED:  # a process that kills itself has said so
            events.add("fault", kind=kind)
        events.add("outcome", kind=kind, outcome="died", is_sound=True)
        if self._rng.random() < _DAMAGED_AFTER_KILL:
            damage_newest(folder / "checkpoints", events, int(self._rng.integers(2**31)))
        events.close()

    def close(self) -> None:
        """End the workers."""
        for worker in self._residents.values():
            worker.kill()
        self._residents.clear()
