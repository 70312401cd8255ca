"""The fast rollout against SB3's own loop: same numbers, same random stream."""

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, EventCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnv

from sb3_trpo import TRPO
from sb3_trpo.callback_locals import RolloutLocals
from sb3_trpo.rollouts import FastRollout, _estimate_advantages, collects_fast
from tests.policies_under_test import BetaPolicy
from tests.test_spaces import ACTIONS, OBSERVATIONS

N_STEPS, N_ENVS = 40, 3
IMAGE = spaces.Box(0, 255, (1, 36, 36), np.uint8)


class Replay(VecEnv):
    """Plays one stored sequence of observations, rewards and ends, whatever the actions."""

    def __init__(self, observation_space, action_space, seed=0):
        super().__init__(N_ENVS, observation_space, action_space)
        observation_space.seed(seed)
        rng = np.random.default_rng(seed)
        self._rows = [self._sample() for _ in range(2 * N_STEPS + 1)]
        self._rewards = rng.normal(size=(2 * N_STEPS, N_ENVS)).astype(np.float32)
        self._dones = rng.random((2 * N_STEPS, N_ENVS)) < 0.15
        self._truncated = self._dones & (rng.random((2 * N_STEPS, N_ENVS)) < 0.6)
        self._last = [[observation_space.sample() for _ in range(N_ENVS)] for _ in self._rows]
        self.taken = []

    def _sample(self):
        samples = [self.observation_space.sample() for _ in range(N_ENVS)]
        if isinstance(samples[0], dict):
            return {key: np.stack([s[key] for s in samples]) for key in samples[0]}
        return np.stack(samples)

    def reset(self):
        self.t = 0
        return self._rows[0]

    def step_async(self, actions):
        self.taken.append(np.array(actions))

    def step_wait(self):
        infos = [{} for _ in range(N_ENVS)]
        for i in np.flatnonzero(self._dones[self.t]):
            infos[i] = {
                "terminal_observation": self._last[self.t][i],
                "TimeLimit.truncated": bool(self._truncated[self.t, i]),
                "episode": {"r": 1.0 * self.t, "l": self.t + 1, "t": 0.0},
            }
        self.t += 1
        return self._rows[self.t], self._rewards[self.t - 1].copy(), self._dones[self.t - 1], infos

    def close(self): ...

    def get_attr(self, attr_name, indices=None):
        return [None] * N_ENVS

    def set_attr(self, attr_name, value, indices=None): ...

    def env_method(self, method_name, *args, indices=None, **kwargs): ...

    def env_is_wrapped(self, wrapper_class, indices=None):
        return [False] * N_ENVS


def _array(value):
    return value.numpy().copy() if isinstance(value, th.Tensor) else np.array(value)


class Watcher(BaseCallback):
    """Notes what a callback may read, at some steps."""

    def __init__(self, names, every=1):
        super().__init__()
        self.names, self.every, self.seen = names, every, []

    def _on_step(self):
        if self.n_calls % self.every == 0:
            self.seen.append({name: _array(self.locals[name]) for name in self.names})
        return True


def run(
    fast, monkeypatch, observation_space, action_space, normalise=False, callback=None, **kwargs
):
    env = Replay(observation_space, action_space)
    inner = env
    if normalise:
        env = VecNormalize(env)
    policy = "MlpPolicy"
    if isinstance(observation_space, spaces.Dict):
        policy = "MultiInputPolicy"
    elif observation_space is IMAGE:
        policy = "CnnPolicy"
    model = TRPO(policy, env, n_steps=N_STEPS, batch_size=60, seed=1, device="cpu", **kwargs)
    model.set_logger(configure(None, []))
    if not fast:
        monkeypatch.setattr("sb3_trpo.trpo.collects_fast", lambda *_: False)
    else:
        assert collects_fast(model, model.rollout_buffer)
    buffers = []
    _, callback = model._setup_learn(2 * N_STEPS * N_ENVS, callback)
    callback.on_training_start(locals(), globals())
    for _ in range(2):  # the second rollout starts where the first ended
        assert model.collect_rollouts(model.env, callback, model.rollout_buffer, N_STEPS)
        buffer = model.rollout_buffer
        buffers.append({name: np.array(getattr(buffer, name)) for name in NAMES})
    monkeypatch.undo()
    state = th.get_rng_state(), np.random.get_state()[1], model.num_timesteps, model.ep_info_buffer
    return buffers, np.array(inner.taken), state, callback


NAMES = ["actions", "log_probs", "values", "returns", "advantages", "rewards", "episode_starts"]
BOX, VECTOR = ACTIONS["vector"], OBSERVATIONS["vector"]
CASES = {
    **{f"observations: {name}": (space, BOX, {}) for name, space in OBSERVATIONS.items()},
    **{f"actions: {name}": (OBSERVATIONS["vector"], space, {}) for name, space in ACTIONS.items()},
    "image": (IMAGE, spaces.Discrete(2), {}),
    "shared image": (IMAGE, BOX, {"policy_kwargs": {"share_features_extractor": True}}),
    "normalised": (VECTOR, BOX, {"normalise": True}),
    "normalised dict": (
        spaces.Dict(a=OBSERVATIONS["vector"], b=OBSERVATIONS["unbounded"]),
        BOX,
        {"normalise": True},
    ),
    "relu": (VECTOR, BOX, {"policy_kwargs": {"activation_fn": th.nn.ReLU}}),
    "elu": (VECTOR, BOX, {"policy_kwargs": {"activation_fn": th.nn.ELU}}),
    "wide": (VECTOR, BOX, {"policy_kwargs": {"net_arch": [256, 256]}}),
    "linear": (VECTOR, BOX, {"policy_kwargs": {"net_arch": []}}),
    "gsde": (VECTOR, BOX, {"use_sde": True, "sde_sample_freq": 4}),
    "gsde on dict": (OBSERVATIONS["dict"], BOX, {"use_sde": True}),
    "correlated noise": (VECTOR, BOX, {"noise_correlation": 0.8}),
    "squashed gsde": (
        OBSERVATIONS["vector"],
        ACTIONS["asymmetric"],
        {"use_sde": True, "policy_kwargs": {"squash_output": True}},
    ),
}


@pytest.mark.filterwarnings("ignore:Actor and critic share")
@pytest.mark.parametrize("case", CASES)
def test_fast_rollout_has_the_numbers_of_sb3s_loop(case, monkeypatch):
    observation_space, action_space, kwargs = CASES[case]
    slow, taken_slow, state_slow, _ = run(
        False, monkeypatch, observation_space, action_space, **kwargs
    )
    fast, taken_fast, state_fast, _ = run(
        True, monkeypatch, observation_space, action_space, **kwargs
    )
    assert np.allclose(taken_slow, taken_fast, rtol=0, atol=1e-6)
    for left, right in zip(slow, fast, strict=True):
        for name in NAMES:
            atol = 1e-6 if name in ("actions", "log_probs") else 1e-5
            assert left[name].dtype == right[name].dtype
            assert np.allclose(left[name], right[name], rtol=1e-6, atol=atol), name
    assert th.equal(state_slow[0], state_fast[0])
    assert np.array_equal(state_slow[1], state_fast[1])
    assert state_slow[2:] == state_fast[2:]


READABLE = ["actions", "values", "log_probs", "obs_tensor", "clipped_actions", "rewards", "dones"]


class Parent(EventCallback):
    """Has a child that it calls at each step."""

    def _on_step(self):
        return self._on_event()


class LateParent(Parent):
    """Never starts its child, which then has a dict of its own."""

    def _on_training_start(self): ...


def nest(kind, watcher):
    return {
        "alone": watcher,
        "in a list": [watcher],
        "nested": CallbackList([CallbackList([Parent(watcher)])]),
        "with a dict of its own": LateParent(watcher),
    }[kind]


@pytest.mark.parametrize("kind", ["alone", "in a list", "nested", "with a dict of its own"])
@pytest.mark.parametrize("every", [1, 7])
def test_callbacks_read_what_sb3s_loop_shows_them(kind, every, monkeypatch):
    seen = []
    for fast in (False, True):
        watcher = Watcher([*READABLE, "n_steps"], every)
        run(fast, monkeypatch, VECTOR, BOX, callback=nest(kind, watcher))
        seen.append(watcher.seen)
    assert len(seen[0]) == len(seen[1]) == 2 * N_STEPS // every
    for left, right in zip(*seen, strict=True):
        for name in left:
            assert left[name].shape == right[name].shape
            assert left[name].dtype == right[name].dtype
            assert np.allclose(left[name], right[name], rtol=0, atol=1e-6), name


def test_callbacks_find_the_names_of_sb3s_loop(monkeypatch):
    names = []
    for fast in (False, True):
        keys = set()

        class Collector(BaseCallback):
            def _on_step(self, keys=keys):
                keys.update(self.locals)
                return True

        run(fast, monkeypatch, VECTOR, BOX, callback=Collector())
        names.append(keys)
    # What is left over of SB3's inner loops is no part of the step.
    assert names[0] - names[1] <= {"idx", "done", "terminal_obs", "terminal_value"}


def test_values_are_computed_only_when_read(monkeypatch):
    for names, passes in (([], 3), (["values"], 3 + N_STEPS)):
        calls = 0
        evaluate = FastRollout._values

        def counted(self, obs):
            nonlocal calls
            calls += 1
            return evaluate(self, obs)  # noqa: B023

        monkeypatch.setattr(FastRollout, "_values", counted)
        env = Replay(VECTOR, BOX)
        model = TRPO("MlpPolicy", env, n_steps=N_STEPS, batch_size=60, n_critic_updates=0, seed=1)
        model.learn(N_STEPS * N_ENVS, callback=Watcher(names))
        monkeypatch.undo()
        assert calls == passes  # the rollout, its truncated ends, the observations after it


def test_locals_behave_as_a_dict():
    known = {"a": 1}
    locals_ = RolloutLocals(known)
    calls = []
    locals_.defer(b=lambda: calls.append("b") or 2, c=lambda: calls.append("c") or 3)
    assert "b" in locals_
    assert "x" not in locals_
    assert locals_.get("x", 9) == 9
    assert calls == []
    assert locals_["b"] == locals_.get("b") == 2
    assert calls == ["b"]
    assert {**locals_} == dict(locals_) == locals_.copy() == {"a": 1, "b": 2, "c": 3}
    assert len(locals_) == 3
    assert sorted(locals_.items()) == [("a", 1), ("b", 2), ("c", 3)]
    assert calls == ["b", "c"]
    with pytest.raises(KeyError):
        locals_["x"]
    locals_.update(locals_)
    locals_.defer(b=lambda: 5)
    assert locals_["b"] == 5
    plain = {}
    plain.update(locals_)
    assert plain["b"] == 5


class Resetting(BaseCallback):
    """Starts each rollout anew, and notes whether gradients are on where it is called."""

    def __init__(self):
        super().__init__()
        self.grad_enabled = []

    def _on_rollout_start(self):
        self.grad_enabled.append(th.is_grad_enabled())
        self.model._last_obs = self.training_env.reset()

    def _on_step(self):
        self.grad_enabled.append(th.is_grad_enabled())
        return True

    def _on_rollout_end(self):
        self.grad_enabled.append(th.is_grad_enabled())


def test_callback_may_put_the_last_observation_and_finds_gradients_on(monkeypatch):
    results = []
    for fast in (False, True):
        callback = Resetting()
        buffers, taken, *_ = run(fast, monkeypatch, VECTOR, BOX, callback=callback)
        assert all(callback.grad_enabled)
        assert len(callback.grad_enabled) == 2 * (N_STEPS + 2)
        results.append((buffers[1]["values"], taken))
    assert np.allclose(results[0][0], results[1][0], rtol=0, atol=1e-5)
    assert np.allclose(results[0][1], results[1][1], rtol=0, atol=1e-6)


class OwnPolicy(ActorCriticPolicy):
    pass


class OwnBuffer(RolloutBuffer):
    pass


def hook(model):
    model.policy.value_net.register_forward_hook(lambda *_: None)


def override(model):
    model.policy.forward = model.policy.forward


@pytest.mark.parametrize(
    ("kwargs", "change"),
    [
        ({"policy": OwnPolicy}, None),
        ({"policy": BetaPolicy}, None),
        ({"rollout_buffer_class": OwnBuffer}, None),
        ({}, hook),
        ({}, override),
    ],
)
def test_sb3s_loop_collects_where_a_class_of_the_users_may_differ(kwargs, change):
    env = Replay(VECTOR, BOX)
    policy = kwargs.pop("policy", "MlpPolicy")
    model = TRPO(policy, env, n_steps=N_STEPS, batch_size=60, **kwargs)
    if change is not None:
        change(model)
    assert not collects_fast(model, model.rollout_buffer)
    model.learn(N_STEPS * N_ENVS)
    assert model._n_updates == 1


def test_callback_that_stops_leaves_the_rollout_where_it_was(monkeypatch):
    states = []
    for fast in (False, True):
        env = Replay(VECTOR, BOX)
        model = TRPO("MlpPolicy", env, n_steps=N_STEPS, batch_size=60, seed=1)
        if not fast:
            monkeypatch.setattr("sb3_trpo.trpo.collects_fast", lambda *_: False)
        model.learn(1000, callback=lambda locals_, _: locals_["n_steps"] < 9)
        monkeypatch.undo()
        buffer = model.rollout_buffer
        states.append((model.num_timesteps, buffer.pos, buffer.actions, model._last_obs))
    assert states[0][:2] == states[1][:2] == (10 * N_ENVS, 9)
    assert np.allclose(states[0][2], states[1][2], rtol=0, atol=1e-6)
    assert np.array_equal(states[0][3], states[1][3])


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_live_training_goes_step_by_step_as_with_sb3s_loop(env, monkeypatch):
    results = []
    for fast in (True, False):
        if not fast:
            monkeypatch.setattr("sb3_trpo.trpo.collects_fast", lambda *_: False)
        model = TRPO("MlpPolicy", env, n_steps=128, batch_size=64, seed=0, device="cpu")
        model.learn(256)
        results.append(th.nn.utils.parameters_to_vector(model.policy.parameters()).detach())
    assert (results[0] - results[1]).norm() <= 1e-4 * results[1].norm()


@pytest.mark.parametrize(("gamma", "gae_lambda"), [(0.99, 0.95), (1.0, 1.0), (0.9, 0.0)])
def test_advantages_are_the_buffers_own_bit_for_bit(gamma, gae_lambda):
    rng = np.random.default_rng(0)
    shape = (50, 3)
    buffers = [
        RolloutBuffer(*shape[:1], VECTOR, BOX, "cpu", gae_lambda, gamma, n_envs=shape[1])
        for _ in range(2)
    ]
    starts = (rng.random(shape) < 0.2).astype(np.float32)
    rewards, values = (rng.normal(size=shape).astype(np.float32) for _ in range(2))
    last_values, dones = th.randn(3, 1), np.array([True, False, False])
    going_on = 1.0 - np.concatenate([starts[1:], dones[None].astype(np.float32)])
    for buffer in buffers:
        buffer.episode_starts, buffer.rewards, buffer.values = starts, rewards, values
    _estimate_advantages(buffers[0], last_values.numpy()[:, 0], going_on)
    buffers[1].compute_returns_and_advantage(last_values, dones)
    np.testing.assert_array_equal(buffers[0].advantages, buffers[1].advantages)
    np.testing.assert_array_equal(buffers[0].returns, buffers[1].returns)
