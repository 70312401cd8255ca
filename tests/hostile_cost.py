"""
Measure what refusing the hostile files costs.

    python -m tests.hostile_cost
"""

import resource
import time
import warnings

from tests.hostile_files import hostile_files
from tests.hostile_tensors import hostile_tensors
from tests.model_files import whole_file
from tests.test_hostile_files import refusal_of


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    warnings.simplefilter("ignore")
    files = [*hostile_files(), *hostile_tensors()]
    refusal_of(whole_file())  # with all imports
    before, longest = peak_mib(), (0.0, "")
    for name, content, _ in files:
        started = time.process_time()
        refusal_of(content)
        longest = max(longest, (time.process_time() - started, name))
    print(f"{len(files)} files, memory grew by {peak_mib() - before:.0f} MiB")
    print(f"longest: {longest[0]:.2f} s of CPU for {longest[1]!r}")


if __name__ == "__main__":
    main()
