"""That what is committed and what the documents say is what the committed runs give."""

import json
import re
import statistics
from pathlib import Path

import pytest

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
    fresh = fresh_section()
    on_table, on_fresh = (cells(side, "| TRPO (sb3_trpo) | 5 |")[2:4] for side in (report, fresh))
    assert all(
        first_number(new) < first_number(old) for new, old in zip(on_fresh, on_table, strict=True)
    )
    assert "ours ends lower: IQM {}, mean of the ratios {};".format(*on_fresh) in section[1]
    without_ant = cells(fresh, "| Ant-v5 | 1")[1:3]
    assert "without Ant they are {} and {},".format(*without_ant) in " ".join(section[1].split())
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


def test_settings_page_quotes_the_fresh_seeds():
    page, fresh = settings_page(), fresh_section()
    *ratios, last = cells(fresh, "| TRPO (sb3_trpo) | 5 |")[4:]
    assert f"at {', '.join(ratios)} and {last} times. On Ant-v4" in page
    ant, swimmer = (rounded(cells(fresh, f"| {task}-v5 | ≥")[2]) for task in ("Ant", "Swimmer"))
    means = (cell.split(" ± ")[0] for cell in (ant, swimmer))
    probability = cells(fresh, "| PPO (SB3) | 0.")[1]
    assert "ends at {} and {} there, and the probability is {}.".format(*means, probability) in page
    swimmers = scores_of_seeds_0_to_9("Swimmer-v5")
    assert f"a lottery between {min(swimmers):.0f} and {max(swimmers):.0f}" in page


def test_settings_page_quotes_the_settings_of_their_own():
    page, report = settings_page(), (REPORT / "report.md").read_text()
    own_settings = report.partition("## With a setting of their own")[2]
    instead = {}
    for task in ("Hopper", "Swimmer"):
        row = cells(own_settings, f"| {task}-v5 |")
        without_on_fresh = cells(fresh_section(), f"| {task}-v5 | ≥")[2]
        instead[task] = [rounded(cell) for cell in (*row[2:5], without_on_fresh)]
    said = cells((ROOT / "docs" / "settings.md").read_text(), "| Hopper, instead |")[1]
    words = (
        "{} over [five seeds](benchmarks.md#with-a-setting-of-their-own) and {} over five others"
    )
    assert words.format(*instead["Hopper"]) in said
    assert "the row for MuJoCo has {} and {}, ".format(*instead["Hopper"][2:]) in said
    fallen = sum(score < 3000 for score in scores_of_seeds_0_to_9("Hopper-v5"))
    assert fallen == 6
    assert "falls on six of the ten" in said
    said = cells((ROOT / "docs" / "settings.md").read_text(), "| Swimmer, instead |")[1]
    assert "{} on five seeds and {} on five others".format(*instead["Swimmer"]) in said
    words = (
        "[{}](benchmarks.md#with-a-setting-of-their-own) over five seeds and {} over five others"
    )
    assert f"{words} ({{}} and {{}} without)".format(*instead["Swimmer"]) in page


@pytest.mark.parametrize(
    ("heading", "n_changes", "on_page"),
    [
        ("## The constructor's defaults", len(CHANGES) - 1, "Why the defaults are what they are"),
        ("## One part changed at a time", len(VARIANTS), "Which parts carry the result"),
    ],
)
def test_no_change_is_better_or_worse_beyond_chance(heading, n_changes, on_page):
    found = ratios_of_changes(heading)
    assert len(found) == n_changes
    assert all(float(low) <= 1.0 <= float(high) for _, low, high in found.values())
    means = sorted((mean for mean, *_ in found.values()), key=float)
    said = f"between {means[0]} and {means[-1]}, and every interval holds 1"
    assert said in settings_section(on_page)


def test_settings_page_quotes_the_ablations_means():
    found = ratios_of_changes("## One part changed at a time")
    mean = {name: found[words][0] for name, words in VARIANTS.items()}
    best = max(mean, key=lambda name: float(mean[name]))
    assert best == "per_dimension"
    low, high = found[VARIANTS[best]][1:]
    thinned = (mean[f"fisher_every_{k}"] for k in (2, 5, 10))
    section = settings_section("Which parts carry the result")
    for said in (
        f"the paper's instead: {mean['paper_search']}",
        f"centred values ({mean['not_centred']} without)",
        f"clipped actions ({mean['as_drawn']} without)",
        f"critic ({mean['critic_small']} with the narrow one)",
        f"epochs ({mean['critic_half']}, {mean['critic_double']})",
        f"ten times the damping ({mean['damping_tenth']}, {mean['damping_tenfold']})",
        f"constant learning rate ({mean['constant_rate']})",
        f"10th sample ({', '.join(thinned)})",
        f"The highest mean, {mean[best]} [{low}, {high}], is that of δ in proportion",
        f"(from `log_std_init=-0.5`, {mean['wide']} here)",
    ):
        assert said in section


def test_settings_page_quotes_the_ablations_tasks():
    section = settings_section("Which parts carry the result")
    cheetah, hopper, walker = (ablation_scores(task) for task in ABLATION_TASKS)
    above = sum(is_higher(hopper).values())
    below = len(VARIANTS) - sum(is_higher(walker).values())
    low = sum(min(walker[name]) < 3000 for name in VARIANTS)
    ours_on_walker, ours_on_hopper = map(scores_of_seeds_0_to_9, ("Walker2d-v5", "Hopper-v5"))
    assert max(walker["as_drawn"]) < min(ours_on_walker)
    assert [len(VARIANTS), sum(score < 3000 for score in ours_on_hopper)] == [15, 6]
    without_hopper = statistics.fmean(
        statistics.fmean(of_task["per_dimension"]) / statistics.fmean(of_task["ours"])
        for of_task in (cheetah, walker)
    )
    for said in (
        "Fifteen changes",
        f"{above} of the 15 changes end above our row on Hopper, and {below} below it on Walker2d",
        f"where {low} have a run below 3000",
        f"(seeds 0 to 9) is below {min(ours_on_walker):.0f}; on Hopper six of its ten",
        f"{spread(walker['as_drawn'])} instead of {spread(walker['ours'])}, all three runs below",
        f"ends at {spread(walker['gae_lambda_95'])}, Hopper at {spread(hopper['gae_lambda_95'])} "
        f"instead of {spread(hopper['ours'])}",
        f"owes most ({without_hopper:.2f} without)",
    ):
        assert said in section


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


def settings_section(heading):
    """The text under one of the page's headings of the third level."""
    return settings_page().partition(f"### {heading} ")[2].partition(" ### ")[0]


def fresh_section():
    report = (REPORT / "report.md").read_text()
    return report.partition("## On seeds that no choice was made on")[2].partition("\n## ")[0]


def first_number(cell):
    return float(cell.split()[0])


def rounded(cell):
    """Mean ± standard deviation of a cell, to whole numbers."""
    return " ± ".join(f"{float(part):.0f}" for part in cell.split(" (")[0].split(" ± "))


def ratios_of_changes(heading):
    """Mean of the ratios and its interval by what was changed, as the report's section has them."""
    section = (REPORT / "report.md").read_text().partition(f"{heading}\n")[2].partition("\n## ")[0]
    header, _, _unchanged, *rows = (line for line in section.splitlines() if line.startswith("| "))
    assert header.startswith("| what |")
    return {
        line.split(" | ")[0].removeprefix("| "): re.search(
            r"\| (\S+) \[(\S+), (\S+)\] \|$", line
        ).groups()
        for line in rows
    }


def ablation_scores(task):
    """The scores on a task by what was changed, and of our setting on the same seeds."""
    folders = {name: EXPERIMENTS / ABLATION / name for name in VARIANTS}
    return {
        name: [score(folder, task, seed) for seed in SEEDS[ABLATION]]
        for name, folder in {"ours": RESULTS, **folders}.items()
    }


def is_higher(of_task):
    """Which changes have a mean above our setting's."""
    ours = statistics.fmean(of_task["ours"])
    return {name: statistics.fmean(of_task[name]) > ours for name in VARIANTS}


def scores_of_seeds_0_to_9(task):
    """Of our setting: those of the table, and those that no choice was made on."""
    places = [(RESULTS, seed) for seed in range(5)]
    places += [(EXPERIMENTS / FRESH, seed) for seed in SEEDS[FRESH]]
    return [score(folder, task, seed) for folder, seed in places]


def score(folder, task, seed):
    return store.read(store.path_of(folder, "trpo", task, seed)).evaluation["mean"]


def spread(values):
    return f"{statistics.fmean(values):.0f} ± {statistics.stdev(values):.0f}"
