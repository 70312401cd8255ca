"""Values shifted by what their TD errors have in common, against SB3's GAE of shifted values."""

import copy

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_trpo import TRPO
from sb3_trpo.value_level import centred, shift_values, value_shift
from tests.policies_under_test import BetaPolicy
from tests.test_rollouts import Replay

N_STEPS = 40


class Corridor(gym.Env):
    """A reward of 1 a step whatever is done; episodes of 25 steps."""

    observation_space = spaces.Box(-1, 1, (2,))
    action_space = spaces.Box(-1, 1, (1,))

    def __init__(self, ends_by_time=True):
        self.ends_by_time = ends_by_time

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.t += 1
        is_over = self.t == 25
        ends = (is_over and not self.ends_by_time, is_over and self.ends_by_time)
        return self.observation_space.sample(), 1.0, *ends, {}


def collected(env=None, seed=1, policy="MlpPolicy", **options):
    env = Replay(spaces.Box(-1, 1, (4,)), spaces.Box(-1, 1, (2,))) if env is None else env
    options = {"n_steps": N_STEPS, "batch_size": 60, "center_td_errors": True, **options}
    model = TRPO(policy, env, seed=seed, device="cpu", **options)
    model.set_logger(configure(None, []))
    collect(model)
    return model


def collect(model):
    _, callback = model._setup_learn(10_000)
    callback.on_training_start(locals(), globals())
    model.collect_rollouts(model.env, callback, model.rollout_buffer, model.n_steps)


def sb3s_rollout(model, monkeypatch):
    """The buffer that SB3's loop fills from the same start with the model's policy as it is now."""
    monkeypatch.setattr("sb3_trpo.trpo.collects_fast", lambda *_: False)
    collect(model)
    return model.rollout_buffer


@pytest.mark.parametrize("shift", [2.5, -30.0])
@pytest.mark.parametrize(("gamma", "gae_lambda"), [(0.99, 0.95), (0.9999, 0.9), (1, 1), (0.9, 0)])
def test_centred_rollout_is_the_one_that_sb3_computes_from_shifted_values(
    monkeypatch, shift, gamma, gae_lambda
):
    model = collected(gamma=gamma, gae_lambda=gae_lambda)
    buffer, names = model.rollout_buffer, ("values", "advantages", "returns")
    before = {name: getattr(buffer, name).copy() for name in names}
    moved = centred(model, shift)
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(buffer, name), array)

    twin = collected(gamma=gamma, gae_lambda=gae_lambda)
    shift_values(twin, shift)
    expected = sb3s_rollout(twin, monkeypatch)  # Replay does not mind the actions
    for name in names:
        scale = np.abs(getattr(expected, name)).max() + abs(shift)
        got, wanted = getattr(moved, name), getattr(expected, name)
        np.testing.assert_allclose(got, wanted, rtol=0, atol=2e-6 * scale, err_msg=name)


def td_errors(model, buffer):
    """δ of a rollout, from values and rewards, and how far each falls with the values' level."""
    with th.no_grad():
        last = model.policy.predict_values(th.as_tensor(model._last_obs)).numpy()[:, 0]
    ends = np.concatenate([buffer.episode_starts[1:], np.array(model._last_episode_starts)[None]])
    after = np.concatenate([buffer.values[1:], last[None]])
    errors = buffer.rewards + model.gamma * after * (1 - ends) - buffer.values
    return errors.astype(float), ends


def test_estimate_is_the_shrunk_solution_for_a_constant():
    model = collected(make_vec_env(Corridor, 4, env_kwargs={"ends_by_time": False}), n_steps=100)
    errors, ends = td_errors(model, model.rollout_buffer)
    falls = 1 - model.gamma * (1 - ends)
    # Least squares of the normal equation's two sides, as LSTD has it.
    (exact,) = np.linalg.lstsq(np.array([[falls.mean()]]), np.array([errors.mean()]), rcond=None)[0]
    residuals = errors - exact * falls
    error = residuals.std() / np.sqrt(residuals.size) / falls.mean()
    assert value_shift(model) == pytest.approx(exact * (1 - error**2 / exact**2), rel=1e-4)


@pytest.mark.parametrize("ends_by_time", [True, False])
def test_level_of_a_known_value_function_is_found(ends_by_time):
    """A reward of 1 a step is worth 1 / (1 − γ) where time limits alone end episodes."""
    gamma = 0.99
    env = make_vec_env(Corridor, 4, env_kwargs={"ends_by_time": ends_by_time})
    model = collected(env, n_steps=100, gamma=gamma)
    with th.no_grad():  # values that know nothing, of the states either
        model.policy.value_net.weight.zero_()
        model.policy.value_net.bias.fill_(-3.0)
    collect(model)
    shift = value_shift(model)
    # Where values are all alike, one in 25 of which is followed by nothing, LSTD has a compromise.
    worth = 1 / (1 - gamma) if ends_by_time else 1 / (1 - gamma * 24 / 25)
    assert -3.0 + shift == pytest.approx(worth, rel=0.01 if ends_by_time else 0.05)
    if ends_by_time:
        np.testing.assert_allclose(centred(model, shift).advantages, 0, atol=1e-3)


def test_level_that_may_be_chance_is_left_alone():
    """Rewards are noise of mean 0: most levels are not shifted, and none by much."""
    shifts = []
    for seed in range(12):
        model = collected(seed=seed)
        with th.no_grad():
            model.policy.value_net.weight.zero_()
        model.env._rewards[:] = np.random.default_rng(seed).normal(size=model.env._rewards.shape)
        model.env.t = 0
        collect(model)
        shifts.append(value_shift(model))
    assert sum(shift == 0 for shift in shifts) >= 6
    # A level's standard error is that of a mean of 120 rewards, over the mean fall.
    assert np.abs(shifts).max() < 3 / np.sqrt(120) / 0.1


def test_update_shifts_values_and_logs_by_how_much():
    env = make_vec_env(Corridor, 4)
    model = collected(env, n_steps=100, learning_rate=1e-12)  # the fit itself moves nothing
    observations = th.as_tensor(env.reset())
    before = model.policy.predict_values(observations).detach()
    shift = value_shift(model)
    model.train()
    assert shift > 50
    assert model.logger.name_to_value["train/value_shift"] == shift
    after = model.policy.predict_values(observations).detach()
    th.testing.assert_close(after - before, th.full_like(before, shift), rtol=1e-5, atol=1e-4)
    model.center_td_errors = False
    collect(model)
    model.logger.name_to_value.clear()
    model.train()
    assert "train/value_shift" not in model.logger.name_to_value
    th.testing.assert_close(model.policy.predict_values(observations), after, rtol=0, atol=1e-4)


def test_critic_of_a_reward_forever_is_right_after_one_update():
    """Without the shift, ten updates get it a tenth of the way at best."""
    levels = {}
    for centers in (True, False):
        model = TRPO(
            "MlpPolicy",
            make_vec_env(Corridor, 4),
            n_steps=128,
            gamma=0.999,
            center_td_errors=centers,
            seed=0,
            device="cpu",
        ).learn(10 * 512)
        observations = th.as_tensor(model.env.reset())
        levels[centers] = model.policy.predict_values(observations).mean().item()
    assert levels[True] == pytest.approx(1000, rel=0.01)
    assert levels[False] < 200


def test_nothing_is_shifted_where_the_update_fails(monkeypatch):
    model = collected(make_vec_env(Corridor, 4), n_steps=100)
    before = copy.deepcopy(model.policy.state_dict())

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("sb3_trpo.trpo.critic_step", fail)
    with pytest.raises(KeyboardInterrupt):
        model.train()
    after = model.policy.state_dict()
    assert all(th.equal(after[key], value) for key, value in before.items())


class OwnBuffer(RolloutBuffer): ...


def no_bias(model):
    model.policy.value_net = th.nn.Linear(64, 1, bias=False)


def frozen(model):
    model.policy.value_net.bias.requires_grad_(False)


def other_rollout(model):
    model.rollout_buffer.advantages = model.rollout_buffer.advantages.copy()


def rewards_of_nan(model):
    model.rollout_buffer.advantages[:] = np.nan


@pytest.mark.parametrize("change", [no_bias, frozen, other_rollout, rewards_of_nan])
def test_what_cannot_be_shifted_stays(change):
    model = collected(make_vec_env(Corridor, 4), n_steps=100)
    assert value_shift(model) > 50
    change(model)
    assert value_shift(model) == 0
    assert centred(model, 0.0) is model.rollout_buffer


@pytest.mark.parametrize(
    "options",
    [{"rollout_buffer_class": OwnBuffer}, {"policy": BetaPolicy}, {"n_critic_updates": 0}],
)
def test_own_classes_and_no_fit_mean_no_shift(options):
    env = DummyVecEnv([Corridor] * 2)
    model = collected(env, n_steps=100, **options)
    before = {k: v.clone() for k, v in model.policy.named_parameters() if k == "value_net.bias"}
    model.learning_rate = model.lr_schedule = lambda _: 1e-12
    model.train()
    for key, value in before.items():
        th.testing.assert_close(model.policy.get_parameter(key), value, rtol=0, atol=1e-6)


def test_no_discount_and_no_end_leave_every_level_as_good():
    model = collected(make_vec_env(Corridor, 2), n_steps=20, gamma=1.0)
    assert value_shift(model) == 0
