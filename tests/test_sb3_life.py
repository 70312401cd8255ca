"""SB3's life around the algorithm: what users of PPO and A2C take for granted."""

import csv
import json
import math
from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import (
    CheckpointCallback,
    EvalCallback,
    StopTrainingOnMaxEpisodes,
    StopTrainingOnRewardThreshold,
)
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.policies import ActorCriticCnnPolicy, ActorCriticPolicy
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecFrameStack,
    VecNormalize,
)

from sb3_trpo import TRPO
from tests.policies_under_test import BetaPolicy, DoubleExtractor
from tests.test_interop import BOX, CASES, IMAGE, Anything, make

QUICK = {"n_steps": 64, "batch_size": 32, "n_critic_updates": 2, "device": "cpu"}

LOG_KEYS = [
    "policy_objective",
    "value_loss",
    "kl_divergence_loss",
    "explained_variance",
    "is_line_search_success",
    "std",
    "learning_rate",
    "n_updates",
    "approx_kl",
    "target_kl",
    "kl_utilization",
    "cg_iterations",
    "cg_residual",
    "line_search_steps",
    "step_fraction",
    "expected_improvement",
    "improvement_ratio",
    "grad_norm",
    "step_norm",
    "entropy",
    "update_skipped",
]


def parameters_of(model):
    return th.cat([p.detach().reshape(-1) for p in model.policy.parameters()])


@pytest.mark.parametrize("case", CASES)
def test_every_space_trains_saves_and_loads(case, tmp_path):
    model, env = make(TRPO, case)
    before = parameters_of(model)
    model.learn(64)
    assert not th.equal(before, parameters_of(model))
    assert model.num_timesteps == 64
    model.save(tmp_path / "model")
    loaded = TRPO.load(tmp_path / "model", env, device="cpu")
    assert th.equal(parameters_of(loaded), parameters_of(model))
    loaded.learn(32, reset_num_timesteps=False)
    assert loaded.num_timesteps == 96


@pytest.mark.parametrize("squash", [False, True])
def test_state_dependent_exploration_draws_new_noise_as_often_as_asked(squash):
    drawn = []
    for freq in (-1, 16, 1):
        model = TRPO(
            "MlpPolicy",
            "Pendulum-v1",
            use_sde=True,
            sde_sample_freq=freq,
            policy_kwargs={"squash_output": squash},
            **QUICK,
        )
        matrices = []

        def note(locals_, _, matrices=matrices):
            matrices.append(locals_["self"].policy.action_dist.exploration_mat.clone())
            return True

        model.learn(128, callback=note)
        assert model._n_updates == 2
        assert th.isfinite(parameters_of(model)).all()
        changes = [not th.equal(x, y) for x, y in pairwise(matrices)]
        drawn.append(1 + sum(changes))
    assert drawn == [2, 8, 128]


def test_log_has_every_key_in_csv_and_json(tmp_path):
    model = TRPO("MlpPolicy", "Pendulum-v1", **QUICK)
    model.set_logger(configure(str(tmp_path), ["csv", "json"]))
    model.learn(64 * 4)
    with (tmp_path / "progress.csv").open() as file:
        row = list(csv.DictReader(file))[-1]
    last = json.loads((tmp_path / "progress.json").read_text().splitlines()[-1])
    wanted = [f"train/{key}" for key in LOG_KEYS]
    wanted += [f"time/{key}" for key in ("rollout_s", "policy_step_s", "critic_step_s", "fps")]
    for key in wanted:
        assert math.isfinite(float(row[key])), key
        assert key in last
    utilization = float(row["train/kl_divergence_loss"]) / float(row["train/target_kl"])
    assert float(row["train/kl_utilization"]) == pytest.approx(utilization)
    assert float(row["train/approx_kl"]) == float(row["train/kl_divergence_loss"])


def test_tensorboard_and_progress_bar(tmp_path):
    model = TRPO("MlpPolicy", "CartPole-v1", tensorboard_log=str(tmp_path), **QUICK)
    model.learn(128, progress_bar=True)
    assert list(tmp_path.glob("TRPO_1/events*"))


def test_evaluation_and_checkpoint_callbacks(tmp_path):
    evaluation = EvalCallback(
        Monitor(gym.make("CartPole-v1")),
        eval_freq=64,
        n_eval_episodes=2,
        best_model_save_path=str(tmp_path),
        callback_on_new_best=StopTrainingOnRewardThreshold(-1.0),
        verbose=0,
    )
    checkpoints = CheckpointCallback(50, str(tmp_path / "checkpoints"))
    model = TRPO("MlpPolicy", "CartPole-v1", **QUICK)
    model.learn(1000, callback=[checkpoints, evaluation])
    assert model.num_timesteps == 64  # the first evaluation is above the threshold
    assert (tmp_path / "best_model.zip").exists()
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1


def test_callbacks_stop_training_without_an_update():
    model = TRPO("MlpPolicy", "CartPole-v1", **{**QUICK, "n_steps": 512})
    model.learn(5000, callback=StopTrainingOnMaxEpisodes(2))
    assert model.num_timesteps < 512
    assert model._n_updates == 0
    model.learn(5000, callback=lambda locals_, _: locals_["self"].num_timesteps < 30)
    assert model.num_timesteps == 30


@pytest.mark.parametrize("vec_env", [DummyVecEnv, SubprocVecEnv])
def test_vectorised_environments(vec_env):
    env = make_vec_env("CartPole-v1", n_envs=2, vec_env_cls=vec_env)
    model = TRPO("MlpPolicy", env, **QUICK).learn(256)
    assert model.num_timesteps == 256
    assert model._n_updates == 2
    env.close()


def test_vec_normalize_and_frame_stack():
    env = VecNormalize(make_vec_env("Pendulum-v1", n_envs=2))
    TRPO("MlpPolicy", env, **QUICK).learn(128)
    assert env.obs_rms.count > 100
    stacked = VecFrameStack(DummyVecEnv([lambda: Anything(IMAGE, spaces.Discrete(2))]), 3)
    model = TRPO("CnnPolicy", stacked, **QUICK).learn(64)
    assert model.observation_space.shape == (3, 36, 36)


def test_seed_makes_runs_bitwise_equal():
    runs = [
        parameters_of(TRPO("MlpPolicy", "Pendulum-v1", seed=seed, **QUICK).learn(192))
        for seed in (3, 3, 4)
    ]
    assert th.equal(runs[0], runs[1])
    assert not th.equal(runs[0], runs[2])


def test_set_env_parameters_and_deferred_setup():
    model = TRPO("MlpPolicy", "CartPole-v1", **QUICK).learn(64)
    other = TRPO("MlpPolicy", "CartPole-v1", _init_setup_model=False, **QUICK)
    assert not hasattr(other, "policy")
    other._setup_model()
    other.set_parameters(model.get_parameters(), device="cpu")
    assert th.equal(parameters_of(model), parameters_of(other))
    other.set_env(gym.make("CartPole-v1"))
    other.learn(64)
    assert other._n_updates == 1


def test_schedules_never_see_negative_progress():
    seen = {"target_kl": [], "learning_rate": []}

    def schedule(name, start):
        def value(progress):
            seen[name].append(progress)
            return start * progress

        return value

    model = TRPO(
        "MlpPolicy",
        "CartPole-v1",
        n_steps=512,
        target_kl=schedule("target_kl", 0.01),
        learning_rate=schedule("learning_rate", 1e-3),
        device="cpu",
    )
    model.learn(700)
    assert model.num_timesteps == 1024
    assert seen["target_kl"] == pytest.approx([1 - 512 / 700, 0.0])
    assert min(seen["learning_rate"]) == 0.0
    assert model.logger.name_to_value["train/learning_rate"] == 0.0
    assert model.logger.name_to_value["train/is_line_search_success"] == 0


class Truncating(gym.Env):
    """Two-step episodes cut by time; the last observation differs from all others."""

    observation_space, action_space = spaces.Box(-9, 9, (1,), np.float32), spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.full(1, 9.0 * (self.t == 2), np.float32), 1.0, False, self.t == 2, {}


def test_time_limits_are_bootstrapped_with_the_terminal_observation():
    model = TRPO("MlpPolicy", Truncating(), **{**QUICK, "n_critic_updates": 0}, gamma=0.5)
    _, callback = model._setup_learn(64)
    model.collect_rollouts(model.env, callback, model.rollout_buffer, 64)
    with th.no_grad():
        value = model.policy.predict_values(th.full((1, 1), 9.0)).item()
    rewards = model.rollout_buffer.rewards[:, 0]
    assert np.allclose(rewards[::2], 1.0)
    assert np.allclose(rewards[1::2], 1.0 + 0.5 * value)


@pytest.mark.parametrize("case", ["image", "dict"])
def test_extractors_are_separate_unless_asked_for(case):
    policy_kwargs = {"log_std_init": 0.0}
    model, _ = make(TRPO, case, policy_kwargs=policy_kwargs)
    assert policy_kwargs == {"log_std_init": 0.0}
    policy = model.policy
    assert policy.pi_features_extractor is not policy.vf_features_extractor
    shared = {"share_features_extractor": True}
    if case == "image":
        with pytest.warns(UserWarning, match="share a features extractor"):
            model, _ = make(TRPO, case, policy_kwargs=shared)
        assert model.policy.pi_features_extractor is model.policy.vf_features_extractor


class NarrowCnnPolicy(ActorCriticCnnPolicy):
    """A subclass whose constructor does not take the option."""

    def __init__(self, observation_space, action_space, lr_schedule, **kwargs):
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)


def test_default_is_not_forced_on_a_subclass_that_does_not_name_it():
    env = Anything(IMAGE, spaces.Discrete(2))
    with pytest.warns(UserWarning, match="share a features extractor"):
        model = TRPO(NarrowCnnPolicy, env, **QUICK)
    assert "share_features_extractor" not in model.policy_kwargs


def test_separate_image_critic_trains_its_own_extractor_alone():
    model, _ = make(TRPO, "image", target_kl=lambda _: 0.0)
    critic = [p.clone() for p in model.policy.vf_features_extractor.parameters()]
    actor = [p.clone() for p in model.policy.pi_features_extractor.parameters()]
    model.learn(32)
    now = model.policy.vf_features_extractor.parameters()
    assert all(not th.equal(p, q) for p, q in zip(critic, now, strict=True))
    now = model.policy.pi_features_extractor.parameters()
    assert all(th.equal(p, q) for p, q in zip(actor, now, strict=True))


def test_custom_policy_and_extractor():
    class OwnPolicy(ActorCriticPolicy):
        pass

    model = TRPO(
        OwnPolicy,
        Anything(spaces.Box(-1, 1, (5,), np.float32), BOX),
        policy_kwargs={"features_extractor_class": DoubleExtractor, "net_arch": [8]},
        **QUICK,
    )
    before = parameters_of(model)
    model.learn(64)
    assert not th.equal(before, parameters_of(model))


def test_beta_policy_trains_within_the_trust_region():
    model = TRPO(BetaPolicy, "Pendulum-v1", seed=0, **QUICK)
    model.learn(320)
    log = model.logger.name_to_value
    assert 0.5 < log["train/kl_utilization"] <= 1 + 1e-9
    assert model._n_updates == 5


def test_entropy_bonus_keeps_the_policy_more_random():
    class Bandit(Anything):
        def step(self, action):
            observation, _, terminated, truncated, info = super().step(action)
            return observation, float(action == 0), terminated, truncated, info

    entropies = []
    for ent_coef in (0.0, 1.0):
        env = Bandit(spaces.Box(-1, 1, (2,), np.float32), spaces.Discrete(3))
        model = TRPO(
            "MlpPolicy", env, seed=0, ent_coef=ent_coef, target_kl=0.05, gamma=0.0, **QUICK
        )
        model.learn(64 * 15)
        entropies.append(model.logger.name_to_value["train/entropy"])
    assert entropies[1] > entropies[0] + 0.2


@pytest.mark.parametrize("squash", [False, True])
def test_entropy_bonus_works_without_a_closed_form(squash):
    model = TRPO(
        "MlpPolicy",
        "Pendulum-v1",
        use_sde=True,
        ent_coef=0.01,
        policy_kwargs={"squash_output": squash},
        **QUICK,
    ).learn(128)
    assert model.logger.name_to_value["train/is_line_search_success"] == 1


class HalvedReturns(RolloutBuffer):
    """A buffer that hands out something else than it stores."""

    def _get_samples(self, batch_inds, env=None):
        return super()._get_samples(batch_inds, env)._replace(returns=th.zeros(len(batch_inds)))


def test_own_rollout_buffer_is_asked_for_its_samples():
    env = Anything(spaces.Box(-1, 1, (5,), np.float32), BOX)
    model = TRPO("MlpPolicy", env, rollout_buffer_class=HalvedReturns, **QUICK).learn(64)
    assert th.equal(model._batch(model.rollout_buffer).returns, th.zeros(64))
    assert model._n_updates == 1


class Payer(Anything):
    """Pays infinity at the given steps."""

    def __init__(self, bad_steps):
        super().__init__(spaces.Box(-1, 1, (4,), np.float32), spaces.Discrete(2))
        self.bad_steps, self.n = bad_steps, 0

    def step(self, action):
        observation, reward, *rest = super().step(action)
        self.n += 1
        return observation, math.inf if self.n in self.bad_steps else reward, *rest


@pytest.mark.filterwarnings("ignore:invalid value")
def test_skipped_update_is_written_to_every_log(tmp_path):
    model = TRPO("MlpPolicy", Payer({70}), **QUICK)
    model.set_logger(configure(str(tmp_path), ["csv", "json", "tensorboard", "log"]))
    with pytest.warns(UserWarning, match="Update skipped: non-finite reward"):
        model.learn(64 * 4)
    assert model._n_updates == 3
    rows = [json.loads(line) for line in (tmp_path / "progress.json").read_text().splitlines()]
    # The row is dumped before the update: the second update shows in the third row.
    assert [row.get("train/skip_reason") for row in rows] == [None, None, "non-finite reward", None]
    assert [row.get("train/update_skipped") for row in rows] == [None, 0, 1, 1]
    assert "non-finite reward" in (tmp_path / "progress.csv").read_text()
    assert "non-finite reward" in (tmp_path / "log.txt").read_text()
    assert list(tmp_path.glob("events*"))


@pytest.mark.filterwarnings("ignore:invalid value")
def test_infinity_that_stays_in_vec_normalize_stops_training_and_says_why():
    env = VecNormalize(DummyVecEnv([lambda: Payer({70})]), norm_obs=False)
    model = TRPO("MlpPolicy", env, **QUICK)
    with (
        pytest.warns(UserWarning, match="Update skipped"),
        pytest.raises(RuntimeError, match=r"3 updates in a row.*VecNormalize"),
    ):
        model.learn(64 * 10)
    assert model._n_updates == 1
    assert model.num_timesteps == 64 * 4
    assert th.isfinite(parameters_of(model)).all()


def test_ctrl_c_in_a_rollout_leaves_a_model_that_learns_on():
    model = TRPO("MlpPolicy", "CartPole-v1", **QUICK).learn(64)
    before = parameters_of(model)

    def interrupt(locals_, _):
        if locals_["self"].num_timesteps == 100:
            raise KeyboardInterrupt
        return True

    with pytest.raises(KeyboardInterrupt):
        model.learn(64, callback=interrupt, reset_num_timesteps=False)
    assert th.equal(before, parameters_of(model))
    model.learn(64, reset_num_timesteps=False)
    assert model._n_updates == 2


def test_schedules_are_saved_and_go_on(tmp_path):
    model = TRPO(
        "MlpPolicy",
        "CartPole-v1",
        target_kl=LinearSchedule(0.02, 0.01, 1.0),
        learning_rate=LinearSchedule(1e-3, 1e-4, 1.0),
        **QUICK,
    ).learn(128)
    assert model.logger.name_to_value["train/target_kl"] == pytest.approx(0.01)
    model.save(tmp_path / "model")
    loaded = TRPO.load(tmp_path / "model", gym.make("CartPole-v1"), device="cpu").learn(128)
    assert loaded.logger.name_to_value["train/target_kl"] == pytest.approx(0.01)
    assert loaded.logger.name_to_value["train/learning_rate"] == pytest.approx(1e-4)


def test_loaded_model_takes_the_same_step_as_the_saved_one(tmp_path):
    model, _ = make(TRPO, "box")
    model.learn(64)
    model.save(tmp_path / "model")
    results = []
    for again in (model, TRPO.load(tmp_path / "model", device="cpu")):
        observation_space, action_space, *_ = CASES["box"]
        again.set_env(DummyVecEnv([lambda o=observation_space, a=action_space: Anything(o, a)]))
        again.set_random_seed(5)
        again.learn(64, reset_num_timesteps=False)
        results.append(parameters_of(again))
    assert th.equal(*results)


def test_load_takes_another_number_of_environments(tmp_path):
    TRPO("MlpPolicy", "CartPole-v1", **QUICK).learn(64).save(tmp_path / "model")
    env = make_vec_env("CartPole-v1", n_envs=3)
    model = TRPO.load(tmp_path / "model", env, device="cpu")
    model.learn(64 * 3)
    assert model._n_updates == 2
    with pytest.raises((AssertionError, ValueError)):
        model.set_env(make_vec_env("CartPole-v1", n_envs=2))


@pytest.mark.parametrize("policy", ["MlpPolicy", BetaPolicy])
def test_callbacks_find_the_environment_itself(policy):
    env = VecNormalize(make_vec_env("Pendulum-v1", n_envs=2))
    step, found = env.step, set()

    def look(locals_, _):
        found.add(id(locals_["env"]))
        return True

    TRPO(policy, env, **QUICK).learn(128, callback=look)
    assert found == {id(env)}
    assert env.step == step  # what checked the observations has gone


def test_step_that_the_user_put_on_the_environment_stays_there():
    env = make_vec_env("Pendulum-v1", n_envs=2)
    step, calls = env.step, []
    env.step = own = lambda actions: calls.append(1) or step(actions)
    TRPO(BetaPolicy, env, **QUICK).learn(128)
    assert env.step is own
    assert len(calls) == 64


def test_episode_statistics_come_from_the_monitor():
    model = TRPO("MlpPolicy", "CartPole-v1", stats_window_size=2, **QUICK)
    model.set_logger(configure(None, []))
    model.learn(256)
    assert len(model.ep_info_buffer) == 2
    assert 5 < np.mean([info["r"] for info in model.ep_info_buffer]) < 200
