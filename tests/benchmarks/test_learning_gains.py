"""The gains of steps on other rollouts, against dense matrices."""

from statistics import fmean, pstdev

import pytest
import torch as th
from torch.distributions import Normal, kl_divergence

from benchmarks.learning.gains import GAE_LAMBDAS, TRUTH, collect, gains
from sb3_trpo import TRPO

DAMPING = 0.1


@pytest.fixture(scope="module")
def model():
    return TRPO(
        "MlpPolicy",
        "Pendulum-v1",
        n_steps=64,
        batch_size=64,
        policy_kwargs={"net_arch": [8], "log_std_init": 0.7},  # so wide that actions are clipped
        seed=0,
        device="cpu",
    ).learn(128)


def dense_fisher(policy, observations, parameters):
    new = policy.get_distribution(observations).distribution
    old = Normal(new.mean.detach(), new.stddev.detach())
    kl = kl_divergence(old, new).sum(-1).mean()
    slope = th.cat([g.reshape(-1) for g in th.autograd.grad(kl, parameters, create_graph=True)])
    rows = [th.autograd.grad(entry, parameters, retain_graph=True) for entry in slope]
    return th.stack([th.cat([g.reshape(-1) for g in row]) for row in rows]).double()


def test_gradient_is_that_of_the_rollout(model):
    (sample,) = collect(model, 1)
    batch = model._batch(model.rollout_buffer)  # gae_lambda 1 came last
    advantages = batch.advantages - batch.advantages.mean()
    _, log_prob, _ = model.policy.evaluate_actions(batch.observations, batch.actions)
    parameters = list(sample.gradient.parameters.tensors)
    expected = th.autograd.grad((advantages * log_prob).mean(), parameters)
    expected = th.cat([part.reshape(-1) for part in expected])
    th.testing.assert_close(sample.vectors[1.0, False], expected, rtol=1e-3, atol=1e-5)
    different = {tuple(vector.tolist()) for vector in sample.vectors.values()}
    assert len(different) == 2 * len(GAE_LAMBDAS) + 2


@pytest.mark.parametrize("kind", [(0.9, False), TRUTH])
def test_gain_is_that_of_dense_matrices(model, kind):
    samples = collect(model, 3)
    expected = []
    for sample in samples:
        observations = sample.problem.chunks[0].batch.observations
        fisher = dense_fisher(model.policy, observations, list(sample.gradient.parameters.tensors))
        own = sample.vectors[kind].double()
        x = th.linalg.solve(fisher + DAMPING * th.eye(len(own)), own)
        others = sum(other.vectors[TRUTH].double() for other in samples if other is not sample) / 2
        expected.append((others @ x / (x @ fisher @ x).sqrt()).item())
    mean, error = gains(samples, kind, 60, DAMPING)
    assert mean == pytest.approx(fmean(expected), rel=1e-3)
    assert error == pytest.approx(pstdev(expected) / 3**0.5, rel=1e-3)
