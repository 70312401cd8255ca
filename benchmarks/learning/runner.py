"""Does the runs that are missing, each in a process of its own."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks.learning import store
from benchmarks.learning.durations import Durations, in_words
from benchmarks.learning.selection import Job, Progress, progress

ROOT = Path(__file__).parents[2]
# One thread a run, whatever library counts: two runs at a time must not disturb each other.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
POLL_SECONDS = 0.2
TAIL_LINES = 20


@contextlib.contextmanager
def sole_runner(folder: Path) -> Iterator[None]:
    """
    Hold a folder of results; the kernel lets go of it however the process ends.

    :param folder: made if it is not there
    :raises ValueError: another runner holds it
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"another runner is at work in {folder}") from error
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Make SIGTERM end the block as Ctrl-C does, so that children are ended, too."""

    def interrupt(signum: int, frame: object) -> None:  # noqa: ARG001  # signal's signature
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@dataclass(frozen=True)
class Child:
    """A run at work."""

    job: Job
    process: subprocess.Popen[bytes]
    stderr: IO[bytes]
    started: float

    @classmethod
    def start(cls, job: Job) -> "Child":
        """Start the run."""
        order = {
            "configuration": job.configuration.as_json(),
            "seed": job.seed,
            "path": str(job.path),
        }
        stderr = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the child
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.learning.single_run", json.dumps(order)],
            cwd=ROOT,
            env={**os.environ, **ONE_THREAD},
            stdin=subprocess.PIPE,  # never written to: closes when the runner ends, however it does
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,  # Ctrl-C reaches the runner alone, which then ends its children
        )
        return cls(job, process, stderr, time.monotonic())

    def elapsed(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self.started

    def end(self) -> None:
        """End the run if it is not over; it leaves no file then."""
        self.process.kill()
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.stderr.close()

    def complaint(self) -> str:
        """Return the last lines of the run's stderr."""
        self.stderr.seek(0)
        lines = self.stderr.read().decode(errors="replace").splitlines()
        return "\n".join(f"    {line}" for line in lines[-TAIL_LINES:])


class Runner:
    """
    Does jobs in order, some at a time, and says how far it is.

    :param progress: what is done and what is left
    :param n_jobs: runs at a time
    """

    def __init__(self, progress: Progress, *, n_jobs: int) -> None:
        self._waiting = list(progress.left)
        self._running: list[Child] = []
        self._n_jobs = n_jobs
        self._n_done = len(progress.finished)
        self._n_all = self._n_done + len(progress.left)
        self._durations = Durations()
        for run in progress.finished:
            self._note(run)
        self.failed: list[Job] = []

    def run(self) -> None:
        """Do all jobs; an interruption ends the running ones and is raised again."""
        self._say(f"{len(self._waiting)} of {self._n_all} runs to do, {self._n_jobs} at a time")
        try:
            while self._waiting or self._running:
                while self._waiting and len(self._running) < self._n_jobs:
                    self._running.append(Child.start(self._waiting.pop(0)))
                time.sleep(POLL_SECONDS)
                for child in [c for c in self._running if c.process.poll() is not None]:
                    self._running.remove(child)
                    self._finish(child)
        finally:
            for child in self._running:
                child.end()

    def _finish(self, child: Child) -> None:
        run = _result(child)
        if run is None:
            self.failed.append(child.job)
            self._say(f"FAILED {child.job} (exit {child.process.returncode})\n{child.complaint()}")
        else:
            self._n_done += 1
            self._note(run)
            score = f"{run.evaluation['mean']:.1f} ± {run.evaluation['std']:.1f}"
            self._say(f"{child.job}: {score} in {in_words(child.elapsed())}")
        child.end()

    def _note(self, run: store.Run) -> None:
        self._durations.note(run.algorithm, run.environment, steps=run.steps, seconds=run.wall_s)

    def _say(self, message: str) -> None:
        time_left = self._durations.time_left(
            [job.configuration for job in self._waiting],
            [(child.job.configuration, child.elapsed()) for child in self._running],
            n_jobs=self._n_jobs,
        )
        n_left = len(self._waiting) + len(self._running)
        count = f"{self._n_done}/{self._n_all} done, {n_left} left"
        print(f"{time.strftime('%H:%M:%S')} [{count}, time left {in_words(time_left)}] {message}")
        sys.stdout.flush()


def _result(child: Child) -> store.Run | None:
    """Return what the child left, or None if it failed."""
    if child.process.returncode != 0:
        return None
    try:
        return store.read(child.job.path)
    except (FileNotFoundError, store.BrokenRunError):
        return None


def do_missing(folder: Path, jobs: Sequence[Job], *, n_jobs: int) -> list[Job]:
    """
    Do the jobs that are not done yet, as the sole runner of their folder.

    :param folder: of the results
    :param jobs: all that should be there in the end
    :param n_jobs: runs at a time
    :return: the jobs that failed
    :raises ValueError: another runner is at work in the folder, or a run is there that was made
        with other settings
    """
    with sole_runner(folder), termination_as_interrupt():
        store.remove_leftovers(job.path for job in jobs)
        runner = Runner(progress(jobs), n_jobs=n_jobs)
        runner.run()
    return runner.failed
