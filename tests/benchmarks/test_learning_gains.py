"""The gains of steps on other rollouts: their gradient and Fisher matrix against autograd's."""

import copy

import pytest
import torch as th
from torch.distributions import Normal, kl_divergence

from benchmarks.learning.gains import TRUTH, Actor, collect, gains
from sb3_trpo import TRPO

DTYPE = {"rtol": 1e-4, "atol": 1e-6}


@pytest.fixture(scope="module")
def model():
    return TRPO(
        "MlpPolicy",
        "Pendulum-v1",
        n_steps=64,
        batch_size=64,
        policy_kwargs={"net_arch": [8], "log_std_init": -0.5},
        seed=0,
        device="cpu",
    ).learn(128)


def actor_parameters(policy):
    return [
        *policy.mlp_extractor.policy_net.parameters(),
        *policy.action_net.parameters(),
        policy.log_std,
    ]


def flat(tensors):
    return th.cat([tensor.reshape(-1) for tensor in tensors]).double()


def test_gradient_is_autograds(model):
    observations, actions, advantages = th.randn(30, 3), th.randn(30, 1), th.randn(30)
    _, log_prob, _ = model.policy.evaluate_actions(observations, actions)
    expected = th.autograd.grad((advantages * log_prob).mean(), actor_parameters(model.policy))
    data = (x.double() for x in (observations, actions, advantages))
    got = Actor(model).gradient(*data, clipped=False)
    th.testing.assert_close(got, flat(expected), **DTYPE)


def test_gradient_of_clipped_actions_is_that_of_their_probabilities(model):
    """Actions are drawn from further afield than the policy's, which hardly reaches the bounds."""
    policy = model.policy
    layers = [*policy.mlp_extractor.policy_net, policy.action_net]
    net = copy.deepcopy(th.nn.Sequential(*layers)).double()
    log_std = policy.log_std.detach().double().requires_grad_()
    observations, actions, advantages = (th.randn(30, n).double() for n in (3, 1, 1))
    actions, bound = 3 * actions, th.tensor(2.0)
    at = Normal(net(observations), log_std.exp())
    beyond = th.where(actions > 0, 1 - at.cdf(bound), at.cdf(-bound)).log()
    log_prob = th.where(actions.abs() >= bound, beyond, at.log_prob(actions))
    expected = th.autograd.grad((advantages * log_prob).mean(), [*net.parameters(), log_std])
    got = Actor(model).gradient(observations, actions, advantages[:, 0], clipped=True)
    assert (actions.abs() >= bound).sum() > 5
    th.testing.assert_close(got, flat(expected))


def test_fisher_vector_product_is_the_hessian_of_the_kl(model):
    observations = th.randn(30, 3)
    parameters = actor_parameters(model.policy)
    vector = th.randn(sum(p.numel() for p in parameters))
    new = model.policy.get_distribution(observations).distribution
    old = Normal(new.mean.detach(), new.stddev.detach())
    kl = kl_divergence(old, new).sum(-1).mean()
    slope = th.cat([g.reshape(-1) for g in th.autograd.grad(kl, parameters, create_graph=True)])
    expected = th.autograd.grad(slope @ vector, parameters)
    got = Actor(model).fisher_vector_product(observations.double(), vector.double())
    th.testing.assert_close(got, flat(expected), **DTYPE)


def test_gain_is_that_of_the_whole_gradient_where_all_rollouts_are_alike(model):
    """With F x = g solved exactly and g the others' gradient too, it is √(gᵀF⁻¹g)."""
    actor = Actor(model)
    (sample,) = collect(model, actor, 1)
    gradient, size = sample.gradients[TRUTH], len(sample.gradients[TRUTH])
    products = [actor.fisher_vector_product(sample.observations, e) for e in th.eye(size).double()]
    fisher = th.stack(products) + 1e-2 * th.eye(size)
    x = th.linalg.solve(fisher, gradient)
    exact = (gradient @ x / (x @ (fisher - 1e-2 * th.eye(size)) @ x).sqrt()).item()
    mean, error = gains(actor, [sample, sample], TRUTH, 200, 1e-2)
    assert mean == pytest.approx(exact, rel=1e-5)
    assert error == pytest.approx(0, abs=1e-9)
