"""That what is committed and what the documents say is what the committed runs give."""

import re
from pathlib import Path

from benchmarks.learning import pace, store
from benchmarks.learning.__main__ import EXPERIMENTS, PACES, REPORT, RESULTS
from benchmarks.learning.experiments import EQUAL_TIME_STEPS
from benchmarks.learning.report import make_report

ROOT = Path(__file__).parents[2]


def test_equal_time_is_that_of_the_measured_paces():
    runs, broken = store.read_all(PACES)
    assert not broken
    assert pace.steps_in_peers_time(pace.seconds_per_step(runs), "ppo") == EQUAL_TIME_STEPS


def test_report_is_made_from_the_committed_runs(tmp_path):
    make_report(
        *(RESULTS, EXPERIMENTS, PACES),
        out=tmp_path,
        command="python -m benchmarks.learning report",
    )
    for name in ("report.md", "results.csv"):
        assert (tmp_path / name).read_text() == (REPORT / name).read_text()


def test_readme_quotes_the_report():
    section = re.search(r"## What it does\n(.*?)\n## ", (ROOT / "README.md").read_text(), re.DOTALL)
    quoted = [line for line in section[1].splitlines() if line.startswith("| ")]
    report = (REPORT / "report.md").read_text()
    table = report[report.index("| algorithm | seeds | IQM") :].partition("\n\n")[0]
    assert quoted == table.splitlines()
