"""MaskableTRPO: the same step where some actions are invalid."""

import copy
import subprocess
import sys
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from sb3_contrib import MaskablePPO
from sb3_contrib.common.envs import (
    InvalidActionEnvDiscrete,
    InvalidActionEnvMultiBinary,
    InvalidActionEnvMultiDiscrete,
)
from sb3_contrib.common.maskable.buffers import MaskableRolloutBuffer
from sb3_contrib.common.maskable.callbacks import MaskableEvalCallback
from sb3_contrib.common.maskable.evaluation import evaluate_policy
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from sb3_contrib.common.wrappers import ActionMasker
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.logger import configure
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_trpo import TRPO, MaskableTRPO
from sb3_trpo.batch import ActorChunk
from sb3_trpo.distributions import DistributionMap
from sb3_trpo.maskable import MaskedBatch
from sb3_trpo.optim import FisherVectorProduct, ParameterVector
from sb3_trpo.rollouts import collects_fast
from tests.policies_under_test import OBSERVATION_SPACE, DoubleExtractor, observe

ACTIONS = {
    "discrete": (spaces.Discrete(5), [5]),
    "multi_discrete": (spaces.MultiDiscrete([3, 2, 4]), [3, 2, 4]),
    "multi_binary": (spaces.MultiBinary(3), [2, 2, 2]),
}
VECTOR = spaces.Box(-1, 1, (4,), np.float32)
IMAGE = spaces.Box(0, 255, (1, 36, 36), np.uint8)
DICT = spaces.Dict(a=VECTOR, b=spaces.Discrete(3))


def random_masks(rng, sizes, n, allowed=0.5):
    """Masks (n, choices) that leave each action at least one choice."""
    parts = []
    for size in sizes:
        mask = rng.random((n, size)) < allowed
        mask[np.arange(n), rng.integers(size, size=n)] = True
        parts.append(mask)
    return np.concatenate(parts, axis=1)


class Masked(gym.Env):
    """Random observations; an invalid action is an error; the reward is for low numbers."""

    def __init__(self, action_space, sizes, observation_space=VECTOR, allowed=0.5, length=10):
        self.observation_space = copy.deepcopy(observation_space)
        self.action_space, self.sizes = action_space, sizes
        self.allowed, self.length = allowed, length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.t = 0
        self._next()
        return self.observation_space.sample(), {}

    def _next(self):
        self.mask = random_masks(self.np_random, self.sizes, 1, self.allowed)[0]

    def action_masks(self):
        return self.mask

    def step(self, action):
        chosen = np.atleast_1d(action)
        for start, choice in zip(np.cumsum([0, *self.sizes[:-1]]), chosen, strict=True):
            assert self.mask[start + choice], "an invalid action was taken"
        self.t += 1
        self._next()
        reward = -float(np.sum(chosen))
        return self.observation_space.sample(), reward, False, self.t >= self.length, {}


def venv(name, observation_space=VECTOR, allowed=0.5, n_envs=3):
    space, sizes = ACTIONS[name]
    env = DummyVecEnv([lambda: Masked(space, sizes, observation_space, allowed)] * n_envs)
    env.seed(0)
    return env


def make(name="discrete", cls=MaskableTRPO, policy="MlpPolicy", env=None, **kwargs):
    options = {"n_steps": 32, "batch_size": 24, "seed": 0, "device": "cpu", **kwargs}
    model = cls(policy, env or venv(name), **options)
    model.set_logger(configure(None, []))
    return model


def flat(parameters):
    return th.cat([p.detach().reshape(-1) for p in parameters])


# --- the numbers ----------------------------------------------------------------------------------


def masked_policy(name):
    th.manual_seed(0)
    policy = MaskableActorCriticPolicy(
        OBSERVATION_SPACE,
        ACTIONS[name][0],
        lambda _: 1e-3,
        net_arch={"pi": [7], "vf": [7]},
        features_extractor_class=DoubleExtractor,
        ortho_init=False,
    )
    return policy.double().eval()


def by_hand(policy, observations, masks, sizes):
    """Masked log-probabilities (N, choices) from the logits, without the distributions' code."""
    latent = policy.mlp_extractor.forward_actor(policy.extract_features(observations))
    logits = policy.action_net(latent).masked_fill(~masks, -th.inf)
    return th.cat([part.log_softmax(dim=1) for part in logits.split(sizes, dim=1)], dim=1)


@pytest.mark.parametrize("name", ACTIONS)
@pytest.mark.parametrize("chunk_size", [None, 5])
def test_kl_and_fisher_product_are_those_of_the_masked_distributions(name, chunk_size):
    n, sizes = 23, ACTIONS[name][1]
    policy, observations = masked_policy(name), observe(n)
    masks = th.from_numpy(random_masks(np.random.default_rng(0), sizes, n))
    batch = MaskedBatch(observations, *[th.zeros(n)] * 3, th.ones(n).double(), masks.float())
    mapping = DistributionMap(policy.get_distribution(observations, masks))
    actor = {
        name: p for name, p in policy.named_parameters() if "value" not in name and "vf" not in name
    }
    vector = ParameterVector(list(actor.values()))
    old = by_hand(policy, observations, masks, sizes).detach()

    def mean_kl(parameters):
        new = th.func.functional_call(
            Caller(policy),
            {f"module.{n}": p for n, p in zip(actor, vector.split(parameters), strict=True)},
            (lambda: by_hand(policy, observations, masks, sizes),),
            tie_weights=False,
        )
        terms = old.exp() * (old - new)
        return th.where(masks, terms, 0.0).sum() / n

    def read(rows):
        return mapping.read(policy.get_distribution(rows.observations, rows.action_masks))

    chunks = [
        ActorChunk(
            rows,
            lambda rows=rows: policy.get_distribution(rows.observations, rows.action_masks),
            mapping,
            ent_coef=0.0,
        )
        for rows in batch.split(chunk_size)
    ]
    product = FisherVectorProduct(
        chunks,
        [Metric(mapping, chunk.dist_params().detach()) for chunk in chunks],
        vector,
        module=policy,
        form="reverse",
        total_weight=n,
    )
    hessian = th.autograd.functional.hessian(mean_kl, vector.read())
    ours = th.stack([product(column) for column in th.eye(len(vector)).double()], dim=1)
    assert hessian.norm() > 1e-3
    assert (ours - hessian).norm() <= 1e-9 * hessian.norm()

    before = read(batch).detach()
    moved = vector.read() + 0.1 * th.randn(len(vector), dtype=th.float64)
    expected = mean_kl(moved).item()
    vector.write(moved)
    kl = mapping.kl(before, read(batch).detach())
    assert kl.mean().item() == pytest.approx(expected, rel=1e-9)
    probs = [d.probs for d in _parts(policy.get_distribution(observations, masks))]
    assert (th.cat(probs, dim=1)[~masks] == 0).all()


def _parts(distribution):
    return getattr(distribution, "distributions", None) or [distribution.distribution]


class Caller(th.nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, function):
        return function()


class Metric:
    """The part of an old policy that a Fisher product uses."""

    def __init__(self, mapping, dist_params):
        self.metric = mapping.metric(dist_params)


# --- beside TRPO and MaskablePPO ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["discrete", "multi_discrete"])
def test_masks_that_allow_all_take_trpos_actions_and_give_its_parameters(name):
    models = []
    for cls in (MaskableTRPO, TRPO):
        model = make(name, cls, env=venv(name, allowed=1.1))
        model.learn(32 * 3)
        models.append(model)
    masked, plain = models
    np.testing.assert_array_equal(masked.rollout_buffer.actions, plain.rollout_buffer.actions)
    step = flat(plain.policy.parameters())
    assert (flat(masked.policy.parameters()) - step).norm() <= 1e-5 * step.norm()
    kl = [model.logger.name_to_value["train/approx_kl"] for model in models]
    assert kl[0] == pytest.approx(kl[1], rel=1e-4)
    assert 0 < kl[0] <= 0.01


OBSERVATIONS = {"vector": VECTOR, "image": IMAGE, "dict": DICT}
POLICIES = {"vector": "MlpPolicy", "image": "CnnPolicy", "dict": "MultiInputPolicy"}
CASES = [*((name, "vector") for name in ACTIONS), ("discrete", "image"), ("discrete", "dict")]


@pytest.mark.parametrize(("name", "observations"), CASES)
@pytest.mark.parametrize("use_masking", [True, False])
def test_rollout_is_that_of_sb3_contribs_loop(name, observations, use_masking, monkeypatch):
    results = []
    for fast in (True, False):
        allowed = 0.5 if use_masking else 1.1
        env = venv(name, OBSERVATIONS[observations], allowed)
        model = make(env=env, policy=POLICIES[observations])
        if not fast:
            monkeypatch.setattr("sb3_trpo.trpo.collects_fast", lambda *_: False)
        assert collects_fast(model, model.rollout_buffer)
        _, callback = model._setup_learn(1000)
        callback.on_training_start(locals(), globals())
        buffers = []
        for _ in range(2):
            model.collect_rollouts(
                model.env, callback, model.rollout_buffer, 32, use_masking=use_masking
            )
            buffers.append(copy.deepcopy(vars(model.rollout_buffer)))
        results.append((buffers, th.get_rng_state()))
    for ours, theirs in zip(results[0][0], results[1][0], strict=True):
        for field, tolerance in {
            **dict.fromkeys(("actions", "action_masks", "episode_starts"), 0),
            **{"log_probs": 1e-6, "values": 1e-5, "rewards": 1e-5, "returns": 1e-5},
        }.items():
            np.testing.assert_allclose(ours[field], theirs[field], atol=tolerance, rtol=tolerance)
    assert th.equal(results[0][1], results[1][1])


class OwnPolicy(MaskableActorCriticPolicy):
    """SB3's policy under another name, for which no closed form stands in."""


@pytest.mark.parametrize("name", ACTIONS)
@pytest.mark.parametrize("changes", [{}, {"actor_batch_size": 13}, {"sub_sampling_factor": 3}])
def test_closed_form_gives_the_update_of_the_general_path(name, changes):
    steps = []
    for policy in ("MlpPolicy", OwnPolicy):
        model = make(name, policy=policy, n_critic_updates=2, **changes)
        before = flat(model.policy.parameters())
        model.learn(96)
        assert (model._plain_actor() is not None) == (policy == "MlpPolicy")
        steps.append(flat(model.policy.parameters()) - before)
    assert (steps[0] - steps[1]).norm() <= 2e-5 * steps[1].norm()


@pytest.mark.parametrize("name", ACTIONS)
def test_bound_holds_and_nothing_masked_is_ever_taken(name):
    model = make(name, target_kl=0.05)
    for _ in range(8):  # the environment objects to invalid actions
        model.learn(96, reset_num_timesteps=False)
        log = model.logger.name_to_value
        assert 0 <= log["train/approx_kl"] <= 0.05
        assert log["train/update_skipped"] == 0
    assert log["train/is_line_search_success"] == 1
    assert all(th.isfinite(p).all() for p in model.policy.parameters())


# --- life with sb3_contrib ------------------------------------------------------------------------


def test_environment_without_masks_is_refused_as_by_maskable_ppo():
    for cls in (MaskableTRPO, MaskablePPO):
        model = cls("MlpPolicy", "CartPole-v1", n_steps=32, batch_size=32, seed=0)
        with pytest.raises(ValueError, match="Environment does not support action masking"):
            model.learn(32)
        model.learn(32, use_masking=False)
        assert model.num_timesteps == 32


def test_action_masker_eval_callback_and_prediction(tmp_path):
    def env():
        plain = Masked(*ACTIONS["discrete"])
        return ActionMasker(plain, lambda wrapped: wrapped.unwrapped.mask)

    model = make(env=DummyVecEnv([env]), n_steps=48)
    evaluation = MaskableEvalCallback(
        DummyVecEnv([env]), eval_freq=48, n_eval_episodes=2, verbose=0, log_path=str(tmp_path)
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Evaluation environment is not wrapped")
        model.learn(96, callback=evaluation)
        mean, _ = evaluate_policy(model, env(), n_eval_episodes=2, use_masking=True)
    assert np.isfinite(mean)
    assert evaluation.best_mean_reward > -np.inf
    mask = np.array([False, False, True, False, False])
    assert model.predict(np.zeros(4, np.float32), action_masks=mask)[0] == 2
    several = model.predict(np.zeros((6, 4), np.float32), action_masks=np.tile(mask, (6, 1)))[0]
    assert (several == 2).all()


@pytest.mark.parametrize("name", ACTIONS)
def test_zip_keeps_the_model_and_learning_goes_on(name, tmp_path):
    model = make(name)
    model.learn(96)
    model.save(tmp_path / "model")
    loaded = MaskableTRPO.load(tmp_path / "model", venv(name))
    assert th.equal(flat(loaded.policy.parameters()), flat(model.policy.parameters()))
    assert type(loaded.policy) is MaskableActorCriticPolicy
    before = flat(loaded.policy.parameters())
    loaded.learn(96, reset_num_timesteps=False)
    assert loaded.num_timesteps == 192
    assert not th.equal(flat(loaded.policy.parameters()), before)


def test_parameters_of_maskable_ppo_fit():
    source = make(cls=MaskablePPO, batch_size=48)
    model = make()
    model.set_parameters(source.get_parameters())
    assert th.equal(flat(model.policy.parameters()), flat(source.policy.parameters()))


def test_normalised_observations():
    model = make(env=VecNormalize(venv("discrete")))
    model.learn(192)
    assert model.logger.name_to_value["train/is_line_search_success"] == 1


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"policy": ActorCriticPolicy}, "MaskableActorCriticPolicy"),
        ({"env": "Pendulum-v1"}, "action_space must be Discrete, MultiDiscrete or MultiBinary"),
        ({"target_kl": -1.0}, "target_kl must be a finite number > 0"),
        ({"rollout_buffer_class": RolloutBuffer}, "MaskableRolloutBuffer"),
    ],
)
def test_bad_arguments_are_named(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        make(**change)


def test_interrupted_update_leaves_the_policy_as_it_was(monkeypatch):
    model = make()
    model.learn(96)
    before, n_updates = flat(model.policy.parameters()), model._n_updates

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(MaskableTRPO, "_values", interrupted)
    monkeypatch.setattr("sb3_trpo.critic_step.plain_critic", lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        model.learn(96)
    assert th.equal(flat(model.policy.parameters()), before)
    assert model._n_updates == n_updates


class OwnBuffer(MaskableRolloutBuffer):
    """A buffer with a way of its own to hand out samples."""

    def get(self, batch_size=None):
        yield from super().get(batch_size)


def test_buffer_of_the_users_own_is_asked_for_samples():
    steps = []
    for buffer in (None, OwnBuffer):
        model = make(rollout_buffer_class=buffer, n_critic_updates=0)
        before = flat(model.policy.parameters())
        model.learn(96)
        steps.append(flat(model.policy.parameters()) - before)
    assert (steps[0] - steps[1]).norm() <= 1e-4 * steps[0].norm()


def test_without_sb3_contrib_the_extra_is_named():
    code = (
        "import sys; sys.modules['sb3_contrib'] = None; import sb3_trpo; sb3_trpo.TRPO\n"
        "try: sb3_trpo.MaskableTRPO\n"
        "except ImportError as error: assert '.[contrib]' in str(error), error\n"
        "else: raise SystemExit('no error')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    import sb3_trpo

    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = sb3_trpo.Nonsense


LEARNING = {
    "discrete": InvalidActionEnvDiscrete(dim=20, n_invalid_actions=10),
    "multi_discrete": InvalidActionEnvMultiDiscrete(dims=[4, 4], n_invalid_actions=3),
    "multi_binary": InvalidActionEnvMultiBinary(dims=6, n_invalid_actions=3),
}


class Strict(gym.Wrapper):
    """Counts invalid actions."""

    invalid = 0

    def action_masks(self):
        return self.env.action_masks()

    def step(self, action):
        sizes = {"Discrete": [20], "MultiDiscrete": [4, 4], "MultiBinary": [2] * 6}
        mask = self.action_masks()
        for start, choice in zip(
            np.cumsum([0, *sizes[type(self.action_space).__name__]]),
            np.atleast_1d(action),
            strict=False,
        ):
            Strict.invalid += not mask[start + choice]
        return self.env.step(action)


@pytest.mark.parametrize(
    "name",
    ["discrete", *(pytest.param(n, marks=pytest.mark.slow) for n in LEARNING if n != "discrete")],
)
def test_invalid_action_environments_are_solved_without_an_invalid_action(name):
    env = Strict(LEARNING[name])
    model = MaskableTRPO("MlpPolicy", env, n_steps=256, gamma=0.4, target_kl=0.05, seed=0)
    Strict.invalid = 0
    model.learn(6000)
    mean, _ = evaluate_policy(model, env, n_eval_episodes=10, deterministic=False, warn=False)
    assert Strict.invalid == 0
    assert mean >= 95  # of 100
