"""Every space that SB3's on-policy algorithms take: an update of the right shape on each."""

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_trpo import TRPO

VECTOR = spaces.Box(-1, 1, (4,), np.float32)
QUICK = {"n_steps": 48, "batch_size": 32, "n_critic_updates": 1, "device": "cpu", "seed": 0}

OBSERVATIONS = {
    "vector": VECTOR,
    "matrix": spaces.Box(-1, 1, (2, 3), np.float32),
    "double": spaces.Box(-1, 1, (4,), np.float64),
    "bytes": spaces.Box(0, 255, (3,), np.uint8),
    "integers": spaces.Box(-5, 5, (3,), np.int64),
    "unbounded": spaces.Box(-np.inf, np.inf, (3,), np.float32),
    "discrete": spaces.Discrete(5),
    "multi discrete": spaces.MultiDiscrete([3, 2]),
    "multi binary": spaces.MultiBinary(4),
    "binary matrix": spaces.MultiBinary([2, 3]),
    "dict": spaces.Dict(
        vector=VECTOR, choice=spaces.Discrete(3), image=spaces.Box(0, 255, (36, 36, 1), np.uint8)
    ),
}
ACTIONS = {
    "vector": spaces.Box(-1, 1, (2,), np.float32),
    "matrix": spaces.Box(-1, 1, (2, 2), np.float32),
    "asymmetric": spaces.Box(np.array([0, -3], np.float32), np.array([5, -1], np.float32)),
    "double": spaces.Box(-1, 1, (1,), np.float64),
    "discrete": spaces.Discrete(3),
    "multi discrete": spaces.MultiDiscrete([3, 2, 4]),
    "one multi discrete": spaces.MultiDiscrete([3]),
    "multi binary": spaces.MultiBinary(3),
    "one binary": spaces.MultiBinary(1),
}


class Strict(gym.Env):
    """Refuses actions outside its space; pays for large ones."""

    def __init__(self, observation_space, action_space):
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        if not self.action_space.contains(action):
            raise ValueError(f"{action!r} is not in {self.action_space}")
        self.t += 1
        reward = float(np.sum(np.asarray(action, dtype=np.float64)))
        return self.observation_space.sample(), reward, self.t >= 9, False, {}


def learn(observation_space, action_space, n_envs=1, **kwargs):
    policy = "MultiInputPolicy" if isinstance(observation_space, spaces.Dict) else "MlpPolicy"
    env = DummyVecEnv([lambda: Strict(observation_space, action_space)] * n_envs)
    model = TRPO(policy, env, **{**QUICK, "batch_size": 16 * n_envs, **kwargs})
    before = {n: p.detach().clone() for n, p in model.policy.named_parameters()}
    model.learn(2 * 48 * n_envs)
    assert model._n_updates == 2
    log = model.logger.name_to_value
    assert log["train/is_line_search_success"] == 1
    assert 0.3 < log["train/kl_utilization"] <= 1
    now = dict(model.policy.named_parameters())
    assert not th.equal(now["action_net.weight"], before["action_net.weight"])
    assert not th.equal(now["value_net.weight"], before["value_net.weight"])
    return model


@pytest.mark.parametrize("n_envs", [1, 3])
@pytest.mark.parametrize("name", OBSERVATIONS)
def test_observation_space_is_learnt_from(name, n_envs):
    model = learn(OBSERVATIONS[name], spaces.Discrete(2), n_envs)
    action, _ = model.predict(OBSERVATIONS[name].sample())
    assert action in (0, 1)


@pytest.mark.parametrize("n_envs", [1, 3])
@pytest.mark.parametrize("name", ACTIONS)
def test_action_space_is_learnt_in(name, n_envs):
    model = learn(VECTOR, ACTIONS[name], n_envs)
    action, _ = model.predict(VECTOR.sample())
    assert ACTIONS[name].contains(action)


@pytest.mark.parametrize("squash", [False, True])
@pytest.mark.parametrize("name", ["vector", "matrix", "asymmetric"])
def test_gsde_learns_in_box(name, squash):
    model = learn(
        VECTOR,
        ACTIONS[name],
        use_sde=True,
        sde_sample_freq=4,
        policy_kwargs={"squash_output": squash},
    )
    action, _ = model.predict(VECTOR.sample())
    assert ACTIONS[name].contains(action)


@pytest.mark.parametrize("name", ["vector", "multi binary", "multi discrete"])
def test_chunks_see_the_rows_of_their_own_environments(name):
    """Several environments and chunks that cut across them do not change the update."""
    results = []
    for size in (None, 7):
        model = learn(VECTOR, ACTIONS[name], 3, actor_batch_size=size, n_critic_updates=1)
        results.append(th.cat([p.detach().reshape(-1) for p in model.policy.parameters()]))
    assert th.allclose(*results, atol=1e-4)
