"""Updates on real rollouts: the bound, the outcomes, nothing lost."""

import copy
import math
import random
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.logger import Logger, configure
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_trpo import TRPO
from sb3_trpo.batch import Batch
from tests.policies_under_test import ACTION_SPACES, BetaPolicy, SharedTrunkPolicy

SPACES = {**ACTION_SPACES, "beta": (ACTION_SPACES["gaussian"][0], {})}


class Noise(gym.Env):
    """Random observations; the reward depends on observation and action of any space."""

    def __init__(self, action_space, reward=None, length=10):
        self.observation_space = spaces.Box(-1, 1, (5,), np.float32)
        self.action_space = action_space
        self.reward, self.length = reward, length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        self.obs = self.np_random.uniform(-1, 1, 5).astype(np.float32)
        return self.obs, {}

    def step(self, action):
        value = float(np.sum(np.asarray(action, dtype=np.float64) * self.obs[0]))
        reward = value if self.reward is None else self.reward()
        self.t += 1
        self.obs = self.np_random.uniform(-1, 1, 5).astype(np.float32)
        return self.obs, reward, False, self.t >= self.length, {}


def make_model(name="gaussian", policy=None, reward=None, n_steps=64, **kwargs):
    action_space, space_kwargs = SPACES[name]
    space_kwargs = dict(space_kwargs)
    use_sde = space_kwargs.pop("use_sde", False)
    policy_kwargs = {"net_arch": [8], **space_kwargs, **kwargs.pop("policy_kwargs", {})}
    policy = policy or (BetaPolicy if name == "beta" else "MlpPolicy")
    model = TRPO(
        policy,
        Noise(action_space, reward),
        n_steps=n_steps,
        batch_size=32,
        n_critic_updates=kwargs.pop("n_critic_updates", 1),
        use_sde=use_sde,
        policy_kwargs=policy_kwargs,
        seed=0,
        device=kwargs.pop("device", "cpu"),
        **kwargs,
    )
    model.set_logger(configure(None, []))
    return model


def collect(model):
    if model._last_obs is None:
        _, model._test_callback = model._setup_learn(1000)
    model.collect_rollouts(
        model.env, model._test_callback, model.rollout_buffer, n_rollout_steps=model.n_steps
    )


def outputs(policy, observations):
    """Parameters of the distributions, as plain float64 arrays."""
    with th.no_grad():
        d = policy.get_distribution(observations).distribution
    if isinstance(d, list):
        return [x.logits.double() for x in d]
    if isinstance(d, th.distributions.Normal):
        return [d.loc.double(), d.scale.double()]
    if isinstance(d, th.distributions.Beta):
        return [d.concentration1.double(), d.concentration0.double()]
    return [d.logits.double()]


def independent_kl(name, old, new):
    """The joint KL(old ‖ new), averaged over states, from the textbook formulas."""
    if name in ("gaussian", "gsde", "squashed_gsde"):
        (m0, s0), (m1, s1) = old, new
        return ((s1 / s0).log() + (s0**2 + (m0 - m1) ** 2) / (2 * s1**2) - 0.5).sum(1).mean()
    if name == "beta":
        (a0, b0), (a1, b1) = old, new

        def log_beta(a, b):
            return a.lgamma() + b.lgamma() - (a + b).lgamma()

        kl = log_beta(a1, b1) - log_beta(a0, b0) + (a0 - a1) * a0.digamma()
        kl = kl + (b0 - b1) * b0.digamma() + (a1 - a0 + b1 - b0) * (a0 + b0).digamma()
        return kl.sum(1).mean()
    if name == "bernoulli":
        p, q = old[0].sigmoid(), new[0].sigmoid()
        return (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).sum(1).mean()
    total = 0.0
    for a, b in zip(old, new, strict=True):
        p, q = a.softmax(1), b.softmax(1)
        total = total + (p * (p / q).log()).sum(1)
    return total.mean()


def state_of(model):
    policy = model.policy
    return (
        [p.detach().clone() for p in policy.parameters()],
        [b.clone() for b in policy.buffers()],
        copy.deepcopy(policy.optimizer.state_dict()),
        model._n_updates,
    )


def assert_same_state(before, after):
    for left, right in zip(before[0] + before[1], after[0] + after[1], strict=True):
        assert th.equal(left, right)
    assert before[3] == after[3]
    assert before[2]["param_groups"] == after[2]["param_groups"]
    assert before[2]["state"].keys() == after[2]["state"].keys()
    for key, state in before[2]["state"].items():
        for name, value in state.items():
            assert th.equal(value, after[2]["state"][key][name])


def actor_of(model):
    return {
        n: p.detach().clone()
        for n, p in model.policy.named_parameters()
        if "value" not in n and "vf_" not in n
    }


def check_bound(name, n_updates, **kwargs):
    model = make_model(name, **kwargs)
    delta = kwargs["target_kl"]
    moved = 0
    for _ in range(n_updates):
        collect(model)
        observations = th.as_tensor(model.rollout_buffer.observations.reshape(-1, 5))
        old_outputs = outputs(model.policy, observations)
        old_actor = actor_of(model)
        model.train()
        kl = independent_kl(name, old_outputs, outputs(model.policy, observations)).item()
        same = all(th.equal(p, old_actor[n]) for n, p in actor_of(model).items())
        assert same or kl <= delta * (1 + 1e-4)
        logged = model.logger.name_to_value["train/kl_divergence_loss"]
        assert logged == pytest.approx(0.0 if same else kl, rel=1e-3, abs=1e-9)
        moved += not same
    assert moved > n_updates // 2  # the bound is not kept by standing still


@pytest.mark.slow
@pytest.mark.parametrize("sub_sampling_factor", [1, 5])
@pytest.mark.parametrize("match_kl", [True, False])
@pytest.mark.parametrize("target_kl", [0.05, 0.01, 1e-4])
@pytest.mark.parametrize("name", SPACES)
def test_kl_stays_within_the_bound(name, target_kl, match_kl, sub_sampling_factor):
    check_bound(
        name,
        30,
        target_kl=target_kl,
        match_kl=match_kl,
        sub_sampling_factor=sub_sampling_factor,
    )


@pytest.mark.parametrize(
    ("target_kl", "match_kl", "sub_sampling_factor"),
    [(0.05, True, 1), (0.01, False, 5), (1e-4, True, 5)],
)
@pytest.mark.parametrize("name", SPACES)
def test_kl_stays_within_the_bound_over_six_updates(name, target_kl, match_kl, sub_sampling_factor):
    check_bound(
        name, 6, target_kl=target_kl, match_kl=match_kl, sub_sampling_factor=sub_sampling_factor
    )


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("sub_sampling_factor", [1, 3])
def test_actor_batch_size_leaves_the_update_unchanged(name, sub_sampling_factor):
    results = []
    for size in (None, 32, 13):
        model = make_model(name, actor_batch_size=size, sub_sampling_factor=sub_sampling_factor)
        collect(model)
        before = th.cat([p.reshape(-1) for p in actor_of(model).values()])
        model.train()
        results.append(th.cat([p.reshape(-1) for p in actor_of(model).values()]) - before)
    for other in results[1:]:
        # Rounding of float32 sums enters the direction through 15 CG iterations (about 1e-6).
        assert (other - results[0]).norm() <= 1e-5 * results[0].norm()


def test_search_that_finds_nothing_leaves_the_actor_and_fits_the_critic():
    model = make_model(line_search_max_iter=1, match_kl=False, target_kl=1e4)
    collect(model)
    actor, everything = actor_of(model), state_of(model)
    model.train()
    log = model.logger.name_to_value
    assert log["train/is_line_search_success"] == 0
    assert log["train/kl_divergence_loss"] == 0
    assert log["train/step_fraction"] == 0
    assert all(th.equal(p, actor[n]) for n, p in actor_of(model).items())
    assert any(
        not th.equal(p, q) for p, q in zip(model.policy.parameters(), everything[0], strict=True)
    )
    assert model._n_updates == 1


def freeze_actor(model):
    for name, parameter in model.policy.named_parameters():
        if "value" not in name:
            parameter.requires_grad_(False)


def test_taken_step_moves_the_actor_and_logs_how():
    model = make_model()
    collect(model)
    actor = actor_of(model)
    model.train()
    log = model.logger.name_to_value
    assert log["train/is_line_search_success"] == 1
    assert log["train/update_skipped"] == 0
    assert 0.9 <= log["train/kl_utilization"] <= 1
    step = th.cat([(p - actor[n]).reshape(-1) for n, p in actor_of(model).items()])
    assert log["train/step_norm"] == pytest.approx(step.norm().item(), rel=1e-4)
    assert log["train/improvement_ratio"] > 0
    assert log["train/policy_objective"] == pytest.approx(
        log["train/improvement_ratio"] * log["train/expected_improvement"], abs=1e-6
    )  # the old surrogate is the mean of normalised advantages, 0


CHANGES = {
    "cg_max_steps": 1,
    "cg_damping": 3.0,
    "cg_relative_tolerance": 0.5,
    "line_search_shrinking_factor": 0.3,
    "line_search_max_iter": 1,
    "normalize_advantage": False,
    "target_kl": 0.02,
    "sub_sampling_factor": 4,
    "match_kl": True,
    "ent_coef": 0.1,
    "gamma": 0.5,
    "gae_lambda": 0.5,
}


@pytest.mark.parametrize("name", CHANGES)
def test_option_changes_the_actors_step(name):
    # A target_kl so large that the full step fails: the search has something to do.
    base = {"match_kl": False, "target_kl": 0.5, "use_sde": False, "reward": None}
    if name == "normalize_advantage":  # a step length free of the scale shows only the shift
        base["ent_coef"] = 0.1
    results = []
    for changes in ({}, {name: CHANGES[name]}):
        kwargs = {**base, **changes}
        kwargs.pop("use_sde")
        model = make_model(**kwargs)
        collect(model)
        model.train()
        results.append(th.cat([p.reshape(-1) for p in actor_of(model).values()]))
    assert not th.allclose(*results, rtol=0, atol=1e-4)


@pytest.mark.parametrize("case", ["equal advantages", "no budget", "frozen actor"])
def test_nothing_to_do_still_fits_the_critic(case):
    kwargs = {"target_kl": (lambda _: 0.0) if case == "no budget" else 0.01}
    model = make_model(**kwargs)
    if case == "frozen actor":
        freeze_actor(model)
    collect(model)
    if case == "equal advantages":
        model.rollout_buffer.advantages[:] = 0.1
    actor = actor_of(model)
    value_net = model.policy.value_net.weight.detach().clone()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.train()
    assert all(th.equal(p, actor[n]) for n, p in actor_of(model).items())
    assert not th.equal(model.policy.value_net.weight, value_net)
    assert model.logger.name_to_value["train/is_line_search_success"] == 0
    assert model.logger.name_to_value["train/update_skipped"] == 0


def poison(model, case):
    buffer = model.rollout_buffer
    if case == "reward":
        buffer.rewards[3, 0] = math.inf
        buffer.compute_returns_and_advantage(th.zeros(1), np.zeros(1))
    elif case == "advantage":
        buffer.advantages[5, 0] = math.nan
    elif case == "huge":
        buffer.returns[:] = 1e30


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("reward", "non-finite reward"),
        ("advantage", "non-finite advantage"),
        ("huge", "non-finite value loss"),
    ],
)
def test_bad_batch_is_skipped_whole_and_three_in_a_row_raise(case, reason):
    model = make_model(learning_rate=lambda _: 1e-3)
    collect(model)
    model.train()
    before = state_of(model)
    for skipped in (1, 2):
        collect(model)
        poison(model, case)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.train()
        ours = [w for w in caught if "Update skipped" in str(w.message)]
        assert len(ours) == (1 if skipped == 1 else 0)
        assert_same_state(before, state_of(model))
        assert model.logger.name_to_value["train/update_skipped"] == skipped
        assert model.logger.name_to_value["train/skip_reason"] == reason
    collect(model)
    poison(model, case)
    with pytest.raises(RuntimeError, match=reason):
        model.train()
    assert_same_state(before, state_of(model))
    collect(model)
    model.train()
    assert model._n_updates == before[3] + 1


class Interrupted(ActorCriticPolicy):
    """Raises at the n-th pass of the actor or of the critic."""

    fuse = {"actor": 10**9, "critic": 10**9}  # noqa: RUF012
    error = KeyboardInterrupt

    def _burn(self, which):
        self.fuse[which] -= 1
        if self.fuse[which] <= 0:
            self.fuse[which] = 10**9
            raise self.error

    def get_distribution(self, obs):
        self._burn("actor")
        return super().get_distribution(obs)

    def predict_values(self, obs):
        self._burn("critic")
        return super().predict_values(obs)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("which", ["actor", "critic"])
def test_update_interrupted_at_any_pass_changes_nothing_and_can_be_repeated(which, error):
    # target_kl is out of reach of the first trials, so that passes fall into the line search too.
    model = make_model(policy=Interrupted, n_critic_updates=2, target_kl=0.3)
    for _ in range(2):
        collect(model)
        model.train()
    collect(model)
    before = state_of(model)
    Interrupted.error = error
    for passes in range(1, 100):
        Interrupted.fuse[which] = passes
        try:
            model.train()
        except error:
            assert_same_state(before, state_of(model))
            assert not any(module.training for module in model.policy.modules())
        else:
            break
    Interrupted.fuse[which] = 10**9
    assert passes > 4
    assert model._n_updates == before[3] + 1
    assert any(not th.equal(p, q) for p, q in zip(before[0], state_of(model)[0], strict=True))


class InterruptedLogger(Logger):
    """Raises when a given key is recorded."""

    key = ""

    def record(self, key, value, exclude=None):
        if key == self.key:
            raise KeyboardInterrupt
        super().record(key, value, exclude)


@pytest.mark.parametrize("key", ["learning_rate", "entropy", "value_loss", "n_updates"])
def test_update_interrupted_while_logging_changes_nothing(key):
    model = make_model(learning_rate=lambda progress: 1e-3 * progress)
    collect(model)
    model.train()
    collect(model)
    model._current_progress_remaining = 0.5
    before = state_of(model)
    logger = InterruptedLogger(None, [])
    model.set_logger(logger)
    logger.key = f"train/{key}"
    with pytest.raises(KeyboardInterrupt):
        model.train()
    assert_same_state(before, state_of(model))


class Assigning(BaseFeaturesExtractor):
    """Keeps a running mean by assigning a new tensor; can raise in train mode."""

    error = None

    def __init__(self, observation_space):
        super().__init__(observation_space, 5)
        self.register_buffer("mean", th.zeros(5))

    def forward(self, observations):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * observations.mean(dim=0)
            if self.error is not None:
                raise self.error
        return observations - self.mean


def test_buffers_that_a_module_replaces_are_restored():
    model = make_model(
        policy_kwargs={"features_extractor_class": Assigning, "share_features_extractor": False}
    )
    collect(model)
    model.train()
    extractor = model.policy.vf_features_extractor
    moved = extractor.mean.clone()
    assert moved.abs().sum() > 0
    extractor.error = ValueError("in train mode")
    collect(model)
    with pytest.raises(ValueError, match="in train mode"):
        model.train()
    assert th.equal(extractor.mean, moved)
    assert not extractor.training
    extractor.error = None
    model.train()
    assert not th.equal(extractor.mean, moved)


class Counting(BaseFeaturesExtractor):
    """Keeps a running mean even in eval mode, and another that it makes when first asked."""

    def __init__(self, observation_space):
        super().__init__(observation_space, 5)
        self.layer = th.nn.Linear(5, 5)
        self.register_buffer("passes", th.zeros(()))
        self.register_buffer("late", None)

    def forward(self, observations):
        self.passes += 1
        self.late = observations.mean(dim=0)
        return self.layer(observations)


@pytest.mark.parametrize("share", [True, False])
def test_buffers_of_the_actor_stay_through_the_critics_fit(share):
    model = make_model(
        policy_kwargs={"features_extractor_class": Counting, "share_features_extractor": share}
    )
    collect(model)
    actor = model.policy.pi_features_extractor
    passes, late = actor.passes.clone(), actor.late.clone()
    critic_passes = model.policy.vf_features_extractor.passes.clone()
    model.train()
    assert th.equal(actor.passes, passes)
    assert th.equal(actor.late, late)
    assert (model.policy.vf_features_extractor.passes > critic_passes) == (not share)


class Float64State(th.optim.SGD):
    """Accumulates in float64, whatever the parameters' dtype."""

    def __init__(self, params, lr):
        super().__init__(params, lr=lr)

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    state = self.state[p]
                    state["sum"] = state.get("sum", 0) + p.grad.double() / 3
                    p.data.sub_(group["lr"] * state["sum"].float())


def test_skipped_update_restores_state_of_any_dtype_and_buffers_that_were_none():
    model = make_model(
        policy_kwargs={
            "optimizer_class": Float64State,
            "features_extractor_class": Counting,
            "share_features_extractor": False,
        }
    )
    collect(model)
    model.train()
    before = state_of(model)
    kept = {p: s["sum"].clone() for p, s in model.policy.optimizer.state.items()}
    collect(model)
    for extractor in (model.policy.pi_features_extractor, model.policy.vf_features_extractor):
        extractor.late = None
    buffers = [b.clone() for b in model.policy.buffers()]
    poison(model, "huge")
    with pytest.warns(UserWarning, match="Update skipped: non-finite value loss"):
        model.train()
    assert all(th.equal(p, q) for p, q in zip(before[0], model.policy.parameters(), strict=True))
    for parameter, state in model.policy.optimizer.state.items():
        assert state["sum"].dtype == th.float64
        assert th.equal(state["sum"], kept.pop(parameter))
    assert not kept
    now = list(model.policy.buffers())
    assert all(th.equal(p, q) for p, q in zip(buffers, now, strict=True))
    assert model.policy.vf_features_extractor.late is None


@pytest.mark.parametrize(
    ("log_std", "skip_reason"),
    [
        (-5.0, None),
        (-10.0, None),
        (-20.0, None),
        (-30.0, "non-finite curvature"),
        (-60.0, "non-finite gradient"),
    ],
)
def test_nearly_deterministic_policy_is_moved_within_the_bound_or_left(log_std, skip_reason):
    model = make_model(policy_kwargs={"log_std_init": log_std})
    collect(model)
    before = state_of(model)
    observations = th.as_tensor(model.rollout_buffer.observations.reshape(-1, 5))
    old = outputs(model.policy, observations)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.train()
    assert all(th.isfinite(p).all() for p in model.policy.parameters())
    log = model.logger.name_to_value
    if log["train/update_skipped"]:
        assert_same_state(before, state_of(model))
    else:
        kl = independent_kl("gaussian", old, outputs(model.policy, observations))
        assert kl <= 0.01 * (1 + 1e-4)
    assert log.get("train/skip_reason") == skip_reason  # 1 / std, then 1 / std², overflows


def test_gradient_that_overflows_is_skipped():
    model = make_model(normalize_advantage=False)
    collect(model)
    model.rollout_buffer.advantages[:] = 3e38 * np.sign(model.rollout_buffer.advantages)
    before = state_of(model)
    with pytest.warns(UserWarning, match="Update skipped: non-finite gradient"):
        model.train()
    assert_same_state(before, state_of(model))


@pytest.mark.parametrize("k", [2, 3])
def test_subset_of_the_fisher_product_moves_on_with_the_updates(k, monkeypatch):
    kept, thinned = [], Batch.thinned
    monkeypatch.setattr(
        Batch, "thinned", lambda batch, rows: kept.append(rows) or thinned(batch, rows)
    )
    model = make_model(sub_sampling_factor=k)
    for n_updates in range(4):
        collect(model)
        n_samples = len(model._batch(model.rollout_buffer))
        model.train()
        rows = np.arange(n_samples)[kept[-1]]
        np.testing.assert_array_equal(rows, np.arange(n_updates % k, n_samples, k))
    assert len(kept) == 4


def test_log_says_what_numpy_says_of_critic_and_entropy():
    model = make_model("categorical")
    for _ in range(2):
        collect(model)
        buffer = model.rollout_buffer
        returns, values = buffer.returns.flatten(), buffer.values.flatten()
        (logits,) = outputs(model.policy, model._batch(model.rollout_buffer).observations)
        model.train()
        log = model.logger.name_to_value
        unexplained = np.var(returns - values) / np.var(returns)
        assert log["train/explained_variance"] == pytest.approx(1 - unexplained, rel=1e-4)
        entropy = -(logits.softmax(1) * logits.log_softmax(1)).sum(1).mean().item()
        assert log["train/entropy"] == pytest.approx(entropy, rel=1e-6)


class SqueezedPolicy(ActorCriticPolicy):
    """Drops every axis of length one, as careless code does: fails on a batch of one row."""

    def _get_action_dist_from_latent(self, latent_pi):
        return super()._get_action_dist_from_latent(latent_pi.squeeze())


def test_network_that_cannot_take_one_row_is_trained():
    env = DummyVecEnv([lambda: Noise(ACTION_SPACES["gaussian"][0]) for _ in range(3)])
    model = TRPO(SqueezedPolicy, env, n_steps=16, batch_size=16, device="cpu").learn(48)
    assert model._n_updates == 1


def test_batch_of_one_state_is_learnt_from():
    model = make_model()
    collect(model)
    model.rollout_buffer.observations[:] = model.rollout_buffer.observations[:1]
    model.train()
    assert model.logger.name_to_value["train/kl_utilization"] > 0


def test_actor_that_shares_its_trunk_is_moved_by_the_trust_region_alone():
    models = []
    for epochs in (1, 0):
        models.append(make_model(policy=SharedTrunkPolicy, n_critic_updates=epochs))
        collect(models[-1])
        models[-1].train()
    model, check = models
    shared = [n for n, _ in model.policy.named_parameters() if not n.startswith("value_net")]
    ours, reference = model.policy.state_dict(), check.policy.state_dict()
    assert all(th.equal(ours[n], reference[n]) for n in shared)
    assert not th.equal(ours["value_net.weight"], reference["value_net.weight"])


class ValueFromActor(SharedTrunkPolicy):
    """The critic has no parameter of its own."""

    def predict_values(self, obs):
        return self.get_distribution(obs).distribution.loc.sum(dim=1, keepdim=True)


class Sum(th.nn.Module):
    def forward(self, features):
        return features.sum(dim=1, keepdim=True)


@pytest.mark.parametrize("has_unused_parameters", [True, False])
def test_critic_without_parameters_of_its_own_is_left_out(has_unused_parameters):
    model = make_model(policy=ValueFromActor)
    if not has_unused_parameters:
        model.policy.value_net = Sum()
    collect(model)
    model.train()
    assert model._n_updates == 1
    assert model.logger.name_to_value["train/kl_utilization"] > 0.5


class Normalised(BaseFeaturesExtractor):
    def __init__(self, observation_space, dropout=0.0):
        super().__init__(observation_space, 6)
        self.layers = th.nn.Sequential(
            th.nn.Linear(5, 6), th.nn.BatchNorm1d(6), th.nn.Tanh(), th.nn.Dropout(dropout)
        )

    def forward(self, observations):
        return self.layers(observations)


@pytest.mark.parametrize("share", [True, False])
def test_batch_norm_and_dropout_keep_the_kl_after_the_critics_fit(share):
    model = make_model(
        target_kl=0.01,
        policy_kwargs={
            "features_extractor_class": Normalised,
            "features_extractor_kwargs": {"dropout": 0.3},
            "share_features_extractor": share,
        },
    )
    critic_buffers_moved = False
    for _ in range(5):
        collect(model)
        observations = th.as_tensor(model.rollout_buffer.observations.reshape(-1, 5))
        old = outputs(model.policy, observations)
        actor_buffers = [b.clone() for b in model.policy.pi_features_extractor.buffers()]
        critic_buffers = [b.clone() for b in model.policy.vf_features_extractor.buffers()]
        model.train()
        model.policy.set_training_mode(False)
        kl = independent_kl("gaussian", old, outputs(model.policy, observations))
        assert 0.009 <= kl <= 0.01 * (1 + 1e-4)
        now = list(model.policy.pi_features_extractor.buffers())
        assert all(th.equal(x, y) for x, y in zip(actor_buffers, now, strict=True))
        now = list(model.policy.vf_features_extractor.buffers())
        critic_buffers_moved |= any(
            not th.equal(x, y) for x, y in zip(critic_buffers, now, strict=True)
        )
    assert critic_buffers_moved == (not share)


def test_frozen_log_std_stays_frozen():
    model = make_model()
    model.policy.log_std.requires_grad_(False)
    before = model.policy.log_std.clone()
    collect(model)
    model.train()
    assert th.equal(model.policy.log_std, before)
    assert model.logger.name_to_value["train/kl_utilization"] > 0.5


@pytest.mark.parametrize("name", SPACES)
def test_actor_step_draws_no_random_numbers(name):
    model = make_model(name, n_critic_updates=0, sub_sampling_factor=2)
    collect(model)
    states = th.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    model.train()
    assert th.equal(th.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])
    assert random.getstate() == states[2]
