"""What is learnt: two small tasks, solved in a few seconds."""

from dataclasses import dataclass
from typing import Any

from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv

from benchmarks.soak.faults import Faults, FaultyEnv
from benchmarks.soak.watched import WatchedTRPO

_EVAL_SEED = 1_000_000


@dataclass(frozen=True)
class Task:
    """
    A task and the setting it is learnt with.

    :param env_id: of the environments
    :param steps: of a training
    :param n_envs: environments
    :param settings: of TRPO
    """

    env_id: str
    steps: int
    n_envs: int
    settings: dict[str, Any]

    @property
    def rollout(self) -> int:
        """Steps between two updates."""
        return self.n_envs * int(self.settings["n_steps"])

    def env(self, seed: int, faults: Faults | None) -> VecEnv:
        """Make the environments, faulty ones if there are faults."""
        if faults is None:
            return make_vec_env(self.env_id, self.n_envs, seed=1000 * seed)
        return make_vec_env(
            self.env_id,
            self.n_envs,
            seed=1000 * seed,
            wrapper_class=FaultyEnv,
            wrapper_kwargs={"faults": faults},
        )

    def model(self, seed: int, env: VecEnv) -> WatchedTRPO:
        """Make an untrained model."""
        return WatchedTRPO("MlpPolicy", env, seed=seed, device="cpu", **self.settings)

    def score(self, model: WatchedTRPO, n_episodes: int) -> float:
        """Return the mean return of the same episodes for every model."""
        env = make_vec_env(self.env_id, 1, seed=_EVAL_SEED)
        mean, _ = evaluate_policy(model, env, n_episodes)
        env.close()
        return float(mean)


TASKS = {
    "Acrobot-v1": Task(
        "Acrobot-v1", 51_200, 8, {"n_steps": 64, "batch_size": 64, "target_kl": 0.02}
    ),
    "Pendulum-v1": Task(
        "Pendulum-v1", 102_400, 4, {"n_steps": 256, "gamma": 0.9, "target_kl": 0.02}
    ),
}
