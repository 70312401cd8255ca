"""Processes that are killed at a moment that is counted, not timed."""

import errno
import gc
import os
import signal
import sys
import traceback
from pathlib import Path

RETURNED = 0


def outcome_of(job):
    """Run a job in a process of its own; its exit status, or minus the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        # What earlier tests left behind is not this process's to finalise, for the threads of it
        # are not here: a pool of EnvPool's crashes then, a group of gloo's waits for ever.
        gc.freeze()
        try:
            job()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(RETURNED)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


class CallCounter:
    """
    Counts the calls and returns of a process, Python's and C's, and kills it at one of them.

    :param last: at which
    """

    def __init__(self, last=None):
        self.n_calls, self._last = 0, last

    def __call__(self, frame, event, argument):
        if os.getpid() == self._pid:  # and no worker that it started
            self.n_calls += 1
            if self.n_calls == self._last:
                die()

    def __enter__(self):
        self._pid = os.getpid()
        sys.setprofile(self)
        return self

    def __exit__(self, *_):
        sys.setprofile(None)


class Disk:
    """
    ``os`` for a module, that counts what it does to the disk.

    :param last: which of these to be killed at
    :param fails: raise as a full disk does, instead of being killed
    :param halfway: write one half before
    """

    COUNTED = ("mkdir", "open", "write", "fsync", "close", "rename", "unlink", "rmdir")

    def __init__(self, last=None, *, fails=False, halfway=False):
        self.done = []
        self._last, self._fails, self._halfway = last, fails, halfway

    def __getattr__(self, name):
        real = getattr(os, name)
        if name not in self.COUNTED:
            return real

        def counted(*args):
            self.done.append(name)
            if len(self.done) == self._last:
                if self._halfway and name == "write":
                    real(args[0], bytes(args[1])[: len(args[1]) // 2])
                if not self._fails:
                    die()
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*args)

        return counted


def names_in(folder: Path):
    return sorted(path.name for path in folder.iterdir())
