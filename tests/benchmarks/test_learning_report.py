import csv
import json

import numpy as np
import pytest

from benchmarks.learning import aggregates, experiments, figures, pace, store
from benchmarks.learning.changed_defaults import (
    CHANGES,
    CHANGES_IN_WORDS,
    DEFAULTS_TASKS,
    STARTING_POINT,
)
from benchmarks.learning.configurations import configuration
from benchmarks.learning.figures import smooth
from benchmarks.learning.models import constructor_defaults
from benchmarks.learning.recorder import FIGURES
from benchmarks.learning.report import make_report
from benchmarks.learning.suites import SUITES
from benchmarks.learning.tables import first_step_above

MUJOCO = list(SUITES["mujoco"])
TASKS = [task for suite in SUITES.values() for task in suite]


def synthetic(algorithm, task, seed, score, **changes):
    """A run with a given score and a straight learning curve."""
    fields = {
        "algorithm": algorithm,
        "environment": task,
        "seed": seed,
        "steps": 1000,
        "configuration": configuration(algorithm, task).as_json(),
        "defaults": {},
        "versions": {},
        "machine": {"cpu": "this"},
        "curve": {
            "step": [250.0, 500.0, 1000.0],
            "wall_s": [1.0, 2.0, 4.0],
            "cpu_s": [0.9, 1.8, 3.6],
            "return": [0.0, score / 2, score],
            "length": [10.0, 10.0, 10.0],
            "rows": [1, 1, 1],
        },
        "updates": None,
        "skipped_updates": None,
        "evaluation": {"seed": seed + 10_000, "mean": score, "std": 0.5, "returns": [score] * 20},
        "train_last100": score,
        "wall_s": 4.0,
        "cpu_s": 3600.0,
    }
    return store.Run(**{**fields, **changes})


def save(folder, *runs):
    for run in runs:
        store.write(store.path_of(folder, run.algorithm, run.environment, run.seed), run)


def report(tmp_path, name="report"):
    folders = (tmp_path / folder for folder in ("results", "experiments", "paces"))
    make_report(*folders, out=tmp_path / name, command="the command")
    return (tmp_path / name / "report.md").read_text()


def row(markdown, first):
    """The cells of the first table row that starts with a text."""
    line = next(line for line in markdown.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


# --- statistics by hand ---------------------------------------------------------------------------


def test_interquartile_mean_is_of_the_middle_half():
    scores = np.array([[1.0, 90.0, 3.0], [4.0, 5.0, 8.0], [60.0, 7.0, 10.0], [-70.0, 2.0, 80.0]])
    assert aggregates.interquartile_mean(scores) == pytest.approx((3 + 4 + 5 + 7 + 8 + 10) / 6)


def test_probability_of_improvement_counts_pairs_and_half_of_ties():
    ours = np.array([[3.0, 1.0], [1.0, 1.0]])
    theirs = np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    # first task: 3 beats all three, 1 ties one and beats one; second task: always better
    expected = ((3 + 0.5 + 1) / 6 + 1) / 2
    assert aggregates.probability_of_improvement(ours, theirs) == pytest.approx(expected)


def test_interval_is_that_of_the_bootstrap_distribution():
    # The mean of two draws from {0, 1} is 0, 1/2, 1 with chances 1/4, 1/2, 1/4.
    result = aggregates.estimate(aggregates.mean_over_tasks, np.array([[0.0], [1.0]]))
    assert (result.value, result.interval) == (0.5, (0.0, 1.0))


def test_bootstrap_draws_each_task_by_itself():
    # Runs drawn as wholes would always sum to 1; tasks drawn apart also give 0 and 2.
    result = aggregates.estimate(aggregates.mean_over_tasks, np.array([[0.0, 1.0], [1.0, 0.0]]))
    assert result.interval[0] < 0.5 < result.interval[1]


def test_bootstrap_never_mixes_tasks():
    scores = np.array([[1.0, 10.0], [1.0, 10.0], [1.0, 10.0]])
    assert aggregates.estimate(aggregates.mean_over_tasks, scores).interval == (5.5, 5.5)


def test_interval_is_the_same_every_time():
    scores = np.random.default_rng(1).normal(size=(5, 5))
    first, second = (aggregates.estimate(aggregates.interquartile_mean, scores) for _ in range(2))
    assert first == second


def ratios_of_means(scores, reference):
    return np.array([aggregates.of_ratios(aggregates.interquartile_mean)(scores, reference)])


def test_statistics_and_intervals_are_those_of_rliable():
    library = pytest.importorskip("rliable.library")
    metrics = pytest.importorskip("rliable.metrics")
    rng = np.random.default_rng(3)
    ours, theirs = rng.normal(2.5, 1, size=(5, 4)), rng.normal(2, 1, size=(3, 4))
    pairs = [
        (aggregates.interquartile_mean, lambda x: np.array([metrics.aggregate_iqm(x)]), (ours,)),
        (aggregates.mean_over_tasks, lambda x: np.array([metrics.aggregate_mean(x)]), (ours,)),
        (aggregates.of_ratios(aggregates.interquartile_mean), ratios_of_means, (ours, theirs)),
        (
            aggregates.probability_of_improvement,
            lambda *x: np.array([metrics.probability_of_improvement(*x)]),
            (ours, theirs),
        ),
    ]
    np.random.seed(0)  # what rliable draws from
    for mine, its, samples in pairs:
        scores = samples[0] if len(samples) == 1 else samples
        values, bounds = library.get_interval_estimates({"x": scores}, its, reps=500)
        found = aggregates.estimate(mine, *samples)
        assert found.value == pytest.approx(values["x"][0])
        # Its 500 draws leave a bound uncertain by some hundredths of the interval's length.
        tolerance = 0.15 * (bounds["x"][1, 0] - bounds["x"][0, 0])
        np.testing.assert_allclose(found.interval, bounds["x"][:, 0], atol=tolerance)


def test_single_run_has_no_interval():
    assert aggregates.estimate(aggregates.mean_over_tasks, np.array([[2.0, 4.0]])).interval is None


def test_only_seeds_with_every_task_enter_aggregates():
    runs = [synthetic("ppo", task, 0, 1.0) for task in MUJOCO]
    runs += [synthetic("ppo", task, 1, 2.0) for task in MUJOCO[1:]]
    complete, scores = aggregates.complete_scores(runs, "ppo", MUJOCO)
    assert complete == [0]
    np.testing.assert_array_equal(scores, [[1.0] * 5])


def test_curves_are_running_means_weighted_by_episodes():
    x, y, episodes = np.array([1.0, 2.0, 6.0]), np.array([0.0, 4.0, 8.0]), np.array([1.0, 3.0, 1.0])
    grid = np.array([0.5, 1.0, 2.0, 4.5, 6.0])
    values = smooth(x, y, episodes, grid=grid, window=2.0)
    # before the first episode nothing; the empty window at 4.5 lies on the line from 3 to 8
    np.testing.assert_allclose(values, [np.nan, 0.0, 3.0, 3.0 + 5.0 * 2.5 / 4.0, 8.0])


# --- the report -----------------------------------------------------------------------------------


def full_mujoco(algorithm, factor):
    """Two seeds on every task: factor times 90 and 110."""
    return [
        synthetic(algorithm, task, seed, factor * score)
        for task in MUJOCO
        for seed, score in enumerate((90.0, 110.0))
    ]


def test_report_has_the_numbers_of_the_raw_files(tmp_path):
    save(tmp_path / "results", *full_mujoco("contrib_trpo", 1.0), *full_mujoco("trpo", 2.0))
    text = report(tmp_path)
    assert "`the command` from the 20 runs" in text
    assert "20.00 CPU hours" in text
    assert "Ours were made by the code of unknown (10 runs)." in text
    text = text[text.index("## MuJoCo") :]
    assert row(text, "Ant-v5")[2:] == ["200.0 ± 28.3 (2)", "100.0 ± 14.1 (2)", "none", "none"]
    ours = row(text, "TRPO (sb3_trpo)")
    assert ours[1] == "2"
    # ten normalised scores, five of 1.8 and five of 2.2: the middle six are three of each
    assert ours[2].startswith("2.00 [1.8")
    assert ours[3].startswith("2.00 [")
    assert ours[4:] == ["2.00"] * 5
    assert "no seed has a run on every task: PPO (SB3), A2C (SB3)." in text
    improvement = text.split("probability of improvement |")[1]
    assert row(improvement, "TRPO (sb3_contrib)")[1] == "1.00 [1.00, 1.00]"


def test_marks_are_met_or_missed(tmp_path):
    save(tmp_path / "results", *full_mujoco("contrib_trpo", 1.0), *full_mujoco("trpo", 2.0))
    save(tmp_path / "results", *(synthetic("ppo", "Ant-v5", seed, 190.0) for seed in range(2)))
    save(tmp_path / "results", synthetic("trpo", "Acrobot-v1", 0, -85.0))
    longer = experiments.jobs(experiments.EQUAL_TIME, tmp_path / "experiments", ["Ant-v5"], [0])
    for job in longer:
        as_json = job.configuration.as_json()
        store.write(job.path, synthetic("trpo", "Ant-v5", 0, 190.5, configuration=as_json))
    text = report(tmp_path)
    text = text[text.index("## What was asked") : text.index("## MuJoCo")]
    assert row(text, "Swimmer-v5")[1:] == ["≥ 355", "200.0 ± 28.3 (2)", "**missed**"]
    assert row(text, "Acrobot-v1")[1:] == ["≥ −85", "−85.0 (1)", "met"]
    over = "over TRPO (sb3_contrib)"
    assert row(text, f"IQM {over}")[1] == "≥ 1.1, lower bound > 1"
    assert row(text, f"IQM {over}")[3] == row(text, f"mean of the ratios {over}")[3] == "met"
    assert row(text, f"probability of improvement {over}")[2:] == ["1.00 [1.00, 1.00]", "met"]
    assert row(text, "Ant-v5, in PPO's time")[1:] == ["> 190.0 ± 0.0 (2)", "190.5 (1)", "met"]
    assert "Hopper-v5, in" not in text
    assert "CartPole-v1" not in text


def test_fresh_seeds_are_held_against_the_marks_by_themselves(tmp_path):
    save(tmp_path / "results", *full_mujoco("contrib_trpo", 1.0), *full_mujoco("trpo", 2.0))
    jobs = experiments.jobs(experiments.FRESH, tmp_path / "experiments", MUJOCO, None)
    for job in jobs:
        score = 400.0 + job.seed
        store.write(job.path, synthetic("trpo", job.configuration.environment, job.seed, score))
    text = report(tmp_path)
    assert "25 of them beside the tables" in text
    of_table, of_fresh = text.split("## On seeds that no choice was made on")
    assert row(of_table, "Swimmer-v5")[2] == "200.0 ± 28.3 (2)"
    assert row(of_fresh, "Swimmer-v5")[2:] == ["407.0 ± 1.6 (5)", "met"]
    ratio = row(of_fresh, "mean of the ratios over TRPO (sb3_contrib)")[2]
    assert ratio.startswith("4.07 [")


def test_settings_of_their_own_stand_beside_the_table(tmp_path):
    save(tmp_path / "results", *full_mujoco("trpo", 2.0), synthetic("ppo", "Hopper-v5", 0, 7.0))
    for job in experiments.jobs(experiments.OWN, tmp_path / "experiments", MUJOCO, [3]):
        as_json = job.configuration.as_json()
        run = synthetic("trpo", job.configuration.environment, 3, 9.0, configuration=as_json)
        store.write(job.path, run)
    text = report(tmp_path).split("## With a setting of their own")[1]
    assert row(text, "Hopper-v5")[1:] == [
        *(
            experiments.OWN_IN_WORDS["Hopper-v5"],
            "9.0 (1)",
            "200.0 ± 28.3 (2)",
            "none",
            "7.0 (1)",
            "none",
        )
    ]


def test_aggregate_above_its_mark_is_missed_if_its_interval_is_not(tmp_path):
    theirs = [synthetic("contrib_trpo", t, s, v) for t in MUJOCO for s, v in enumerate((1.0, 99.0))]
    ours = [synthetic("trpo", t, s, v) for t in MUJOCO for s, v in enumerate((50.0, 100.0))]
    save(tmp_path / "results", *theirs, *ours)
    over = "over TRPO (sb3_contrib)"
    cells = row(report(tmp_path), f"IQM {over}")
    assert float(cells[2].split()[0]) >= 1.1
    assert cells[3] == "**missed**"


def test_csv_has_a_sorted_row_per_run(tmp_path):
    runs = [
        synthetic("trpo", "Hopper-v5", 1, 2.0),
        synthetic("trpo", "Hopper-v5", 0, 1.0, train_last100=None),
        synthetic("a2c", "Walker2d-v5", 0, 3.0),
    ]
    save(tmp_path / "results", *runs)
    report(tmp_path)
    with (tmp_path / "report" / "results.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert ",".join(header) == ("algo,env,seed,steps,eval_mean,eval_std,train_last100,wall_s,cpu_s")
    assert rows == [
        ["a2c", "Walker2d-v5", "0", "1000", "3.000", "0.500", "3.000", "4.0", "3600.0"],
        ["trpo", "Hopper-v5", "0", "1000", "1.000", "0.500", "", "4.0", "3600.0"],
        ["trpo", "Hopper-v5", "1", "1000", "2.000", "0.500", "2.000", "4.0", "3600.0"],
    ]


def test_partial_results_make_a_report_that_says_what_is_missing(tmp_path, capsys):
    save(tmp_path / "results", synthetic("trpo", "Hopper-v5", 0, 5.0))
    save(tmp_path / "results", synthetic("ppo", "Pendulum-v1", 0, -5.0))
    broken = tmp_path / "results" / "Hopper-v5" / "a2c-seed0.json"
    broken.write_text("{}")
    text = report(tmp_path)
    text = text[text.index("## MuJoCo") :]
    assert row(text, "Hopper-v5")[2:] == ["5.0 (1)", "none", "none", "none"]
    assert row(text, "Pendulum-v1")[4] == "−5.0 (1)"
    assert "No aggregates yet" in text
    assert str(broken) in capsys.readouterr().err
    assert "No picture over time" in text
    assert "return over time" not in text
    pictures = {path.name for path in (tmp_path / "report").glob("*_*.*")}
    assert pictures == {
        f"{suite}_steps.{suffix}" for suite in ("mujoco", "classic") for suffix in ("png", "svg")
    }


def test_ratios_to_a_negative_mean_are_refused(tmp_path):
    runs = full_mujoco("contrib_trpo", 1.0)
    runs = [run for run in runs if run.environment != "Ant-v5"]
    runs += [synthetic("contrib_trpo", "Ant-v5", seed, -20.0) for seed in (0, 1)]
    save(tmp_path / "results", *runs)
    assert "the mean of TRPO (sb3_contrib) is not positive on Ant-v5" in report(tmp_path)


def test_runs_with_other_settings_than_todays_are_refused(tmp_path):
    other = configuration("trpo", "Hopper-v5").changed({"n_steps": 64}).as_json()
    old = synthetic("trpo", "Hopper-v5", 1, 1.0, configuration=other)
    save(tmp_path / "results", synthetic("trpo", "Hopper-v5", 0, 1.0), old)
    with pytest.raises(ValueError, match=r"other settings.*\n.*Hopper-v5/trpo-seed1.json$"):
        report(tmp_path)


def test_experiments_with_other_settings_than_todays_are_refused(tmp_path):
    save(tmp_path / "results", synthetic("trpo", "Hopper-v5", 0, 1.0))
    folder = tmp_path / "experiments" / experiments.ABLATION / "critic_half"
    save(folder, synthetic("trpo", "Hopper-v5", 0, 1.0))  # nothing is changed
    with pytest.raises(ValueError, match=r"other settings.*\n.*critic_half/Hopper-v5"):
        report(tmp_path)


def test_report_is_the_same_every_time(tmp_path):
    save(tmp_path / "results", *full_mujoco("contrib_trpo", 1.0), *full_mujoco("trpo", 1.5))
    save(tmp_path / "paces", synthetic("trpo", "Hopper-v5", 0, 1.0))
    report(tmp_path, "first")
    report(tmp_path, "second")
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert len(names) == 2 + 4
    for name in names:
        first, second = ((tmp_path / folder / name).read_bytes() for folder in ("first", "second"))
        assert first == second, name


def test_no_finished_run_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="holds no finished run"):
        report(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", json.dumps({"algorithm": "trpo"}), "\udcff"])
def test_files_that_hold_no_run_are_broken(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(store.BrokenRunError):
        store.read(path)


# --- runs beside the table ------------------------------------------------------------------------


def test_longer_runs_stand_beside_ppos_of_the_table(tmp_path):
    save(tmp_path / "results", *(synthetic("ppo", "Hopper-v5", n, 100.0 * n) for n in range(3)))
    for seed, seconds in enumerate((0.1, 0.2, 0.9)):
        save(tmp_path / "paces", on("this", "ppo", seed, 1000 * seconds))
        save(tmp_path / "paces", on("this", "trpo", seed, 100 * seconds))
    folder = tmp_path / "experiments"
    (job,) = experiments.jobs(experiments.EQUAL_TIME, folder, ["Hopper-v5"], [0])
    settings = job.configuration.as_json()
    longer = synthetic("trpo", "Hopper-v5", 0, 450.0, steps=6000, configuration=settings)
    store.write(job.path, longer)
    text = report(tmp_path)
    text = text[text.index("As long as PPO") :]
    assert row(text, "Hopper-v5")[1:] == [
        *("450.0 (1)", "6,000", "2.0"),
        *("100.0 ± 100.0 (3)", "1,000", "3.3"),
    ]


def save_variant(tmp_path, name, scores):
    """Runs of a variant: scores by task and seed."""
    jobs = experiments.jobs(experiments.ABLATION, tmp_path / "experiments", MUJOCO, None)
    for job in jobs:
        settings = job.configuration
        if job.path.parents[1].name == name and (settings.environment, job.seed) in scores:
            score = scores[settings.environment, job.seed]
            as_json = settings.as_json()
            run = synthetic("trpo", settings.environment, job.seed, score, configuration=as_json)
            store.write(job.path, run)


def test_ablation_divides_by_our_setting_on_the_same_seeds(tmp_path):
    tasks = list(experiments.ABLATION_TASKS)
    scores = {(task, s): 100.0 * 4**s * (i + 1) for i, task in enumerate(tasks) for s in range(3)}
    runs = [synthetic("trpo", task, seed, score) for (task, seed), score in scores.items()]
    save(tmp_path / "results", *runs, *(synthetic("trpo", task, 4, 1e6) for task in tasks))
    half = {cell: score / 2 for cell, score in scores.items()}
    save_variant(tmp_path, "paper_search", half)
    save_variant(tmp_path, "critic_double", {c: v for c, v in half.items() if c[1] != 2})
    save_variant(tmp_path, "constant_rate", {c: v for c, v in half.items() if c[0] != tasks[1]})
    text = report(tmp_path)
    of = experiments.VARIANTS
    assert row(text, "our setting")[1] == "700.0 ± 793.7 (3)"
    assert row(text, "our setting")[-1] == "1.00"
    assert row(text, of["paper_search"])[-1].startswith("0.50 [0.")
    assert row(text, of["critic_double"])[-1].startswith("0.50 [0.")
    assert row(text, of["constant_rate"])[1:3] == ["350.0 ± 396.9 (3)", "none"]
    assert row(text, of["constant_rate"])[-1] == row(text, of["critic_half"])[-1] == "none"


def test_updates_are_medians_over_all_seeds(tmp_path):
    columns = {name: [1.0] for name in FIGURES}
    for seed, (kl, skipped) in enumerate([([0.9, None, 0.96], 1), ([0.98], 2)]):
        noted = {**columns, "kl_utilization": kl, "line_search_steps": [2.0 + seed]}
        run = synthetic("trpo", "Ant-v5", seed, 1.0, updates=noted, skipped_updates=skipped)
        save(tmp_path / "results", run)
    save(tmp_path / "results", synthetic("trpo", "Hopper-v5", 0, 1.0))
    text = report(tmp_path)
    text = text[text.index("### Updates of TRPO (sb3_trpo)") :]
    assert row(text, "Ant-v5")[1:] == ["0.96", "2.5", "3"]
    assert "| Hopper-v5 |" not in text


def arguments(settings):
    """All arguments of a run's constructor, left out or named."""
    return {**constructor_defaults(settings), **settings.settings}


def test_every_variant_changes_our_setting_on_each_of_its_tasks(tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "EQUAL_TIME_STEPS", {"Ant-v5": 7_000_000})
    jobs = experiments.jobs(experiments.ABLATION, tmp_path, TASKS, None)  # as without --suite
    n_cells = len(experiments.VARIANTS) * len(experiments.ABLATION_TASKS)
    assert len({job.path for job in jobs}) == len(jobs) == n_cells * 3
    for job in jobs:
        bare = configuration("trpo", job.configuration.environment)
        assert arguments(job.configuration) != arguments(bare)
    (longer,) = experiments.jobs(experiments.EQUAL_TIME, tmp_path, MUJOCO, [2, 3])
    assert (longer.configuration.steps, longer.seed) == (7_000_000, 2)
    ours = configuration("trpo", "Ant-v5")
    assert longer.configuration.settings.keys() == ours.settings.keys()
    averaged = [c.settings["average_last"] * c.steps for c in (longer.configuration, ours)]
    assert averaged == pytest.approx([20_000, 20_000])


def test_each_change_of_the_defaults_changes_one_argument_of_theirs(tmp_path):
    jobs = experiments.jobs(experiments.DEFAULTS, tmp_path, TASKS, None)
    n_cells = len(CHANGES) * len(DEFAULTS_TASKS)
    assert len({job.path for job in jobs}) == len(jobs) == n_cells * 3
    for job in jobs:
        settings = job.configuration
        starting_point = {**arguments(settings), **STARTING_POINT}
        changed = starting_point.items() ^ arguments(settings).items()
        is_first = job.path.parents[1].name == "starting_point"
        assert len({name for name, _ in changed}) == (0 if is_first else 1)
        assert settings.n_envs == 1
        assert (settings.normalize is None) == (settings.environment in SUITES["classic"])


def test_changes_of_the_defaults_are_divided_by_the_first_row_on_mujoco_alone(tmp_path):
    save(tmp_path / "results", synthetic("trpo", "Hopper-v5", 0, 1.0))
    for job in experiments.jobs(experiments.DEFAULTS, tmp_path / "experiments", TASKS, [100]):
        factor = 3.0 if job.path.parents[1].name == "delta_02" else 1.0
        on_mujoco = job.configuration.environment in MUJOCO
        run = synthetic(
            "trpo",
            job.configuration.environment,
            100,
            factor * (200.0 if on_mujoco else -100.0),
            configuration=job.configuration.as_json(),
        )
        store.write(job.path, run)
    text = report(tmp_path)
    changed = row(text, "`target_kl=0.02`")
    assert changed[1:] == [*["600.0 (1)"] * 3, *["−300.0 (1)"] * 4, "3.00"]
    assert row(text, CHANGES_IN_WORDS["starting_point"])[-1] == "1.00"
    assert row(text, "`gae_lambda=0.9`")[-1] == "1.00"


def test_variant_of_delta_per_dimension_says_its_values():
    found = [
        f"{experiments.ablations(task)['per_dimension']['target_kl']:g}"
        for task in experiments.ABLATION_TASKS
    ]
    assert f"({', '.join(found)})" in experiments.VARIANTS["per_dimension"]


# --- time ----------------------------------------------------------------------------------------


def on(cpu, algorithm, seed, cpu_s):
    """A run of 1000 steps on Hopper-v5."""
    return synthetic(algorithm, "Hopper-v5", seed, 1.0, machine={"cpu": cpu}, cpu_s=cpu_s)


def test_paces_are_medians_on_one_machine():
    runs = [on("a", "ppo", seed, cpu_s) for seed, cpu_s in enumerate((900.0, 2000.0, 3e5))]
    runs.append(on("a", "trpo", 0, 100.0))
    found = pace.seconds_per_step(runs)
    assert found == {("ppo", "Hopper-v5"): 2.0, ("trpo", "Hopper-v5"): 0.1}
    assert pace.steps_in_peers_time(found, "ppo") == {"Hopper-v5": 20_000_000}
    assert pace.steps_in_peers_time(found, "a2c") == {}
    assert pace.seconds_per_step([]) == {}
    assert pace.spread(runs) == pytest.approx((0.0 + (300.0 - 0.9) / 2.0) / 2)
    with pytest.raises(ValueError, match="must all be of one machine"):
        pace.seconds_per_step([*runs, on("b", "trpo", 1, 100.0)])
    other = configuration("trpo", "Hopper-v5").changed({"n_steps": 64}).as_json()
    stale = synthetic("trpo", "Hopper-v5", 1, 1.0, machine={"cpu": "a"}, configuration=other)
    with pytest.raises(ValueError, match=r"of other settings.*: trpo on Hopper-v5$"):
        pace.seconds_per_step([*runs, stale])


def test_curves_over_time_are_those_over_steps_at_the_paces():
    runs = [on("x", algorithm, 0, 1.0) for algorithm in ("trpo", "ppo", "a2c")]
    paces = {("trpo", "Hopper-v5"): 0.1, ("ppo", "Hopper-v5"): 2.0, ("a2c", "Ant-v5"): 1.0}
    by_steps = figures.lines(runs, figures.OVER_STEPS, {})
    by_time = figures.lines(runs, figures.OVER_MINUTES, paces)
    assert (list(by_steps), list(by_time)) == (["trpo", "ppo", "a2c"], ["trpo", "ppo"])
    for algorithm, seconds in (("trpo", 0.1), ("ppo", 2.0)):
        (steps, returns), (minutes, same) = by_steps[algorithm], by_time[algorithm]
        np.testing.assert_allclose(minutes * 60, steps * 1000 * seconds)
        np.testing.assert_array_equal(same, returns)


# --- variants -------------------------------------------------------------------------------------


def with_curve(run, steps, returns, rows):
    times = [0.01 * step for step in steps]
    curve = {**run.curve, "step": steps, "return": returns, "rows": rows, "cpu_s": times}
    return store.Run(**{**vars(run), "curve": curve})


def test_threshold_is_reached_when_the_last_twenty_episodes_are_above_it():
    task = "CartPoleNoVelocity-v1"
    run = synthetic("recurrent_trpo", task, 0, 500.0)
    lucky = with_curve(run, [10, 20, 30], [500.0, 0.0, 450.0], [1, 19, 25])
    assert first_step_above(lucky, 400.0) == 30  # a single episode is not enough
    assert first_step_above(lucky, 460.0) is None
    assert first_step_above(with_curve(run, [10], [500.0], [19]), 400.0) is None


def test_report_has_the_variants_beside_their_counterparts(tmp_path):
    task = "CartPoleNoVelocity-v1"
    runs = []
    for algorithm, steps in (("recurrent_trpo", (100, 300)), ("recurrent_ppo", (700, None))):
        for seed, step in enumerate(steps):
            run = synthetic(algorithm, task, seed, 490.0 if step else 100.0)
            runs.append(with_curve(run, [step or 999], [run.evaluation["mean"]], [20]))
    save(tmp_path / "results", *runs)
    markdown = report(tmp_path)
    scores, thresholds = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in markdown.splitlines()
        if line.startswith(f"| {task} |")
    )
    assert scores[2:] == ["490.0 ± 0.0 (2)", "295.0 ± 275.8 (2)"]
    assert thresholds[1:] == ["400", "200 (2 of 2)", "none (1 of 2)"]
    assert (tmp_path / "report" / "memory_steps.png").exists()
