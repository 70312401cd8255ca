"""Correlated noise of actions: its law, the rollouts that it makes, and who may have it."""

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.utils import LinearSchedule

from sb3_trpo import TRPO, RecurrentTRPO
from sb3_trpo.correlated_noise import CorrelatedNoise
from sb3_trpo.rollouts import collects_fast
from tests.policies_under_test import BetaPolicy
from tests.test_rollouts import N_ENVS, Replay
from tests.test_spaces import ACTIONS, OBSERVATIONS

N_STEPS = 4000
BOX = spaces.Box(-100, 100, (2,), np.float32)  # nothing is clipped


def correlations(noise, lag):
    """Of each column of (T, n) with every column some timesteps later."""
    before, after = noise[: len(noise) - lag], noise[lag:]
    return np.corrcoef(before, after, rowvar=False)[: noise.shape[1], noise.shape[1] :]


# --- the law --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("lag", [1, 2, 5])
def test_noise_is_standard_normal_and_its_correlation_falls_geometrically(rho, lag):
    th.manual_seed(0)
    noise, like = CorrelatedNoise(rho), th.zeros(4, 2)
    drawn = np.stack([noise(like).flatten().numpy() for _ in range(40_000)])
    # Four standard errors of means over as many independent timesteps as there are in effect.
    n_effective = len(drawn) * (1 - rho) / (1 + rho)
    tolerance = 4 / np.sqrt(n_effective)
    assert np.abs(drawn.mean(axis=0)).max() < tolerance
    assert np.abs((drawn**2).mean(axis=0) - 1).max() < np.sqrt(2) * tolerance
    expected = rho**lag * np.eye(drawn.shape[1])  # environments and dimensions are independent
    assert np.abs(correlations(drawn, lag) - expected).max() < tolerance


def test_each_timestep_follows_from_the_last_by_the_formula():
    like = th.zeros(3, 2, dtype=th.float64)
    th.manual_seed(1)
    noise = CorrelatedNoise(0.8)
    drawn = [noise(like) for _ in range(4)]
    th.manual_seed(1)
    fresh = [th.randn_like(like) for _ in range(4)]
    expected = fresh[0]
    for t in range(4):
        if t > 0:
            expected = 0.8 * expected + 0.6 * fresh[t]
        th.testing.assert_close(drawn[t], expected, rtol=1e-12, atol=1e-12)
    assert len({id(one) for one in drawn}) == 4  # none is overwritten by the next


# --- rollouts -------------------------------------------------------------------------------------


class OwnForward(ActorCriticPolicy):
    """A policy that SB3's loop collects with."""

    def forward(self, obs, deterministic=False):
        return super().forward(obs, deterministic)


class Predictor(BaseCallback):
    """Asks the policy for random actions of its own, on one environment's observation."""

    def _on_step(self):
        self.model.predict(self.locals["new_obs"][0], deterministic=False)
        return True


class Endless(Replay):
    """Longer than its stored sequence."""

    def step_wait(self):
        self.t %= 50
        return super().step_wait()


def collected(policy, callback=None, model_class=TRPO, action_space=BOX, n_steps=N_STEPS, **kwargs):
    env = Endless(OBSERVATIONS["vector"], action_space)
    model = model_class(policy, env, n_steps=n_steps, seed=1, device="cpu", **kwargs)
    model.set_logger(configure(None, []))
    _, callback = model._setup_learn(n_steps * N_ENVS, callback)
    callback.on_training_start(locals(), globals())
    assert model.collect_rollouts(model.env, callback, model.rollout_buffer, n_steps)
    return model


@th.no_grad()
def noise_in(model):
    """(T, E, A) differences of the rollout's actions from their means, in standard deviations."""
    buffer = model.rollout_buffer
    observations = th.as_tensor(buffer.observations).flatten(0, 1)
    gaussian = model.policy.get_distribution(observations).distribution
    actions = th.as_tensor(buffer.actions).flatten(0, 1)
    return ((actions - gaussian.loc) / gaussian.scale).reshape(buffer.actions.shape).numpy()


@pytest.mark.parametrize("policy", ["MlpPolicy", OwnForward])
@pytest.mark.parametrize("rho", [0.0, 0.8])
def test_actions_deviate_from_their_means_by_correlated_noise(policy, rho):
    model = collected(policy, noise_correlation=rho)
    assert collects_fast(model, model.rollout_buffer) == (policy == "MlpPolicy")
    noise = noise_in(model).reshape(N_STEPS, -1)
    assert np.abs(correlations(noise, 1) - rho * np.eye(noise.shape[1])).max() < 0.1
    assert noise.std(axis=0) == pytest.approx(1, abs=0.1)


@th.no_grad()
@pytest.mark.parametrize("policy", ["MlpPolicy", OwnForward])
def test_stored_probabilities_are_those_of_each_action_by_itself(policy):
    buffer = (model := collected(policy, n_steps=50, noise_correlation=0.8)).rollout_buffer
    rows = (th.as_tensor(x).flatten(0, 1) for x in (buffer.observations, buffer.actions))
    _, log_prob, _ = model.policy.evaluate_actions(*rows)
    np.testing.assert_allclose(buffer.log_probs.flatten(), log_prob, rtol=1e-5, atol=1e-5)


def test_what_a_callback_predicts_leaves_the_noise_correlated():
    model = collected(OwnForward, Predictor(), noise_correlation=0.8)
    noise = noise_in(model).reshape(N_STEPS, -1)
    assert np.diag(correlations(noise, 1)) == pytest.approx(0.8, abs=0.1)


def test_predictions_outside_of_rollouts_are_independent():
    model = collected(OwnForward, n_steps=50, noise_correlation=0.8)
    observation = model._last_obs
    drawn = np.stack([model.predict(observation)[0].flatten() for _ in range(1000)])
    assert np.abs(correlations(drawn, 1)).max() < 0.15


class Fails(BaseCallback):
    def _on_step(self):
        raise KeyboardInterrupt


def test_a_rollout_that_is_broken_off_leaves_the_distribution_as_it_was():
    model = TRPO(OwnForward, Replay(OBSERVATIONS["vector"], BOX), n_steps=8, noise_correlation=0.8)
    before = set(vars(model.policy.action_dist))
    with pytest.raises(KeyboardInterrupt):
        model.learn(100, Fails())
    assert set(vars(model.policy.action_dist)) - before == {"distribution"}  # SB3's, of the batch


@pytest.mark.parametrize("policy", ["MlpPolicy", OwnForward])
def test_a_schedule_gives_the_correlation_of_each_rollout(policy):
    env = Endless(OBSERVATIONS["vector"], BOX)
    schedule = LinearSchedule(0.8, 0.0, 1.0)
    model = TRPO(policy, env, n_steps=N_STEPS // 2, noise_correlation=schedule, seed=1)
    found, logged = [], []

    def note(locals_, _):
        if locals_["n_steps"] == N_STEPS // 2 - 1:
            noise = noise_in(model).reshape(N_STEPS // 2, -1)[:-1]  # the last is not stored yet
            found.append(np.diag(correlations(noise, 1)).mean())
            logged.append(model.logger.name_to_value["rollout/noise_correlation"])
        return True

    model.set_logger(configure(None, []))
    model.learn(2 * N_STEPS * N_ENVS, note)
    expected = [0.8, 0.6, 0.4, 0.2]
    assert logged == pytest.approx(expected)
    assert found == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize("value", [1.0, -0.1, np.nan, None])
def test_a_schedule_of_what_is_no_correlation_is_refused(value):
    env = Endless(OBSERVATIONS["vector"], BOX)
    model = TRPO("MlpPolicy", env, n_steps=8, noise_correlation=lambda _: value)
    allowed = r"must be a schedule of numbers in \[0, 1\)"
    with pytest.raises(ValueError, match=f"noise_correlation {allowed}, got {value}"):
        model.learn(100)
    assert model.num_timesteps == 0


# --- who may have it ------------------------------------------------------------------------------

REFUSED = {
    "categories": ("MlpPolicy", spaces.Discrete(3), {}, "CategoricalDistribution"),
    "gsde": ("MlpPolicy", BOX, {"use_sde": True}, "StateDependentNoiseDistribution"),
    "beta": (BetaPolicy, ACTIONS["vector"], {}, "BetaDistribution"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_distributions_without_gaussian_noise_are_refused(case):
    policy, action_space, kwargs, name = REFUSED[case]
    message = f"noise_correlation must be 0 with a {name} .*, got 0.5"
    env = Replay(OBSERVATIONS["vector"], action_space)
    with pytest.raises(ValueError, match=message):
        TRPO(policy, env, noise_correlation=0.5, **kwargs)
    model = TRPO(policy, env, n_steps=8, **kwargs)
    model.noise_correlation = 0.5
    with pytest.raises(ValueError, match=message):
        model.learn(100)


@pytest.mark.parametrize("model_class", [TRPO, RecurrentTRPO])
def test_a_saved_model_keeps_its_noise(model_class, tmp_path):
    policy = "MlpLstmPolicy" if model_class is RecurrentTRPO else "MlpPolicy"
    for correlation in (0.8, LinearSchedule(0.8, 0.0, 1.0)):
        model = collected(policy, None, model_class, n_steps=20, noise_correlation=correlation)
        model.save(tmp_path / "model.zip")
        for trusted in (True, False):
            loaded = model_class.load(tmp_path / "model.zip", trusted=trusted)
            assert loaded._current("noise_correlation") == 0.8
