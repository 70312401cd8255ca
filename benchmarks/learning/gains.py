"""
What a step gains beyond its own rollout, by λ of GAE, length of the solve and `clipped_actions`.

    python -m benchmarks.learning.gains --env Ant-v5 --steps 200000

Final returns of single runs differ by thousands between seeds. This looks at one update instead: a
policy of our setting, trained for some steps, collects many rollouts without learning. Each gives
a direction x by conjugate gradient; all others together say what x is worth: with g their gradient
of the surrogate, the gain is gᵀx / √(xᵀFx). What a direction owes to the noise of its own rollout
gains nothing there. The advantages in g have λ = 1: they are unbiased. Its probabilities are those
of clipped actions, which have the same mean as the plain ones and vary less. Values are as the
critic gives them, not centred.
"""

import argparse
import copy
import itertools
import json
import math
from dataclasses import dataclass

import numpy as np
import torch as th
from stable_baselines3.common.callbacks import ConvertCallback
from stable_baselines3.common.distributions import DiagGaussianDistribution
from torch.distributions import Normal
from torch.func import functional_call, jvp, vjp

from benchmarks.learning.configuration import Configuration
from benchmarks.learning.configurations import configuration
from benchmarks.learning.models import build_model
from benchmarks.learning.suites import FIRST_TUNING_SEED, OURS, SUITES
from sb3_trpo import TRPO
from sb3_trpo.clipped_actions import ClippedGaussianMap
from sb3_trpo.distributions import DistributionMap
from sb3_trpo.optim import conjugate_gradient
from sb3_trpo.rollouts import _estimate_advantages

LAMBDAS = (0.8, 0.85, 0.9, 0.95, 0.98)
ITERATIONS = (1, 2, 5, 10, 15, 25)
TRUTH = 1.0, True
"""λ, and whether probabilities are those of clipped actions."""


@dataclass(frozen=True)
class Sample:
    """
    One rollout of a Gaussian policy, in float64.

    :param observations: (N, …)
    :param gradients: (P,) of the surrogate, unnormalised, by λ and whether probabilities are those
        of clipped actions; the last A entries are log_std's
    """

    observations: th.Tensor
    gradients: dict[tuple[float, bool], th.Tensor]


class Actor:
    """The mean network and the standard deviations of a policy, as functions of flat parameters."""

    def __init__(self, model: TRPO) -> None:
        policy = model.policy
        layers = [*policy.mlp_extractor.policy_net, policy.action_net]
        self._net = copy.deepcopy(th.nn.Sequential(*layers)).double()
        self._parameters = {name: p.detach() for name, p in self._net.named_parameters()}
        self._sizes = [p.numel() for p in self._parameters.values()]
        self._std = policy.log_std.detach().double().exp()
        self._gaussian = DiagGaussianDistribution(len(self._std))
        self._gaussian.distribution = Normal(self._std[None], self._std[None])
        self._maps = {
            False: DistributionMap(self._gaussian),
            True: ClippedGaussianMap(self._gaussian, policy.action_space),
        }

    def _means(self, observations, parameters):
        return functional_call(self._net, parameters, (observations,))

    def gradient(self, observations, actions, advantages, *, clipped):
        """Return (P,) the gradient of mean(advantages · log π)."""
        means, pull_back = vjp(lambda p: self._means(observations, p), self._parameters)
        leaves = means.detach().requires_grad_(), self._std.log().requires_grad_()
        self._gaussian.distribution = Normal(leaves[0], leaves[1].exp())
        log_prob = self._maps[clipped].log_prob(self._gaussian, actions)
        of_means, of_std = th.autograd.grad((advantages * log_prob).mean(), leaves)
        (parts,) = pull_back(of_means)
        return th.cat([*(part.reshape(-1) for part in parts.values()), of_std])

    def fisher_vector_product(self, observations, vector):
        """Return (P,) F v, over the states of one rollout."""
        *flat, of_std = vector.split([*self._sizes, len(self._std)])
        tangents = {
            name: part.view_as(p)
            for (name, p), part in zip(self._parameters.items(), flat, strict=True)
        }
        means = lambda p: self._means(observations, p)  # noqa: E731
        _, moved = jvp(means, (self._parameters,), (tangents,))
        _, pull_back = vjp(means, self._parameters)
        (parts,) = pull_back(moved / self._std**2 / len(observations))
        return th.cat([*(part.reshape(-1) for part in parts.values()), 2 * of_std])


def collect(model: TRPO, actor: Actor, n_rollouts: int) -> list[Sample]:
    """Collect rollouts of the policy as it is."""
    callback = ConvertCallback(None)
    callback.init_callback(model)
    buffer, samples = model.rollout_buffer, []
    for _ in range(n_rollouts):
        model.collect_rollouts(model.env, callback, buffer, model.n_steps)
        with th.no_grad():
            observations = th.as_tensor(model._last_obs, dtype=th.float32)
            last = model.policy.predict_values(observations).numpy()[:, 0]

        def flat(array):
            return th.as_tensor(array.reshape(-1, *array.shape[2:]), dtype=th.float64)

        gradients = {}
        for gae_lambda in (*LAMBDAS, TRUTH[0]):
            buffer.gae_lambda = gae_lambda
            _estimate_advantages(buffer, last, model._continuations.going_on)
            advantages = flat(buffer.advantages)
            data = flat(buffer.observations), flat(buffer.actions), advantages - advantages.mean()
            for clipped in (False, True):
                gradients[gae_lambda, clipped] = actor.gradient(*data, clipped=clipped)
        samples.append(Sample(flat(buffer.observations), gradients))
    return samples


def gains(
    actor: Actor,
    samples: list[Sample],
    kind: tuple[float, bool],
    n_iterations: int,
    damping: float,
):
    """Return mean and standard error of the gain per square root of a nat."""
    total = sum(sample.gradients[TRUTH] for sample in samples)
    found = []
    for sample in samples:

        def product(vector, sample=sample):
            return actor.fisher_vector_product(sample.observations, vector)

        x = conjugate_gradient(
            lambda v, product=product: product(v) + damping * v,
            sample.gradients[kind],
            max_iterations=n_iterations,
            relative_tolerance=0.0,
        ).x
        others = (total - sample.gradients[TRUTH]) / (len(samples) - 1)
        found.append(float(others @ x / math.sqrt(float(x @ product(x)))))
    return float(np.mean(found)), float(np.std(found) / math.sqrt(len(found)))


def trained(config: Configuration, n_steps: int) -> TRPO:
    """Return a model that has learned for some steps, its normalisation frozen."""
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
    actor = Actor(model)
    samples = collect(model, actor, options.rollouts)
    print(f"{options.env} after {model.num_timesteps} steps: 1000 × gain, by λ and CG iterations")
    print("| λ | actions |", *(f"{n} |" for n in ITERATIONS))
    print("|---|---|" + "---|" * len(ITERATIONS))
    for gae_lambda, clipped in itertools.product(LAMBDAS, (False, True)):
        kind = gae_lambda, clipped
        cells = [gains(actor, samples, kind, n, model.cg_damping) for n in ITERATIONS]
        figures = " | ".join(f"{1e3 * mean:.2f} ± {1e3 * error:.2f}" for mean, error in cells)
        print(f"| {gae_lambda} | {'clipped' if clipped else 'as drawn'} | {figures} |")


if __name__ == "__main__":
    main()
