"""Wrong arguments of TRPO, MaskableTRPO and RecurrentTRPO."""

import functools
import io
import math

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium import spaces
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecNormalize

from sb3_trpo import TRPO, MaskableTRPO, RecurrentTRPO, load_normalization
from tests.bad_arguments import NO_BOOL, Table

NO_ENV = [3, gym.Env, lambda: gym.make("Pendulum-v1"), ["Pendulum-v1"]]
NO_DEVICE = ["gpu", 3.5, None, "cpu:x", "fpga:0"]
NO_FILE = [3, None, b"model", io.StringIO(), ""]
N_STEPS = 128

HYPERPARAMETERS = {
    "learning_rate": [-1e-3, math.nan, "fast"],
    "n_steps": [0, -5, 2.5],
    "batch_size": [0, -1, 12.5],
    "gamma": [-0.1, 1.1, math.nan],
    "cg_max_steps": [0, -1, 1.5],
    "cg_damping": [-0.1, math.nan, math.inf],
    "line_search_shrinking_factor": [0.0, 1.0, math.nan],
    "line_search_max_iter": [0, -2, None],
    "n_critic_updates": [-1, 0.5, None],
    "gae_lambda": [-0.5, 2, math.nan],
    "normalize_advantage": NO_BOOL,
    "target_kl": [0, -0.01, math.nan, math.inf, None, th.ones(2)],
    "sub_sampling_factor": [0, N_STEPS + 1, 1.5],
    "tensorboard_log": [3, True, ["logs"]],
    "ent_coef": [math.nan, math.inf, "0"],
    "max_grad_norm": [-1, math.nan, math.inf],
    "cg_relative_tolerance": [-0.1, 1.0, math.nan],
    "match_kl": NO_BOOL,
    "center_td_errors": NO_BOOL,
    "average_last": [-0.1, 1.5, math.nan],
    "actor_batch_size": [0, -1, 1.5],
    "rollout_buffer_kwargs": ["x", 3, {"nope": 1}, {"gamma": 0.5}],
    "verbose": [-1, "loud", None, 1.5],
    "seed": [-1, 1.5, 2**32],
    "distributed": [*NO_BOOL, True],  # there is no group
}
OF_CONTINUOUS = {
    "use_sde": [1, "yes", None],
    "sde_sample_freq": [-2, 0.5, None],
    "clipped_actions": NO_BOOL,
    "noise_correlation": [-0.1, 1.0, 1, math.nan, None, "0.5"],
}
# Not of a saved file: SB3 keeps stats_window_size under another name, builds the buffer's class in,
# and compares policy_kwargs.
AT_CONSTRUCTION = {
    "stats_window_size": [0, -1, 1.5],
    "rollout_buffer_class": [dict, 3, "RolloutBuffer"],
    "policy_kwargs": ["x", 3, {"nope": 1}, {"use_sde": False}, {1: 2}],
    "env": [*NO_ENV, None, "NoSuchEnv-v0", ""],
    "device": NO_DEVICE,
    "_init_setup_model": NO_BOOL,
}
NO_POLICY = [3, int, None, "NoSuchPolicy", DQN.policy_aliases["MlpPolicy"]]


def constructor(cls, policy, env, wrong):
    return Table(
        f"sb3_trpo.{cls.__name__}",
        lambda: (cls, {"policy": policy, "env": env, "n_steps": N_STEPS}),
        {**HYPERPARAMETERS, **AT_CONSTRUCTION, **wrong},
        shows_value=True,
    )


@functools.cache
def model(cls=TRPO, policy="MlpPolicy", env="Pendulum-v1"):
    return cls(policy, env, n_steps=16, batch_size=16, n_critic_updates=1, device="cpu", seed=0)


def recurrent():
    return model(RecurrentTRPO, "MlpLstmPolicy")


class Masked(gym.Env):
    """Two of three actions are allowed."""

    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32), {}

    def step(self, action):
        return np.zeros(2, np.float32), 1.0, False, False, {}

    def action_masks(self):
        return np.array([True, False, True])


@functools.cache
def masked():
    return model(MaskableTRPO, env=Masked())


class Numbered(gym.Env):
    """Observations are numbers of places, and what they hold."""

    observation_space = spaces.Dict(
        place=spaces.Discrete(4), held=spaces.MultiDiscrete([2, 3]), at=spaces.Box(-1, 1, (2,))
    )
    action_space = spaces.Discrete(2)


PLACE = {"place": np.array(1), "held": np.array([1, 2]), "at": np.zeros(2, np.float32)}


@functools.cache
def numbered():
    return model(policy="MultiInputPolicy", env=Numbered())


@functools.cache
def saved():
    file = io.BytesIO()
    model().save(file)
    return file.getvalue()


@functools.cache
def saved_with_statistics():
    env = VecNormalize(make_vec_env("Pendulum-v1"))
    file = io.BytesIO()
    TRPO("MlpPolicy", env, n_steps=16, batch_size=16, device="cpu").save(file)
    return file.getvalue()


def parameters_with(name, value):
    parameters = model().get_parameters()
    return {**parameters, "policy": {**parameters["policy"], name: value}}


LEARN = {
    "total_timesteps": [-1, math.nan, "many", None],
    "callback": [3, "x", [lambda *_: True], CallbackList],
    "log_interval": [0, -1, 1.5, "1"],
    "tb_log_name": [3, None, b"run"],
    "reset_num_timesteps": NO_BOOL,
    "progress_bar": NO_BOOL,
}


def collecting(model):
    callback = model._init_callback(None)

    def make():
        model._last_obs = model.env.reset()
        model._last_episode_starts = np.ones(1, bool)
        model.set_logger(Logger(None, []))
        arguments = {
            "env": model.env,
            "callback": callback,
            "rollout_buffer": model.rollout_buffer,
            "n_rollout_steps": 16,
        }
        return model.collect_rollouts, arguments

    return make()


ROLLOUT = {
    "env": [3, None, Masked()],
    "callback": [3, None, lambda *_: True, BaseCallback],
    "rollout_buffer": [3, None, {}],
    "n_rollout_steps": [0, -1, 1.5, 17, "16"],
}
ZEROS = np.zeros((1, 1, 256), np.float32)
UNUSED = {"state": "unused, as in SB3", "episode_start": "unused, as in SB3"}

TABLES = [
    constructor(
        TRPO,
        "MlpPolicy",
        "Pendulum-v1",
        {**OF_CONTINUOUS, "policy": [*NO_POLICY, RecurrentActorCriticPolicy]},
    ),
    constructor(
        MaskableTRPO,
        "MlpPolicy",
        "CartPole-v1",
        {"policy": [*NO_POLICY, ActorCriticPolicy, "MlpLstmPolicy"]},
    ),
    constructor(
        RecurrentTRPO,
        "MlpLstmPolicy",
        "Pendulum-v1",
        {**OF_CONTINUOUS, "policy": [*NO_POLICY, MaskableActorCriticPolicy, "MlpPolicy"]},
    ),
    Table("sb3_trpo.TRPO.learn", lambda: (model().learn, {"total_timesteps": 16}), LEARN),
    Table(
        "sb3_trpo.MaskableTRPO.learn",
        lambda: (masked().learn, {"total_timesteps": 16}),
        {**LEARN, "use_masking": NO_BOOL},
    ),
    Table(
        "sb3_trpo.RecurrentTRPO.learn", lambda: (recurrent().learn, {"total_timesteps": 16}), LEARN
    ),
    Table("sb3_trpo.TRPO.collect_rollouts", lambda: collecting(model()), ROLLOUT),
    Table(
        "sb3_trpo.MaskableTRPO.collect_rollouts",
        lambda: collecting(masked()),
        {**ROLLOUT, "use_masking": [1, "no", np.ones(3)]},
    ),
    Table(
        "sb3_trpo.TRPO.predict",
        lambda: (model().predict, {"observation": np.zeros((2, 3), np.float32)}),
        {
            "observation": [
                *(np.full(3, math.nan), np.zeros(4), np.zeros((2, 2, 3)), None, "x", {"x": 1}),
                (np.zeros(3), {}),
                [[1.0], [1.0, 2.0]],
            ],
            "deterministic": NO_BOOL,
        },
        UNUSED,
    ),
    Table(
        "sb3_trpo.TRPO.predict",
        lambda: (numbered().predict, {"observation": PLACE}),
        {
            "observation": [
                *({**PLACE, name: np.array(n)} for name, n in [("place", 4), ("place", -1)]),
                *({**PLACE, "held": np.array(n)} for n in ([2, 0], [0, 3], [0])),
                {**PLACE, "at": np.array([math.nan, 0], np.float32)},
                {"place": np.array(1)},
                np.zeros(2),
            ]
        },
        UNUSED,
    ),
    Table(
        "sb3_trpo.MaskableTRPO.predict",
        lambda: (masked().predict, {"observation": np.zeros((2, 2), np.float32)}),
        {
            "observation": [np.full(2, math.nan), np.zeros(4), None, "x"],
            "deterministic": NO_BOOL,
            "action_masks": [
                *([True, False], "x", np.ones((3, 3), bool), np.full((2, 3), math.nan)),
                *(np.full((2, 3), 7), [["x"] * 3] * 2, [[1], [1, 0]]),
            ],
        },
        UNUSED,
    ),
    Table(
        "sb3_trpo.RecurrentTRPO.predict",
        lambda: (recurrent().predict, {"observation": np.zeros(3), "state": (ZEROS, ZEROS)}),
        {
            "observation": [np.full(3, math.nan), np.zeros(4), None, "x"],
            "state": [
                *(3, "xx", ZEROS, (ZEROS,), (ZEROS, ZEROS[..., :8]), (ZEROS, None)),
                *((ZEROS, np.concatenate([ZEROS, ZEROS], axis=1)), (ZEROS, ZEROS * math.nan)),
            ],
            "episode_start": [np.ones(2), True, "x", np.ones((1, 1))],
            "deterministic": NO_BOOL,
        },
    ),
    Table(
        "sb3_trpo.TRPO.save",
        lambda: (model().save, {"path": io.BytesIO()}),
        {
            "path": NO_FILE,
            "exclude": ["policy", 3, [3]],
            "include": ["policy", 3, [None]],
        },
    ),
    Table(
        "sb3_trpo.TRPO.load",
        lambda: (TRPO.load, {"path": io.BytesIO(saved()), "device": "cpu"}),
        {
            "path": NO_FILE,
            "env": [*NO_ENV, "Pendulum-v1", gym.make("CartPole-v1")],
            "device": NO_DEVICE,
            "custom_objects": [3, "x", {1: 2}],
            "print_system_info": NO_BOOL,
            "force_reset": NO_BOOL,
            "trusted": [0, "False", None],
            "allow": [3, "os.system", [int]],
        },
        {"kwargs": "hyperparameters, of which each is refused as by the constructor: see below"},
    ),
    Table(
        "sb3_trpo.TRPO.load",
        lambda: (
            TRPO.load,
            {"path": io.BytesIO(saved()), "device": "cpu", "trusted": False},
        ),
        {
            "allow": [3, "os.system", [3], {"os.system": 3}, {3: int}],
            "env": [*NO_ENV, "Pendulum-v1", gym.make("CartPole-v1")],
        },
    ),
    Table(
        "sb3_trpo.TRPO.set_parameters",
        lambda: (model().set_parameters, {"load_path_or_dict": io.BytesIO(saved())}),
        {
            "load_path_or_dict": [
                *NO_FILE,
                *({}, {"nope": {}}, {"policy": 3}, {3: {}}, {"policy": {"x": th.zeros(1)}}),
                *(parameters_with("action_net.weight", x) for x in (th.zeros(2, 2), 3, None)),
                {**model().get_parameters(), "policy.optimizer": {"state": 3}},
            ],
            "exact_match": NO_BOOL,
            "device": NO_DEVICE,
        },
    ),
    Table(
        "sb3_trpo.TRPO.set_random_seed",
        lambda: (model().set_random_seed, {"seed": 1}),
        {"seed": [-1, 1.5, "x", 2**32]},
    ),
    Table(
        "sb3_trpo.TRPO.set_env",
        lambda: (model().set_env, {"env": gym.make("Pendulum-v1")}),
        {
            "env": [
                *(*NO_ENV, None, "Pendulum-v1", gym.make("CartPole-v1")),
                make_vec_env("Pendulum-v1", n_envs=2),
            ],
            "force_reset": NO_BOOL,
        },
    ),
    Table(
        "sb3_trpo.TRPO.set_logger",
        lambda: (model().set_logger, {"logger": Logger(None, [])}),
        {"logger": [3, None, "stdout", Logger]},
    ),
    Table(
        "sb3_trpo.TRPO.dump_logs",
        lambda: (model().learn(16).dump_logs, {"iteration": 1}),
        {"iteration": [-1, 1.5, "x"]},
    ),
    Table(
        "sb3_trpo.load_normalization",
        lambda: (
            load_normalization,
            {"path": io.BytesIO(saved_with_statistics()), "venv": make_vec_env("Pendulum-v1")},
        ),
        {
            "path": [*NO_FILE, io.BytesIO(saved())],
            "venv": [3, None, gym.make("Pendulum-v1"), make_vec_env("CartPole-v1")],
            "training": NO_BOOL,
        },
    ),
]
