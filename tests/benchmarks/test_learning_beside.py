import inspect

import numpy as np
import pytest

from benchmarks.learning import beside_tables, experiments, store
from benchmarks.learning.changed_defaults import (
    CHANGES,
    CHANGES_IN_WORDS,
    DEFAULTS_TASKS,
    STARTING_POINT,
)
from benchmarks.learning.configurations import configuration
from benchmarks.learning.models import constructor_defaults
from benchmarks.learning.schedules import linear
from benchmarks.learning.suites import ABLATION_TASKS, SUITES, TASKS
from sb3_trpo import TRPO
from tests.benchmarks.synthetic_runs import MUJOCO, full_mujoco, on, report, row, save, synthetic


def test_fresh_seeds_are_held_against_the_marks_by_themselves(tmp_path):
    theirs = full_mujoco("contrib_trpo", 1.0, n_seeds=5)
    save(tmp_path / "results", *theirs, *full_mujoco("trpo", 2.0))
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
    assert ratio.startswith("4.15 [")  # 407 of 98


def test_settings_of_their_own_stand_beside_the_table(tmp_path):
    save(tmp_path / "results", *full_mujoco("trpo", 2.0), synthetic("ppo", "Hopper-v5", 0, 7.0))
    for name, seed, score in ((experiments.OWN, 3, 9.0), (experiments.OWN_FRESH, 5, 8.0)):
        for job in experiments.jobs(name, tmp_path / "experiments", MUJOCO, [seed]):
            task, as_json = job.configuration.environment, job.configuration.as_json()
            store.write(job.path, synthetic("trpo", task, seed, score, configuration=as_json))
    text = report(tmp_path).split("## With a setting of their own")[1]
    assert row(text, "Hopper-v5")[1:] == [
        *(
            experiments.OWN_IN_WORDS["Hopper-v5"],
            "9.0 (1)",
            "8.0 (1)",
            "200.0 ± 28.3 (2)",
            "none",
            "7.0 (1)",
            "none",
        )
    ]


def test_experiments_with_other_settings_than_todays_are_refused(tmp_path):
    save(tmp_path / "results", synthetic("trpo", "Hopper-v5", 0, 1.0))
    folder = tmp_path / "experiments" / experiments.ABLATION / "critic_half"
    save(folder, synthetic("trpo", "Hopper-v5", 0, 1.0))  # nothing is changed
    with pytest.raises(ValueError, match=r"other settings.*\n.*critic_half/Hopper-v5"):
        report(tmp_path)


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
    text = text[text.index("## As long as PPO") :]
    assert row(text, "Hopper-v5")[1:] == [
        *("450.0 (1)", "6,000", "2.0"),
        *("100.0 ± 100.0 (3)", "1,000", "3.3"),
    ]


def test_times_of_longer_runs_and_ppos_are_compared_where_one_machine_made_both():
    theirs = [on(cpu, "ppo", seed, 600.0 * (seed + 1)) for seed, cpu in enumerate("aab")]
    ours = [on(cpu, "trpo", seed, 60.0) for seed, cpu in enumerate("acc")]
    text = beside_tables.times_by_machine([*theirs, *ours], ours)
    assert row(text, "Hopper-v5")[1:] == ["a", "1.0 (1)", "15.0 (2)", "0.07"]
    assert text.count("Hopper-v5") == 1


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


def test_constructor_has_the_defaults_that_changes_were_compared_with():
    parameters = inspect.signature(TRPO).parameters
    assert {name: parameters[name].default for name in STARTING_POINT} == STARTING_POINT


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


def test_ratios_of_the_first_row_are_1_once_it_is_on_all_tasks():
    runs = [synthetic("trpo", task, 0, 2.0) for task in ABLATION_TASKS]
    for of_first, ratio in ((runs, "1.00"), (runs[1:], "none"), ([], "none")):
        rows = {"first": of_first, "second": runs}
        text = beside_tables.one_changed(rows, ABLATION_TASKS, ABLATION_TASKS)
        assert row(text, "first")[-1] == row(text, "second")[-1] == ratio


def test_variant_of_delta_per_dimension_says_its_values():
    found = [
        f"{experiments.ablations(task)['per_dimension']['target_kl']:g}"
        for task in experiments.ABLATION_TASKS
    ]
    assert f"({', '.join(found)})" in experiments.VARIANTS["per_dimension"]


def test_words_say_the_values_of_the_settings():
    hopper, swimmer = (experiments.OWN_SETTINGS[task] for task in ("Hopper-v5", "Swimmer-v5"))
    said = experiments.OWN_IN_WORDS
    assert f"γ {hopper['gamma']:g}, " in said["Hopper-v5"]
    assert_says_first_noise(said["Hopper-v5"], hopper)
    assert swimmer == {"noise_correlation": linear(0.8)}
    assert "from 0.8 to 0" in said["Swimmer-v5"]
    said, hopper = experiments.VARIANTS, experiments.ablations("Hopper-v5")
    assert_says_first_noise(said["wide"], hopper["wide"])
    assert (
        f"({hopper['constant_rate']['learning_rate']:.0e})".replace("e-0", "e-")
        in (said["constant_rate"])
    )
    assert hopper["critic_small"]["policy_kwargs"]["net_arch"] == [64, 64]
    assert "2 × 64 units" in said["critic_small"]
    ours = configuration("trpo", "Hopper-v5").settings
    assert hopper["damping_tenth"]["cg_damping"] == pytest.approx(0.1 * ours["cg_damping"])
    assert hopper["damping_tenfold"]["cg_damping"] == pytest.approx(10 * ours["cg_damping"])
    assert hopper["critic_half"]["n_critic_updates"] == ours["n_critic_updates"] / 2
    assert hopper["critic_double"]["n_critic_updates"] == ours["n_critic_updates"] * 2
    for factor, word in ((2, "2nd"), (5, "5th"), (10, "10th")):
        assert hopper[f"fisher_every_{factor}"] == {"sub_sampling_factor": factor}
        assert said[f"fisher_every_{factor}"].endswith(f"every {word} sample")
    for name in ("paper_search", "gae_lambda_95", "not_centred", "as_drawn"):
        ((argument, value),) = hopper[name].items()
        assert f"`{argument}={value}`" in said[name]


def assert_says_first_noise(words, settings):
    log_std = settings["policy_kwargs"]["log_std_init"]
    assert f"deviation of {np.exp(log_std):.2f} " in words
    assert f"`log_std_init={log_std}`" in words
