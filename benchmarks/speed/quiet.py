"""Nothing is measured while learning runs take the machine's time, nor in several threads."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.learning.runner import ONE_THREAD

SINGLE_RUN, RUNNER = "benchmarks.learning.single_run", "benchmarks.learning"
AT_REST = "TtZX"  # stopped, traced, zombie, dead: the states that take no time


@dataclass(frozen=True)
class Process:
    """
    A process of the learning benchmark that is not stopped.

    :param pid: its number
    :param module: what it runs
    """

    pid: int
    module: str


def learning_processes(proc: Path = Path("/proc")) -> list[Process]:
    """
    Find learning runs, and runners that may start one any moment.

    :param proc: where the kernel tells of processes; without one nothing is found
    :return: those that are not stopped, by number
    """
    found = []
    for folder in proc.glob("[0-9]*"):
        try:
            arguments = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:  # it ended meanwhile
            continue
        module = _module(arguments)
        if module is not None and state not in AT_REST:
            found.append(Process(int(folder.name), module))
    return sorted(found, key=lambda process: process.pid)


def check_quiet(proc: Path = Path("/proc")) -> None:
    """
    Refuse to measure beside learning runs.

    :param proc: where the kernel tells of processes
    :raises ValueError: some are alive; the message says how to pause them
    """
    processes = learning_processes(proc)
    if not processes:
        return
    numbers = " ".join(str(process.pid) for process in processes)
    lines = "".join(f"\n  {process.pid}  {process.module}" for process in processes)
    raise ValueError(
        f"learning runs are alive on this machine:{lines}\n"
        f"Pause them with `kill -STOP {numbers}`, let them go on with `kill -CONT {numbers}`, "
        "or measure beside them with --noisy."
    )


def says_quiet() -> bool:
    """Tell whether one may measure; if not, print why."""
    try:
        check_quiet()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return False
    return True


def with_one_thread(module: str) -> None:
    """
    Start a command anew where the libraries of linear algebra would use several threads.

    :param module: that runs as the command
    """
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):
        command = [sys.executable, "-m", module, *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **ONE_THREAD})


def _module(arguments: list[str]) -> str | None:
    """Return the module of the learning benchmark that a command line runs, if it does."""
    if SINGLE_RUN in arguments:
        return SINGLE_RUN
    if RUNNER in arguments and "run" in arguments[arguments.index(RUNNER) + 1 :]:
        return f"{RUNNER} run"
    return None
