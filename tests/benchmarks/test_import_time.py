"""The command that measures what an import costs."""

import re
from pathlib import Path

from benchmarks.import_time import COLUMNS
from tests.commands import output_of

ROOT = Path(__file__).parents[2]


def test_each_import_is_measured_by_the_clock_and_by_the_processor():
    printed = output_of("-m", "benchmarks.import_time", "--rounds", 2, cwd=ROOT)
    rows = re.findall(r"^(.+?) +([\d.]+) ms   \(quartiles ([\d.]+) to ([\d.]+)\)$", printed, re.M)
    assert [name for name, *_ in rows] == COLUMNS
    for _, median, low, high in rows:
        assert 0 < float(low) <= float(median) <= float(high)
