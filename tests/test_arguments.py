"""Bad input whose fault lies in several arguments, or shows later; see test_bad_arguments.py."""

import inspect
import math
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
import sb3_contrib
import torch as th
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_trpo import TRPO


def test_numpys_numbers_and_bools_are_accepted():
    model = TRPO(
        "MlpPolicy",
        "CartPole-v1",
        n_steps=np.int64(32),
        batch_size=np.int32(16),
        target_kl=np.float32(0.02),
        ent_coef=np.float64(0.01),
        normalize_advantage=np.bool_(True),
        verbose=False,
    ).learn(32)
    assert model.logger.name_to_value["train/target_kl"] == pytest.approx(0.02)


def test_argument_changed_after_construction_is_checked_before_learning():
    model = TRPO("MlpPolicy", "CartPole-v1", n_steps=32, batch_size=32)
    model.sub_sampling_factor = 1000
    with pytest.raises(ValueError, match=r"sub_sampling_factor .* 1000"):
        model.learn(32)
    assert model.num_timesteps == 0


def test_target_kl_set_by_a_callback_holds_from_the_next_update_on():
    model = TRPO("MlpPolicy", "CartPole-v1", n_steps=32, batch_size=32)

    def tighten(locals_, _):
        locals_["self"].target_kl = 0.001
        return True

    model.learn(32, callback=tighten)
    assert model.logger.name_to_value["train/target_kl"] == 0.001


def test_signature_is_contribs_with_ours_keyword_only_after_it():
    theirs = inspect.signature(sb3_contrib.TRPO).parameters
    ours = inspect.signature(TRPO).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    assert all(ours[name].default == theirs[name].default for name in theirs)
    added = list(ours)[len(theirs) :]
    assert all(ours[name].kind is inspect.Parameter.KEYWORD_ONLY for name in added)


def test_unknown_policy_alias_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"MlpPolicy.*'LstmPolicy'"):
        TRPO("LstmPolicy", "CartPole-v1")


class OfSpaces(gym.Env):
    def __init__(self, observation_space, action_space):
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed=None, options=None):
        return self.observation_space.sample(), {}


VECTOR = spaces.Box(-1, 1, (2,), np.float32)


@pytest.mark.parametrize(
    "action_space",
    [
        spaces.Tuple([spaces.Discrete(2)]),
        spaces.MultiBinary([2, 3]),
        spaces.Box(-np.inf, np.inf, (2,), np.float32),
    ],
)
def test_unsupported_action_space_is_refused(action_space):
    with pytest.raises(ValueError, match=r"[Aa]ction"):
        TRPO("MlpPolicy", OfSpaces(VECTOR, action_space))


@pytest.mark.parametrize(
    ("policy", "observation_space"),
    [
        ("MlpPolicy", spaces.Tuple([VECTOR])),
        ("CnnPolicy", VECTOR),
        ("CnnPolicy", spaces.Box(0, 1, (36, 36, 1), np.float32)),  # not said to be normalised
        ("MultiInputPolicy", VECTOR),
        ("MultiInputPolicy", spaces.Dict(a=spaces.Dict(b=VECTOR))),
    ],
)
def test_unsupported_observation_space_is_refused(policy, observation_space):
    with pytest.raises(ValueError, match=r"[Oo]bservation.space"):
        TRPO(policy, OfSpaces(observation_space, spaces.Discrete(2)))


def test_normalised_images_are_accepted_when_said_to_be():
    env = OfSpaces(spaces.Box(0, 1, (1, 36, 36), np.float32), spaces.Discrete(2))
    model = TRPO(
        "CnnPolicy", env, n_steps=16, batch_size=16, policy_kwargs={"normalize_images": False}
    )
    assert model.policy.normalize_images is False


def test_mlp_policy_on_dict_observations_is_refused():
    with pytest.raises(ValueError, match="MultiInputPolicy"):
        TRPO("MlpPolicy", OfSpaces(spaces.Dict(a=VECTOR), spaces.Discrete(2)))


def test_single_sample_cannot_be_normalised():
    with pytest.raises(ValueError, match="n_steps"):
        TRPO("MlpPolicy", "CartPole-v1", n_steps=1, batch_size=1)


def test_batch_size_that_does_not_divide_warns():
    with pytest.warns(UserWarning, match="batch_size=48"):
        TRPO("MlpPolicy", "CartPole-v1", n_steps=64, batch_size=48)


@pytest.mark.parametrize("wrap", [lambda cls: cls, lambda cls: partial(cls, lr=0.1)])
def test_optimizer_with_a_closure_is_refused(wrap):
    with pytest.raises(ValueError, match="LBFGS"):
        TRPO("MlpPolicy", "CartPole-v1", policy_kwargs={"optimizer_class": wrap(OneGroupLBFGS)})


class OneGroupLBFGS(th.optim.LBFGS):
    """Takes the learning rate as SB3 passes it."""


def test_optimizer_may_come_from_a_function():
    kwargs = {"optimizer_class": lambda parameters, lr: th.optim.RMSprop(parameters, lr=lr)}
    model = TRPO("MlpPolicy", "CartPole-v1", n_steps=32, batch_size=32, policy_kwargs=kwargs)
    model.learn(32)
    assert model._n_updates == 1


def after_the_first(value, bad):
    """A schedule that goes wrong when training has begun."""
    return lambda progress: value if progress == 1 else bad


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["target_kl", "learning_rate"])
def test_schedule_that_returns_no_number_is_named(name, bad):
    schedule = {name: after_the_first(0.01, bad)}
    model = TRPO("MlpPolicy", "CartPole-v1", n_steps=32, batch_size=32, **schedule)
    before = model.policy.state_dict()["action_net.weight"].clone()
    with pytest.raises(ValueError, match=f"{name} must be a schedule of finite numbers"):
        model.learn(32)
    assert th.equal(model.policy.action_net.weight, before)


class Poisoned(gym.Env):
    """Returns NaN in one observation: at reset, at a step, or at the end of an episode."""

    def __init__(self, at, as_dict=False):
        box = spaces.Box(-1, 1, (2,), np.float32)
        self.as_dict, self.at = as_dict, at
        self.observation_space = spaces.Dict(x=box) if as_dict else box
        self.action_space = spaces.Discrete(2)

    def _observe(self, bad):
        x = np.full(2, np.nan if bad else 0.5, np.float32)
        return {"x": x} if self.as_dict else x

    def reset(self, *, seed=None, options=None):
        self.t = 0
        return self._observe(self.at == "reset"), {}

    def step(self, action):
        self.t += 1
        done = self.t == 10
        bad = (self.at == "step" and self.t == 7) or (self.at == "terminal" and done)
        return self._observe(bad), 0.0, False, done, {}


@pytest.mark.parametrize("as_dict", [False, True])
@pytest.mark.parametrize(("at", "step"), [("reset", 0), ("step", 7), ("terminal", 10)])
def test_non_finite_observation_names_environment_and_step(at, step, as_dict):
    policy = "MultiInputPolicy" if as_dict else "MlpPolicy"
    model = TRPO(policy, Poisoned(at, as_dict), n_steps=32, batch_size=32)
    before = [p.clone() for p in model.policy.parameters()]
    with pytest.raises(ValueError, match=rf"Environment 0 .* timestep {step}\b"):
        model.learn(64)
    assert all(th.equal(p, q) for p, q in zip(before, model.policy.parameters(), strict=True))


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize(("at", "step"), [("reset", 0), ("step", 14), ("terminal", 20)])
def test_non_finite_observation_of_the_second_environment_names_it(at, step, normalise):
    env = DummyVecEnv([lambda: Poisoned("never"), lambda: Poisoned(at)])
    if normalise:  # whose statistics make the first environment's observation NaN as well
        env = VecNormalize(env)
    model = TRPO("MlpPolicy", env, n_steps=32, batch_size=32)
    with pytest.raises(ValueError, match=rf"Environment 1 .* timestep {step}\b"):
        model.learn(64)


def test_infinite_observation_in_a_later_rollout_leaves_the_last_update():
    model = TRPO("MlpPolicy", Poisoned("step"), n_steps=6, batch_size=6, n_critic_updates=1)
    with pytest.raises(ValueError, match=r"Environment 0 .* timestep 7\b"):
        model.learn(64)
    assert model._n_updates == 1
    assert all(th.isfinite(p).all() for p in model.policy.parameters())
