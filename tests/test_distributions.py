import copy
import math

import pytest
import torch as th
from stable_baselines3.common.distributions import SquashedDiagGaussianDistribution
from torch.distributions import Distribution as TorchDistribution

from sb3_trpo import families
from sb3_trpo.batch import Batch, OldActor
from sb3_trpo.distributions import (
    DistributionMap,
    check_log_prob,
    register_distribution,
    unvalidated,
)
from tests.policies_under_test import (
    ACTION_SPACES,
    BetaDistribution,
    detached,
    joint_kl,
    make_policy,
    observe,
)

ALL = [*ACTION_SPACES, "beta"]
N = 6


def two_policies(name):
    """The same policy before and after a small change of all its parameters."""
    old = make_policy(name)
    new = copy.deepcopy(old) if "gsde" not in name else make_policy(name)
    th.manual_seed(5)
    with th.no_grad():
        for parameter in new.parameters():
            parameter += 0.2 * th.randn_like(parameter)
    return old, new


@pytest.mark.parametrize("name", ALL)
def test_kl_is_joint_and_matches_torch_and_monte_carlo(name):
    old_policy, new_policy = two_policies(name)
    observations = observe(N)
    old = old_policy.get_distribution(observations)
    new = new_policy.get_distribution(observations)
    mapping = DistributionMap(old)
    old_params, new_params = mapping.read(old), mapping.read(new)
    kl = mapping.kl(old_params, new_params)
    assert kl.shape == (N,)
    assert th.allclose(kl, joint_kl(detached(old), detached(new)), rtol=1e-12)

    # Monte Carlo with the torch distributions themselves, joint over action dimensions.
    th.manual_seed(0)
    samples = 200_000
    parts_old = detached(old) if isinstance(detached(old), list) else [detached(old)]
    parts_new = detached(new) if isinstance(detached(new), list) else [detached(new)]
    gap = 0.0
    for p, q in zip(parts_old, parts_new, strict=True):
        actions = p.sample((samples,))
        difference = p.log_prob(actions) - q.log_prob(actions)
        gap = gap + (difference if difference.dim() == 2 else difference.sum(dim=2))
    standard_error = gap.std(dim=0) / math.sqrt(samples)
    assert (abs(gap.mean(dim=0) - kl) < 5 * standard_error).all()


@pytest.mark.parametrize("name", ALL)
def test_metric_is_the_hessian_of_the_kl(name):
    policy = make_policy(name)
    distribution = policy.get_distribution(observe(N))
    mapping = DistributionMap(distribution)
    params = mapping.read(distribution).detach()
    metric = mapping.metric(params)
    for row in range(N):
        hessian = th.autograd.functional.hessian(
            lambda new, row=row: mapping.kl(params[row : row + 1], new[None]).sum(), params[row]
        )
        vectors = th.zeros_like(params)
        vectors[row] = th.randn(params.shape[1], dtype=th.float64)
        expected = th.zeros_like(params)
        expected[row] = hessian @ vectors[row]
        assert th.allclose(metric(vectors), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ALL)
def test_rebuilt_distribution_is_the_same_in_double_precision(name):
    policy = make_policy(name, th.float32)
    observations = observe(N, th.float32)
    distribution = policy.get_distribution(observations)
    actions = distribution.sample()
    mapping = DistributionMap(distribution)
    rebuilt = mapping.build(mapping.read(distribution).double())
    log_prob = mapping.log_prob(rebuilt, actions)
    assert log_prob.dtype == th.float64
    assert th.allclose(log_prob, distribution.log_prob(actions).double(), rtol=1e-4, atol=1e-4)
    entropy = distribution.entropy()
    if entropy is None:
        assert rebuilt.entropy() is None
    else:
        assert th.allclose(rebuilt.entropy(), entropy.double(), rtol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_map_outlives_the_policy_rewriting_its_distribution(name):
    policy = make_policy(name)
    distribution = policy.get_distribution(observe(N))
    mapping = DistributionMap(distribution)
    params = mapping.read(distribution).detach().clone()
    policy.get_distribution(observe(N, seed=9))  # rewrites the same object
    assert th.allclose(mapping.read(mapping.build(params)), params, rtol=1e-12)


class Held:
    """The part of SB3's interface that the map uses."""

    def __init__(self, distribution):
        self.distribution = distribution


def test_independent_normal_has_the_kl_of_its_base():
    loc, scale = th.randn(4, 3, dtype=th.float64), th.rand(4, 3, dtype=th.float64) + 0.5
    base = th.distributions.Normal(loc, scale)
    held = Held(th.distributions.Independent(base, 1))
    mapping = DistributionMap(held)
    params = mapping.read(held)
    other = params + 0.1
    expected = th.distributions.kl_divergence(base, th.distributions.Normal(loc + 0.1, scale + 0.1))
    assert th.allclose(mapping.kl(params, other), expected.sum(dim=1))
    assert mapping.build(params).distribution.log_prob(loc).shape == (4,)


def positive(*shape):
    return th.rand(*shape, dtype=th.float64, generator=th.Generator().manual_seed(1)) + 0.5


USER_DISTRIBUTIONS = {
    "beta": lambda: th.distributions.Beta(positive(4, 3), positive(4, 3)),
    "independent beta": lambda: th.distributions.Independent(
        th.distributions.Beta(positive(4, 3), 2 * positive(4, 3)), 1
    ),
    "gamma": lambda: th.distributions.Gamma(positive(4, 3), positive(4, 3)),
    "laplace": lambda: th.distributions.Laplace(positive(4, 3), positive(4, 3)),
    "lognormal": lambda: th.distributions.LogNormal(positive(4, 3), positive(4, 3)),
    "poisson": lambda: th.distributions.Poisson(positive(4, 3)),
    "geometric of logits": lambda: th.distributions.Geometric(logits=positive(4, 3)),
    "dirichlet": lambda: th.distributions.Dirichlet(positive(4, 3)),
    "multivariate normal": lambda: th.distributions.MultivariateNormal(
        positive(4, 2), scale_tril=th.diag_embed(positive(4, 2))
    ),
}


@pytest.mark.parametrize("name", USER_DISTRIBUTIONS)
def test_distribution_of_the_users_own_has_a_joint_kl_and_its_curvature(name):
    held = Held(USER_DISTRIBUTIONS[name]())
    mapping = DistributionMap(held)
    params = mapping.read(held)
    rebuilt = mapping.build(params).distribution
    assert type(rebuilt) is type(held.distribution)
    actions = held.distribution.sample()
    assert th.allclose(rebuilt.log_prob(actions), held.distribution.log_prob(actions))

    generator = th.Generator().manual_seed(2)
    directions = th.randn(params.shape, generator=generator, dtype=th.float64)
    metric = mapping.metric(params)
    curvature = (directions * metric(directions)).sum(dim=1)
    # KL = s²/2 vᵀMv + O(s³); the cubic term of both signs cancels (|s|³ in the Laplace does not).
    s = 1e-4
    kl = mapping.kl(params, params + s * directions) + mapping.kl(params, params - s * directions)
    assert kl.shape == (4,)
    assert th.allclose(curvature, kl / s**2, rtol=1e-3)


def test_old_parameters_are_not_followed_when_the_policy_changes():
    policy = make_policy("gaussian")
    mapping = DistributionMap(policy.get_distribution(observe(N)))
    params = mapping.read(policy.get_distribution(observe(N))).detach()
    built, metric = mapping.build(params), mapping.metric(params)
    actions = built.sample()
    log_prob, product = built.log_prob(actions), metric(params)
    with th.no_grad():
        for parameter in policy.parameters():
            parameter += 1
    policy.get_distribution(observe(N, seed=9))
    assert th.equal(built.log_prob(actions), log_prob)
    assert th.equal(metric(params), product)


def test_building_does_not_touch_the_policys_own_distribution():
    policy = make_policy("multi_categorical")
    distribution = policy.get_distribution(observe(N))
    mapping = DistributionMap(distribution)
    held = list(distribution.distribution)
    params = mapping.read(distribution)
    built = mapping.build(params.double() ** 2)
    assert th.allclose(mapping.read(mapping.build(params)), params)
    other = mapping.build(params)
    assert built is not other
    assert not th.allclose(mapping.read(built), mapping.read(other))
    assert all(a is b for a, b in zip(distribution.distribution, held, strict=True))
    assert built is not distribution


@pytest.mark.parametrize("name", ALL)
def test_parameters_of_a_policy_carry_its_graph(name):
    policy = make_policy(name)
    distribution = policy.get_distribution(observe(N))
    params = DistributionMap(distribution).read(distribution)
    assert params.requires_grad
    params.sum().backward()
    assert policy.features_extractor.layer.weight.grad is not None


class Unknown(TorchDistribution):
    arg_constraints = {"rate": th.distributions.constraints.positive}  # noqa: RUF012  # torch has it so

    def __init__(self, rate, validate_args=None):
        self.rate = rate
        super().__init__(rate.shape, validate_args=validate_args)


class Hidden(th.distributions.Exponential):
    arg_constraints = {}  # noqa: RUF012  # torch has it so


def test_distribution_without_a_kl_names_the_registration():
    with pytest.raises(ValueError, match="register_kl"):
        DistributionMap(Held(Unknown(th.ones(2, 1))))


def test_distribution_without_known_parameters_names_the_registration():
    held = Held(Hidden(th.ones(2, 1)))
    with pytest.raises(ValueError, match="register_distribution"):
        DistributionMap(held)
    register_distribution(Hidden, ("rate",))
    mapping = DistributionMap(held)
    assert mapping.read(held).shape == (2, 1)


class ScaledBeta(BetaDistribution):
    """Its log-probability takes something from outside the torch distribution."""

    extra = None

    def log_prob(self, actions):
        return super().log_prob(actions) * self.extra(self)


def check(extra):
    policy = make_policy("beta")
    policy.action_dist.__class__ = ScaledBeta
    policy.action_dist.extra = extra
    mapping = DistributionMap(policy.get_distribution(observe(2)))
    others = policy.get_distribution(observe(2, seed=7))
    check_log_prob(mapping, others, th.zeros(2, 3, dtype=th.float64))


def test_log_prob_of_the_parameters_alone_is_accepted():
    check(lambda _: 1.0)


def test_log_prob_that_needs_more_than_the_parameters_is_refused():
    gain = th.nn.Parameter(th.ones(()))
    with pytest.raises(ValueError, match=r"ScaledBeta depends on more than"):
        check(lambda _: gain)  # would never be learnt
    stored = iter([1.0, 2.0])
    with pytest.raises(ValueError, match=r"ScaledBeta depends on more than"):
        check(lambda _: next(stored))  # differs between the policy's object and the rebuilt one


class Bounded(th.distributions.Normal):
    """A normal distribution that cannot be built from loc and scale alone."""

    def __init__(self, loc, scale, low, validate_args=None):
        self.low = low
        super().__init__(loc, scale, validate_args=validate_args)


def test_distribution_that_cannot_be_built_from_its_parameters_says_so():
    with pytest.raises(ValueError, match=r"Bounded from its parameters.*low"):
        DistributionMap(Held(Bounded(th.zeros(2, 1), th.ones(2, 1), low=0.0)))


def test_registered_name_that_is_no_attribute_is_named():
    register_distribution(Unknown, ("speed",))
    try:
        with pytest.raises(ValueError, match=r"Unknown has no attribute.*speed"):
            DistributionMap(Held(Unknown(th.ones(2, 1))))
    finally:
        del families._FAMILIES[Unknown]


def test_entropy_bonus_of_a_squashed_gaussian_has_the_gradient_of_its_entropy():
    """By quadrature over the Gaussian: H = H(normal) + E[log(1 − tanh² x)]."""
    distribution = SquashedDiagGaussianDistribution(1)
    loc, scale = th.tensor([[0.3]]).double(), th.tensor([[0.8]]).double()
    distribution.proba_distribution(loc, scale.log())
    mapping = DistributionMap(distribution)
    params = mapping.read(distribution)

    grid = th.linspace(-8, 8, 20_001, dtype=th.float64)  # standard deviations

    def entropy(loc, scale):
        x = loc + scale * grid
        correction = 2 * (math.log(2) - x - th.nn.functional.softplus(-2 * x))
        weights = (-(grid**2) / 2).exp()
        normal = 0.5 * math.log(2 * math.pi * math.e) + scale.log()
        return normal + (weights * correction).sum() / weights.sum()

    head = params[0].clone().requires_grad_()
    (expected,) = th.autograd.grad(entropy(head[0], head[1]), head)

    th.manual_seed(0)
    n = 400_000
    actions = th.tanh(loc + scale * th.randn(n, 1, dtype=th.float64))
    rows = Batch(actions, actions, th.zeros(n).double(), th.zeros(n), th.ones(n))
    old = OldActor(rows, params.expand(n, 2), mapping, ent_coef=1.0)
    head = params.expand(n, 2).clone().requires_grad_()
    (gradient,) = th.autograd.grad(old.surrogate(head).sum(), head)
    standard_error = gradient.std(dim=0) / math.sqrt(n)
    assert (abs(gradient.mean(dim=0) - expected) < 5 * standard_error).all()
    assert (abs(expected) > 20 * standard_error).all()  # a zero or a wrong sign would show
    value = old.entropy
    error = abs(value.mean() - entropy(params[0, 0], params[0, 1]))
    assert error < 5 * value.std() / math.sqrt(n)


def test_object_that_holds_no_torch_distribution_is_refused():
    with pytest.raises(ValueError, match="must hold torch distributions"):
        DistributionMap(Held("nothing"))


@pytest.mark.parametrize("before", [True, False])
def test_validation_is_off_inside_and_as_before_after(before):
    default = TorchDistribution._validate_args
    TorchDistribution.set_default_validate_args(before)
    try:
        with unvalidated():
            with unvalidated():
                assert not TorchDistribution._validate_args
            assert not TorchDistribution._validate_args
        assert TorchDistribution._validate_args == before
    finally:
        TorchDistribution.set_default_validate_args(default)


def test_validation_comes_back_after_an_exception():
    before = TorchDistribution._validate_args

    def fail():
        with unvalidated():
            assert not th.distributions.Normal(th.tensor(math.nan), 1.0)._validate_args
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert TorchDistribution._validate_args == before
