"""
What a step gains beyond its own rollout, by `gae_lambda`, length of the solve, `clipped_actions`.

    python -m benchmarks.learning.gains --env Ant-v5 --steps 200000

Final returns of single runs differ by thousands between seeds. This looks at one update instead: a
policy of our setting, trained for some steps, collects many rollouts without learning. Each gives
a direction x by conjugate gradient; all others together say what x is worth: with g their gradient
of the surrogate, the gain is gᵀx / √(xᵀFx). What a direction owes to the noise of its own rollout
gains nothing there. The advantages in g have `gae_lambda` 1: they are unbiased. Its probabilities
are those of clipped actions, which have the same mean as the plain ones and vary less. Values are
as the critic gives them, not centred.
"""

import argparse
import itertools
import json
import math
from dataclasses import dataclass, replace

import numpy as np
import torch as th
from stable_baselines3.common.callbacks import ConvertCallback

from benchmarks.learning.configuration import Configuration
from benchmarks.learning.configurations import configuration
from benchmarks.learning.models import build_model
from benchmarks.learning.suites import FIRST_TUNING_SEED, OURS, SUITES
from sb3_trpo import TRPO
from sb3_trpo.actor_step import actor_problem
from sb3_trpo.optim import JacobianForm, TrustRegionProblem
from sb3_trpo.optim.precision import dot
from sb3_trpo.optim.trust_region import _Gradient, _search_direction, _surrogate_gradient
from sb3_trpo.rollouts import _estimate_advantages

GAE_LAMBDAS = (0.8, 0.85, 0.9, 0.95, 0.98)
ITERATIONS = (1, 2, 5, 10, 15, 25)
TRUTH = 1.0, True
"""gae_lambda, and whether probabilities are those of clipped actions."""


@dataclass(frozen=True)
class Sample:
    """
    One rollout.

    :param problem: the actor's step on it
    :param form: how J v is computed
    :param gradient: of the surrogate; its vector is one of ``vectors``
    :param vectors: (P,) gradients, advantages not normalised, by gae_lambda and whether
        probabilities are those of clipped actions
    """

    problem: TrustRegionProblem
    form: JacobianForm
    gradient: _Gradient
    vectors: dict[tuple[float, bool], th.Tensor]


def collect(model: TRPO, n_rollouts: int) -> list[Sample]:
    """
    Collect rollouts of the policy as it is.

    :param model: whose policy
    :param n_rollouts: how many
    :return: one each
    """
    callback = ConvertCallback(None)
    callback.init_callback(model)
    return [_sample(model, callback) for _ in range(n_rollouts)]


def _sample(model: TRPO, callback: ConvertCallback) -> Sample:
    buffer = model.rollout_buffer
    model.collect_rollouts(model.env, callback, buffer, model.n_steps)
    model.policy.set_training_mode(False)
    last = model.policy.predict_values(model.policy.obs_to_tensor(model._last_obs)[0])
    last_values = last.detach().numpy()[:, 0]
    vectors = {}
    for kind in itertools.product((*GAE_LAMBDAS, TRUTH[0]), (False, True)):
        buffer.gae_lambda, model.clipped_actions = kind
        _estimate_advantages(buffer, last_values, model._continuations.going_on)
        batch = model._batch(buffer)
        batch = replace(batch, advantages=batch.advantages - batch.advantages.mean())
        problem, form = actor_problem(model, batch, None)
        gradient = _surrogate_gradient(problem)
        vectors[kind] = gradient.vector
    return Sample(problem, form, gradient, vectors)


def gains(
    samples: list[Sample], kind: tuple[float, bool], n_iterations: int, damping: float
) -> tuple[float, float]:
    """
    Say what the directions of one kind gain on all other rollouts.

    :param samples: at least two
    :param kind: gae_lambda, and whether probabilities are those of clipped actions
    :param n_iterations: of conjugate gradient
    :param damping: λ of the solve
    :return: mean and standard error of the gain per square root of a nat
    """
    total = sum(sample.vectors[TRUTH] for sample in samples)
    found = []
    for sample in samples:
        cg, curvature = _search_direction(
            sample.problem,
            replace(sample.gradient, vector=sample.vectors[kind]),
            damping=damping,
            max_iterations=n_iterations,
            relative_tolerance=0.0,
            form=sample.form,
        )
        others = (total - sample.vectors[TRUTH]) / (len(samples) - 1)
        found.append(dot(others, cg.x).item() / math.sqrt(curvature))
    return float(np.mean(found)), float(np.std(found) / math.sqrt(len(found)))


def trained(config: Configuration, n_steps: int) -> TRPO:
    """
    Train for the first steps of a run.

    :param config: of the whole run
    :param n_steps: after which it stops
    :return: the model, its normalisation frozen
    """
    model = build_model(config, FIRST_TUNING_SEED)
    # Stopped early, so that schedules are those of the whole run.
    model.learn(config.steps, callback=lambda *_: model.num_timesteps < n_steps)
    model.get_vec_normalize_env().training = False
    return model


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--env", choices=list(SUITES["mujoco"]), required=True)
    parser.add_argument("--steps", type=int, default=200_000, help="of training before")
    parser.add_argument("--rollouts", type=int, default=40)
    parser.add_argument("--setting", type=json.loads, default={}, help="JSON of what to change")
    options = parser.parse_args()
    th.set_num_threads(1)
    config = configuration(OURS, options.env).changed(options.setting)
    model = trained(config, options.steps)
    samples = collect(model, options.rollouts)
    when = f"{options.env} after {model.num_timesteps} steps"
    print(f"{when}: 1000 × gain, by gae_lambda and CG iterations")
    print("| gae_lambda | actions |", *(f"{n} |" for n in ITERATIONS))
    print("|---|---|" + "---|" * len(ITERATIONS))
    for gae_lambda, clipped in itertools.product(GAE_LAMBDAS, (False, True)):
        kind = gae_lambda, clipped
        cells = [gains(samples, kind, n, model.cg_damping) for n in ITERATIONS]
        figures = " | ".join(f"{1e3 * mean:.2f} ± {1e3 * error:.2f}" for mean, error in cells)
        print(f"| {gae_lambda} | {'clipped' if clipped else 'as drawn'} | {figures} |")


if __name__ == "__main__":
    main()
