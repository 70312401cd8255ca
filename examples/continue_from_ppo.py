"""
Train a policy with PPO, and go on with TRPO from its parameters.

    python examples/continue_from_ppo.py --steps 20000
"""

import argparse

from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

from sb3_trpo import TRPO


def main() -> None:
    """Train with one, then with the other; evaluate after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--steps", type=int, default=20_000, help="of each algorithm")
    options = parser.parse_args()

    env = make_vec_env("CartPole-v1", n_envs=8, seed=0)
    ppo = PPO("MlpPolicy", env, n_steps=128, batch_size=256, seed=0, device="cpu")
    ppo.learn(options.steps)
    mean, std = evaluate_policy(ppo, env, n_eval_episodes=20)
    print(f"PPO:            {mean:.0f} ± {std:.0f}")

    # The networks must be the same; optimiser state comes along, for the value function.
    trpo = TRPO("MlpPolicy", env, n_steps=128, batch_size=256, seed=0, device="cpu")
    trpo.set_parameters(ppo.get_parameters())
    mean, std = evaluate_policy(trpo, env, n_eval_episodes=20)
    print(f"taken over:     {mean:.0f} ± {std:.0f}")
    trpo.learn(options.steps)
    mean, std = evaluate_policy(trpo, env, n_eval_episodes=20)
    print(f"TRPO after PPO: {mean:.0f} ± {std:.0f}")


if __name__ == "__main__":
    main()
