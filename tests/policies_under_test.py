"""Small real policies, one for each action space and each way to share networks."""

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

N_FEATURES = 5
OBSERVATION_SPACE = spaces.Box(-1, 1, (N_FEATURES,), np.float32)

ACTION_SPACES = {
    "gaussian": (spaces.Box(-1, 1, (3,), np.float32), {}),
    "gsde": (spaces.Box(-1, 1, (3,), np.float32), {"use_sde": True, "log_std_init": -1.0}),
    "squashed_gsde": (
        spaces.Box(-1, 1, (2,), np.float32),
        {"use_sde": True, "squash_output": True, "log_std_init": -1.0},
    ),
    "categorical": (spaces.Discrete(4), {}),
    "multi_categorical": (spaces.MultiDiscrete([3, 2, 4]), {}),
    "bernoulli": (spaces.MultiBinary(4), {}),
}


class DoubleExtractor(BaseFeaturesExtractor):
    """A layer with parameters that returns doubles, since SB3 casts observations to float32."""

    def __init__(self, observation_space: gym.Space, features_dim: int = 6, dropout: float = 0.0):
        super().__init__(observation_space, features_dim)
        self.layer = th.nn.Linear(N_FEATURES, features_dim)
        self.dropout = th.nn.Dropout(dropout)

    def forward(self, observations: th.Tensor) -> th.Tensor:
        return self.dropout(th.tanh(self.layer(observations.to(self.layer.weight.dtype))))


class BetaDistribution(Distribution):
    """Independent Beta distributions over [-1, 1], as a user would write them."""

    def __init__(self, action_dim: int):
        super().__init__()
        self.action_dim = action_dim

    def proba_distribution_net(self, latent_dim: int) -> th.nn.Module:
        return th.nn.Linear(latent_dim, 2 * self.action_dim)

    def proba_distribution(self, outputs: th.Tensor) -> "BetaDistribution":
        first, second = (1 + th.nn.functional.softplus(outputs)).chunk(2, dim=1)
        self.distribution = th.distributions.Beta(first, second)
        return self

    def log_prob(self, actions: th.Tensor) -> th.Tensor:
        inside = ((actions + 1) / 2).clamp(1e-6, 1 - 1e-6)
        return (self.distribution.log_prob(inside) - np.log(2)).sum(dim=1)

    def entropy(self) -> th.Tensor:
        return (self.distribution.entropy() + np.log(2)).sum(dim=1)

    def sample(self) -> th.Tensor:
        return 2 * self.distribution.sample() - 1

    def mode(self) -> th.Tensor:
        return 2 * self.distribution.mean - 1

    def actions_from_params(self, outputs, deterministic=False):
        return self.proba_distribution(outputs).get_actions(deterministic=deterministic)

    def log_prob_from_params(self, outputs):
        actions = self.actions_from_params(outputs)
        return actions, self.log_prob(actions)


class BetaPolicy(ActorCriticPolicy):
    """A policy with a distribution that SB3 does not have."""

    def _build(self, lr_schedule):
        super()._build(lr_schedule)
        self.action_dist = BetaDistribution(self.action_space.shape[0])
        self.action_net = self.action_dist.proba_distribution_net(self.mlp_extractor.latent_dim_pi)
        del self.log_std
        self.optimizer = self.optimizer_class(
            self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs
        )

    def _get_action_dist_from_latent(self, latent_pi):
        return self.action_dist.proba_distribution(self.action_net(latent_pi))


class SharedTrunkPolicy(ActorCriticPolicy):
    """Actor and critic are two heads on one trunk."""

    def _build(self, lr_schedule):
        super()._build(lr_schedule)
        self.mlp_extractor.value_net = self.mlp_extractor.policy_net
        self.optimizer = self.optimizer_class(
            self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs
        )


def make_policy(name, dtype=th.float64, seed=0, policy_class=None, **kwargs):
    """Make a policy whose outputs are far from trivial: no parameter is near zero."""
    th.manual_seed(seed)
    action_space, space_kwargs = ACTION_SPACES["gaussian" if name == "beta" else name]
    policy_class = policy_class or (BetaPolicy if name == "beta" else ActorCriticPolicy)
    policy = policy_class(
        OBSERVATION_SPACE,
        action_space,
        lambda _: 1e-3,
        net_arch={"pi": [7], "vf": [7]},
        features_extractor_class=DoubleExtractor,
        ortho_init=False,
        **{**space_kwargs, **kwargs},
    ).to(dtype)
    if space_kwargs.get("use_sde"):
        policy.reset_noise()
    policy.set_training_mode(False)
    return policy


def observe(n_samples, dtype=th.float64, seed=1):
    generator = th.Generator().manual_seed(seed)
    return th.rand(n_samples, N_FEATURES, generator=generator, dtype=dtype) * 2 - 1


def joint_kl(old, new):
    """KL(old ‖ new) (N,) of two SB3 distributions, from torch's formulas, summed by hand."""
    kl = th.distributions.kl_divergence
    if isinstance(old, list):
        return sum(kl(p, q) for p, q in zip(old, new, strict=True))
    value = kl(old, new)
    return value if value.dim() == 1 else value.sum(dim=1)


def detached(distribution):
    """The torch distribution(s) of an SB3 one, without graph, safe from being rewritten."""
    if isinstance(distribution.distribution, list):
        return [type(d)(logits=d.logits.detach()) for d in distribution.distribution]
    d = distribution.distribution
    if isinstance(d, th.distributions.Normal):
        return type(d)(d.loc.detach(), d.scale.detach())
    if isinstance(d, th.distributions.Beta):
        return type(d)(d.concentration1.detach(), d.concentration0.detach())
    return type(d)(logits=d.logits.detach())
