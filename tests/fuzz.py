"""
Load files that chance has changed, with trusted=False, and inspect them.

    make fuzz                                   # python -m tests.fuzz --files 100000

Nothing but a ValueError may come out, and nothing may be run: no canary, and none of the events of
Python that tell of a process, a connection, a written file or a class that pickle looks up. Time
and memory are bounded, and a broken bound ends the run.
Runs in parts of 1,000 files, each with a seed of its own: --first-part goes on after an
interruption. --out keeps the figures.
"""

import argparse
import contextlib
import io
import json
import platform
import resource
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from gymnasium import spaces
from hypothesis import HealthCheck, given, seed, settings
from stable_baselines3.common.vec_env import DummyVecEnv

import sb3_trpo.inspect
from sb3_trpo import TRPO, MaskableTRPO, RecurrentTRPO, load_normalization
from sb3_trpo.safe_loading.allow_list import Vouched
from tests.fuzz_strategies import base_files, kinds_of_changes
from tests.test_interop import VECTOR, Anything, quietly

PART = 1000
MOST_SECONDS = 10.0
"""Of CPU, for loading and inspecting one file; the base files take hundredths."""
MOST_GROWTH = 300
"""MiB of memory beyond what loading the base files took."""
FORBIDDEN = (
    *("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "subprocess.Popen"),
    *("pickle.find_class", "socket.connect", "os.mkdir", "os.remove", "os.rename", "os.symlink"),
    *("shutil.rmtree", "ctypes.dlopen", "code.__new__", "builtins.input"),
)
"""Python's audit events that a file must not lead to; nor to a file opened for writing."""


class Watch:
    """What Python's audit events tell while a file is read."""

    def __init__(self):
        self.is_on, self.seen = False, []
        sys.addaudithook(self._hear)

    def _hear(self, event, arguments):
        if not self.is_on:
            return
        writes = (
            event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        )
        if writes or event.startswith(FORBIDDEN):
            self.seen.append((event, str(arguments)[:200]))

    @contextlib.contextmanager
    def on(self):
        self.is_on = True
        try:
            yield
        finally:
            self.is_on = False


@dataclass
class Figures:
    """What came of the files."""

    outcomes: Counter = field(default_factory=Counter)
    longest: float = 0.0
    longest_kind: str = ""


def load(content):
    """Load a file with the class that it is for; tell whether that went well."""
    for cls in (TRPO, MaskableTRPO, RecurrentTRPO):
        try:
            quietly(cls.load, io.BytesIO(content), device="cpu", trusted=False)
        except ValueError as error:
            if "policy must" not in str(error):  # it is a file of another of the three
                return "refused"
        else:
            return "loaded"
    return "refused"


def load_statistics(content):
    """Wrap an environment in the VecNormalize of a file; tell whether that went well."""
    try:
        load_normalization(io.BytesIO(content), DummyVecEnv([walking]))
    except ValueError:
        return "refused"
    return "loaded"


def walking():
    return Anything(VECTOR, spaces.Discrete(2))


class Fuzz:
    """Tries files, one after the other."""

    def __init__(self, folder):
        self.canary, self.path = folder / "canary", folder / "model.zip"
        self.watch, self.figures = Watch(), Figures()

    def run(self, number, n_files):
        """Try as many files of each kind, from the seed of this number."""
        kinds = kinds_of_changes(self.canary)
        for place, (kind, strategy) in enumerate(kinds.items()):
            n = n_files // len(kinds) + (place < n_files % len(kinds))
            self._try_all(kind, strategy, n, number)

    def _try_all(self, kind, strategy, n_files, number):
        @seed(number)
        @settings(
            max_examples=n_files,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def try_all(content):
            self.try_one(kind, content)

        try_all()

    def try_one(self, kind, content):
        """Load and inspect a file."""
        self.path.write_bytes(content)
        started = time.process_time()
        with self.watch.on():
            outcome = load(content)
            of_statistics = load_statistics(content)
        if "VecNormalize" in kind:
            outcome = of_statistics
        printed = io.StringIO()
        with (
            self.watch.on(),
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
        ):
            sb3_trpo.inspect.main([str(self.path)])
        taken = time.process_time() - started
        if self.watch.seen or self.canary.exists():
            raise AssertionError(f"run by a file: {self.watch.seen}")
        if taken > MOST_SECONDS:
            raise AssertionError(f"{taken:.0f} s of CPU for a file of {len(content):,} bytes")
        if not printed.getvalue().replace("\n", "").isprintable():
            raise AssertionError("control characters were printed")
        self.figures.outcomes[kind, outcome] += 1
        if taken > self.figures.longest:
            self.figures.longest, self.figures.longest_kind = taken, kind


def peak_mib():
    """Most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    """Try files, and say what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--first-part", type=int, default=0, help="where to go on")
    parser.add_argument("--out", type=Path, help="JSON of the figures")
    options = parser.parse_args()
    for content in base_files():  # with all imports
        sb3_trpo.inspect.read_model_file(content, Vouched(()), frozenset())
        load(content)
        load_statistics(content)
    first_peak = peak_mib()
    with tempfile.TemporaryDirectory() as folder:
        fuzz = Fuzz(Path(folder))
        for part in range(options.first_part, -(-options.files // PART)):
            fuzz.run(part + 1, min(PART, options.files - part * PART))
            n = sum(fuzz.figures.outcomes.values())
            print(
                f"part {part}: {n:,} files, {time.process_time():.0f} s of CPU, "
                f"peak {peak_mib():.0f} MiB ({first_peak:.0f} at first)",
                flush=True,
            )
            if peak_mib() - first_peak > MOST_GROWTH:
                raise AssertionError(f"memory grew by more than {MOST_GROWTH} MiB")
            figures = json.dumps(summary(fuzz.figures, first_peak), indent=2)
            if options.out:
                options.out.write_text(f"{figures}\n")
    print(figures)


def summary(found, first_peak):
    """Return the figures of a run that ended well."""
    kinds = {}
    for (kind, outcome), n in sorted(found.outcomes.items()):
        kinds.setdefault(kind, {"loaded": 0, "refused": 0})[outcome] = n
    return {
        "command": "make fuzz",
        "files": sum(found.outcomes.values()),
        "other exceptions": 0,
        "canaries": 0,
        "kinds": kinds,
        "longest file, s of CPU": round(found.longest, 2),
        "whole run, s of CPU": round(time.process_time()),
        "memory of the base files, MiB": round(first_peak),
        "growth of memory, MiB": round(peak_mib() - first_peak),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "torch", "stable_baselines3")},
        },
    }


if __name__ == "__main__":
    main()
