"""RecurrentTRPO's fast rollout against sb3_contrib's loop: same numbers, same random stream."""

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure

from sb3_trpo import RecurrentTRPO
from sb3_trpo.recurrent_rollouts import RecurrentRollout
from sb3_trpo.rollouts import collects_fast
from tests.test_recurrent import CRITICS
from tests.test_rollouts import IMAGE, N_ENVS, N_STEPS, Replay, Watcher, _array
from tests.test_spaces import ACTIONS, OBSERVATIONS

BOX, VECTOR = ACTIONS["vector"], OBSERVATIONS["vector"]
STATES = [f"{part}_states_{whose}" for part in ("hidden", "cell") for whose in ("pi", "vf")]
NAMES = ["actions", "log_probs", "values", "returns", "advantages", "rewards", "episode_starts"]
CASES = {
    **{f"actions: {name}": ("MlpLstmPolicy", VECTOR, space, {}) for name, space in ACTIONS.items()},
    **{
        f"{kind}, critic {name}": (policy, space, BOX, {"policy_kwargs": kwargs})
        for kind, policy, space in (
            ("vector", "MlpLstmPolicy", VECTOR),
            ("image", "CnnLstmPolicy", IMAGE),
            ("dict", "MultiInputLstmPolicy", OBSERVATIONS["dict"]),
        )
        for name, kwargs in CRITICS.items()
    },
    "discrete observations": ("MlpLstmPolicy", spaces.Discrete(5), BOX, {}),
    "two layers": ("MlpLstmPolicy", VECTOR, BOX, {"policy_kwargs": {"n_lstm_layers": 2}}),
    "elu": ("MlpLstmPolicy", VECTOR, BOX, {"policy_kwargs": {"activation_fn": th.nn.ELU}}),
    "correlated noise": ("MlpLstmPolicy", VECTOR, BOX, {"noise_correlation": 0.8}),
    "gsde": ("MlpLstmPolicy", VECTOR, BOX, {"use_sde": True, "sde_sample_freq": 4}),
}


def collected(fast, monkeypatch, case, callback=None):
    policy, observation_space, action_space, kwargs = CASES[case]
    env = Replay(observation_space, action_space)
    small = {"lstm_hidden_size": 8, **kwargs.get("policy_kwargs", {})}
    options = {**kwargs, "policy_kwargs": small}
    model = RecurrentTRPO(policy, env, n_steps=N_STEPS, seed=1, device="cpu", **options)
    model.set_logger(configure(None, []))
    assert collects_fast(model, model.rollout_buffer)
    if not fast:
        monkeypatch.setattr("sb3_trpo.trpo.collects_fast", lambda *_: False)
    _, callback = model._setup_learn(2 * N_STEPS * N_ENVS, callback)
    callback.on_training_start(locals(), globals())
    buffers = []
    for _ in range(2):  # the second rollout starts where the first ended
        assert model.collect_rollouts(model.env, callback, model.rollout_buffer, N_STEPS)
        buffer = model.rollout_buffer
        buffers.append({name: np.array(getattr(buffer, name)) for name in [*NAMES, *STATES]})
    monkeypatch.undo()
    return model, buffers, np.array(env.taken)


@pytest.mark.filterwarnings("ignore:Actor and critic share")
@pytest.mark.parametrize("case", CASES)
def test_rollout_is_that_of_sb3_contribs_loop(case, monkeypatch):
    slow_model, slow, slow_taken = collected(False, monkeypatch, case)
    state = th.get_rng_state(), np.random.get_state()[1]
    fast_model, fast, fast_taken = collected(True, monkeypatch, case)
    assert th.equal(state[0], th.get_rng_state())
    assert np.array_equal(state[1], np.random.get_state()[1])
    assert np.allclose(slow_taken, fast_taken, rtol=0, atol=1e-6)
    for left, right in zip(slow, fast, strict=True):
        for name in [*NAMES, *STATES]:
            atol = 1e-6 if name in ("actions", "log_probs", *STATES) else 1e-5
            assert left[name].dtype == right[name].dtype
            assert np.allclose(left[name], right[name], rtol=1e-6, atol=atol), name
        assert left["rewards"].any()
        assert left["hidden_states_pi"][1:].any()
    assert slow_model.num_timesteps == fast_model.num_timesteps
    assert slow_model.ep_info_buffer == fast_model.ep_info_buffer
    last = (model._last_lstm_states for model in (slow_model, fast_model))
    for theirs, ours in zip(*last, strict=True):
        for left, right in zip(theirs, ours, strict=True):
            assert th.allclose(left, right, rtol=1e-6, atol=1e-6)


READABLE = ["actions", "values", "log_probs", "obs_tensor", "episode_starts", "clipped_actions"]


class StateWatcher(Watcher):
    """Notes the states, too."""

    def _on_step(self):
        super()._on_step()
        if self.n_calls % self.every == 0:
            states = self.locals["lstm_states"]
            flat = [state.numpy().copy() for pair in states for state in pair]
            self.seen[-1].update(dict(zip(STATES, flat, strict=True)))
        return True


@pytest.mark.parametrize("critic", CRITICS)
@pytest.mark.parametrize("every", [1, 7])
def test_callbacks_read_what_sb3_contribs_loop_shows_them(every, critic, monkeypatch):
    seen, buffers = [], []
    for fast in (False, True):
        watcher = StateWatcher([*READABLE, "n_steps"], every)
        _, found, _ = collected(fast, monkeypatch, f"vector, critic {critic}", watcher)
        seen.append(watcher.seen)
        buffers.append(found)
    assert len(seen[0]) == len(seen[1]) == 2 * N_STEPS // every
    for left, right in zip(*seen, strict=True):
        for name in left:
            assert left[name].shape == right[name].shape, name
            assert left[name].dtype == right[name].dtype, name
            assert np.allclose(left[name], right[name], rtol=0, atol=1e-6), name
    # reading changes nothing
    for left, right in zip(*buffers, strict=True):
        for name in [*NAMES, *STATES]:
            assert np.allclose(left[name], right[name], rtol=1e-6, atol=1e-5), name


def test_callbacks_find_the_names_of_sb3_contribs_loop(monkeypatch):
    names = []
    for fast in (False, True):
        keys = set()

        class Collector(BaseCallback):
            def _on_step(self, keys=keys):
                keys.update(self.locals)
                return True

        collected(fast, monkeypatch, "vector, critic own", Collector())
        names.append(keys)
    # What is left over of sb3_contrib's inner loops is no part of the step.
    left_over = {"idx", "done_", "terminal_obs", "terminal_value", "terminal_lstm_state"}
    assert names[0] - names[1] <= left_over


class Stops(BaseCallback):
    def _on_step(self):
        return self.n_calls < 10


@pytest.mark.parametrize("critic", CRITICS)
def test_rollout_that_a_callback_ends_leaves_the_states_of_its_last_stored_step(
    critic, monkeypatch
):
    states = []
    for fast in (False, True):
        env = Replay(VECTOR, BOX)
        model = RecurrentTRPO(
            "MlpLstmPolicy",
            env,
            n_steps=N_STEPS,
            seed=1,
            device="cpu",
            policy_kwargs={"lstm_hidden_size": 8, **CRITICS[critic]},
        )
        if not fast:
            monkeypatch.setattr("sb3_trpo.trpo.collects_fast", lambda *_: False)
        model.learn(N_STEPS * N_ENVS, callback=Stops())
        monkeypatch.undo()
        assert model.num_timesteps == 10 * N_ENVS
        states.append([state for pair in model._last_lstm_states for state in pair])
    for left, right in zip(*states, strict=True):
        assert left.any()
        assert th.allclose(left, right, rtol=0, atol=1e-6)


class AtTheEnds(BaseCallback):
    """Sets the states at a rollout's start, and reads all there is at its end."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def _on_rollout_start(self):
        ones = [(th.ones(1, N_ENVS, 8), th.ones(1, N_ENVS, 8)) for _ in range(2)]
        self.model._last_lstm_states = RNNStates(*ones)
        self.model._last_episode_starts = np.zeros(N_ENVS, dtype=bool)

    def _on_step(self):
        return True

    def _on_rollout_end(self):
        names = ["values", "log_probs", "obs_tensor", "episode_starts"]
        self.seen.append({name: _array(self.locals[name]) for name in names})
        for states in (self.locals["lstm_states"], self.model._last_lstm_states):
            flat = [state for pair in states for state in pair]
            self.seen[-1].update({f"{len(self.seen[-1])}": _array(state) for state in flat})


@pytest.mark.parametrize("critic", CRITICS)
def test_callbacks_of_a_rollouts_ends_set_and_see_what_they_do_in_sb3_contribs_loop(
    critic, monkeypatch
):
    seen, first = [], []
    for fast in (False, True):
        callback = AtTheEnds()
        _, buffers, _ = collected(fast, monkeypatch, f"vector, critic {critic}", callback)
        seen.append(callback.seen)
        first.append(buffers[1]["hidden_states_vf"])
    assert first[0][0].min() == 1
    assert np.allclose(*first, rtol=0, atol=1e-6)
    for left, right in zip(*seen, strict=True):
        assert left.keys() == right.keys()
        for name in left:
            assert np.allclose(left[name], right[name], rtol=0, atol=1e-6), name


@pytest.mark.parametrize("n_calls", [3, 12])
def test_states_go_with_the_last_observation_wherever_an_interruption_falls(n_calls, monkeypatch):
    def made():
        kwargs = {"lstm_hidden_size": 8}
        env = Replay(VECTOR, BOX)
        return RecurrentTRPO(
            "MlpLstmPolicy", env, n_steps=N_STEPS, seed=1, device="cpu", policy_kwargs=kwargs
        )

    undisturbed, model = made(), made()
    undisturbed.learn(N_STEPS * N_ENVS, callback=lambda *_: undisturbed.num_timesteps < N_ENVS * 21)
    calls, keep = 0, RecurrentRollout._keep

    def interrupted(self, step, whose, states):
        nonlocal calls
        calls += whose == "vf"
        if calls == n_calls:
            calls += 1
            raise KeyboardInterrupt
        keep(self, step, whose, states)

    monkeypatch.setattr(RecurrentRollout, "_keep", interrupted)

    def callback(locals_, _):  # reads the critic's values in the middle: there it is interrupted
        return model.num_timesteps < 21 * N_ENVS or locals_["values"] is not None

    with pytest.raises(KeyboardInterrupt):
        model.learn(N_STEPS * N_ENVS, callback=callback)
    for theirs, ours in zip(undisturbed._last_lstm_states, model._last_lstm_states, strict=True):
        for left, right in zip(theirs, ours, strict=True):
            assert th.allclose(left, right, rtol=0, atol=1e-6)


def test_squashed_actions_reach_the_environment_as_predict_would_send_them():
    space = spaces.Box(-3, 1, (2,), np.float32)
    options = {"use_sde": True, "n_steps": N_STEPS, "seed": 1, "device": "cpu"}
    kwargs = {"squash_output": True, "lstm_hidden_size": 8}
    env = Replay(VECTOR, space)
    model = RecurrentTRPO("MlpLstmPolicy", env, policy_kwargs=kwargs, **options)
    model.learn(N_STEPS * N_ENVS)
    buffer = model.rollout_buffer
    np.testing.assert_allclose(np.array(env.taken), 2 * (buffer.actions + 1) - 3, atol=1e-5)
    own = RecurrentTRPO(OwnPolicy, Replay(VECTOR, space), policy_kwargs=kwargs, **options)
    with pytest.raises(ValueError, match=r"squash_output must be False .* got True"):
        own.learn(N_STEPS * N_ENVS)


class OwnPolicy(RecurrentActorCriticPolicy):
    """sb3_contrib's policy under another name, for which no faster loop stands in."""


def test_policies_of_the_users_own_take_sb3_contribs_loop(monkeypatch):
    def refuse(*_):
        raise AssertionError("must not be used")

    monkeypatch.setattr(RecurrentRollout, "collect", refuse)
    model = RecurrentTRPO(OwnPolicy, Replay(VECTOR, BOX), n_steps=N_STEPS, device="cpu")
    assert not collects_fast(model, model.rollout_buffer)
    model.learn(N_STEPS * N_ENVS)
    assert model.num_timesteps == N_STEPS * N_ENVS
    hooked = RecurrentTRPO("MlpLstmPolicy", Replay(VECTOR, BOX), n_steps=N_STEPS, device="cpu")
    assert collects_fast(hooked, hooked.rollout_buffer)
    hooked.policy.lstm_actor.register_forward_hook(lambda *_: None)
    assert not collects_fast(hooked, hooked.rollout_buffer)
