import os
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from benchmarks.learning import selection, single_run, store
from benchmarks.learning.configuration import Configuration
from benchmarks.learning.configurations import configuration
from benchmarks.learning.durations import Durations
from benchmarks.learning.models import build_model, constructor_defaults, evaluation_env
from benchmarks.learning.recorder import FIGURES, Recorder
from benchmarks.learning.suites import (
    ALGORITHMS,
    ALL_OF_OURS,
    CELLS,
    CONTESTANTS,
    TASKS,
    seeds,
)
from benchmarks.learning.thinning import thin
from sb3_trpo import TRPO

ROOT = Path(__file__).parents[2]


# --- which runs -----------------------------------------------------------------------------------


def test_all_seeds_0_come_first(tmp_path):
    jobs = selection.reported_jobs(tmp_path, list(ALGORITHMS), TASKS, None)
    assert len(jobs) == 5 * (5 + 5 + 3 + 3) + 4 * 4 * 5 + 2 * 3 * 5 + 2 * 3 * 5
    assert [job.seed for job in jobs] == sorted(job.seed for job in jobs)
    assert len({job.path for job in jobs}) == len(jobs)
    assert seeds("ppo", "Ant-v5") == (0, 1, 2)


def test_reported_folder_takes_reported_seeds_alone(tmp_path):
    jobs = selection.reported_jobs(tmp_path, ["ppo"], ["Ant-v5", "CartPole-v1"], [2, 4, 100])
    assert [(j.configuration.environment, j.seed) for j in jobs] == [
        ("Ant-v5", 2),
        ("CartPole-v1", 2),
        ("CartPole-v1", 4),
    ]


# --- one run --------------------------------------------------------------------------------------


RUNS = [
    *((name, task) for task in ("CartPole-v1", "Pendulum-v1") for name in CONTESTANTS["classic"]),
    *((name, "InvalidActionDiscrete-v0") for name in CONTESTANTS["masked"]),
    *((name, "CartPoleNoVelocity-v1") for name in CONTESTANTS["memory"]),
]


@pytest.mark.parametrize(("algorithm", "task"), RUNS)
def test_run_is_whole_after_a_trip_through_its_file(algorithm, task, tmp_path):
    (job,) = selection.trial_jobs(tmp_path, [algorithm], [task], seeds=[3], steps=1600, changes={})
    run = single_run.perform(job.configuration, seed=3)
    store.write(job.path, run)
    again = store.read(job.path)
    assert again == run
    assert again.is_of(job.configuration, constructor_defaults(job.configuration))
    assert [path.name for path in job.path.parent.iterdir()] == [job.path.name]

    assert run.steps >= 1600
    assert run.evaluation["seed"] == 10_003
    assert len(run.evaluation["returns"]) == 20
    assert run.evaluation["mean"] == pytest.approx(np.mean(run.evaluation["returns"]))
    returns = run.curve["return"]
    assert run.train_last100 == pytest.approx(np.mean(returns[-100:]))
    if task.startswith("CartPole"):  # raw rewards: one a step
        assert returns == run.curve["length"]
    assert run.curve["cpu_s"] == sorted(run.curve["cpu_s"])
    assert 0 < run.curve["cpu_s"][-1] <= run.cpu_s
    assert (run.updates is None) == (algorithm not in ALL_OF_OURS)
    text = job.path.read_text()
    assert os.uname().nodename not in text
    assert str(ROOT) not in text


def test_run_of_ours_has_figures_of_every_update():
    settings = configuration("trpo", "CartPole-v1")  # 1024 samples an update
    run = single_run.perform(build_short(settings, steps=3072), seed=0)
    assert run.updates["step"] == [1024, 2048, 3072]
    assert all(0.5 < value <= 1 for value in run.updates["kl_utilization"])
    assert run.updates["std"] == [None] * 3  # no standard deviation with discrete actions
    assert run.skipped_updates == 0


def test_runs_with_another_default_are_of_other_settings():
    settings = configuration("trpo", "CartPole-v1")
    defaults = constructor_defaults(settings)
    run = single_run.perform(build_short(settings, steps=1024), seed=0)
    settings = build_short(settings, steps=1024)
    assert run.is_of(settings, defaults)
    assert run.is_of(settings, {**defaults, "later_argument": 0.0, "another": None})
    assert not run.is_of(settings, {**defaults, "later_argument": 0.5})
    gone = {name: value for name, value in defaults.items() if name != "cg_max_steps"}
    assert not run.is_of(settings, gone)
    assert not run.is_of(settings, {**defaults, "cg_max_steps": defaults["cg_max_steps"] + 1})
    named = {"cg_max_steps": defaults["cg_max_steps"]}
    assert run.is_of(settings.changed(named), {**defaults, "cg_max_steps": 99})
    assert not run.is_of(settings.changed({"cg_max_steps": 99}), defaults)
    assert not run.is_of(settings.changed({"later_argument": 0.5}), defaults)
    assert not run.is_of(settings.changed({"n_envs": 1}), defaults)


def build_short(settings, steps):
    return Configuration(**{**settings.as_json(), "steps": steps})


class OneInfiniteReward(gym.Wrapper):
    """CartPole whose 70th step yields an infinite reward."""

    n_steps = 0

    def step(self, action):
        observation, reward, *rest = self.env.step(action)
        self.n_steps += 1
        return observation, np.inf if self.n_steps == 70 else reward, *rest


def test_skipped_update_is_counted_and_leaves_its_figures_empty():
    env = DummyVecEnv([lambda: OneInfiniteReward(gym.make("CartPole-v1"))])
    recorder = Recorder(with_updates=True)
    with pytest.warns(UserWarning, match="non-finite reward"):
        TRPO("MlpPolicy", env, n_steps=64, batch_size=64, seed=0).learn(192, callback=recorder)
    assert recorder.skipped_updates == 1
    assert recorder.updates["step"] == [64, 128, 192]
    assert [value is None for value in recorder.updates["kl_utilization"]] == [False, True, False]
    assert set(recorder.updates) == {"step", *FIGURES}


def test_episodes_of_no_finite_return_are_missing_in_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(single_run, "build_model", model_of_one_infinite_reward)
    (job,) = selection.trial_jobs(
        tmp_path, ["trpo"], ["CartPole-v1"], seeds=[0], steps=192, changes={}
    )
    with pytest.warns(UserWarning, match="non-finite reward"):
        store.write(job.path, single_run.perform(job.configuration, 0))
    run = store.read(job.path)
    returns = run.curve["return"]
    assert returns.count(None) == 1
    finite = [value for value in returns if value is not None]
    assert run.train_last100 == pytest.approx(np.mean(finite))


def model_of_one_infinite_reward(configuration, seed):
    env = DummyVecEnv([lambda: Monitor(OneInfiniteReward(gym.make(configuration.environment)))])
    return TRPO("MlpPolicy", env, n_steps=64, batch_size=64, seed=seed)


def test_evaluation_has_its_own_episodes_and_changes_nothing():
    model = build_model(configuration("trpo", "Hopper-v5"), seed=0).learn(2048)
    normalize: VecNormalize = model.get_vec_normalize_env()
    before = normalize.obs_rms.mean.copy(), normalize.obs_rms.count
    offset = single_run.EVALUATION_SEED_OFFSET
    first, second = (single_run.evaluate(model, "Hopper-v5", offset) for _ in range(2))
    assert first == second
    assert first["seed"] == 10_000
    most_envs = max(configuration(*cell).n_envs for cell in CELLS)
    assert max(max(seeds(*cell)) for cell in CELLS) + most_envs < offset
    np.testing.assert_array_equal(normalize.obs_rms.mean, before[0])
    assert normalize.obs_rms.count == before[1]


def test_evaluation_has_frozen_statistics_and_raw_rewards():
    model = build_model(configuration("trpo", "Hopper-v5"), seed=0).learn(2048)
    env = evaluation_env(model, "Hopper-v5", seed=10_000)
    trained = model.get_vec_normalize_env().obs_rms
    seen = env.reset()
    np.testing.assert_allclose(
        seen[0], (env.get_original_obs()[0] - trained.mean) / np.sqrt(trained.var + 1e-8), rtol=1e-5
    )
    for _ in range(5):
        _, rewards, _, _ = env.step([env.action_space.sample()])
        np.testing.assert_array_equal(rewards, env.get_original_reward())
    assert not env.norm_reward
    assert env.obs_rms.count == trained.count
    np.testing.assert_array_equal(env.obs_rms.mean, trained.mean)


# --- thinning and time left -----------------------------------------------------------------------


def test_short_series_are_kept_exactly():
    columns = {"step": [1, 5, 9], "return": [0.1, None, 0.3]}
    assert thin(columns, n_steps=10, max_points=3) == {**columns, "rows": [1, 1, 1]}


def test_long_series_are_averaged_in_bins_of_equal_steps():
    columns = {"step": [1, 4, 5, 6, 10], "return": [1.0, 3.0, None, None, 7.0]}
    assert thin(columns, n_steps=10, max_points=2) == {
        "step": [pytest.approx(10 / 3, rel=1e-6), 8.0],
        "return": [2.0, 7.0],
        "rows": [3, 2],
    }
    assert thin(columns, n_steps=10, max_points=4)["return"] == [1.0, 3.0, None, 7.0]


def test_time_left_comes_from_runs_of_the_same_kind_or_else_from_all():
    hopper, ant = configuration("trpo", "Hopper-v5"), configuration("trpo", "Ant-v5")
    durations = Durations()
    assert durations.time_left([hopper], [], n_jobs=2) is None
    durations.note("trpo", "Hopper-v5", steps=1000, seconds=1.0)
    durations.note("ppo", "Hopper-v5", steps=1000, seconds=3.0)
    assert durations.expected(hopper) == pytest.approx(1000)
    assert durations.expected(ant) == pytest.approx(2000)
    running = [(hopper, 400.0)]
    assert durations.time_left([ant, ant], running, n_jobs=2) == pytest.approx(2300)
    assert durations.time_left([ant], running, n_jobs=2) == pytest.approx(2000)
    assert durations.time_left([], running, n_jobs=2) == pytest.approx(600)
    assert durations.time_left([], [], n_jobs=2) == 0
