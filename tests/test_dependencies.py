"""What is imported is declared, where a user of that part installs it from."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOR_DEVELOPERS = "bench,tests,dev"

pytestmark = pytest.mark.skipif(
    not (ROOT / "sb3_trpo").exists(), reason="tests an installed package"
)


@pytest.mark.parametrize(
    "arguments",
    [
        ["sb3_trpo", "--optional-dependencies-dev-groups", FOR_DEVELOPERS],
        ["examples", "benchmarks", "tests"],
    ],
    ids=["package", "examples, benchmarks, tests"],
)
def test_every_import_is_declared(arguments):
    done = subprocess.run(
        [sys.executable, "-m", "deptry", "--no-ansi", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
