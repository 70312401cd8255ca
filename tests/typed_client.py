"""
A user's code, for ``mypy --strict``; tests/test_typing.py says what must come out, nobody runs it.

A line that ends in ``# reveals T`` is of type T; mypy must report one that ends in
``# wrong: CODE``, and nothing else.
"""

# ruff: noqa: B018, F821  # reveal_type is mypy's

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

import sb3_trpo
from sb3_trpo import TRPO, MaskableTRPO, MlpPolicy, RecurrentTRPO
from sb3_trpo.distributions import register_distribution
from sb3_trpo.envs import EnvPoolVecEnv
from sb3_trpo.optim import Trial, conjugate_gradient, kl_matching_search


class Mine(TRPO):
    """A subclass."""


class Budget(BaseCallback):
    """A callback."""

    def _on_step(self) -> bool:
        return isinstance(self.model, TRPO) and self.model.n_critic_updates < 20


def decaying(progress: float) -> float:
    """Return δ for the remaining progress."""
    return 0.02 * progress


def train(env: VecEnv, task: gym.Env[np.ndarray, int]) -> None:
    """Build and train each algorithm."""
    model = TRPO(MlpPolicy, env, target_kl=decaying, policy_kwargs={"net_arch": [8]})
    reveal_type(model)  # reveals TRPO
    reveal_type(model.learn(100, callback=[Budget(), EvalCallback(env)]))  # reveals TRPO
    reveal_type(Mine("MlpPolicy", task).learn(100, log_interval=4))  # reveals Mine
    reveal_type(MaskableTRPO("MlpPolicy", env).learn(9, use_masking=False))  # reveals MaskableTRPO
    reveal_type(RecurrentTRPO("MlpLstmPolicy", "CartPole-v1").learn(9))  # reveals RecurrentTRPO
    TRPO("MlpPolicy", env, target_kl="0.01")  # wrong: arg-type
    TRPO("MlpPolicy", env, clip_range=0.2)  # wrong: call-arg
    MaskableTRPO("MlpPolicy", env, use_sde=True)  # wrong: call-arg
    model.learn(total_timesteps="many")  # wrong: arg-type


def load(path: str, env: VecEnv, observation: np.ndarray) -> np.ndarray:
    """Load a model of each class and act."""
    reveal_type(TRPO.load(path))  # reveals TRPO
    reveal_type(Mine.load(path, env, device="cpu"))  # reveals Mine
    reveal_type(MaskableTRPO.load(path, n_steps=64))  # reveals MaskableTRPO
    reveal_type(RecurrentTRPO.load(path))  # reveals RecurrentTRPO
    masks = np.ones(2, dtype=bool)
    actions, _ = MaskableTRPO.load(path).predict(observation, action_masks=masks)
    TRPO.load(path).predict(observation, action_masks=masks)  # wrong: call-arg
    TRPO.load(5)  # wrong: arg-type
    return actions


def core(a: th.Tensor, b: th.Tensor) -> th.Tensor:
    """Use the numerical core alone."""
    solved = conjugate_gradient(a.mv, b, max_iterations=3, relative_tolerance=1e-3)
    reveal_type(solved)  # reveals CGResult
    reveal_type(solved.iterations)  # reveals int
    found = kl_matching_search(
        lambda fraction: Trial(step_fraction=fraction, surrogate=fraction, kl=fraction**2),
        old_surrogate=0.0,
        target_kl=0.01,
        shrinking_factor=0.8,
        max_iterations=10,
    )
    reveal_type(found.accepted)  # reveals Trial | None
    conjugate_gradient(a.mv, b, 3, 1e-3)  # wrong: call-arg
    solved.x = b  # wrong: misc
    return solved.x


def environments() -> VecEnv:
    """Make environments of EnvPool's."""
    register_distribution(th.distributions.Beta, ("concentration1", "concentration0"))
    register_distribution(dict, ())  # wrong: arg-type
    env = EnvPoolVecEnv("CartPole-v1", 4, seed=0)
    reveal_type(env)  # reveals EnvPoolVecEnv
    return VecNormalize(env)


reveal_type(sb3_trpo.__version__)  # reveals str
sb3_trpo.PPO  # wrong: attr-defined
