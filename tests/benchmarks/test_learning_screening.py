import numpy as np
import pytest

from benchmarks.learning import screening
from benchmarks.learning.models import build_model
from benchmarks.learning.suites import SUITES


def test_every_pair_of_factors_meets_at_all_four_combinations_equally_often():
    levels = screening.design()
    assert levels.shape == (12, 11)
    for first in range(11):
        for second in range(first):
            pairs = levels[:, first] * 2 + levels[:, second]
            assert np.bincount(pairs, minlength=4).tolist() == [3, 3, 3, 3]


def test_effects_of_an_additive_score_are_its_coefficients():
    coefficients = np.arange(11.0) - 4
    rows = np.concatenate([screening.design(), 1 - screening.design()])
    for n_rows in (12, 24):
        scores = dict(enumerate((rows[:n_rows] @ coefficients + 7).tolist()))
        found = screening.effects(scores)
        np.testing.assert_allclose(list(found.values()), coefficients, atol=1e-12)
    with pytest.raises(ValueError, match=r"both levels, got rows \[0\]"):
        screening.effects({0: 1.0})


def test_folding_clears_main_effects_of_interactions():
    rows = np.concatenate([screening.design(), 1 - screening.design()])
    signs = 2.0 * rows - 1
    scores = dict(enumerate((signs[:, 0] * signs[:, 1]).tolist()))
    np.testing.assert_allclose(list(screening.effects(scores).values()), 0, atol=1e-12)


def test_each_level_reaches_the_model(tmp_path):
    jobs = screening.jobs(tmp_path, folded=True)
    assert len(jobs) == 24 * 5
    assert len({job.path for job in jobs}) == len(jobs)
    assert all(job.seed >= 100 for job in jobs)
    low = next(job for job in jobs if job.path.parts[-3] == "row-11")  # all at their low levels
    high = next(job for job in jobs if job.path.parts[-3] == "row-23")
    names = ("n_steps", "gae_lambda", "n_critic_updates", "cg_damping", "gamma", "batch_size")
    models = [build_model(job.configuration, job.seed) for job in (low, high)]
    for name in names:
        assert getattr(models[0], name) != getattr(models[1], name)
    assert [model.n_envs for model in models] == [4, 2]
    assert [model.target_kl(0.0) for model in models] == [0.02, 0.005]
    assert [model.lr_schedule(0.0) for model in models] == [1e-3, 0.0]
    assert [m.policy.value_net.in_features for m in models] == [64, 256]
    assert [round(float(m.policy.log_std[0]), 2) for m in models] == [-0.5, 0.0]
    swimmer = [j for j in jobs if j.configuration.environment == "Swimmer-v5"]
    assert {job.configuration.settings["gamma"] for job in swimmer} == {0.9999}


def test_table_has_each_factors_effect_in_units_of_the_marks():
    class Run:
        def __init__(self, task, score):
            self.environment, self.evaluation = task, {"mean": score}

    levels = screening.design()
    runs = [
        (row, Run(task, screening.MARKS[task] * (1 + 0.5 * levels[row, 3])))
        for row in range(12)
        for task in SUITES["mujoco"]
    ]
    lines = screening.table(runs).splitlines()
    assert lines[2 + 3].endswith("| +0.50 | +0.50 | +0.50 | +0.50 | +0.50 | +0.50 |")
    gamma = next(line for line in lines if screening.GAMMA in line)
    assert gamma.endswith("| +0.00 | +0.00 | +0.00 | +0.00 | fixed | +0.00 |")
    assert lines[2].endswith("| +0.00 | +0.00 | +0.00 | +0.00 | +0.00 | +0.00 |")
