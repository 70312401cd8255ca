"""F v against the explicit Hessian of the mean joint KL."""

import weakref

import pytest
import torch as th

from sb3_trpo.batch import ActorChunk, Batch
from sb3_trpo.distributions import DistributionMap
from sb3_trpo.optim import FisherVectorProduct, ParameterVector, choose_jacobian_form
from sb3_trpo.optim.fisher import ForwardLinearisation, ReverseLinearisation
from tests.policies_under_test import (
    ACTION_SPACES,
    SharedTrunkPolicy,
    detached,
    joint_kl,
    make_policy,
    observe,
)

N = 23
ALL = [*ACTION_SPACES, "beta"]


def actor_parameters(policy, observations):
    outputs = DistributionMap(policy.get_distribution(observations)).read(
        policy.get_distribution(observations)
    )
    named = [(n, p) for n, p in policy.named_parameters() if p.requires_grad]
    grads = th.autograd.grad(outputs.sum(), [p for _, p in named], allow_unused=True)
    return {n: p for (n, p), g in zip(named, grads, strict=True) if g is not None}


class Caller(th.nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, function):
        return function()


def explicit_fisher(policy, observations, parameters, weights):
    """The Hessian of the mean joint KL(old ‖ new) at the old parameters, entry by entry."""
    old = detached(policy.get_distribution(observations))
    vector = ParameterVector(list(parameters.values()))
    names = [f"module.{name}" for name in parameters]
    caller = Caller(policy)

    def mean_kl(flat):
        swapped = dict(zip(names, vector.split(flat), strict=True))

        def at_swapped():
            new = policy.get_distribution(observations).distribution
            return (weights * joint_kl(old, new)).sum() / weights.sum()

        return th.func.functional_call(caller, swapped, (at_swapped,), tie_weights=False)

    return th.autograd.functional.hessian(mean_kl, vector.read())


def product(policy, observations, parameters, weights, form, chunk_size=None):
    n = len(observations)
    batch = Batch(observations, th.zeros(n), th.zeros(n), th.zeros(n), weights)
    mapping = DistributionMap(policy.get_distribution(observations[:1]))
    # Rows of the gSDE features decide nothing here; actions are not looked at.
    chunks = [
        ActorChunk(
            rows,
            lambda rows=rows: policy.get_distribution(rows.observations),
            mapping,
            ent_coef=0.0,
        )
        for rows in batch.split(chunk_size)
    ]
    anchors = [_Metric(mapping, chunk.dist_params().detach()) for chunk in chunks]
    return FisherVectorProduct(
        chunks,
        anchors,
        ParameterVector(list(parameters.values())),
        module=policy,
        form=form,
        total_weight=float(weights.sum()),
    )


class _Metric:
    """The part of an old policy that a Fisher product uses."""

    def __init__(self, mapping, dist_params):
        self.metric = mapping.metric(dist_params)


def assert_matches(
    policy, form, dtype=th.float64, chunk_size=None, weights=None, rtol=1e-9, directions=None
):
    observations = observe(N, dtype)
    weights = th.ones(N, dtype=th.float64) if weights is None else weights
    parameters = actor_parameters(policy, observations)
    f_product = product(policy, observations, parameters, weights, form, chunk_size)
    size = sum(p.numel() for p in parameters.values())
    columns = th.eye(size, dtype=dtype)
    if directions is not None:
        generator = th.Generator().manual_seed(2)
        columns = th.randn(directions, size, generator=generator, dtype=dtype)
    ours = th.stack([f_product(column) for column in columns], dim=1)
    reference = explicit_fisher(policy, observations, parameters, weights.to(dtype)) @ columns.T
    assert reference.norm() > 1e-3
    assert (ours - reference).norm() <= rtol * reference.norm()
    return ours


@pytest.mark.parametrize("form", ["reverse", "forward"])
@pytest.mark.parametrize("name", ALL)
def test_product_is_the_hessian_of_the_mean_joint_kl(name, form):
    matrix = assert_matches(make_policy(name), form)
    assert (matrix - matrix.T).norm() <= 1e-12 * matrix.norm()
    assert th.linalg.eigvalsh((matrix + matrix.T) / 2).min() >= -1e-12


@pytest.mark.parametrize("form", ["reverse", "forward"])
@pytest.mark.parametrize("name", ALL)
def test_float32_is_as_close_as_float32_allows(name, form):
    assert_matches(make_policy(name, th.float32), form, th.float32, rtol=1e-4, directions=5)


@pytest.mark.parametrize("form", ["reverse", "forward"])
@pytest.mark.parametrize("chunk_size", [1, 7, 22, 23])
@pytest.mark.parametrize("name", ALL)
def test_chunks_leave_the_product_unchanged(name, chunk_size, form):
    assert_matches(make_policy(name), form, chunk_size=chunk_size, directions=3)


@pytest.mark.parametrize("form", ["reverse", "forward"])
def test_weights_enter_every_mean(form):
    weights = th.rand(N, dtype=th.float64, generator=th.Generator().manual_seed(3))
    weights[::4] = 0
    assert_matches(make_policy("gaussian"), form, weights=weights, chunk_size=5, directions=5)


@pytest.mark.parametrize("form", ["reverse", "forward"])
@pytest.mark.parametrize(
    "kwargs",
    [
        {"share_features_extractor": True},
        {"share_features_extractor": False},
        {"policy_class": SharedTrunkPolicy},
        {"features_extractor_kwargs": {"dropout": 0.5}},
    ],
    ids=["shared extractor", "separate extractors", "shared trunk", "dropout"],
)
def test_sharing_and_dropout(kwargs, form):
    assert_matches(make_policy("gaussian", **kwargs), form)


@pytest.mark.parametrize("form", ["reverse", "forward"])
def test_frozen_parameters_are_left_out(form):
    policy = make_policy("gaussian")
    policy.log_std.requires_grad_(False)
    policy.action_net.bias.requires_grad_(False)
    observations = observe(N)
    assert "log_std" not in actor_parameters(policy, observations)
    assert_matches(policy, form)


class OnceDifferentiable(th.autograd.Function):
    """Has a first derivative in both modes, and no second one."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)
        return x.sin()

    @staticmethod
    @th.autograd.function.once_differentiable
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0].cos()

    @staticmethod
    def jvp(ctx, tangent):
        return tangent * ctx.saved_tensors[0].cos()


class NoForwardMode(OnceDifferentiable):
    @staticmethod
    def jvp(ctx, tangent):
        raise NotImplementedError("no forward mode")


class DetachedBackward(OnceDifferentiable):
    """Its backward loses the graph without saying so."""

    @staticmethod
    def backward(ctx, grad):
        return (grad * ctx.saved_tensors[0].cos()).detach()


class SineNet(th.nn.Module):
    def __init__(self, sine):
        super().__init__()
        self.layer, self.sine = th.nn.Linear(3, 2), sine
        self.inputs = th.randn(4, 3, generator=th.Generator().manual_seed(0))

    def dist_params(self):
        return self.sine.apply(self.layer(self.inputs))


def test_forward_mode_leaves_the_module_its_own_parameters():
    """Its extractor is reachable by three names, which torch's own tying gets wrong."""
    policy = make_policy("gaussian")
    before = {name: (id(p), p.clone()) for name, p in policy.named_parameters()}
    assert_matches(policy, "forward", chunk_size=5, directions=3)
    for name, parameter in policy.named_parameters():
        assert (id(parameter), True) == (before[name][0], th.equal(parameter, before[name][1]))


class Experts(th.nn.Module):
    """Each sample uses one of two layers, so a chunk may use only one of them."""

    def __init__(self):
        super().__init__()
        th.manual_seed(0)
        self.experts = th.nn.ModuleList([th.nn.Linear(3, 2).double() for _ in range(2)])

    def chunk(self, inputs):
        return ExpertsChunk(self, inputs)


class ExpertsChunk:
    def __init__(self, module, inputs):
        self.module, self.inputs = module, inputs
        self.weights = th.ones(len(inputs), dtype=th.float64)

    def dist_params(self):
        which = (self.inputs[:, 0] > 0).long()
        outputs = self.inputs.new_zeros(len(self.inputs), 2)
        for i in which.unique().tolist():
            outputs[which == i] = self.module.experts[i](self.inputs[which == i]).tanh()
        return outputs

    def metric(self, vectors):
        return vectors


@pytest.mark.parametrize("form", ["reverse", "forward"])
@pytest.mark.parametrize("frozen", [None, 0])
def test_chunk_may_use_a_part_of_the_parameters(form, frozen):
    module = Experts()
    if frozen is not None:
        module.experts[frozen].requires_grad_(False)
    inputs = th.randn(12, 3, dtype=th.float64, generator=th.Generator().manual_seed(0))
    inputs = inputs[inputs[:, 0].argsort()]  # the first rows use one layer, the last the other
    parameters = ParameterVector([p for p in module.parameters() if p.requires_grad])

    def product_of(chunks):
        return FisherVectorProduct(
            chunks, chunks, parameters, module=module, form=form, total_weight=12.0
        )

    # The metric is the identity, so F is JᵀJ / N, with J entry by entry.
    whole = module.chunk(inputs)
    rows = [
        parameters.flatten(
            th.autograd.grad(entry, parameters.tensors, retain_graph=True, allow_unused=True)
        )
        for entry in whole.dist_params().reshape(-1)
        if entry.requires_grad
    ]
    jacobian = th.stack(rows)
    vector = th.randn(len(parameters), dtype=th.float64, generator=th.Generator().manual_seed(1))
    expected = jacobian.T @ (jacobian @ vector) / 12
    in_one = product_of([whole])(vector)
    in_parts = product_of([module.chunk(inputs[i : i + 2]) for i in range(0, 12, 2)])(vector)
    assert (in_one - expected).norm() <= 1e-12 * expected.norm()
    assert (in_parts - expected).norm() <= 1e-12 * expected.norm()


@pytest.mark.parametrize("form", ["reverse", "forward"])
def test_buffers_and_gradients_are_left_alone(form):
    policy = make_policy("gaussian")
    state = {name: value.clone() for name, value in policy.state_dict().items()}
    assert_matches(policy, form, directions=2)
    assert all(p.grad is None for p in policy.parameters())
    assert all(th.equal(value, state[name]) for name, value in policy.state_dict().items())


def test_forms_agree_where_both_exist_and_forward_works_where_reverse_does_not():
    forward_only = SineNet(OnceDifferentiable)
    parameters = ParameterVector(list(forward_only.parameters()))
    forward_only.weights, forward_only.metric = th.ones(4), lambda vectors: 3 * vectors
    vector = th.randn(len(parameters), generator=th.Generator().manual_seed(1))
    ours = FisherVectorProduct(
        [forward_only],
        [forward_only],
        parameters,
        module=forward_only,
        form="forward",
        total_weight=4.0,
    )(vector)
    jacobian = th.stack(
        [
            parameters.flatten(th.autograd.grad(entry, parameters.tensors, retain_graph=True))
            for entry in forward_only.dist_params().reshape(-1)
        ]
    )
    expected = 3 * jacobian.T @ (jacobian @ vector) / 4
    assert (ours - expected).norm() <= 1e-5 * expected.norm()


def test_form_is_chosen_by_what_the_network_supports():
    forward_only = SineNet(OnceDifferentiable)
    assert choose_jacobian_form(forward_only, forward_only) == "forward"
    silent = SineNet(DetachedBackward)
    assert choose_jacobian_form(silent, silent) == "forward"
    neither = SineNet(NoForwardMode)
    with pytest.raises(NotImplementedError, match="neither"):
        choose_jacobian_form(neither, neither)
    assert _form_of(make_policy("gaussian")) == "reverse"


@pytest.mark.parametrize("form", ["reverse", "forward"])
def test_one_chunks_linearisation_lives_at_a_time(form, monkeypatch):
    alive, most = weakref.WeakSet(), 0
    cls = {"reverse": ReverseLinearisation, "forward": ForwardLinearisation}[form]
    build = cls.__init__

    def count(self, *args, **kwargs):
        nonlocal most
        alive.add(self)
        most = max(most, len(alive))
        build(self, *args, **kwargs)

    monkeypatch.setattr(cls, "__init__", count)
    assert_matches(make_policy("gaussian"), form, chunk_size=5, directions=2)
    assert most == 1


def test_lack_of_memory_is_no_lack_of_a_form(monkeypatch):
    def fail(*_):
        raise th.OutOfMemoryError("no memory")

    monkeypatch.setattr(ReverseLinearisation, "jvp", fail)
    net = SineNet(OnceDifferentiable)
    net.sine = th.nn.Module()
    net.sine.apply = th.sin  # has both forms
    with pytest.raises(th.OutOfMemoryError):
        choose_jacobian_form(net, net)


def test_form_is_left_open_while_everything_is_frozen():
    net = SineNet(OnceDifferentiable).requires_grad_(False)
    assert choose_jacobian_form(net, net) is None


def _form_of(policy):
    observations = observe(2)
    batch = Batch(observations, th.zeros(2), th.zeros(2), th.zeros(2), th.ones(2))
    mapping = DistributionMap(policy.get_distribution(observations))
    chunk = ActorChunk(batch, lambda: policy.get_distribution(observations), mapping, ent_coef=0.0)
    return choose_jacobian_form(chunk, policy)
