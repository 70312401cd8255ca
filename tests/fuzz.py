"""
Load files that chance has changed, with trusted=False, and inspect them.

    python -m tests.fuzz --files 100000

Nothing but a ValueError may come out, and nothing may be run: no canary, and none of the events of
Python that tell of a process, a connection, a written file or a class that pickle looks up.
Runs in parts of 1,000 files, each with a seed of its own: --first-part goes on after an
interruption.
"""

import argparse
import contextlib
import io
import resource
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, given, seed, settings

import sb3_trpo.inspect
from sb3_trpo import TRPO, MaskableTRPO, RecurrentTRPO
from sb3_trpo.safe_loading.allow_list import Vouched
from tests.fuzz_strategies import base_files, kinds_of_changes
from tests.test_interop import quietly

PART = 1000
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
    options = parser.parse_args()
    for content in base_files():  # with all imports
        sb3_trpo.inspect.read_model_file(content, Vouched(()), frozenset())
        load(content)
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
    for (kind, outcome), n in sorted(fuzz.figures.outcomes.items()):
        print(f"{kind}, {outcome}: {n:,}")
    print(f"longest file: {fuzz.figures.longest:.2f} s of CPU ({fuzz.figures.longest_kind})")


if __name__ == "__main__":
    main()
