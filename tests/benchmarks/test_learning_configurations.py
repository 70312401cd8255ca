import json
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from benchmarks.learning import idle
from benchmarks.learning.configuration import Configuration
from benchmarks.learning.configurations import FIRST_NOISE, SETTINGS, configuration
from benchmarks.learning.models import build_model
from benchmarks.learning.schedules import Linear, linear, resolve
from benchmarks.learning.suites import ACTION_DIMENSIONS, CELLS, CONTESTANTS, SUITES

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("algorithm", "task"), CELLS)
def test_every_configuration_builds_a_model(algorithm, task):
    settings = configuration(algorithm, task)
    model = build_model(settings, seed=0)
    assert model.gamma == settings.settings["gamma"]
    normalize = model.get_vec_normalize_env()
    assert (normalize is None) == (settings.normalize is None)
    assert normalize is None or normalize.gamma == model.gamma
    assert model.n_envs == settings.n_envs
    model.env.close()


@pytest.mark.parametrize(("algorithm", "task"), CELLS)
def test_configurations_survive_json(algorithm, task):
    settings = configuration(algorithm, task)
    assert Configuration(**json.loads(json.dumps(settings.as_json()))) == settings


@pytest.mark.parametrize(
    ("suite", "apart"),
    [
        ("mujoco", {"gamma", "policy_kwargs"}),
        ("classic", {"use_sde", "sde_sample_freq", "policy_kwargs"}),
    ],
)
def test_ours_has_one_setting_per_suite(suite, apart):
    ours = [SETTINGS["trpo"][task] for task in SUITES[suite]]
    common = [{name: setting[name] for name in setting.keys() - apart} for setting in ours]
    assert all(setting == common[0] for setting in common)


def test_first_noise_has_one_sum_on_all_mujoco_tasks():
    for task in SUITES["mujoco"]:
        dimensions = gym.make(task).action_space.shape[0]
        assert dimensions == ACTION_DIMENSIONS[task]
        kwargs = dict(SETTINGS["trpo"][task]["policy_kwargs"])
        assert dimensions * np.exp(kwargs.pop("log_std_init")) == pytest.approx(FIRST_NOISE, 1e-3)
        assert kwargs == {"net_arch": {"pi": [64, 64], "vf": [256, 256]}}


def test_exploration_of_classic_control_differs_by_kind_of_action_alone():
    for task in SUITES["classic"]:
        continuous = isinstance(gym.make(task).action_space, gym.spaces.Box)
        assert SETTINGS["trpo"][task].get("use_sde", False) == continuous


def test_discount_factor_of_swimmer_is_the_same_for_all():
    assert {SETTINGS[name]["Swimmer-v5"]["gamma"] for name in CONTESTANTS["mujoco"]} == {0.9999}


def test_peers_run_without_our_package():
    block = "import sys; sys.modules['sb3_trpo'] = None"
    work = (
        "from benchmarks.learning import configurations, models, single_run;"
        "from benchmarks.learning.__main__ import main;"
        "models.build_model(configurations.configuration('a2c', 'CartPole-v1'), 0)"
    )
    subprocess.run([sys.executable, "-c", f"{block}; {work}"], cwd=ROOT, check=True)


def test_settings_change_environments_wrapper_and_constructor_alike():
    changes = {"n_envs": 2, "normalize": None, "target_kl": linear(0.04, 0.01), "n_steps": 64}
    model = build_model(configuration("trpo", "Hopper-v5").changed(changes), seed=0)
    assert (model.n_envs, model.n_steps, model.target_kl) == (2, 64, Linear(0.04, 0.01))
    assert model.get_vec_normalize_env() is None
    with pytest.raises(ValueError, match="must not change steps"):
        configuration("trpo", "Hopper-v5").changed({"steps": 10})


def test_wrapper_takes_its_own_discount_factor_if_told():
    changed = configuration("trpo", "Hopper-v5").changed({"normalize": {"gamma": 0.9}})
    assert build_model(changed, seed=0).get_vec_normalize_env().gamma == 0.9


def test_linear_schedule_runs_from_start_to_end_and_no_further():
    schedule = resolve({"target_kl": linear(0.04, 0.01)})["target_kl"]
    values = [schedule(progress) for progress in (1.0, 0.5, 0.0, -0.4)]
    np.testing.assert_allclose(values, [0.04, 0.025, 0.01, 0.01])


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"target_kl": {"linear": [1.0]}}, "target_kl must be a number or"),
        ({"target_kl": {"cosine": [1.0, 0.0]}}, "target_kl must be a number or"),
        ({"target_kl": {"linear": [1.0, "x"]}}, "target_kl must be a number or"),
        ({"policy_kwargs": {"activation_fn": "Swish"}}, "activation_fn must be one of"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, complaint):
    with pytest.raises(ValueError, match=complaint):
        resolve(settings)


# --- tasks of our own -----------------------------------------------------------------------------


@pytest.mark.parametrize("task", SUITES["memory"])
def test_velocities_are_hidden_and_all_else_is_as_before(task):
    original = {
        "CartPoleNoVelocity-v1": "CartPole-v1",
        "PendulumNoVelocity-v1": "Pendulum-v1",
        "HalfCheetahNoVelocity-v5": "HalfCheetah-v5",
    }[task]
    hidden = {
        "CartPoleNoVelocity-v1": [1, 3],
        "PendulumNoVelocity-v1": [2],
        "HalfCheetahNoVelocity-v5": list(range(8, 17)),
    }[task]
    envs = [gym.make(task), gym.make(original)]
    seen, whole = (env.reset(seed=0)[0] for env in envs)
    for _ in range(5):
        np.testing.assert_array_equal(seen, np.delete(whole, hidden))
        assert envs[0].observation_space.contains(seen)
        envs[1].action_space.seed(0)
        action = envs[1].action_space.sample()
        (seen, *rest), (whole, *expected) = (env.step(action) for env in envs)
        assert rest[:3] == expected[:3]


@pytest.mark.parametrize("task", SUITES["masked"])
def test_some_actions_are_invalid_and_the_wanted_one_is_not(task):
    env = gym.make(task)
    env.reset(seed=0)
    masks = env.get_wrapper_attr("action_masks")()
    assert 0 < sum(masks) < len(masks)
    wanted = env.unwrapped.state
    _, reward, *_ = env.step(wanted)
    assert reward == 1


def test_idle_agent_gets_what_is_committed_of_it():
    committed = json.loads((ROOT / idle.RETURNS).read_text())
    assert committed.keys() == SUITES["mujoco"].keys()
    assert idle.returns("Hopper-v5") == pytest.approx(committed["Hopper-v5"])
