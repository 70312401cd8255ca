"""What a process holds: memory and open files."""

import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from benchmarks.soak.events import Events

VITALS = ("rss", "anonymous", "descriptors")
_EVERY_S = 1.0
_WARM_UP = 0.2
"""Share of a process's samples that do not count."""
_WINDOW = 0.25
"""Share of the others that each end of the comparison is the median of."""


def vitals() -> dict[str, float]:
    """Measure this process: bytes resident, bytes of them no file's, open descriptors."""
    status = Path("/proc/self/status").read_text().splitlines()
    kib = {line.split(":")[0]: line.split()[1] for line in status if line.endswith(" kB")}
    return {
        "rss": 1024 * int(kib["VmRSS"]),
        "anonymous": 1024 * int(kib["RssAnon"]),
        "descriptors": len(os.listdir("/proc/self/fd")),
    }


def growth(samples: Sequence[dict[str, float]], name: str) -> dict[str, Any] | None:
    """
    Compare the end of a process's life with its beginning, after the warm-up.

    :param samples: of :func:`vitals`, in order
    :param name: of the figure
    :return: medians of both ends, the peak after the warm-up, and the growth as a share; None if
        there are too few samples
    """
    values = [sample[name] for sample in samples][int(_WARM_UP * len(samples)) :]
    width = int(_WINDOW * len(values))
    if width < 2:
        return None
    first, last = statistics.median(values[:width]), statistics.median(values[-width:])
    return {"first": first, "last": last, "peak": max(values), "growth": last / first - 1}


class VitalsCallback(BaseCallback):
    """
    Measures the process every so often while it trains.

    :param path: of the file that the samples go into; None: nowhere
    """

    def __init__(self, path: Path | None) -> None:
        super().__init__()
        self._events = None if path is None else Events(path)
        self._due = 0.0

    def _on_rollout_start(self) -> None:
        if self._events is not None and time.monotonic() > self._due:
            self._due = time.monotonic() + _EVERY_S
            self._events.add("vitals", **vitals())

    def _on_step(self) -> bool:
        return True
