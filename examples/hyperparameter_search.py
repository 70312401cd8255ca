"""
Search for TRPO's hyperparameters with Optuna: each trial trains, and bad ones are cut short.

    pip install optuna
    python examples/hyperparameter_search.py --env CartPole-v1 --steps 20000 --trials 20

Ended and started again with the same --storage, the search goes on. For rl_zoo3's search with our
sampler see docs/howto/zoo.md: python -m sb3_trpo.zoo train --algo trpo --env CartPole-v1 -optimize.
"""

import argparse

import optuna
import torch as th
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.env_util import make_vec_env

from sb3_trpo import TRPO

EVALUATIONS = 4
N_ENVS = 4


class Pruning(BaseCallback):
    """Tell the trial each evaluation's return; end the training where it lags behind others."""

    parent: EvalCallback

    def __init__(self, trial: optuna.Trial) -> None:
        super().__init__()
        self.trial = trial
        self.is_pruned = False

    def _on_step(self) -> bool:
        self.trial.report(float(self.parent.last_mean_reward), self.num_timesteps)
        self.is_pruned = self.trial.should_prune()
        return not self.is_pruned


def setting(trial: optuna.Trial) -> dict:
    """Draw what matters most: the size of the step, the data of one, the critic, the horizon."""
    return {
        "target_kl": trial.suggest_float("target_kl", 0.003, 0.1, log=True),
        "cg_damping": trial.suggest_float("cg_damping", 0.003, 0.3, log=True),
        "n_steps": trial.suggest_categorical("n_steps", [64, 128, 256, 512]),
        "n_critic_updates": trial.suggest_int("n_critic_updates", 5, 30),
        "learning_rate": trial.suggest_float("learning_rate", 3e-4, 5e-3, log=True),
        "gamma": 1 - trial.suggest_float("one_minus_gamma", 0.001, 0.05, log=True),
        "gae_lambda": 1 - trial.suggest_float("one_minus_gae_lambda", 0.01, 0.2, log=True),
    }


def train(trial: optuna.Trial, env_id: str, steps: int) -> float:
    """Return the mean return at the trial's end."""
    env = make_vec_env(env_id, N_ENVS, seed=trial.number)
    pruning = Pruning(trial)
    evaluation = EvalCallback(
        make_vec_env(env_id, seed=10_000 + trial.number),
        callback_after_eval=pruning,
        n_eval_episodes=10,
        eval_freq=max(steps // EVALUATIONS // N_ENVS, 1),
        verbose=0,
    )
    model = TRPO("MlpPolicy", env, seed=trial.number, device="cpu", **setting(trial))
    model.learn(steps, callback=evaluation)
    if pruning.is_pruned:
        raise optuna.TrialPruned
    return float(evaluation.last_mean_reward)


def main() -> None:
    """Search, and print the best."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--env", default="CartPole-v1")
    parser.add_argument("--steps", type=int, default=20_000, help="of each trial")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--storage", help="where the trials are kept: sqlite:///search.db, say")
    options = parser.parse_args()

    th.set_num_threads(1)
    study = optuna.create_study(
        direction="maximize",
        study_name=f"trpo-{options.env}",
        storage=options.storage,
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5),
    )
    study.optimize(lambda trial: train(trial, options.env, options.steps), options.trials)
    n_pruned = len(study.get_trials(states=(optuna.trial.TrialState.PRUNED,)))
    counts = f"{len(study.trials)} trials, {n_pruned} of them cut short"
    print(f"best of {counts}: {study.best_value:.1f}")
    for name, value in study.best_params.items():
        print(f"  {name}: {value:.4g}")


if __name__ == "__main__":
    main()
