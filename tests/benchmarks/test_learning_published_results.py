"""That what is committed and what the documents say is what the committed runs give."""

import json
import re
import statistics
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
    section = re.search(r"## Results\n(.*?)\n## ", (ROOT / "README.md").read_text(), re.DOTALL)
    quoted = [line for line in section[1].splitlines() if line.startswith("| ")]
    report = (REPORT / "report.md").read_text()
    table = report[report.index("| algorithm | seeds | IQM") :].partition("\n\n")[0]
    assert quoted == table.splitlines()
    without_ant = report.partition("| without |")[2].partition("| Ant-v5 |")[2].split(" | ")
    ours, ppo = (without_ant[column].strip() for column in (1, 3))
    said = f"without it the mean of the ratios is {ours}, PPO's {ppo}."
    assert said in section[1]


def test_settings_page_quotes_the_report():
    page = " ".join((ROOT / "docs" / "settings.md").read_text().split())
    report = (REPORT / "report.md").read_text()
    ratios = cells(report, "| TRPO (sb3_trpo) | 5 | 1")[4:]
    said = "(HalfCheetah), {} (Hopper), {} (Walker2d), {} (Ant) and {} times (Swimmer)"
    assert f"{ratios[0]} {said.format(*ratios[1:])}" in page
    probability = cells(report, "| PPO (SB3) | 0.")[1]
    assert f"with probability {probability} (" in page
    for task in ("Ant", "Swimmer"):
        scores = cells(report, f"| {task}-v5 | 1,000,000 |")
        ours, ppo = (f"{float(scores[column].split()[0]):.0f}" for column in (2, 4))
        assert any(
            f"{task} ({first})" in page
            for first in (f"{ours} against {ppo}", f"{ppo} against {ours}")
        )


def test_scores_on_ant_v4_are_those_of_the_episodes():
    found = json.loads((RESULTS.parent / "ant_v4.json").read_text())
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    for name, by_seed in found["returns"].items():
        assert [len(returns) for returns in by_seed] == [20] * 3
        scores = [statistics.fmean(returns) for returns in by_seed]
        summary = f"{statistics.fmean(scores):.0f} ± {statistics.stdev(scores):.0f}"
        row = cells(page, f"| `{found['commands'][name].replace('SEED', '0')}` |")
        assert row[1:] == [*(f"{score:.0f}" for score in scores), summary]


def cells(report, start):
    """The cells of the first table row that starts so."""
    line = next(line for line in report.splitlines() if line.startswith(start))
    return [cell.strip() for cell in line.strip("|").split("|")]
