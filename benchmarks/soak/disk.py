"""What befalls checkpoints on the disk."""

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.soak.events import Events
from benchmarks.soak.kinds import TRUNCATED

_COUNTED = ("mkdir", "open", "write", "fsync", "close", "rename", "unlink", "rmdir")
_MOST_BYTES = 5000
"""Of a file on a full disk: less than a checkpoint's largest."""


class DeadlyDisk:
    """
    ``os`` for a module: the process is killed at the n-th thing it does to the disk.

    :param n: which; half of what is written then arrives
    """

    def __init__(self, n: int) -> None:
        self._n_left = n

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in _COUNTED:
            return real

        def counted(*args: Any) -> Any:
            self._n_left -= 1
            if self._n_left == 0:
                if name == "write":
                    real(args[0], bytes(args[1])[: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args)

        return counted


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file become large: the kernel refuses, as where a disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MOST_BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def names(folder: Path) -> list[str]:
    """Return the names of the checkpoints in a folder, whole or not, the newest last."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def damage_newest(folder: Path, events: Events, draw: int) -> None:
    """
    Cut the newest checkpoint short, if the one before is whole.

    :param folder: of checkpoints
    :param events: where it is noted
    :param draw: of what is cut, and where
    """
    damaged = {event["name"] for event in events.read("damage")}
    last_two = names(folder)[-2:]
    if len(last_two) < 2 or damaged.intersection(last_two):
        return
    files = sorted((folder / last_two[1]).iterdir())
    file = files[draw % len(files)]
    events.add("damage", name=last_two[1])  # first: a kill may come after any line
    os.truncate(file, draw % file.stat().st_size)
    events.add("fault", kind=TRUNCATED, file=file.name)
