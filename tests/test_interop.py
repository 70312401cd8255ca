"""Zip files, both ways."""

import base64
import io
import json
import warnings
import zipfile

import gymnasium as gym
import numpy as np
import pytest
import sb3_contrib
import torch as th
from gymnasium import spaces
from stable_baselines3 import A2C, DQN, PPO

from sb3_trpo import TRPO

BOX = spaces.Box(-1, 1, (3,), np.float32)
VECTOR = spaces.Box(-1, 1, (4,), np.float32)
IMAGE = spaces.Box(0, 255, (36, 36, 1), np.uint8)
DICT = spaces.Dict(a=VECTOR, b=spaces.Discrete(3))

CASES = {
    "box": (VECTOR, BOX, "MlpPolicy", {}),
    "gsde": (VECTOR, BOX, "MlpPolicy", {"use_sde": True}),
    "discrete": (VECTOR, spaces.Discrete(4), "MlpPolicy", {}),
    "multi_discrete": (VECTOR, spaces.MultiDiscrete([3, 2]), "MlpPolicy", {}),
    "multi_binary": (VECTOR, spaces.MultiBinary(3), "MlpPolicy", {}),
    "dict": (DICT, BOX, "MultiInputPolicy", {}),
    "image": (IMAGE, spaces.Discrete(2), "CnnPolicy", {}),
}


class Anything(gym.Env):
    """Random observations of any space, random rewards."""

    def __init__(self, observation_space, action_space):
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.t += 1
        reward = float(self.np_random.normal())
        return self.observation_space.sample(), reward, False, self.t >= 8, {}


def make(cls, case, **changes):
    observation_space, action_space, policy, kwargs = CASES[case]
    env = Anything(observation_space, action_space)
    options = {"n_steps": 32, "batch_size": 16, "n_critic_updates": 2, "seed": 0, "device": "cpu"}
    return cls(policy, env, **{**options, **kwargs, **changes}), env


def observe(model, n=6):
    model.observation_space.seed(3)
    samples = [model.observation_space.sample() for _ in range(n)]
    if isinstance(samples[0], dict):
        return {key: np.stack([s[key] for s in samples]) for key in samples[0]}
    return np.stack(samples)


def same_actions(left, right):
    observations = observe(left)
    a, _ = left.predict(observations, deterministic=True)
    b, _ = right.predict(observations, deterministic=True)
    return np.array_equal(a, b)


def quietly(function, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **kwargs)


@pytest.mark.parametrize("case", CASES)
def test_contrib_file_predicts_the_same_and_learns_on(case, tmp_path):
    theirs, env = make(sb3_contrib.TRPO, case)
    theirs.learn(32)
    theirs.save(tmp_path / "model")
    ours = quietly(TRPO.load, tmp_path / "model", env, device="cpu")
    assert same_actions(theirs, ours)
    critic = {n: p.detach().clone() for n, p in ours.policy.named_parameters() if "value" in n}
    quietly(ours.learn, 32)
    now = dict(ours.policy.named_parameters())
    assert len(critic) >= 2
    assert all(not th.equal(now[n], p) for n, p in critic.items())
    assert ours.max_grad_norm == 0  # unused there; not a clipping norm here


@pytest.mark.parametrize("case", CASES)
def test_our_file_predicts_the_same_in_contrib_and_is_no_larger(case, tmp_path):
    ours, env = make(TRPO, case)
    ours.learn(32)
    ours.save(tmp_path / "ours")
    theirs = sb3_contrib.TRPO.load(tmp_path / "ours", env, device="cpu")
    assert same_actions(ours, theirs)
    again = TRPO.load(tmp_path / "ours", env, device="cpu")
    assert same_actions(ours, again)
    again.learn(32)

    share = {"policy_kwargs": ours.policy_kwargs}
    reference, _ = make(sb3_contrib.TRPO, case, **share)
    reference.learn(32)
    reference.save(tmp_path / "theirs")
    sizes = [(tmp_path / f"{name}.zip").stat().st_size for name in ("ours", "theirs")]
    assert sizes[0] < 1.2 * sizes[1]


@pytest.mark.parametrize("case", CASES)
def test_no_attribute_in_the_file_is_of_a_class_of_ours(case, tmp_path):
    model, _ = make(TRPO, case)
    model.learn(32).save(tmp_path / "model")
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        data = json.loads(archive.read("data"))
    pickled = {
        k: v[":serialized:"] for k, v in data.items() if isinstance(v, dict) and ":serialized:" in v
    }
    assert len(pickled) > 3
    for name, text in pickled.items():
        assert b"sb3_trpo" not in base64.b64decode(text), name


@pytest.mark.parametrize("case", CASES)
def test_units_of_a_contrib_file_are_named_once_where_they_differ(case, tmp_path):
    theirs, env = make(sb3_contrib.TRPO, case, target_kl=0.02, cg_damping=0.3)
    theirs.save(tmp_path / "model")

    def messages(**kwargs):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = TRPO.load(tmp_path / "model", env, device="cpu", **kwargs)
        return model, [str(w.message) for w in caught if "per action dimension" in str(w.message)]

    model, said = messages()
    assert (model.target_kl, model.cg_damping) == (0.02, 0.3)
    if case in ("box", "gsde", "multi_binary", "dict"):
        assert len(said) == 1
        assert "target_kl=0.06" in said[0]
        assert "cg_damping=0.9" in said[0]
    else:
        assert said == []
    assert messages(target_kl=0.06, cg_damping=0.9)[1] == []
    model, still = messages(target_kl=0.5)  # the figures named are the file's
    assert model.target_kl == 0.5
    assert still == said
    model.save(tmp_path / "ours")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        if case not in ("image", "dict"):  # these two share an extractor, and that is said
            TRPO.load(tmp_path / "ours", env, device="cpu")


@pytest.mark.parametrize("action_space", [spaces.Box(-1, 1, (1,)), spaces.MultiBinary(1)])
def test_units_are_the_same_for_one_action_dimension(action_space, tmp_path):
    env = Anything(VECTOR, action_space)
    theirs = sb3_contrib.TRPO("MlpPolicy", env, n_steps=32, batch_size=16, device="cpu")
    theirs.save(tmp_path / "model")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        ours = TRPO.load(tmp_path / "model", env, device="cpu")
    assert (ours.target_kl, ours.cg_damping) == (theirs.target_kl, theirs.cg_damping)


@pytest.mark.parametrize("case", ["box", "gsde", "multi_binary"])
def test_our_file_keeps_its_units_on_a_trip_through_contrib(case, tmp_path):
    ours, env = make(TRPO, case, target_kl=0.04, match_kl=False)
    ours.save(tmp_path / "ours")
    sb3_contrib.TRPO.load(tmp_path / "ours", env, device="cpu").learn(32).save(tmp_path / "theirs")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        again = TRPO.load(tmp_path / "theirs", env, device="cpu")
    assert (again.target_kl, again.match_kl) == (0.04, False)
    again.learn(32)


@pytest.mark.parametrize("case", CASES)
def test_loaded_policies_sample_the_same_actions_and_values(case, tmp_path):
    theirs, env = make(sb3_contrib.TRPO, case)
    theirs.learn(32).save(tmp_path / "model")
    ours = quietly(TRPO.load, tmp_path / "model", env, device="cpu")
    observations, _ = theirs.policy.obs_to_tensor(observe(theirs))
    results = []
    for model in (theirs, ours):
        th.manual_seed(7)
        if model.use_sde:
            model.policy.reset_noise()
        model.policy.set_training_mode(False)
        with th.no_grad():
            results.append(model.policy(observations))
    assert all(th.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize(
    ("cls", "looks_like"),
    [(PPO, "PPO"), (A2C, "on-policy"), (DQN, "off-policy")],
)
def test_files_of_other_algorithms_are_refused_before_anything_is_built(cls, looks_like, tmp_path):
    cls("MlpPolicy", "CartPole-v1").save(tmp_path / "model")
    with pytest.raises(ValueError, match=looks_like):
        TRPO.load(tmp_path / "model", custom_objects={"policy_class": 1 / 3})


def test_parameters_of_a_ppo_file_start_a_trpo(tmp_path):
    ppo = PPO("MlpPolicy", "CartPole-v1", n_steps=64, seed=0, device="cpu").learn(64)
    ppo.save(tmp_path / "ppo")
    model = TRPO("MlpPolicy", "CartPole-v1", n_steps=128, seed=1, device="cpu")
    model.set_parameters(tmp_path / "ppo", device="cpu")
    assert same_actions(ppo, model)
    model.learn(128)
    assert model._n_updates == 1


def test_parameters_that_do_not_fit_change_nothing_and_say_what_to_do(tmp_path):
    env = make(TRPO, "image")[1]
    PPO("CnnPolicy", env, n_steps=32, batch_size=16, device="cpu").save(tmp_path / "ppo")
    model, _ = make(TRPO, "image")
    before = [p.clone() for p in model.policy.parameters()]
    for exact_match in (True, False):
        with pytest.raises((ValueError, RuntimeError), match="share_features_extractor=True"):
            model.set_parameters(tmp_path / "ppo", exact_match=exact_match, device="cpu")
        assert all(th.equal(p, q) for p, q in zip(before, model.policy.parameters(), strict=True))
    shared = {"policy_kwargs": {"share_features_extractor": True}}
    model, _ = quietly(make, TRPO, "image", **shared)
    model.set_parameters(tmp_path / "ppo", device="cpu")
    model.learn(32)
    assert model._n_updates == 1


@pytest.mark.parametrize("given", [{}, {"share_features_extractor": False}])
def test_policy_kwargs_given_again_at_load_are_compared_with_the_default(given, tmp_path):
    model, env = make(TRPO, "image")
    model.save(tmp_path / "model")
    TRPO.load(tmp_path / "model", env, device="cpu", policy_kwargs=given)
    with pytest.raises(ValueError, match="policy kwargs"):
        TRPO.load(tmp_path / "model", env, device="cpu", policy_kwargs={"net_arch": [3]})


def test_bad_value_at_load_is_refused(tmp_path):
    model, _ = make(TRPO, "box")
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"batch_size .* -1"):
        TRPO.load(tmp_path / "model", batch_size=-1)


def test_batch_size_that_does_not_divide_warns_at_load_too(tmp_path):
    model, env = make(TRPO, "box")
    model.save(tmp_path / "model")
    with pytest.warns(UserWarning, match="batch_size=12 does not divide the 32 samples"):
        TRPO.load(tmp_path / "model", env, device="cpu", batch_size=12)


def test_open_files_work():
    model, _ = make(TRPO, "box")
    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    assert same_actions(model, TRPO.load(file, device="cpu"))
    file.seek(0)
    assert same_actions(model, TRPO.load(file, device="cpu", policy_kwargs={}))
    ppo = io.BytesIO()
    PPO("MlpPolicy", "CartPole-v1", device="cpu").save(ppo)
    ppo.seek(0)
    with pytest.raises(ValueError, match="PPO"):
        TRPO.load(ppo)


def test_broken_file_is_named(tmp_path):
    path = tmp_path / "broken.zip"
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"broken\.zip"):
        TRPO.load(path)
