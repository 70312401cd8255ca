"""The closed forms of plain perceptrons against autograd and against the general path."""

import copy
import weakref

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy

from sb3_trpo.mlp import MlpPass, plain_actor, plain_critic
from sb3_trpo.mlp_actor import PlainActor, PlainActorLinearisation
from sb3_trpo.mlp_critic import steps_elementwise
from tests.policies_under_test import DoubleExtractor
from tests.test_updates import SPACES, collect, make_model

PLAIN = [name for name in SPACES if name != "beta"]


def without_closed_forms(monkeypatch):
    monkeypatch.setattr("sb3_trpo.mlp.is_unmodified", lambda _: False)


@pytest.mark.parametrize("activation", [th.nn.Tanh, th.nn.ReLU])
@pytest.mark.parametrize("net_arch", [[], [7], [7, 5], [6, 6, 6]])
def test_products_are_those_of_the_explicit_jacobian(net_arch, activation):
    model = make_model(policy_kwargs={"net_arch": net_arch, "activation_fn": activation})
    for mlp in (plain_actor(model.policy), plain_critic(model.policy)):
        inputs = th.randn(9, 5, generator=th.Generator().manual_seed(0), dtype=th.float64)
        double = copy.deepcopy(mlp)
        double = type(mlp)([p.detach().double() for p in mlp.parameters], mlp.activation)

        def forward(*parameters, double=double, inputs=inputs):
            units = inputs
            for i in range(0, len(parameters), 2):
                units = th.nn.functional.linear(units, parameters[i], parameters[i + 1])
                if i < len(parameters) - 2:
                    units = double.activation()(units)
            return units

        tangents = [th.randn_like(p) for p in double.parameters]
        result = MlpPass(double, inputs)
        outputs, change = th.func.jvp(forward, tuple(double.parameters), tuple(tangents))
        assert th.allclose(result.outputs, outputs, rtol=1e-12)
        assert th.allclose(result.jvp(tangents), change, rtol=1e-10, atol=1e-12)
        cotangent = th.randn_like(outputs)
        _, pull = th.func.vjp(forward, *double.parameters)
        for ours, theirs in zip(result.vjp(cotangent), pull(cotangent), strict=True):
            assert th.allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def flat(parameters):
    return th.cat([p.detach().reshape(-1) for p in parameters])


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("changes", [{}, {"actor_batch_size": 13}, {"sub_sampling_factor": 3}])
def test_update_is_that_of_the_general_path(name, changes, monkeypatch):
    models = []
    for closed in (True, False):
        model = make_model(name, n_critic_updates=3, **changes)
        if models:
            model.rollout_buffer = copy.deepcopy(models[0][1])
            model._setup_learn(1000)
            without_closed_forms(monkeypatch)
        else:
            collect(model)
        assert (plain_actor(model.policy) is not None) == closed
        buffer = copy.deepcopy(model.rollout_buffer)
        before = flat(model.policy.parameters())
        np.random.seed(3)
        model.train()
        models.append((model, buffer, flat(model.policy.parameters()) - before))
    step = models[1][2]
    assert (models[0][2] - step).norm() <= 1e-5 * step.norm()
    states = [m.policy.optimizer.state_dict()["state"] for m, *_ in models]
    assert states[0].keys() == states[1].keys()
    for key in states[0]:
        assert list(states[0][key]) == list(states[1][key])
        for entry, value in states[1][key].items():
            mine = states[0][key][entry]
            assert (mine.dtype, mine.shape) == (value.dtype, value.shape)
            assert (mine - value).norm() <= 1e-5 * value.norm()


OPTIMIZERS = {
    "adam": (th.optim.Adam, {"eps": 1e-5}),
    "amsgrad": (th.optim.Adam, {"amsgrad": True}),
    "decayed adam": (th.optim.Adam, {"weight_decay": 0.1}),
    "adamw": (th.optim.AdamW, {"weight_decay": 0.1, "betas": (0.8, 0.9)}),
    "sgd": (th.optim.SGD, {}),
    "momentum": (th.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "rmsprop": (th.optim.RMSprop, {"alpha": 0.9}),
    "centred rmsprop": (th.optim.RMSprop, {"centered": True, "momentum": 0.5}),
}


@pytest.mark.parametrize("max_grad_norm", [0.5, None])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_critic_moves_as_by_its_optimizers_own_steps(name, max_grad_norm, monkeypatch):
    optimizer_class, optimizer_kwargs = OPTIMIZERS[name]
    model = make_model(
        n_critic_updates=2,
        max_grad_norm=max_grad_norm,
        target_kl=lambda _: 0.0,
        learning_rate=lambda progress: 1e-3 * progress,
        policy_kwargs={"optimizer_class": optimizer_class, "optimizer_kwargs": optimizer_kwargs},
    )
    results = []
    for closed in (True, False):
        twin = make_model(
            n_critic_updates=2,
            max_grad_norm=max_grad_norm,
            target_kl=lambda _: 0.0,
            learning_rate=lambda progress: 1e-3 * progress,
            policy_kwargs=model.policy_kwargs,
        )
        if not closed:
            without_closed_forms(monkeypatch)
        np.random.seed(1)
        for progress in (1.0, 0.5, 0.25):  # the state is carried from update to update
            if progress == 1.0:
                collect(twin)
            twin._current_progress_remaining = progress
            twin.train()
        critic = [p for n, p in twin.policy.named_parameters() if "value" in n]
        assert steps_elementwise(twin.policy.optimizer, critic)
        results.append((flat(critic), twin.policy.optimizer.state_dict()))
    (ours, state), (theirs, expected) = results
    assert (ours - theirs).norm() <= 1e-5 * theirs.norm()
    assert state["param_groups"] == expected["param_groups"]
    assert state["state"].keys() == expected["state"].keys()
    for key, entries in expected["state"].items():
        assert list(state["state"][key]) == list(entries)
        for entry, value in entries.items():
            mine = state["state"][key][entry]
            if value is None:
                assert mine is None
            else:
                assert (mine.dtype, mine.shape) == (value.dtype, value.shape)
                assert (mine - value).norm() <= 1e-4 * value.norm() + 1e-12


class OwnPolicy(ActorCriticPolicy):
    pass


def hooked(model):
    model.policy.mlp_extractor.policy_net.register_forward_hook(lambda *_: None)


def overridden(model):
    model.policy.predict_values = model.policy.predict_values


def gradient_hooked(model):
    model.policy.action_net.weight.register_hook(lambda grad: 0 * grad)


def layer_overridden(model):
    layer = model.policy.mlp_extractor.policy_net[0]
    layer.forward = layer.forward


def frozen(model):
    model.policy.action_net.bias.requires_grad_(False)
    model.policy.value_net.bias.requires_grad_(False)


def normalised(model):
    for net in (model.policy.mlp_extractor.policy_net, model.policy.mlp_extractor.value_net):
        th.nn.utils.parametrizations.weight_norm(net[0])


def tied(model):
    model.policy.mlp_extractor.value_net = model.policy.mlp_extractor.policy_net


@pytest.mark.parametrize(
    ("kwargs", "change", "actor", "critic"),
    [
        ({}, None, True, True),
        ({"policy": OwnPolicy}, None, False, False),
        ({"policy_kwargs": {"features_extractor_class": DoubleExtractor}}, None, False, False),
        ({"policy_kwargs": {"activation_fn": th.nn.ELU}}, None, False, False),
        ({}, hooked, False, False),
        ({}, overridden, False, False),
        ({}, gradient_hooked, False, False),
        ({}, layer_overridden, False, False),
        ({}, frozen, False, False),
        ({}, normalised, False, False),
        ({}, tied, True, False),
    ],
)
def test_only_plain_networks_take_the_closed_forms(kwargs, change, actor, critic):
    model = make_model(**kwargs)
    if change is not None:
        change(model)
    assert (plain_actor(model.policy) is not None) == actor
    assert (plain_critic(model.policy) is not None) == critic
    collect(model)
    model.train()
    assert model._n_updates == 1


def test_actor_whose_log_std_is_frozen_keeps_its_closed_form(monkeypatch):
    steps = []
    for closed in (True, False):
        model = make_model()
        model.policy.log_std.requires_grad_(False)
        collect(model)
        if not closed:
            without_closed_forms(monkeypatch)
        before = flat(model.policy.parameters())
        model.train()
        steps.append(flat(model.policy.parameters()) - before)
    assert (steps[0] - steps[1]).norm() <= 1e-5 * steps[1].norm()


def test_linearisation_is_built_once_an_update_without_chunks(monkeypatch):
    built, linearise = [], PlainActor.linearise

    def note(*args):
        built.append(linearise(*args))
        return built[-1]

    monkeypatch.setattr(PlainActor, "linearise", note)
    model = make_model()
    collect(model)
    model.train()
    assert len(built) == 1


def test_one_chunks_linearisation_lives_at_a_time(monkeypatch):
    alive, most = weakref.WeakSet(), 0
    build = PlainActorLinearisation.__init__

    def count(self, *args):
        nonlocal most
        alive.add(self)
        most = max(most, len(alive))
        build(self, *args)

    monkeypatch.setattr(PlainActorLinearisation, "__init__", count)
    model = make_model(actor_batch_size=16)
    collect(model)
    model.train()
    assert most == 1


def test_optimizers_that_are_not_elementwise_are_left_alone():
    model = make_model(policy_kwargs={"optimizer_class": th.optim.NAdam})
    parameters = plain_critic(model.policy).parameters
    assert not steps_elementwise(model.policy.optimizer, parameters)
    adam = make_model().policy.optimizer
    assert steps_elementwise(adam, adam.param_groups[0]["params"])
    adam.register_step_post_hook(lambda *_: None)
    assert not steps_elementwise(adam, adam.param_groups[0]["params"])
