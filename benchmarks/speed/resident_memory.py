"""How much memory a piece of work takes at its peak, beyond what was there before."""

import contextlib
import ctypes
import gc
import resource
from collections.abc import Callable
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def growth(work: Callable[[], object]) -> int:
    """
    Run some work; return by how many bytes the peak of resident memory exceeds the level before.

    Where the kernel keeps no peak that can be reset (outside Linux), the peak of the process's
    whole life stands in, which is too small if more was in use earlier.

    :param work: done once
    :return: bytes, at least 0
    """
    _return_free_memory()
    if not _reset_peak():
        before = _lifelong_peak()
        work()
        return max(_lifelong_peak() - before, 0)
    before = _status("VmRSS")
    work()
    return max(_status("VmHWM") - before, 0)


def available() -> int | None:
    """Return the bytes that new work could use without swapping, or None if nobody knows."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((_bytes(line) for line in lines if line.startswith("MemAvailable:")), None)


def _return_free_memory() -> None:
    """Give freed memory back, which the work would otherwise reuse unseen."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # the C library is not glibc
        ctypes.CDLL(None).malloc_trim(0)


def _reset_peak() -> bool:
    try:
        _CLEAR.write_text("5")
        return _status("VmHWM") > 0
    except (OSError, StopIteration):
        return False


def _status(key: str) -> int:
    lines = _STATUS.read_text().splitlines()
    return next(_bytes(line) for line in lines if line.startswith(f"{key}:"))


def _bytes(line: str) -> int:
    return int(line.split()[1]) * 1024


def _lifelong_peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # kilobytes on Linux
