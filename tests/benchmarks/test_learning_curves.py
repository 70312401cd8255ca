"""Learning curves, and how steps become time."""

import numpy as np
import pytest

from benchmarks.learning import figures, pace
from benchmarks.learning.configurations import configuration
from benchmarks.learning.figures import smooth
from tests.benchmarks.synthetic_runs import on, synthetic


def test_curves_are_running_means_weighted_by_episodes():
    x, y, episodes = np.array([1.0, 2.0, 6.0]), np.array([0.0, 4.0, 8.0]), np.array([1.0, 3.0, 1.0])
    grid = np.array([0.5, 1.0, 2.0, 4.5, 6.0])
    values = smooth(x, y, episodes, grid=grid, window=2.0)
    # before the first episode nothing; the empty window at 4.5 lies on the line from 3 to 8
    np.testing.assert_allclose(values, [np.nan, 0.0, 3.0, 3.0 + 5.0 * 2.5 / 4.0, 8.0])
    x, y, episodes = (
        np.append(found, last) for found, last in ((x, 6.5), (y, np.nan), (episodes, 9))
    )
    np.testing.assert_array_equal(smooth(x, y, episodes, grid=grid, window=2.0), values)


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
