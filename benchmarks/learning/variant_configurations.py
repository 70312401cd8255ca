"""
Settings of the variants and of their PPO counterparts, on tasks with masks and with memory.

The counterparts run with settings that their own projects publish: "zoo" is rl_zoo3 2.9.2's
``hyperparams/ppo_lstm.yml``, "docs" sb3_contrib's documentation. What a setting leaves out is the
default of the constructor.
"""

from benchmarks.learning.configuration import Settings
from benchmarks.learning.schedules import linear

# --- masked actions ----------------------------------------------------------------------------

# Docs, MaskablePPO's example on InvalidActionEnvDiscrete(dim=80, n_invalid_actions=60).
MASKABLE_PPO: Settings = {"gamma": 0.4}
MASKABLE_TRPO: Settings = {"gamma": 0.4, "n_steps": 512, "target_kl": linear(0.06, 0.005)}

# --- memory ------------------------------------------------------------------------------------

# The network of the zoo's tuned entries for CartPoleNoVel-v1 and PendulumNoVel-v1.
RECURRENT_PPO_SMALL: Settings = {
    "ortho_init": False,
    "activation_fn": "ReLU",
    "lstm_hidden_size": 64,
    "enable_critic_lstm": True,
    "net_arch": {"pi": [64], "vf": [64]},
}

RECURRENT_PPO: dict[str, Settings] = {
    "CartPoleNoVelocity-v1": {  # zoo, CartPoleNoVel-v1
        "n_envs": 8,
        "normalize": {},
        "policy": "MlpLstmPolicy",
        "n_steps": 32,
        "batch_size": 256,
        "gae_lambda": 0.8,
        "gamma": 0.98,
        "n_epochs": 20,
        "ent_coef": 0.0,
        "learning_rate": linear(1e-3),
        "clip_range": linear(0.2),
        "policy_kwargs": RECURRENT_PPO_SMALL,
    },
    "PendulumNoVelocity-v1": {  # zoo, PendulumNoVel-v1
        "n_envs": 4,
        "normalize": {},
        "policy": "MlpLstmPolicy",
        "n_steps": 1024,
        "gae_lambda": 0.95,
        "gamma": 0.9,
        "n_epochs": 10,
        "ent_coef": 0.0,
        "learning_rate": 1e-3,
        "clip_range": 0.2,
        "use_sde": True,
        "sde_sample_freq": 4,
        "policy_kwargs": RECURRENT_PPO_SMALL,
    },
    # Zoo, HalfCheetah-v4: tuned for 1 M steps, and better at 200 k than its entry for Ant-v4, which
    # is PPO's defaults (3049 against 1413 on seed 100).
    "HalfCheetahNoVelocity-v5": {
        "normalize": {},
        "policy": "MlpLstmPolicy",
        "batch_size": 64,
        "n_steps": 512,
        "gamma": 0.98,
        "learning_rate": 2.0633e-05,
        "ent_coef": 0.000401762,
        "clip_range": 0.1,
        "n_epochs": 20,
        "gae_lambda": 0.92,
        "max_grad_norm": 0.8,
        "vf_coef": 0.58096,
        "policy_kwargs": {
            "log_std_init": -2,
            "ortho_init": False,
            "activation_fn": "ReLU",
            "net_arch": {"pi": [256, 256], "vf": [256, 256]},
        },
    },
}
RECURRENT_TRPO: dict[str, Settings] = {
    "CartPoleNoVelocity-v1": {
        "n_envs": 8,
        "policy": "MlpLstmPolicy",
        "n_steps": 64,
        "gamma": 0.98,
        "target_kl": linear(0.03, 0.001),
        "n_critic_updates": 20,
        "learning_rate": linear(1e-3),
        "policy_kwargs": {"lstm_hidden_size": 64},
    },
    "PendulumNoVelocity-v1": {
        "n_envs": 4,
        "policy": "MlpLstmPolicy",
        "n_steps": 256,
        "gamma": 0.9,
        "target_kl": linear(0.04, 0.005),
        "n_critic_updates": 20,
        "learning_rate": linear(2e-3),
        "use_sde": True,
        "sde_sample_freq": 4,
        "policy_kwargs": {"lstm_hidden_size": 64},
    },
    "HalfCheetahNoVelocity-v5": {
        "n_envs": 4,
        "normalize": {},
        "policy": "MlpLstmPolicy",
        "n_steps": 512,
        "gamma": 0.98,
        "gae_lambda": 0.92,
        "target_kl": 0.04,
        "learning_rate": linear(1e-3),
        "policy_kwargs": {"log_std_init": -2, "lstm_hidden_size": 128},
    },
}
