"""Probabilities of clipped actions, against scipy and against integrals over all samples."""

import copy
import itertools

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from scipy import integrate, stats
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.logger import configure
from stable_baselines3.common.policies import ActorCriticPolicy
from torch.distributions import Normal

from sb3_trpo import TRPO, RecurrentTRPO
from sb3_trpo.batch import Batch, OldActor
from sb3_trpo.clipped_actions import ClippedGaussianMap
from tests.policies_under_test import BetaPolicy
from tests.test_rollouts import Replay

FAR = np.finfo(np.float32).max  # SB3 wants finite bounds; this is what some environments give
BOX = spaces.Box(np.float32([-1, -0.5, -FAR, -FAR]), np.float32([1, 2, 0.3, FAR]))


def gaussian(loc, std):
    distribution = DiagGaussianDistribution(loc.shape[1])
    distribution.distribution = Normal(loc, std)
    return distribution


def drawn(n=4000, width=4, seed=0):
    generator = th.Generator().manual_seed(seed)
    loc = 2 * th.randn(n, width, generator=generator, dtype=th.float64)
    std = th.rand(n, width, generator=generator, dtype=th.float64) + 0.1
    actions = loc + std * th.randn(n, width, generator=generator, dtype=th.float64)
    return loc, std, actions.float()


def old_actor(box, actions, advantages, loc, std, **options):
    rows = Batch(actions, actions, advantages, advantages, th.ones_like(advantages))
    probabilities = ClippedGaussianMap(gaussian(loc, std), box)
    return OldActor(rows, th.cat([loc, std], dim=1), probabilities, **{"ent_coef": 0.0, **options})


# --- the probability ------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4,), (2, 2)])
def test_log_prob_is_the_density_within_and_the_probability_beyond(shape):
    loc, std, actions = drawn()
    box = spaces.Box(BOX.low.reshape(shape), BOX.high.reshape(shape))
    probabilities = ClippedGaussianMap(gaussian(loc, std), box)
    log_prob = probabilities.log_prob(gaussian(loc, std), actions)
    low, high = np.broadcast_arrays(BOX.low, BOX.high)
    a, at = actions.numpy(), stats.norm(loc.numpy(), std.numpy())
    expected = np.where(a <= low, at.logcdf(low), np.where(a >= high, at.logsf(high), at.logpdf(a)))
    assert min((a <= low).mean(), (a >= high).mean()) > 0.1  # both tails are met
    np.testing.assert_allclose(log_prob, expected.sum(axis=1), rtol=1e-10)


@pytest.mark.parametrize("distance", [1.0, 8.0, 40.0, 1e4])
@pytest.mark.parametrize("sign", [-1, 1])
def test_far_tails_keep_their_probability_and_its_gradient(distance, sign):
    loc = th.full((1, 1), -sign * (distance - 1), dtype=th.float64, requires_grad=True)
    std = th.ones(1, 1, dtype=th.float64, requires_grad=True)
    box = spaces.Box(-1, 1, (1,))
    probabilities = ClippedGaussianMap(gaussian(loc, std), box)
    log_prob = probabilities.log_prob(gaussian(loc, std), th.full((1, 1), float(sign)))
    of_loc, of_std = th.autograd.grad(log_prob.sum(), [loc, std])
    log_tail = stats.norm.logsf(distance)
    assert log_prob.item() == pytest.approx(log_tail, rel=1e-9)
    hazard = np.exp(stats.norm.logpdf(distance) - log_tail)
    # Both logarithms are about distance²/2, which takes as many digits off their difference.
    tolerance = 1e-9 + 1e-15 * distance**2
    assert of_loc.item() == pytest.approx(sign * hazard, rel=tolerance)
    assert of_std.item() == pytest.approx(distance * hazard, rel=tolerance)


def test_float32_has_its_digits():
    loc, std, actions = drawn()
    found = []
    for dtype in (th.float32, th.float64):
        leaves = loc.to(dtype).requires_grad_(), std.to(dtype).requires_grad_()
        probabilities = ClippedGaussianMap(gaussian(*leaves), BOX)
        log_prob = probabilities.log_prob(gaussian(*leaves), actions)
        found.append([log_prob, *th.autograd.grad(log_prob.sum(), leaves)])
    for single, double in zip(*found, strict=True):
        assert single.dtype == th.float32
        th.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)


def test_actions_of_another_shape_are_refused():
    loc, std, actions = drawn(n=3)
    with pytest.raises(ValueError, match="actions must be of shape"):
        ClippedGaussianMap(gaussian(loc, std), BOX).log_prob(gaussian(loc, std), actions[:2])


# --- the surrogate, by quadrature -----------------------------------------------------------------

BOUNDS = (-0.4, 0.9)
OLD, NEW = (0.5, 0.8), (0.65, 0.7)


def surrogates_at(action, new, *, clipped):
    """Ratio and derivatives in (loc, std) of one action, with advantage 1."""
    dist_params = th.tensor([new], dtype=th.float64, requires_grad=True)
    bounds = BOUNDS if clipped else (-FAR, FAR)
    box = spaces.Box(*(np.float64([bound]) for bound in bounds), dtype=np.float64)
    loc, std = th.tensor([OLD], dtype=th.float64).split(1, dim=1)
    actions = th.tensor([[action]], dtype=th.float64)
    old = old_actor(box, actions, th.ones(1, dtype=th.float64), loc, std)
    ratio = old.surrogate(dist_params).sum()
    return np.array([ratio.item(), *th.autograd.grad(ratio, dist_params)[0].flatten()])


def integral(function):
    """Over all actions of the old policy, cut where the clipping is."""
    edges = [-8.0, *BOUNDS, 9.0]
    density = stats.norm(*OLD).pdf
    parts = [
        integrate.quad_vec(lambda a: density(a) * function(a), *ends, epsabs=1e-11)[0]
        for ends in itertools.pairwise(edges)
    ]
    return np.sum(parts, axis=0)


def advantage(action):
    return np.sin(3 * np.clip(action, *BOUNDS)) + 0.2


@pytest.mark.parametrize("new", [OLD, NEW])
def test_surrogate_and_gradient_are_the_same_in_the_mean_and_vary_less(new):
    moments = {}
    for clipped in (False, True):

        def weighted(action, clipped=clipped):
            return advantage(action) * surrogates_at(action, new, clipped=clipped)

        mean = integral(weighted)
        moments[clipped] = mean, integral(lambda a: weighted(a) ** 2) - mean**2
    np.testing.assert_allclose(moments[True][0], moments[False][0], rtol=1e-8, atol=1e-9)
    slope = integral(lambda a: advantage(a) * (a - OLD[0]) / OLD[1] ** 2)
    if new == OLD:
        assert moments[True][0][1] == pytest.approx(slope, rel=1e-8)
    variances = moments[True][1] / moments[False][1]
    is_constant = (new == OLD, False, False)  # the ratio, by both
    assert (variances[np.logical_not(is_constant)] < 0.995).all()


def test_entropy_bonus_stays_the_gaussians():
    loc, std, actions = drawn(n=50)
    old = old_actor(BOX, actions, th.zeros(50, dtype=th.float64), loc, std, ent_coef=0.3)
    expected = 0.3 * Normal(loc, std).entropy().sum(dim=1)
    th.testing.assert_close(old.surrogate(th.cat([loc, std], dim=1)), expected)


# --- whole updates --------------------------------------------------------------------------------


def trained(box=None, policy="MlpPolicy", cls=TRPO, updates=2, **options):
    box = spaces.Box(-1, 1, (2,)) if box is None else box
    options = {"n_steps": 40, "batch_size": 60, **options}
    model = cls(policy, Replay(spaces.Box(-1, 1, (4,)), box), seed=1, device="cpu", **options)
    model.set_logger(configure(None, []))
    model.learn(updates * 40 * model.n_envs)
    return model


def flat(model):
    return th.cat([parameter.detach().flatten() for parameter in model.policy.parameters()])


def differs(**options):
    plain, clipped = (flat(trained(clipped_actions=is_on, **options)) for is_on in (False, True))
    return not th.equal(plain, clipped)


def test_updates_differ_where_actions_are_clipped():
    assert differs()
    assert differs(policy="MlpLstmPolicy", cls=RecurrentTRPO)


def test_bounds_that_are_never_reached_change_nothing():
    assert not differs(box=spaces.Box(-FAR, FAR, (2,)))


class OwnGaussian(DiagGaussianDistribution):
    """The user's, whatever its log_prob may be."""


class OwnGaussianPolicy(ActorCriticPolicy):
    def _build(self, lr_schedule):
        self.action_dist = OwnGaussian(self.action_space.shape[0])
        super()._build(lr_schedule)


class SquashedPolicy(ActorCriticPolicy):
    """SB3 rescales the actions of such a policy, and does not clip them."""

    squash_output = True


@pytest.mark.parametrize(
    "options",
    [
        {"box": spaces.Discrete(3)},
        {"box": spaces.MultiBinary(2)},
        {"use_sde": True},
        {"policy": SquashedPolicy},
        {"policy": BetaPolicy, "box": spaces.Box(0, 1, (2,))},
        {"policy": OwnGaussianPolicy},
    ],
    ids=["discrete", "binary", "gSDE", "rescaled", "Beta", "own Gaussian"],
)
def test_actions_that_are_not_clipped_gaussians_are_left_alone(options):
    assert not differs(**options)


def test_logged_gain_is_that_of_clipped_actions():
    model = trained(updates=1, clipped_actions=True)
    batch = model._batch(model.rollout_buffer)
    model.policy.set_training_mode(False)
    low, high = (th.as_tensor(bound) for bound in (model.action_space.low, model.action_space.high))
    before = copy.deepcopy(model.policy)
    assert ((batch.actions <= low) | (batch.actions >= high)).float().mean() > 0.2

    def probability(policy):  # the textbook's, in the policy's own precision
        at = policy.get_distribution(batch.observations).distribution
        beyond = th.where(batch.actions <= low, at.cdf(low), 1 - at.cdf(high))
        is_within = (batch.actions > low) & (batch.actions < high)
        return th.where(is_within, at.log_prob(batch.actions).exp(), beyond).prod(dim=1)

    model.train()
    advantages = (batch.advantages - batch.advantages.mean()) / batch.advantages.std()
    actual = (probability(model.policy) / probability(before) * advantages).mean().item()
    # What the log calls the gain in the surrogate, from 0 at the old policy.
    assert model.logger.name_to_value["train/policy_objective"] == pytest.approx(actual, rel=1e-3)


def test_argument_is_saved_and_loaded(tmp_path):
    trained(clipped_actions=True).save(tmp_path / "model")
    assert TRPO.load(tmp_path / "model").clipped_actions is True
    assert TRPO.load(tmp_path / "model", trusted=False).clipped_actions is True
