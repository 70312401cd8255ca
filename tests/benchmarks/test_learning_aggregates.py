import numpy as np
import pytest
from scipy.stats import trim_mean

from benchmarks.learning import aggregates
from tests.benchmarks.synthetic_runs import MUJOCO, synthetic


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
    ratios = scores / reference.mean(axis=0)
    return np.array([trim_mean(ratios, 0.25, axis=None)])


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
    runs += [synthetic("a2c", task, 2, 3.0) for task in MUJOCO]
    runs += [synthetic("ppo", task, 2, 5.0 + i) for i, task in enumerate(reversed(MUJOCO))]
    scores = aggregates.complete_scores(runs, "ppo", MUJOCO)
    np.testing.assert_array_equal(scores, [[1.0] * 5, [9.0, 8.0, 7.0, 6.0, 5.0]])
