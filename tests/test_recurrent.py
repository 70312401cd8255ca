"""RecurrentTRPO: the same step over sequences."""

import copy

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_trpo import TRPO, RecurrentTRPO
from sb3_trpo.actor_step import actor_problem
from sb3_trpo.batch import normalised_advantages, spread_of_advantages
from sb3_trpo.distributions import DistributionMap
from sb3_trpo.optim import FisherVectorProduct, ParameterVector
from sb3_trpo.optim.trust_region import _surrogate_gradient

BOX = spaces.Box(-1, 1, (2,), np.float32)
ACTIONS = {
    "gaussian": BOX,
    "categorical": spaces.Discrete(3),
    "multi_categorical": spaces.MultiDiscrete([3, 2]),
    "bernoulli": spaces.MultiBinary(3),
}
VECTOR = spaces.Box(-1, 1, (4,), np.float32)
OBSERVATIONS = {
    "MlpLstmPolicy": VECTOR,
    "CnnLstmPolicy": spaces.Box(0, 255, (1, 36, 36), np.uint8),
    "MultiInputLstmPolicy": spaces.Dict(a=VECTOR, b=spaces.Discrete(3)),
}
CRITICS = {
    "own": {},
    "shared": {"shared_lstm": True, "enable_critic_lstm": False},
    "without": {"enable_critic_lstm": False},
}


class Episodes(gym.Env):
    """Random observations and rewards; episodes of random lengths."""

    def __init__(self, action_space, observation_space):
        self.action_space = copy.deepcopy(action_space)
        self.observation_space = copy.deepcopy(observation_space)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.left = int(self.np_random.integers(1, 15))
        return self.observation_space.sample(), {}

    def step(self, action):
        self.left -= 1
        reward = float(self.np_random.normal()) + float(np.sum(action))
        return self.observation_space.sample(), reward, self.left == 0, False, {}


def make(name="gaussian", policy="MlpLstmPolicy", cls=RecurrentTRPO, n_envs=3, **kwargs):
    space = OBSERVATIONS.get(policy, VECTOR)
    env = DummyVecEnv([lambda: Episodes(ACTIONS[name], space)] * n_envs)
    env.seed(0)
    if cls is not TRPO:
        small = {"lstm_hidden_size": 6, "net_arch": [5]}
        kwargs["policy_kwargs"] = {**small, **kwargs.get("policy_kwargs", {})}
    options = {"n_steps": 40, "batch_size": 30, "seed": 0, "device": "cpu", **kwargs}
    model = cls(policy, env, **options)
    model.set_logger(configure(None, []))
    return model


def collect(model, n_rollouts=1):
    _, callback = model._setup_learn(10_000)
    callback.on_training_start(locals(), globals())
    for _ in range(n_rollouts):
        model.collect_rollouts(model.env, callback, model.rollout_buffer, model.n_steps)
    model.policy.set_training_mode(False)


def flat(parameters):
    return th.cat([p.detach().reshape(-1) for p in parameters])


def without_closed_forms(monkeypatch):
    monkeypatch.setattr(RecurrentTRPO, "_plain_actor", lambda _: None)


class Quantities:
    """Gradient, KL at moved parameters and F v of a batch, as the update computes them."""

    def __init__(self, model, batch):
        problem, form = actor_problem(model, batch, None)
        found = _surrogate_gradient(problem)
        self.parameters, self.gradient = found.parameters, found.vector
        direction = th.randn(len(self.parameters), generator=th.Generator().manual_seed(0))
        product = FisherVectorProduct(
            problem.chunks,
            found.old_policies,
            self.parameters,
            module=model.policy,
            form=form,
            total_weight=found.total_weight,
            linearise=problem.linearise,
        )
        self.product = product(direction)
        before = self.parameters.read()
        self.parameters.write(before + 0.05 * direction)
        with th.no_grad():
            self.kl = sum(
                (c.weights * old.kl(c.dist_params().double())).sum()
                for c, old in zip(problem.chunks, found.old_policies, strict=True)
            ).item() / float(found.total_weight)
        self.parameters.write(before)

    def assert_close(self, other):
        assert (self.gradient - other.gradient).norm() <= 1e-5 * self.gradient.norm()
        assert (self.product - other.product).norm() <= 1e-5 * self.product.norm()
        assert self.kl == pytest.approx(other.kl, rel=1e-5)
        assert self.kl > 1e-4


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("name", ACTIONS)
@pytest.mark.parametrize("size", [1, 30, 77])
def test_padding_and_order_and_chunks_of_sequences_change_nothing(name, size, closed, monkeypatch):
    if not closed:
        without_closed_forms(monkeypatch)
    model = make(name)
    collect(model, 2)
    batch = model._batch(model.rollout_buffer)
    batch = normalised_advantages(batch, spread_of_advantages(batch))
    assert batch.weights.sum() == 120
    assert len(batch) > 120  # there is padding
    whole = Quantities(model, batch)
    rng = np.random.default_rng(0)
    whole.assert_close(Quantities(model, batch.sequences(rng.permutation(len(batch.starts)))))
    model.actor_batch_size = size  # 1: sequence by sequence, without padding
    assert len(batch.split(size)) > 1
    whole.assert_close(Quantities(model, batch))


@pytest.mark.parametrize("name", ACTIONS)
def test_old_distribution_is_that_of_the_rollout(name):
    model = make(name)
    collect(model, 2)
    batch = model._batch(model.rollout_buffer)
    with th.no_grad():
        log_prob = model._distribution(batch).log_prob(batch.actions)
    buffer = model.rollout_buffer
    stored = buffer.swap_and_flatten(buffer.log_probs).reshape(-1)
    inside = batch.weights > 0
    np.testing.assert_allclose(log_prob[inside].numpy(), stored, atol=1e-5)
    values = model._values(batch).detach()[inside].numpy()
    np.testing.assert_allclose(values, buffer.swap_and_flatten(buffer.values)[:, 0], atol=1e-5)


@pytest.mark.parametrize("closed", [True, False])
def test_fisher_product_is_the_hessian_of_the_mean_kl_sequence_by_sequence(closed, monkeypatch):
    if not closed:
        without_closed_forms(monkeypatch)
    model = make(n_envs=1, n_steps=20, policy_kwargs={"lstm_hidden_size": 3, "net_arch": [2]})
    collect(model)
    batch = model._batch(model.rollout_buffer)
    problem, form = actor_problem(model, batch, None)
    outputs = DistributionMap(model._distribution(batch)).read(model._distribution(batch))
    named = {n: p for n, p in model.policy.named_parameters() if p.requires_grad}
    grads = th.autograd.grad(outputs.sum(), named.values(), allow_unused=True)
    actor = {n: p for (n, p), g in zip(named.items(), grads, strict=True) if g is not None}
    assert any("lstm_actor" in name for name in actor)
    assert not any("critic" in name for name in actor)
    vector = ParameterVector(list(actor.values()))
    old = problem.chunks[0].old_policy(outputs.detach())
    product = FisherVectorProduct(
        problem.chunks,
        [old],
        vector,
        module=model.policy,
        form=form,
        total_weight=20.0,
        linearise=problem.linearise,
    )

    # KL and its slope from the loop over single steps that sb3_contrib acts with
    buffer, policy = model.rollout_buffer, model.policy
    starts = th.as_tensor(buffer.episode_starts)
    observations = th.as_tensor(buffer.observations)
    state = tuple(
        th.as_tensor(getattr(buffer, f"{part}_states_pi")[0]) for part in ("hidden", "cell")
    )

    def distributions():
        states, found = state, []
        for t in range(20):
            distribution, states = policy.get_distribution(observations[t], states, starts[t])
            found.append(th.cat([distribution.distribution.mean, distribution.distribution.stddev]))
        return th.stack(found).double()

    reference = distributions().detach()

    def mean_kl():
        mean, std = distributions().unbind(1)
        m0, s0 = reference.unbind(1)
        kl = (std / s0).log() + (s0**2 + (m0 - mean) ** 2) / (2 * std**2) - 0.5
        return kl.sum(dim=1).mean()

    slope = vector.flatten(th.autograd.grad(mean_kl(), vector.tensors, create_graph=True))
    rows = [
        vector.flatten(th.autograd.grad(entry, vector.tensors, retain_graph=True))
        for entry in slope
    ]
    hessian = th.stack(rows)
    ours = th.stack([product(column) for column in th.eye(len(vector))], dim=1)
    assert (ours - hessian).norm() <= 1e-4 * hessian.norm()


class Memoryless(th.nn.LSTM):
    """Shaped as an LSTM, hands its inputs on."""

    def __init__(self, size):
        super().__init__(size, size)
        for parameter in self.parameters():
            parameter.requires_grad_(False)

    def forward(self, inputs, states):
        return inputs, states


class MemorylessPolicy(RecurrentActorCriticPolicy):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **{**kwargs, "lstm_hidden_size": 4})
        self.lstm_actor, self.lstm_critic = Memoryless(4), Memoryless(4)


def test_step_without_memory_is_trpos():
    recurrent = make(policy=MemorylessPolicy, n_critic_updates=0)
    plain = make(policy="MlpPolicy", cls=TRPO, n_critic_updates=0, policy_kwargs={"net_arch": [5]})
    shared = plain.policy.state_dict().keys()
    own = recurrent.policy.state_dict()
    plain.policy.load_state_dict({key: own[key].clone() for key in shared})
    for model in (recurrent, plain):
        model.set_random_seed(1)
        collect(model)
    np.testing.assert_allclose(
        recurrent.rollout_buffer.actions, plain.rollout_buffer.actions, atol=1e-6
    )
    steps = []
    for model in (recurrent, plain):
        before = {key: value.clone() for key, value in model.policy.state_dict().items()}
        model.train()
        after = model.policy.state_dict()
        steps.append(th.cat([(after[key] - before[key]).reshape(-1) for key in shared]))
        assert model.logger.name_to_value["train/is_line_search_success"] == 1
    # Padding changes the order of sums, which CG's iterations amplify.
    assert (steps[0] - steps[1]).norm() <= 1e-3 * steps[1].norm()


@pytest.mark.parametrize("critic", CRITICS)
@pytest.mark.parametrize("policy", OBSERVATIONS)
def test_every_policy_and_critic_learns_within_the_bound(policy, critic):
    model = make(policy=policy, policy_kwargs=CRITICS[critic], target_kl=0.02)
    losses = []
    separate = policy != "MlpLstmPolicy" and critic != "shared"
    assert model.policy.share_features_extractor == (not separate)
    for _ in range(3):
        before = flat(model.policy.parameters())
        model.learn(120, reset_num_timesteps=False)
        log = model.logger.name_to_value
        assert 0 <= log["train/approx_kl"] <= 0.02
        assert log["train/update_skipped"] == 0
        losses.append(log["train/value_loss"])
        assert not th.equal(before, flat(model.policy.parameters()))
    assert np.isfinite(losses).all()
    assert log["train/is_line_search_success"] == 1


@pytest.mark.parametrize("critic", CRITICS)
def test_critics_minibatches_hold_each_sample_once_with_its_state(critic):
    model = make(policy_kwargs=CRITICS[critic])
    collect(model, 2)
    whole = model._batch(model.rollout_buffer)
    buffer = model.rollout_buffer
    returns, values = [], []
    for minibatch in next(model._epochs(whole)):
        samples = minibatch.samples
        inside = samples.weights > 0
        assert 1 <= inside.sum() == minibatch.total_weight <= 30 + 30
        returns.append(samples.returns[inside])
        values.append(model._values(samples).detach()[inside])
    np.testing.assert_array_equal(np.sort(th.cat(returns)), np.sort(buffer.returns.reshape(-1)))
    # the parameters are those that acted: wherever the cut is, the stored state gives its values
    np.testing.assert_allclose(
        np.sort(th.cat(values)), np.sort(buffer.values.reshape(-1)), atol=1e-5
    )


def test_zip_keeps_the_model_and_learning_goes_on(tmp_path):
    model = make()
    model.learn(120)
    model.save(tmp_path / "model")
    loaded = RecurrentTRPO.load(tmp_path / "model", model.env)
    assert th.equal(flat(loaded.policy.parameters()), flat(model.policy.parameters()))
    observation = np.zeros((3, 4), np.float32)
    state, start = None, np.ones(3, bool)
    for _ in range(3):
        action, new_state = loaded.predict(observation, state, start, deterministic=True)
        expected, _ = model.predict(observation, state, start, deterministic=True)
        np.testing.assert_array_equal(action, expected)
        state, start = new_state, np.zeros(3, bool)
    loaded.learn(120, reset_num_timesteps=False)
    assert loaded.num_timesteps == 240


def test_subset_of_sequences_and_an_interrupted_update(monkeypatch):
    model = make(sub_sampling_factor=2)
    model.learn(120)
    assert model.logger.name_to_value["train/is_line_search_success"] == 1
    before = flat(model.policy.parameters())

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(RecurrentTRPO, "_values", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.learn(120)
    assert th.equal(flat(model.policy.parameters()), before)


def test_bad_policy_and_parameters_of_recurrent_ppo():
    with pytest.raises(ValueError, match="RecurrentActorCriticPolicy"):
        make(policy="MlpPolicy")
    source, model = make(cls=RecurrentPPO), make()
    model.set_parameters(source.get_parameters())
    assert th.equal(flat(model.policy.parameters()), flat(source.policy.parameters()))


class WithoutVelocities(gym.ObservationWrapper):
    """CartPole of which position and angle are seen."""

    def __init__(self, env):
        super().__init__(env)
        seen = [0, 2]
        space = env.observation_space
        self.observation_space = spaces.Box(space.low[seen], space.high[seen], dtype=np.float32)

    def observation(self, observation):
        return observation[[0, 2]]


class Cue(gym.Env):
    """Shows a cue once; from then on the right action is the cue."""

    observation_space = spaces.Box(-1, 1, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cue, self.t = int(self.np_random.integers(2)), 0
        return np.array([2 * self.cue - 1], np.float32), {}

    def step(self, action):
        self.t += 1
        return np.zeros(1, np.float32), float(action == self.cue), self.t > 30, False, {}


@pytest.mark.parametrize("seed", range(2))
def test_cue_is_remembered_for_thirty_steps(seed):
    env = make_vec_env(Cue, 16, seed=seed)
    model = RecurrentTRPO(
        "MlpLstmPolicy",
        env,
        n_steps=128,
        target_kl=0.03,
        policy_kwargs={"lstm_hidden_size": 32},
        seed=seed,
        device="cpu",
    )
    score = 0.0
    while score < 31 and model.num_timesteps < 50_000:
        model.learn(10_000, reset_num_timesteps=False)
        score, _ = evaluate_policy(model, env, n_eval_episodes=50)
    assert score == 31  # without memory 16: the cue itself, and half of the rest


@pytest.mark.slow
def test_memory_makes_up_for_hidden_velocities():
    scores = {}
    for cls, policy, small in (
        (RecurrentTRPO, "MlpLstmPolicy", {"lstm_hidden_size": 64}),
        (TRPO, "MlpPolicy", {}),
    ):
        env = make_vec_env("CartPole-v1", n_envs=8, seed=0, wrapper_class=WithoutVelocities)
        model = cls(
            policy,
            env,
            n_steps=128,
            gamma=0.98,
            target_kl=lambda progress: 0.001 + 0.02 * progress,
            learning_rate=lambda progress: 1e-3 * progress,
            policy_kwargs=small,
            seed=0,
            device="cpu",
        ).learn(80_000)
        scores[cls], _ = evaluate_policy(model, env, n_eval_episodes=20)
    assert scores[RecurrentTRPO] >= 450
    assert scores[TRPO] < 200
