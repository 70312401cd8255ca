"""Commands run as a user runs them."""

import os
import subprocess
import sys

STRICT = ",".join(f"error::{kind}:__main__" for kind in ("DeprecationWarning", "FutureWarning"))


def output_of(*arguments, cwd, **environment):
    """Run Python with some arguments; what it printed, errors included."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": STRICT, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
