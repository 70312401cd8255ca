"""EnvPool as a vectorised environment of SB3's."""

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from sb3_trpo import TRPO
from sb3_trpo.envs import EnvPoolVecEnv

envpool = pytest.importorskip("envpool", reason="EnvPool has no wheel here")


def pool(task="CartPole-v1", num_envs=3, **kwargs):
    return EnvPoolVecEnv(task, num_envs, num_threads=1, **kwargs)


def random_actions(env, rng):
    space = env.action_space
    if isinstance(space, gym.spaces.Discrete):
        return rng.integers(space.n, size=env.num_envs)
    return rng.uniform(space.low, space.high, (env.num_envs, *space.shape)).astype(space.dtype)


def played(env, n_steps, seed=0):
    rng, rows = np.random.default_rng(seed), []
    env.reset()
    for _ in range(n_steps):
        rows.append(env.step(random_actions(env, rng)))
    return rows


@pytest.mark.parametrize("task", ["CartPole-v1", "HalfCheetah-v5", "Pendulum-v1"])
def test_spaces_and_shapes_are_those_of_gymnasiums_task(task):
    ours, theirs = pool(task), DummyVecEnv([lambda: gym.make(task)] * 3)
    assert isinstance(ours, VecEnv)
    assert ours.action_space == theirs.action_space
    assert ours.observation_space.shape == theirs.observation_space.shape
    rng = np.random.default_rng(0)
    actions = random_actions(ours, rng)
    first, expected = ours.reset(), theirs.reset()
    assert first.shape == expected.shape
    for left, right in zip(ours.step(actions)[:3], theirs.step(actions)[:3], strict=True):
        assert (left.shape, left.dtype) == (right.shape, right.dtype)


def test_ends_come_with_the_last_observation_and_a_fresh_one_in_the_same_step():
    env = pool("HalfCheetah-v5", env_kwargs={"max_episode_steps": 4})
    rows = played(env, 9)
    for t, (_, _, dones, infos) in enumerate(rows, start=1):
        assert dones.all() == (t % 4 == 0)
        assert all(("terminal_observation" in info) == (t % 4 == 0) for info in infos)
    observations, _, _, infos = rows[3]
    for observation, info in zip(observations, infos, strict=True):
        assert info["TimeLimit.truncated"] is True
        assert info["episode"]["l"] == 4
        # the torso starts at x = 0 and within 0.1 of its rest, at rest but for noise of 0.1
        assert np.abs(observation[:8]).max() <= 0.1 + 1e-6
        assert not np.array_equal(observation, info["terminal_observation"])
    rewards = np.sum([rewards for _, rewards, _, _ in rows[:4]], axis=0)
    returns = [info["episode"]["r"] for info in infos]
    np.testing.assert_allclose(returns, rewards, atol=1e-4)
    # the step after an end is one of the new episode: it has a reward, and counts
    assert np.all(rows[4][1] != 0)
    assert [info["episode"]["l"] for info in rows[7][3]] == [4, 4, 4]


def test_one_environments_end_leaves_the_others_where_they_are():
    env = pool(num_envs=8)
    rng, before = np.random.default_rng(0), env.reset()
    lengths = np.zeros(8, dtype=int)
    seen = 0
    for _ in range(100):
        observations, rewards, dones, infos = env.step(random_actions(env, rng))
        lengths += 1
        assert np.all(rewards == 1)
        for i in np.flatnonzero(dones):
            assert infos[i]["episode"] == {**infos[i]["episode"], "r": lengths[i], "l": lengths[i]}
            assert infos[i]["TimeLimit.truncated"] is False
            terminal = infos[i]["terminal_observation"]
            assert abs(terminal[0]) > 2.4 or abs(terminal[2]) > 0.2094
            assert np.abs(observations[i]).max() <= 0.05
        going_on = ~dones
        # cart's position moves by its velocity of before, twenty milliseconds long
        moved = before[going_on, 0] + 0.02 * before[going_on, 1]
        np.testing.assert_allclose(observations[going_on, 0], moved, atol=1e-5)
        seen += 0 < dones.sum() < 8
        lengths[dones] = 0
        before = observations
    assert seen > 5


@pytest.mark.parametrize("task", ["HalfCheetah-v5", "Hopper-v5", "CartPole-v1"])
def test_random_returns_are_distributed_as_gymnasiums(task):
    stats = pytest.importorskip("scipy.stats")
    limit = 100
    ours = EnvPoolVecEnv(task, 64, num_threads=1, env_kwargs={"max_episode_steps": limit})
    rows = played(ours, 3 * limit)
    pooled = [i["episode"]["r"] for *_, infos in rows for i in infos if "episode" in i][:192]
    env = Monitor(gym.make(task, max_episode_steps=limit))
    rng, single = np.random.default_rng(1), []
    env.action_space.seed(1)
    for episode in range(128):
        env.reset(seed=episode)
        over = False
        while not over:
            action = (
                env.action_space.sample()
                if task == "CartPole-v1"
                else rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)
            )
            _, _, terminated, truncated, info = env.step(action)
            over = terminated or truncated
        single.append(info["episode"]["r"])
    assert stats.ks_2samp(pooled, single).pvalue > 0.01


def test_seed_decides_the_start_and_takes_effect_at_the_next_reset():
    first, second, other = pool(seed=3), pool(seed=3), pool(seed=4)
    np.testing.assert_array_equal(first.reset(), second.reset())
    assert not np.array_equal(first.reset(), other.reset())
    other.seed(3)
    np.testing.assert_array_equal(other.reset(), pool(seed=3).reset())
    assert not np.array_equal(other.reset(), pool(seed=3).reset())  # and goes on from there


def test_training_normalised_and_evaluation():
    env = VecNormalize(EnvPoolVecEnv("Pendulum-v1", 16, num_threads=1), gamma=0.9)
    model = TRPO("MlpPolicy", env, n_steps=64, gamma=0.9, seed=0, device="cpu")
    model.learn(3 * 16 * 64 + 1)
    log = model.logger.name_to_value
    assert 0 < log["train/kl_utilization"] <= 1
    assert len(model.ep_info_buffer) == 16  # of 200 steps each
    assert all(info["l"] == 200 for info in model.ep_info_buffer)
    assert all(-2000 < info["r"] < 0 for info in model.ep_info_buffer)
    env.training = False
    returns, lengths = evaluate_policy(model, env, 4, return_episode_rewards=True)
    assert lengths == [200] * 4
    assert all(-2000 < value < -100 for value in returns)  # raw, not normalised


def test_same_seed_same_training():
    parameters = []
    for _ in range(2):
        model = TRPO("MlpPolicy", pool(num_envs=4), n_steps=64, seed=1, device="cpu").learn(512)
        parameters.append(th.nn.utils.parameters_to_vector(model.policy.parameters()))
    assert th.equal(*parameters)


def test_sixty_four_environments_live_in_one_process():
    code = (
        "import os; from sb3_trpo.envs import EnvPoolVecEnv; import numpy as np;"
        "env = EnvPoolVecEnv('HalfCheetah-v5', 64, num_threads=2); env.reset();"
        "env.step(np.zeros((64, 6), np.float32));"
        "children = open(f'/proc/{os.getpid()}/task/{os.getpid()}/children').read();"
        "assert children == '', children"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_envpool_cannot_do_is_said():
    env = pool()
    assert env.get_attr("render_mode") == [None] * 3
    assert env.env_is_wrapped(Monitor) == [True] * 3
    assert env.env_is_wrapped(gym.wrappers.TimeLimit, indices=[0]) == [False]
    assert not env.has_attr("gravity")
    for attempt in (
        lambda: env.get_attr("gravity"),
        lambda: env.set_attr("gravity", 1.0),
        lambda: env.env_method("action_masks"),
    ):
        with pytest.raises(AttributeError, match=r"live in C\+\+.* got '(gravity|action_masks)'"):
            attempt()


def test_without_envpool_the_extra_is_named():
    code = (
        "import sys; sys.modules['envpool'] = None; from sb3_trpo.envs import EnvPoolVecEnv\n"
        "try: EnvPoolVecEnv('CartPole-v1', 2)\n"
        "except ImportError as error: assert '.[envpool]' in str(error), error\n"
        "else: raise SystemExit('no error')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
