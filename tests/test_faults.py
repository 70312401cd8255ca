"""Faults thrown into updates and training at every point: an update happens whole or not at all."""

import ast
import functools
import math
import os
import random
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv
from torch.distributions import Distribution
from torch.utils._python_dispatch import TorchDispatchMode

import sb3_trpo
from sb3_trpo import TRPO, MaskableTRPO, RecurrentTRPO
from sb3_trpo.optim import trust_region
from sb3_trpo.optim.fisher import FisherVectorProduct
from tests.test_updates import assert_same_state, state_of

CLASSES = {"trpo": TRPO, "maskable": MaskableTRPO, "recurrent": RecurrentTRPO}
OBSERVATION = spaces.Box(-np.inf, np.inf, (3,), np.float32)


class Task(gym.Env):
    """Four actions, one forbidden in turn; ``fault`` may spoil what a step returns."""

    observation_space, action_space = OBSERVATION, spaces.Discrete(4)

    def __init__(self):
        self.fault = None

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._observation(), {}

    def step(self, action):
        self.t += 1
        result = [self._observation(), float(action == self.t % 3), False, self.t == 7, {}]
        if self.fault is not None:
            self.fault(result)
        return tuple(result)

    def action_masks(self):
        return np.arange(4) != self.t % 4

    def _observation(self):
        return self.np_random.normal(size=3).astype(np.float32)


def made(kind, *, env=None, closed_form=True, **kwargs):
    """A small model; without closed forms, a subclass of the activation hides that it is plain."""
    policy = "MlpLstmPolicy" if kind == "recurrent" else "MlpPolicy"
    of_lstm = {"lstm_hidden_size": 4} if kind == "recurrent" else {}
    activation = th.nn.Tanh if closed_form else type("Tanh", (th.nn.Tanh,), {})
    settings = {"n_steps": 16, "batch_size": 16, "n_critic_updates": 1, "cg_max_steps": 2}
    return CLASSES[kind](
        policy,
        DummyVecEnv([Task, Task]) if env is None else env,
        policy_kwargs={"net_arch": [4], "activation_fn": activation, **of_lstm},
        seed=0,
        device="cpu",
        **{**settings, **kwargs},
    )


def collected(model):
    """Fill the buffer as learn() does."""
    _, callback = model._setup_learn(10_000)
    model.collect_rollouts(model.env, callback, model.rollout_buffer, model.n_steps)


def ready(kind, **kwargs):
    """A model that has done an update and collected the next rollout."""
    model = made(kind, **kwargs)
    collected(model)
    model.train()
    collected(model)
    model.policy.set_training_mode(False)
    return model


def generators():
    return random.getstate(), np.random.get_state(), th.get_rng_state()


def set_generators(states):
    random.setstate(states[0])
    np.random.set_state(states[1])
    th.set_rng_state(states[2])


# --- an exception at every point of an update -----------------------------------------------------


class TorchCalls(TorchDispatchMode):
    """Raises at the n-th operation of torch, those of autograd's backward passes included."""

    def __init__(self, at, error):
        super().__init__()
        self.at, self.error, self.count = at, error, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        if self.count == self.at:
            raise self.error("injected")
        return func(*args, **(kwargs or {}))


class Lines:
    """Raises at the n-th line of our package: where a signal's handler would."""

    def __init__(self, at, error):
        self.at, self.error, self.count = at, error, 0

    def __enter__(self):
        self._before = sys.gettrace()
        sys.settrace(self._called)
        return self

    def __exit__(self, *_):
        sys.settrace(self._before)

    def _called(self, frame, event, _):
        path = Path(frame.f_code.co_filename)
        # What puts things back may itself be hit once; a second fault is beyond any promise.
        if PACKAGE not in path.parents:
            return None
        heads, inside = heads_of_with(path), set()

        def line(frame, event, _):
            if event == "line":
                number = frame.f_lineno
                is_leaving = number in inside
                if number in heads:
                    inside.symmetric_difference_update({number})
                # Python traces a with statement again before __exit__, where no signal is looked
                # for: that happens at calls and jumps, and these lie inside the block.
                self.count += not is_leaving
                if self.count == self.at and not is_leaving:
                    raise self.error("injected")
            return line

        return line


@functools.cache
def heads_of_with(path):
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.lineno for node in nodes if isinstance(node, ast.With)}


PACKAGE = Path(sb3_trpo.__file__).parent


class Injected(Exception):
    """Nothing else raises it."""


class InjectedInterrupt(KeyboardInterrupt):
    """Nothing else raises it."""


ERRORS = (InjectedInterrupt, Injected)


def length_of_an_update(kind, tracer, **kwargs):
    model = ready(kind, **kwargs)
    with tracer(-1, Injected) as tracing:
        model.train()
    return tracing.count


def throw_at_each(kind, tracer, points, **kwargs):
    """Interrupt one update at some points, and do it in full at the end; how many raised."""
    model = ready(kind, **kwargs)
    before, states = state_of(model), generators()
    skips, logger = model._n_skipped_updates, model.logger
    n_raised = 0
    for point in points:
        error = ERRORS[point % 2]
        set_generators(states)
        try:
            with tracer(point, error):
                model.train()
        except error:
            n_raised += 1
            if model._n_updates == before[3]:
                assert_same_state(before, state_of(model))
                assert not any(module.training for module in model.policy.modules())
                assert not any(module._forward_pre_hooks for module in model.policy.modules())
                assert Distribution._validate_args
            else:  # it came after the update was whole
                break
    assert model._n_skipped_updates == skips
    assert model.logger is logger
    return model, n_raised, states


def updated(kind, states, **kwargs):
    model = ready(kind, **kwargs)
    set_generators(states)
    model.train()
    return state_of(model)


SOME_POINTS = [pytest.param(29, id="some"), pytest.param(1, id="all", marks=pytest.mark.slow)]


@pytest.mark.parametrize("every", SOME_POINTS)
@pytest.mark.parametrize("closed_form", [True, False])
@pytest.mark.parametrize("kind", CLASSES)
def test_exception_at_any_torch_operation_leaves_everything(
    kind, closed_form, every, record_property
):
    kwargs = {"closed_form": closed_form}
    total = length_of_an_update(kind, TorchCalls, **kwargs)
    assert total > 200
    points = range(1, total + 1, every)
    model, n_raised, states = throw_at_each(kind, TorchCalls, points, **kwargs)
    record_property("exceptions", n_raised)
    assert n_raised == len(points)
    set_generators(states)  # and the update still comes out as if nothing had happened
    model.train()
    assert_same_state(updated(kind, states, **kwargs), state_of(model))


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("every", SOME_POINTS)
def test_exception_at_any_line_leaves_everything_or_comes_after_it(kind, every, record_property):
    total = length_of_an_update(kind, Lines)
    assert total > 1000
    points = range(1, total + 1, every)
    _, n_raised, _ = throw_at_each(kind, Lines, points)
    record_property("exceptions", n_raised)
    # The last few lines come when the update is whole: the first of these ends the test.
    assert n_raised >= len(points) - 20 / every


# --- numbers that are not sound -------------------------------------------------------------------

BAD = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf, "1e30": 1e30, "-1e30": -1e30}
SKIPPED_FOR = {  # place: reason for numbers that are not finite, and for huge ones
    "reward": ("non-finite reward", "non-finite value loss"),
    "advantage": ("non-finite advantage", None),
    "old log-probability": ("non-finite gradient", None),
    "return": ("non-finite advantage", "non-finite value loss"),
}


def spoil(model, place, value):
    """Put a value into the rollout; log-probabilities are the network's own, by its bias."""
    buffer = model.rollout_buffer
    if place == "reward":
        buffer.rewards[3, 1] = value
        buffer.compute_returns_and_advantage(th.zeros(2), np.zeros(2))
    elif place == "advantage":
        buffer.advantages[5, 0] = value
    elif place == "return":
        buffer.returns[2, 1] = value
    else:
        with th.no_grad():
            model.policy.action_net.bias[1] = value


def train_with_warnings_caught(model):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.train()
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("place", SKIPPED_FOR)
@pytest.mark.parametrize("kind", CLASSES)
def test_bad_number_in_the_rollout_skips_the_update_or_harms_nothing(kind, place, value):
    model = ready(kind)
    spoil(model, place, BAD[value])
    before = state_of(model)
    told = train_with_warnings_caught(model)
    log = model.logger.name_to_value
    reason = SKIPPED_FOR[place][math.isfinite(BAD[value])]
    if reason is None and not log["train/update_skipped"]:  # huge, and sound all the same
        assert all(th.isfinite(p).all() for p in model.policy.parameters())
        assert log["train/kl_divergence_loss"] <= log["train/target_kl"]
        return
    assert log["train/update_skipped"] == 1
    assert sum("Update skipped" in message for message in told) == 1
    if reason is not None:
        assert log["train/skip_reason"] == reason
    for parameter, value in zip(model.policy.parameters(), before[0], strict=True):
        assert th.equal(parameter.nan_to_num(), value.nan_to_num())  # the spoilt bias may be NaN
    assert model._n_updates == before[3]
    assert str(before[2]) == str(model.policy.optimizer.state_dict())


class Spoilt:
    """Returns what a function does, but for the k-th call, which is spoilt."""

    def __init__(self, function, k, value):
        self.function, self.k, self.value, self.count = function, k, value, 0

    def __call__(self, *args, **kwargs):
        result = self.function(*args, **kwargs)
        self.count += 1
        return result * self.value if self.count == self.k else result


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e30])
@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("kind", CLASSES)
def test_fisher_product_that_is_spoilt_on_the_kth_call_skips_or_keeps_the_bound(
    kind, k, value, monkeypatch
):
    model = ready(kind, cg_max_steps=3, cg_damping=0.01)
    spoilt = Spoilt(FisherVectorProduct.__call__, k, value)
    monkeypatch.setattr(FisherVectorProduct, "__call__", lambda *args: spoilt(*args))
    before = state_of(model)
    told = train_with_warnings_caught(model)
    assert spoilt.count >= k
    log = model.logger.name_to_value
    if math.isfinite(value):  # a wrong direction, but the search measures the true KL
        assert log["train/update_skipped"] == 0
        assert log["train/kl_divergence_loss"] <= log["train/target_kl"]
    else:
        assert log["train/skip_reason"] == "non-finite curvature"
        assert any("Update skipped" in message for message in told)
        assert_same_state(before, state_of(model))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("figure", ["kl", "surrogate"])
@pytest.mark.parametrize("trials", ["first", "all"])
@pytest.mark.parametrize("kind", CLASSES)
def test_trial_that_measures_no_number_is_not_taken(kind, trials, figure, value, monkeypatch):
    model = ready(kind)
    measure, count = trust_region._measure, 0

    def spoilt(*args):
        nonlocal count
        count += 1
        trial = measure(*args)
        is_spoilt = trials == "all" or count == 1
        return replace(trial, **{figure: value}) if is_spoilt else trial

    monkeypatch.setattr(trust_region, "_measure", spoilt)
    actor = actor_parameters(model)
    train_with_warnings_caught(model)
    log = model.logger.name_to_value
    assert log["train/update_skipped"] == 0
    assert math.isfinite(log["train/kl_divergence_loss"])
    if trials == "all":
        assert log["train/is_line_search_success"] == 0
        assert all(th.equal(*pair) for pair in zip(actor, actor_parameters(model), strict=True))
    else:
        assert log["train/kl_divergence_loss"] <= log["train/target_kl"]


def actor_parameters(model):
    named = model.policy.named_parameters()
    critic = ("value", "vf_", "critic")
    return [p.detach().clone() for n, p in named if not any(part in n for part in critic)]


# --- environments ---------------------------------------------------------------------------------


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("kind", CLASSES)
def test_bad_observation_stops_the_run_with_its_place_or_is_learnt_from(kind, value):
    model = made(kind).learn(32)

    def fault(result):
        if tasks[1].t == 5:
            result[0] = np.full(3, BAD[value], np.float32)

    tasks = [env.unwrapped for env in model.env.envs]
    tasks[1].fault = fault
    before = state_of(model)
    if math.isfinite(BAD[value]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.learn(32)
        assert all(th.isfinite(p).all() for p in model.policy.parameters())
        return
    with pytest.raises(ValueError, match="Environment 1 returned"):
        model.learn(32)
    assert_same_state(before, state_of(model))
    tasks[1].fault = None
    assert model.learn(32)._n_updates == before[3] + 1


class Broken(Exception):
    """Of an environment."""


@pytest.mark.parametrize("callback", [None, lambda *_: True])
@pytest.mark.parametrize("kind", CLASSES)
def test_environment_that_raises_leaves_the_policy_and_can_be_learnt_from_again(kind, callback):
    model = made(kind).learn(32)

    def fault(_):
        if tasks[0].t == 6:
            raise Broken("motor")

    tasks = [env.unwrapped for env in model.env.envs]
    tasks[0].fault = fault
    before = state_of(model)
    with pytest.raises(Broken, match="motor"):
        model.learn(64, callback=callback)
    assert_same_state(before, state_of(model))
    tasks[0].fault = None
    model.learn(32, reset_num_timesteps=False, callback=callback)
    assert model._n_updates == before[3] + 1


class Dying(Task):
    """Its process ends without a word."""

    def step(self, action):
        if self.t == 5:
            os._exit(3)
        return super().step(action)


@pytest.mark.parametrize("kind", CLASSES)
def test_worker_that_dies_leaves_a_model_that_saves_and_goes_on_elsewhere(kind, tmp_path):
    # A forked sibling would hold the dead worker's pipe open, and SB3 wait for ever.
    env = SubprocVecEnv([Task, Dying], start_method="forkserver")
    model = made(kind, env=env)
    before = state_of(model)
    with pytest.raises((EOFError, BrokenPipeError, ConnectionResetError)):
        model.learn(32)
    assert_same_state(before, state_of(model))
    model.save(tmp_path / "model")
    env.processes[0].terminate()
    again = CLASSES[kind].load(tmp_path / "model", DummyVecEnv([Task, Task]), device="cpu")
    assert again.learn(32)._n_updates == before[3] + 1
    model.set_env(DummyVecEnv([Task, Task]))
    assert model.learn(32)._n_updates == before[3] + 1
