"""
Load files that chance has changed, with trusted=False, and inspect them.

    python -m tests.fuzz --files 100000     # as `make fuzz` does; keeps the figures

Nothing but a ValueError may come out, and nothing may be run: no canary, and none of the events of
Python that tell of a process, a connection, a written file or a class that pickle looks up. No file
may take long or much memory. What breaks a rule is kept as fault.zip, and ends the run.
Runs in parts of 1,000 files, each with a seed of its own: --first-part goes on after an
interruption, from the figures written so far.
"""

import argparse
import contextlib
import io
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from stable_baselines3.common.vec_env import DummyVecEnv

import sb3_trpo.inspect
from sb3_trpo import TRPO, MaskableTRPO, RecurrentTRPO, load_normalization
from sb3_trpo.safe_loading.allow_list import Vouched
from tests.fuzz_strategies import base_files, kinds_of_changes, walking
from tests.test_interop import quietly

FIGURES = Path(__file__).parents[1] / "benchmarks" / "reliability" / "fuzz.json"
PART = 1000
MOST_SECONDS = 5.0
"""Of CPU, to load and to inspect one file."""
MOST_MIB = 1024
"""By which the process may grow, over all files."""
FORBIDDEN = (
    *("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "subprocess.Popen"),
    *("pickle.find_class", "socket.connect", "os.mkdir", "os.remove", "os.rename", "os.symlink"),
    *("shutil.rmtree", "ctypes.dlopen", "code.__new__", "builtins.input"),
)
"""Python's audit events that a file must not lead to; nor to a file opened for writing."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Watch:
    """What Python's audit events tell while a file is read."""

    def __init__(self):
        self.is_on, self.seen = False, []
        sys.addaudithook(self._hear)

    def _hear(self, event, arguments):
        if not self.is_on:
            return
        if event.startswith(FORBIDDEN) or (event == "open" and _is_for_writing(*arguments[1:3])):
            self.seen.append((event, str(arguments)[:200]))

    @contextlib.contextmanager
    def on(self):
        self.is_on = True
        try:
            yield
        finally:
            self.is_on = False


def _is_for_writing(mode, flags):
    """Tell it from what open() and os.open() say, which gives no mode."""
    return bool(set(mode) & set("wax+") if isinstance(mode, str) else flags & _WRITING)


@dataclass
class Figures:
    """What came of the files."""

    outcomes: Counter = field(default_factory=Counter)
    longest: float = 0.0
    longest_kind: str = ""
    peak: float = 0.0

    @property
    def n_files(self):
        return sum(self.outcomes.values())

    def write(self, path):
        """Write them, whole at any time."""
        kinds = sorted({kind for kind, _ in self.outcomes})
        content = {
            "command": f"python -m tests.fuzz --files {self.n_files}",
            "files": self.n_files,
            "faults": 0,
            "kinds": {
                kind: {how: self.outcomes[kind, how] for how in ("loaded", "refused")}
                for kind in kinds
            },
            "longest_file_cpu_s": round(self.longest, 3),
            "longest_file_kind": self.longest_kind,
            "memory_growth_mib": round(self.peak),
        }
        whole = path.with_suffix(".tmp")
        whole.write_text(json.dumps(content, indent=2) + "\n")
        whole.replace(path)

    @classmethod
    def read(cls, path):
        """Read what write() wrote."""
        content = json.loads(path.read_text())
        counts = {(kind, how): n for kind, n in content["kinds"].items() for how, n in n.items()}
        longest = content["longest_file_cpu_s"], content["longest_file_kind"]
        return cls(Counter(counts), *longest, content["memory_growth_mib"])


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


class Fuzz:
    """Tries files, one after the other."""

    def __init__(self, folder):
        self.canary, self.path = folder / "canary", folder / "model.zip"
        self.watch, self.figures, self._fault = Watch(), Figures(), None

    def run(self, number, n_files, only=None):
        """Try as many files of each kind, from the seed of this number."""
        kinds = kinds_of_changes(self.canary)
        kinds = kinds if only is None else {only: kinds[only]}
        for place, (kind, strategy) in enumerate(kinds.items()):
            n = n_files // len(kinds) + (place < n_files % len(kinds))
            self._try_all(kind, strategy, n, number)

    def _try_all(self, kind, strategy, n_files, number):
        # Hypothesis must not see a fault: it would go on to try files like it, which run something,
        # and write out our strategies, which takes more memory than there is.
        @seed(number)
        @settings(
            max_examples=n_files,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def try_all(content):
            if self._fault is not None:
                return
            try:
                self.try_one(kind, content)
            except Exception as error:
                self._fault = error

        try_all()
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault

    def try_one(self, kind, content):
        """Load and inspect a file, which is left where it is if something is wrong."""
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
        if not printed.getvalue().replace("\n", "").isprintable():
            raise AssertionError("control characters were printed")
        if taken > MOST_SECONDS:
            raise AssertionError(f"a file took {taken:.1f} s")
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
    parser.add_argument("--out", type=Path, default=FIGURES)
    options = parser.parse_args()
    for content in base_files():  # with all imports
        sb3_trpo.inspect.read_model_file(content, Vouched(()), frozenset())
        load(content)
        load_statistics(content)
    with tempfile.TemporaryDirectory() as folder:
        fuzz = Fuzz(Path(folder))
        if options.first_part:
            fuzz.figures = Figures.read(options.out)
        try:
            for part in range(options.first_part, -(-options.files // PART)):
                try_part(fuzz, part, min(PART, options.files - part * PART))
                fuzz.figures.write(options.out)
        except BaseException:
            shutil.copy(fuzz.path, "fault.zip")
            raise
    print(options.out.read_text())


def try_part(fuzz, part, n_files):
    """Try a part of the files, and see how much memory that took."""
    before = peak_mib()
    fuzz.run(part + 1, n_files)
    figures = fuzz.figures
    figures.peak += peak_mib() - before
    print(
        f"part {part}: {figures.n_files:,} files, {time.process_time():.0f} s of CPU, "
        f"grown by {figures.peak:.0f} MiB",
        flush=True,
    )
    if figures.peak > MOST_MIB:
        raise AssertionError(f"memory grew by {figures.peak:.0f} MiB")


if __name__ == "__main__":
    main()
