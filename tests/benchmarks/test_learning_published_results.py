"""That what is committed and what the documents say is what the committed runs give."""

import json
import re
import statistics
from pathlib import Path

from benchmarks.learning import idle, pace, store
from benchmarks.learning.__main__ import EXPERIMENTS, PACES, REPORT, RESULTS
from benchmarks.learning.changed_defaults import CHANGES
from benchmarks.learning.experiments import ABLATION, EQUAL_TIME_STEPS, FRESH, SEEDS, VARIANTS
from benchmarks.learning.report import make_report
from benchmarks.learning.suites import ABLATION_TASKS, SUITES

ROOT = Path(__file__).parents[2]


def test_equal_time_is_that_of_the_measured_paces():
    runs, broken = store.read_all(PACES)
    assert not broken
    assert pace.steps_in_peers_time(pace.seconds_per_step(runs), "ppo") == EQUAL_TIME_STEPS


def test_report_is_made_from_the_committed_runs(tmp_path):
    make_report(
        *(RESULTS, EXPERIMENTS, PACES),
        idle=idle.read(idle.RETURNS),
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
    fresh = report.partition("## On seeds that no choice was made on")[2]
    iqm, mean = (
        cells(fresh, f"| {what} over TRPO (sb3_contrib) |")[2]
        for what in ("IQM", "mean of the ratios")
    )
    assert f"ours ends lower: IQM {iqm}, mean of the ratios {mean};" in section[1]
    assert f"never acts ({idle.read(idle.RETURNS)['Ant-v5']:.0f})" in section[1]


def test_settings_page_quotes_the_report():
    page = settings_page()
    report = (REPORT / "report.md").read_text()
    ratios = cells(report, "| TRPO (sb3_trpo) | 5 |")[4:]
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
    own_settings = report.partition("## With a setting of their own")[2]
    for task in ("Hopper", "Swimmer"):
        row = cells(own_settings, f"| {task}-v5 |")
        for cell in (row[2], row[3], row[4]):
            parts = cell.split(" (")[0].split(" ± ")
            assert " ± ".join(f"{float(part):.0f}" for part in parts) in page
    runs, _ = store.read_all(RESULTS)
    fresh, _ = store.read_all(EXPERIMENTS / FRESH)
    by_task = {
        task: [
            [r.evaluation["mean"] for r in side if (r.algorithm, r.environment) == (name, task)]
            for side, name in ((runs, "trpo"), (fresh, "trpo"), (runs, "contrib_trpo"))
        ]
        for task in SUITES["mujoco"]
    }
    on_fresh = [
        f"{statistics.fmean(ours) / statistics.fmean(theirs):.2f}"
        for _, ours, theirs in by_task.values()
    ]
    assert f"at {', '.join(on_fresh[:-1])} and {on_fresh[-1]} times. On Ant-v4" in page
    swimmers = [*by_task["Swimmer-v5"][0], *by_task["Swimmer-v5"][1]]
    assert f"a lottery between {min(swimmers):.0f} and {max(swimmers):.0f}" in page


def test_no_change_of_the_defaults_is_better_beyond_chance_as_the_settings_page_says():
    found = ratios_of_changes("## The constructor's defaults")
    assert len(found) == len(CHANGES) - 1
    assert_every_interval_holds_one(found)


def test_settings_page_quotes_the_ablation():
    found = ratios_of_changes("## One part changed at a time")
    assert len(found) == len(VARIANTS)
    assert_every_interval_holds_one(found)
    mean = {name: found[words][0] for name, words in VARIANTS.items()}
    best = max(mean, key=lambda name: float(mean[name]))
    low, high = found[VARIANTS[best]][1:]
    by_seed = {name: ablation_scores(name) for name in ("ours", *VARIANTS)}
    hopper, walker = (
        {name: of_task[task] for name, of_task in by_seed.items()}
        for task in ("Hopper-v5", "Walker2d-v5")
    )
    every = [f"fisher_every_{k}" for k in (2, 5, 10)]
    worst = [f"{min(walker[name]):.0f}" for name in (*every, "damping_tenth")]
    page = settings_page()
    for said in (
        f"end between {min(hopper['ours']):.0f} and {max(hopper['ours']):.0f} on Hopper",
        f"the paper's instead: {mean['paper_search']}",
        f"centred values ({mean['not_centred']} without)",
        f"clipped actions ({mean['as_drawn']} without)",
        f"critic ({mean['critic_small']} with the narrow one)",
        f"epochs ({mean['critic_half']}, {mean['critic_double']})",
        f"ten times the damping ({mean['damping_tenfold']})",
        f"10th sample ({', '.join(mean[name] for name in every)})",
        "ends low ({}, {}, {}), as with a tenth of the damping ({})".format(*worst),
        f"ends at {spread(walker['as_drawn'])} instead of {spread(walker['ours'])}",
        f"at {spread(walker['gae_lambda_95'])} with `gae_lambda=0.95`",
        f"{spread(hopper['as_drawn'])} and {spread(hopper['gae_lambda_95'])} instead of "
        + spread(hopper["ours"]),
        f"The highest mean, {mean[best]} [{low}, {high}], is that of δ in proportion",
    ):
        assert said in page
    assert best == "per_dimension"


def test_settings_page_says_how_much_cheaper_a_step_is_than_the_peers():
    page = settings_page()
    paces = pace.seconds_per_step(pace.short_runs(PACES))
    for peer, said in (
        ("contrib_trpo", "{:.1f} to {:.1f} times"),
        ("ppo", "{:.1f} (Swimmer) to {:.1f} times (HalfCheetah)"),
    ):
        ratios = [paces[peer, task] / paces["trpo", task] for task in SUITES["mujoco"]]
        assert said.format(min(ratios), max(ratios)) in page


def test_scores_on_ant_v4_are_those_of_the_episodes():
    found = json.loads((RESULTS.parent / "ant_v4.json").read_text())
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    for name, by_seed in found["returns"].items():
        assert [len(returns) for returns in by_seed] == [20] * 3
        scores = [statistics.fmean(returns) for returns in by_seed]
        summary = f"{statistics.fmean(scores):.0f} ± {statistics.stdev(scores):.0f}"
        row = cells(page, f"| `{found['commands'][name]}` |")
        assert row[1:] == [*(f"{score:.0f}" for score in scores), summary]


def cells(report, start):
    """The cells of the first table row that starts so."""
    line = next(line for line in report.splitlines() if line.startswith(start))
    return [cell.strip() for cell in line.strip("|").split("|")]


def settings_page():
    """The text without its line breaks."""
    return " ".join((ROOT / "docs" / "settings.md").read_text().split())


def ratios_of_changes(heading):
    """Mean of the ratios and its interval by what was changed, as the report's section has them."""
    section = (REPORT / "report.md").read_text().partition(f"{heading}\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][3:]
    return {
        line.split(" | ")[0].removeprefix("| "): re.search(
            r"\| (\S+) \[(\S+), (\S+)\] \|$", line
        ).groups()
        for line in rows
    }


def assert_every_interval_holds_one(found):
    """In the table, and in words on the settings page."""
    for _, low, high in found.values():
        assert float(low) <= 1.0 <= float(high)
    means = sorted((mean for mean, *_ in found.values()), key=float)
    assert f"between {means[0]} and {means[-1]}, and every interval holds 1" in settings_page()


def ablation_scores(name):
    """The three seeds' scores of a variant, or of our setting, by task."""
    folder = EXPERIMENTS / ABLATION / name if name != "ours" else RESULTS
    runs = [
        store.read(folder / task / f"trpo-seed{seed}.json")
        for task in ABLATION_TASKS
        for seed in SEEDS[ABLATION]
    ]
    return {
        task: [run.evaluation["mean"] for run in runs if run.environment == task]
        for task in ABLATION_TASKS
    }


def spread(values):
    return f"{statistics.fmean(values):.0f} ± {statistics.stdev(values):.0f}"
