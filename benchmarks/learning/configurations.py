"""
Every algorithm's settings on every task: what the benchmark compares.

The peers run with the best settings that their own projects publish. "zoo" below is rl_zoo3
2.9.2, ``hyperparams/{ppo,a2c,trpo}.yml``, entries for the ``-v4`` tasks; scores in brackets are
those of its ``benchmark.md`` (one run, ``-v3`` tasks). What an entry leaves out is the
default of the constructor, and one environment, as in the zoo. ``normalize: true`` there is
``VecNormalize`` of observations and rewards with the algorithm's own discount factor. The steps are
ours, the same for all algorithms.

Everything is plain JSON (``schedules.py`` says how), since each run records its configuration.
"""

from math import log

from benchmarks.learning.configuration import Configuration, Settings
from benchmarks.learning.schedules import linear
from benchmarks.learning.suites import (
    ACTION_DIMENSIONS,
    MASKABLE,
    OURS,
    RECURRENT,
    REFERENCE,
    SUITES,
    suite_of,
)
from benchmarks.learning.variant_configurations import (
    MASKABLE_PPO,
    MASKABLE_TRPO,
    RECURRENT_PPO,
    RECURRENT_TRPO,
)

# --- ours: one setting for the five MuJoCo tasks, one for classic control ---------------------

TRPO_MUJOCO: Settings = {
    "n_envs": 4,
    "normalize": {},
    "n_steps": 512,
    "gamma": 0.99,
    "gae_lambda": 0.9,
    "target_kl": 0.04,
    "cg_max_steps": 10,
    "cg_damping": 0.1,
    "n_critic_updates": 10,
    "learning_rate": linear(1e-3),
    "center_td_errors": True,
    "clipped_actions": True,
    "average_last": 0.02,
}

FIRST_NOISE = 1.3
"""Sum of the first policy's standard deviations over the dimensions of an action."""


def trpo_mujoco(task: str) -> Settings:
    """Return our setting for a MuJoCo task: the more joints, the less noise in each."""
    log_std_init = round(log(FIRST_NOISE / ACTION_DIMENSIONS[task]), 3)
    net_arch = {"pi": [64, 64], "vf": [256, 256]}
    return {
        **TRPO_MUJOCO,
        "policy_kwargs": {"log_std_init": log_std_init, "net_arch": net_arch},
    }


TRPO_CLASSIC: Settings = {
    "n_envs": 8,
    # Rewards alone, and unclipped: these observations have a useful scale as they are.
    "normalize": {"norm_obs": False, "clip_reward": 1000.0},
    "n_steps": 128,
    "batch_size": 64,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "target_kl": 0.005,
    "cg_damping": 0.05,
    "n_critic_updates": 20,
    "learning_rate": linear(2e-3),
    "clipped_actions": True,  # changes nothing on these tasks; the runs name it
    "average_last": 0.03,
}

# The same setting where actions are continuous, which is where gSDE exists.
TRPO_CLASSIC_CONTINUOUS: Settings = {
    **TRPO_CLASSIC,
    "use_sde": True,
    "sde_sample_freq": 8,
    "policy_kwargs": {"log_std_init": -1.0},
}

# --- sb3_contrib.TRPO: zoo trpo.yml ------------------------------------------------------------

# Ant (4982), Hopper (3618), Walker2d (4933).
CONTRIB_TRPO_MUJOCO: Settings = {
    "n_envs": 2,
    "normalize": {},
    "n_steps": 1024,
    "batch_size": 128,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "sub_sampling_factor": 1,
    "cg_max_steps": 25,
    "cg_damping": 0.1,
    "n_critic_updates": 20,
    "learning_rate": 1e-3,
}

CONTRIB_TRPO: dict[str, Settings] = {
    # The zoo's entry, marked tuned; without its target_kl it would be the other tasks' setting.
    "HalfCheetah-v5": {**CONTRIB_TRPO_MUJOCO, "target_kl": 0.04},  # (1785)
    **dict.fromkeys(("Hopper-v5", "Walker2d-v5", "Ant-v5"), CONTRIB_TRPO_MUJOCO),
    "Swimmer-v5": {**CONTRIB_TRPO_MUJOCO, "gamma": 0.9999},  # (366)
    "CartPole-v1": {  # for 100 000 steps (500)
        "n_envs": 2,
        "n_steps": 512,
        "batch_size": 512,
        "gamma": 0.99,
        "gae_lambda": 0.98,
        "cg_damping": 1e-3,
        "n_critic_updates": 20,
        "learning_rate": 1e-3,
    },
    "Acrobot-v1": {"n_envs": 2, "normalize": {}, "n_steps": 1024, "gamma": 0.99},  # (−83)
    "Pendulum-v1": {  # (−175)
        "n_envs": 2,
        "n_steps": 1024,
        "gamma": 0.9,
        "n_critic_updates": 15,
        "use_sde": True,
        "sde_sample_freq": 4,
    },
    "LunarLanderContinuous-v3": {  # for 100 000 steps in the file, 200 000 in the table (262)
        "n_envs": 2,
        "normalize": {},
        "n_steps": 1024,
        "gamma": 0.99,
        "n_critic_updates": 20,
    },
}

# --- SB3 PPO: zoo ppo.yml ----------------------------------------------------------------------

# The tuned entries for HalfCheetah (5819), Walker2d (3479) and Swimmer (282). For Hopper (2410 with
# a tuned entry) and Ant (1327 with the defaults) what the file has commented out does better here
# (TUNING.md, "The peers' settings"): the defaults with VecNormalize, and an entry for 10 M steps.
PPO: dict[str, Settings] = {
    "HalfCheetah-v5": {
        "normalize": {},
        "n_steps": 512,
        "batch_size": 64,
        "gamma": 0.98,
        "gae_lambda": 0.92,
        "learning_rate": 2.0633e-05,
        "ent_coef": 0.000401762,
        "clip_range": 0.1,
        "n_epochs": 20,
        "max_grad_norm": 0.8,
        "vf_coef": 0.58096,
        "policy_kwargs": {
            "log_std_init": -2.0,
            "ortho_init": False,
            "activation_fn": "ReLU",
            "net_arch": {"pi": [256, 256], "vf": [256, 256]},
        },
    },
    "Hopper-v5": {"normalize": {}, "gamma": 0.99},
    "Walker2d-v5": {
        "normalize": {},
        "n_steps": 512,
        "batch_size": 32,
        "gamma": 0.99,
        "gae_lambda": 0.95,
        "learning_rate": 5.05041e-05,
        "ent_coef": 0.000585045,
        "clip_range": 0.1,
        "n_epochs": 20,
        "max_grad_norm": 1.0,
        "vf_coef": 0.871923,
    },
    "Ant-v5": {
        "normalize": {},
        "n_steps": 512,
        "batch_size": 32,
        "gamma": 0.98,
        "gae_lambda": 0.8,
        "learning_rate": 1.90609e-05,
        "ent_coef": 4.9646e-07,
        "clip_range": 0.1,
        "n_epochs": 10,
        "max_grad_norm": 0.6,
        "vf_coef": 0.677239,
    },
    "Swimmer-v5": {
        "n_envs": 4,
        "normalize": {},
        "n_steps": 1024,
        "batch_size": 256,
        "gamma": 0.9999,
        "gae_lambda": 0.98,
        "learning_rate": 6e-4,
    },
    "CartPole-v1": {  # for 100 000 steps (500)
        "n_envs": 8,
        "n_steps": 32,
        "batch_size": 256,
        "gamma": 0.98,
        "gae_lambda": 0.8,
        "n_epochs": 20,
        "ent_coef": 0.0,
        "learning_rate": linear(1e-3),
        "clip_range": linear(0.2),
    },
    "Acrobot-v1": {  # for 1 M steps (−74)
        "n_envs": 16,
        "normalize": {},
        "n_steps": 256,
        "gamma": 0.99,
        "gae_lambda": 0.94,
        "n_epochs": 4,
        "ent_coef": 0.0,
    },
    "Pendulum-v1": {  # (−172)
        "n_envs": 4,
        "n_steps": 1024,
        "gamma": 0.9,
        "gae_lambda": 0.95,
        "n_epochs": 10,
        "ent_coef": 0.0,
        "learning_rate": 1e-3,
        "clip_range": 0.2,
        "use_sde": True,
        "sde_sample_freq": 4,
    },
    "LunarLanderContinuous-v3": {  # for 1 M steps (271)
        "n_envs": 16,
        "n_steps": 1024,
        "batch_size": 64,
        "gamma": 0.999,
        "gae_lambda": 0.98,
        "n_epochs": 4,
        "ent_coef": 0.01,
    },
}

# --- SB3 A2C: zoo a2c.yml ----------------------------------------------------------------------

# HalfCheetah (3041), Hopper (733), Swimmer (201), Ant, Walker2d: A2C's defaults with VecNormalize.
# The zoo's tuned gSDE setting is for PyBullet's tasks, with no score on MuJoCo's.
A2C_MUJOCO: Settings = {"normalize": {}, "gamma": 0.99}

A2C_TUNED: Settings = {  # with gSDE; for Pendulum and LunarLanderContinuous
    "normalize": {},
    "n_steps": 8,
    "gae_lambda": 0.9,
    "vf_coef": 0.4,
    "ent_coef": 0.0,
    "max_grad_norm": 0.5,
    "use_rms_prop": True,
    "normalize_advantage": False,
    "learning_rate": linear(7e-4),
    "use_sde": True,
    "policy_kwargs": {"log_std_init": -2.0, "ortho_init": False},
}

A2C: dict[str, Settings] = {
    **dict.fromkeys(("HalfCheetah-v5", "Hopper-v5", "Walker2d-v5", "Ant-v5"), A2C_MUJOCO),
    "Swimmer-v5": {**A2C_MUJOCO, "gamma": 0.9999},
    "CartPole-v1": {"n_envs": 8, "gamma": 0.99, "ent_coef": 0.0},  # for 500 000 steps (500)
    "Acrobot-v1": {"n_envs": 16, "normalize": {}, "gamma": 0.99, "ent_coef": 0.0},  # 500 000 (−83)
    "Pendulum-v1": {**A2C_TUNED, "n_envs": 8, "gamma": 0.9},  # for 1 M steps (−163)
    "LunarLanderContinuous-v3": {**A2C_TUNED, "n_envs": 4, "gamma": 0.99},  # for 5 M steps (84)
}

# --- all of them -------------------------------------------------------------------------------

TRPO: dict[str, Settings] = {
    **{task: trpo_mujoco(task) for task in SUITES["mujoco"]},
    "Swimmer-v5": {**trpo_mujoco("Swimmer-v5"), "gamma": 0.9999},
    **dict.fromkeys(("CartPole-v1", "Acrobot-v1"), TRPO_CLASSIC),
    **dict.fromkeys(("Pendulum-v1", "LunarLanderContinuous-v3"), TRPO_CLASSIC_CONTINUOUS),
}

SETTINGS = {
    OURS: TRPO,
    REFERENCE: CONTRIB_TRPO,
    "ppo": PPO,
    "a2c": A2C,
    MASKABLE: dict.fromkeys(SUITES["masked"], MASKABLE_TRPO),
    "maskable_ppo": dict.fromkeys(SUITES["masked"], MASKABLE_PPO),
    RECURRENT: RECURRENT_TRPO,
    "recurrent_ppo": RECURRENT_PPO,
}


def configuration(algorithm: str, environment: str) -> Configuration:
    """Return the settings of an algorithm on a task."""
    steps = SUITES[suite_of(environment)][environment]
    bare = Configuration(algorithm, environment, steps)
    return bare.changed(SETTINGS[algorithm][environment])
