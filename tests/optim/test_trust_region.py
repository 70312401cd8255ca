"""The whole step on problems small enough to be solved by hand."""

import math
import threading
from functools import partial

import pytest
import torch as th
from hypothesis import given, settings
from hypothesis import strategies as st

from sb3_trpo.optim import (
    TrustRegionProblem,
    backtracking_search,
    kl_matching_search,
    trust_region_step,
)

N_STATES, N_ACTIONS, N = 4, 3, 40


class TabularOld:
    """Reference policy of a chunk; the formulas are written out."""

    def __init__(self, chunk, logits):
        self._chunk, self._old = chunk, th.log_softmax(logits.double(), dim=1)
        self._probs = self._old.exp()
        self.entropy = -(self._probs * self._old).sum(dim=1)

    def surrogate(self, logits):
        rows = th.arange(len(logits))
        log_ratio = th.log_softmax(logits, dim=1) - self._old
        return log_ratio[rows, self._chunk.actions].exp() * self._chunk.advantages

    def kl(self, logits):
        return (self._probs * (self._old - th.log_softmax(logits, dim=1))).sum(dim=1)

    def metric(self, vectors):
        probs = self._probs.to(vectors.dtype)
        return probs * vectors - probs * (probs * vectors).sum(dim=1, keepdim=True)


class TabularChunk:
    """A softmax policy with one logit per state and action."""

    def __init__(self, table, states, actions, advantages, weights):
        self.table, self.states, self.actions = table, states, actions
        self.advantages, self.weights = advantages, weights

    def dist_params(self):
        return self.table.weight[self.states]

    def old_policy(self, dist_params):
        return TabularOld(self, dist_params)


def tabular(seed=0, sizes=(N,), weights=None):
    generator = th.Generator().manual_seed(seed)
    table = th.nn.Embedding(N_STATES, N_ACTIONS).double()
    with th.no_grad():
        table.weight.copy_(th.randn(N_STATES, N_ACTIONS, generator=generator, dtype=th.float64))
    states = th.randint(N_STATES, (N,), generator=generator)
    actions = th.randint(N_ACTIONS, (N,), generator=generator)
    advantages = th.randn(N, generator=generator, dtype=th.float64)
    weights = th.ones(N, dtype=th.float64) if weights is None else weights
    parts = zip(
        *(x.split(list(sizes)) for x in (states, actions, advantages, weights)), strict=True
    )
    return table, [TabularChunk(table, *part) for part in parts]


def step(table, chunks, search=backtracking_search, **changes):
    problem = {"fisher_chunks": None, "sum_over_processes": lambda v: v}
    problem.update({key: changes.pop(key) for key in list(changes) if key in problem})
    options = {
        "target_kl": 0.01,
        "damping": 0.0,
        "cg_max_iterations": 50,
        "cg_relative_tolerance": 1e-12,
        "jacobian_form": "reverse",
        "line_search": partial(search, shrinking_factor=0.8, max_iterations=10),
        **changes,
    }
    return trust_region_step(TrustRegionProblem(table, chunks, **problem), **options)


def dense(chunks, table):
    """Gradient and Fisher matrix of the tabular policy, from their definitions."""
    size = table.weight.numel()
    gradient, fisher = th.zeros(size), th.zeros(size, size)
    gradient, fisher = gradient.double(), fisher.double()
    total = 0.0
    for chunk in chunks:
        probs = th.softmax(table.weight.detach()[chunk.states], dim=1)
        for i, state in enumerate(chunk.states.tolist()):
            columns = slice(state * N_ACTIONS, (state + 1) * N_ACTIONS)
            score = th.nn.functional.one_hot(chunk.actions[i], N_ACTIONS) - probs[i]
            gradient[columns] += chunk.weights[i] * chunk.advantages[i] * score
            covariance = th.diag(probs[i]) - probs[i][:, None] * probs[i][None]
            fisher[columns, columns] += chunk.weights[i] * covariance
            total += float(chunk.weights[i])
    return gradient / total, fisher / total


def natural_step(gradient, fisher, delta):
    x = th.linalg.pinv(fisher, hermitian=True, rtol=1e-10) @ gradient
    return math.sqrt(2 * delta / (x @ fisher @ x)) * x


def test_tabular_update_is_the_exact_natural_gradient_step():
    table, chunks = tabular()
    gradient, fisher = dense(chunks, table)
    old = table.weight.detach().clone()
    result = step(table, chunks)
    assert result.outcome == "taken"
    moved = (table.weight.detach() - old).reshape(-1)
    exact = result.step_fraction * natural_step(gradient, fisher, 0.01)
    assert (moved - exact).norm() <= 1e-6 * exact.norm()
    assert result.grad_norm == pytest.approx(gradient.norm().item(), rel=1e-12)
    assert result.expected_improvement == pytest.approx((gradient @ exact).item(), rel=1e-6)
    assert result.step_norm == pytest.approx(exact.norm().item(), rel=1e-6)


def test_damping_shapes_the_direction_and_does_not_shorten_the_step():
    table, chunks = tabular()
    gradient, fisher = dense(chunks, table)
    x = th.linalg.solve(fisher + 0.5 * th.eye(len(fisher)), gradient)
    full_step = math.sqrt(2 * 0.01 / (x @ fisher @ x)) * x
    old = table.weight.detach().clone()
    result = step(table, chunks, damping=0.5)
    moved = (table.weight.detach() - old).reshape(-1)
    assert (moved - result.step_fraction * full_step).norm() <= 1e-9 * full_step.norm()


@pytest.mark.parametrize("damping", [1e-3, 0.1, 10.0, 1e3, 1e5, 1e7])
def test_scale_is_that_of_the_dense_fisher_matrix_in_float32(damping):
    # From 10 on, λxᵀx is nearly all of xᵀ(F + λI)x, and the rest of it would be lost in float32.
    table, chunks = tabular()
    gradient, fisher = dense(chunks, table)
    x = th.linalg.solve(fisher + damping * th.eye(len(fisher)), gradient)
    full_step = math.sqrt(2 * 1e-4 / (x @ fisher @ x)) * x
    table.float()
    old = table.weight.detach().double()
    result = step(table, chunks, damping=damping, target_kl=1e-4, cg_relative_tolerance=1e-6)
    assert result.outcome == "taken"
    moved = (table.weight.detach().double() - old).reshape(-1)
    # The rounding of the parameters, of order 1, in steps of order 0.03.
    assert (moved - result.step_fraction * full_step).norm() <= 1e-4 * full_step.norm()


@pytest.mark.parametrize(("damping", "further"), [(0.1, 0), (1e5, 1)])
def test_scale_costs_a_product_only_where_damping_is_nearly_all(damping, further, monkeypatch):
    table, chunks = tabular()
    calls, metric = [], TabularOld.metric
    monkeypatch.setattr(TabularOld, "metric", lambda *args: calls.append(1) or metric(*args))
    result = step(table, chunks, damping=damping)
    assert len(calls) == result.cg_iterations + further


@pytest.mark.parametrize("sizes", [(40,), (13, 13, 14), (1,) * 40])
@pytest.mark.parametrize("form", ["reverse", "forward"])
def test_chunks_and_forms_leave_the_step_unchanged(sizes, form):
    reference, chunks = tabular()
    step(reference, chunks, kl_matching_search)
    table, chunks = tabular(sizes=sizes)
    step(table, chunks, kl_matching_search, jacobian_form=form)
    assert th.allclose(table.weight, reference.weight, rtol=1e-9, atol=1e-11)


def test_samples_of_weight_zero_do_not_exist():
    weights = th.ones(N, dtype=th.float64)
    weights[::3] = 0
    padded, chunks = tabular(weights=weights)
    step(padded, chunks)
    shorter, (chunk,) = tabular()
    kept = weights > 0
    chunk = TabularChunk(
        shorter, chunk.states[kept], chunk.actions[kept], chunk.advantages[kept], weights[kept]
    )
    step(shorter, [chunk])
    assert th.allclose(padded.weight, shorter.weight, rtol=1e-9, atol=1e-12)


def test_scale_uses_all_samples_when_the_solve_sees_a_part():
    table, (chunk,) = tabular()
    part = TabularChunk(
        table, chunk.states[::5], chunk.actions[::5], chunk.advantages[::5], chunk.weights[::5]
    )
    gradient, fisher = dense([chunk], table)
    _, fisher_of_part = dense([part], table)
    x = th.linalg.solve(fisher_of_part + 0.1 * th.eye(len(fisher)), gradient)
    full_step = math.sqrt(2 * 0.01 / (x @ fisher @ x)) * x
    old = table.weight.detach().clone()
    result = step(table, [chunk], fisher_chunks=[part], damping=0.1)
    moved = (table.weight.detach() - old).reshape(-1)
    assert (moved - result.step_fraction * full_step).norm() <= 1e-8 * full_step.norm()


@pytest.mark.parametrize("search", [backtracking_search, kl_matching_search])
def test_taken_step_writes_in_place_and_reports_what_it_did(search):
    table, chunks = tabular()
    storage = table.weight.data_ptr()
    old = TabularOld(chunks[0], chunks[0].dist_params().detach())
    result = step(table, chunks, search)
    assert table.weight.data_ptr() == storage
    now = chunks[0].dist_params().detach()
    assert result.kl == pytest.approx(old.kl(now).mean().item(), rel=1e-12)
    assert result.surrogate == pytest.approx(old.surrogate(now).mean().item(), rel=1e-12)
    assert result.kl <= 0.01
    assert result.kl_utilization == pytest.approx(result.kl / 0.01)
    assert result.surrogate > result.old_surrogate


def unchanged(table, run):
    before = table.weight.detach().clone()
    outcome = run()
    assert th.equal(table.weight.detach(), before)
    return outcome


def test_rejected_step_leaves_parameters_bit_identical():
    table, chunks = tabular()

    def tries_and_refuses(evaluate, *, old_surrogate, target_kl):
        evaluate(1.0)
        return backtracking_search(
            lambda s: evaluate(1e3 * s),
            old_surrogate=old_surrogate,
            target_kl=target_kl,
            shrinking_factor=0.8,
            max_iterations=3,
        )

    result = unchanged(table, lambda: step(table, chunks, line_search=tries_and_refuses))
    assert (result.outcome, result.kl, result.step_fraction) == ("rejected", 0.0, 0.0)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("at", [1, 2])
def test_exception_in_a_trial_restores_the_parameters(error, at):
    table, chunks = tabular()

    def breaks(evaluate, **_):
        for _ in range(at):
            evaluate(1.0)
        raise error

    def run():
        with pytest.raises(error):
            step(table, chunks, line_search=breaks)

    unchanged(table, run)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("trial", [1, 2, 3])
@pytest.mark.parametrize("search", [backtracking_search, kl_matching_search])
def test_network_that_fails_in_any_trial_leaves_the_parameters(error, trial, search):
    table, chunks = tabular(sizes=(20, 20))
    passes = 0

    class Failing(TabularChunk):
        def dist_params(self):
            nonlocal passes
            passes += not th.is_grad_enabled()  # trials alone, which have moved the parameters
            if passes == trial:
                raise error
            return super().dist_params()

    chunks[1].__class__ = Failing

    def run():
        with pytest.raises(error):
            step(table, chunks, search=partial(_evaluates_thrice, search))

    unchanged(table, run)


def _evaluates_thrice(search, evaluate, **options):
    for fraction in (0.5, 0.25, 0.125):
        evaluate(fraction)
    return search(evaluate, **options)


def test_no_curvature_is_nothing_to_do(monkeypatch):
    """The KL is flat along the gradient: √(2δ / 0) must not be evaluated."""
    table, chunks = tabular()
    monkeypatch.setattr(TabularOld, "metric", lambda _, vectors: 0 * vectors)
    result = unchanged(table, lambda: step(table, chunks))
    assert (result.outcome, result.step_norm) == ("nothing_to_do", 0.0)
    assert result.reason == "no curvature along the gradient"


class GaussianChunk:
    """Unit-variance Gaussians around a linear function of the inputs: the KL is quadratic."""

    def __init__(self, layer, inputs, actions, advantages):
        self.layer, self.inputs = layer, inputs
        self.actions, self.advantages = actions, advantages
        self.weights = th.ones(len(inputs), dtype=th.float64)

    def dist_params(self):
        return self.layer(self.inputs)

    def old_policy(self, dist_params):
        return GaussianOld(self, dist_params)


class GaussianOld:
    def __init__(self, chunk, mean):
        self._chunk, self._mean = chunk, mean
        self.entropy = th.full((len(mean),), 0.5 * math.log(2 * math.pi * math.e)).double()

    def surrogate(self, mean):
        actions = self._chunk.actions
        log_ratio = ((actions - self._mean) ** 2 - (actions - mean) ** 2).sum(dim=1) / 2
        return log_ratio.exp() * self._chunk.advantages

    def kl(self, mean):
        return ((mean - self._mean) ** 2).sum(dim=1) / 2

    def metric(self, vectors):
        return vectors


@pytest.mark.parametrize("damping", [0.0, 0.1, 10.0])
@pytest.mark.parametrize("delta", [1e-4, 0.01, 1.0])
def test_full_step_has_the_kl_asked_for_where_the_kl_is_quadratic(damping, delta):
    generator = th.Generator().manual_seed(0)
    layer = th.nn.Linear(5, 2).double()
    inputs = th.randn(30, 5, generator=generator, dtype=th.float64)
    noise = th.randn(30, 2, generator=generator, dtype=th.float64)
    advantages = th.randn(30, generator=generator, dtype=th.float64)
    chunk = GaussianChunk(layer, inputs, layer(inputs).detach() + noise, advantages)
    kls = []

    def measure(evaluate, **options):
        kls.append(evaluate(1.0).kl)
        return backtracking_search(evaluate, **options, shrinking_factor=0.5, max_iterations=10)

    step(layer, [chunk], target_kl=delta, damping=damping, line_search=measure)
    assert kls[0] == pytest.approx(delta, rel=1e-10)


def test_parameters_that_the_distribution_does_not_reach_are_left_out():
    table, chunks = tabular()
    module = th.nn.ModuleDict({"critic": th.nn.Linear(2, 2), "actor": table})
    before = module["critic"].weight.detach().clone()
    result = step(module, chunks)
    assert result.outcome == "taken"
    assert len(result.parameters) == 1
    assert result.parameters[0] is table.weight
    assert th.equal(module["critic"].weight.detach(), before)
    assert all(p.grad is None for p in module.parameters())


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    log_delta=st.floats(-5, 0),
    log_damping=st.floats(-6, 1),
    search=st.sampled_from([backtracking_search, kl_matching_search]),
    cut=st.integers(1, N - 1),
)
def test_any_step_keeps_the_bound_or_the_parameters(seed, log_delta, log_damping, search, cut):
    delta = 10**log_delta
    table, chunks = tabular(seed, sizes=(cut, N - cut))
    before = table.weight.detach().clone()
    old = [chunk.old_policy(chunk.dist_params().detach()) for chunk in chunks]
    result = step(
        table, chunks, search, target_kl=delta, damping=10**log_damping, fisher_chunks=chunks[:1]
    )
    now = [chunk.dist_params().detach() for chunk in chunks]
    kl = th.cat([o.kl(n) for o, n in zip(old, now, strict=True)]).mean().item()
    surrogate = th.cat([o.surrogate(n) for o, n in zip(old, now, strict=True)]).mean().item()
    if result.outcome == "taken":
        assert kl <= delta * (1 + 1e-12)
        assert surrogate > result.old_surrogate
        assert (result.kl, result.surrogate) == pytest.approx((kl, surrogate), rel=1e-9)
    else:
        assert result.outcome in ("rejected", "nothing_to_do")
        assert th.equal(table.weight.detach(), before)


def test_equal_advantages_of_zero_are_nothing_to_do():
    table, (chunk,) = tabular()
    chunk.advantages = th.zeros(N, dtype=th.float64)
    result = unchanged(table, lambda: step(table, [chunk]))
    assert (result.outcome, result.reason) == ("nothing_to_do", "zero gradient")


@pytest.mark.parametrize("target_kl", [0.0, -0.01])
def test_no_budget_is_nothing_to_do(target_kl):
    table, chunks = tabular()
    result = unchanged(table, lambda: step(table, chunks, target_kl=target_kl))
    assert result.outcome == "nothing_to_do"
    assert result.parameters == [table.weight]


def test_frozen_actor_is_nothing_to_do():
    table, chunks = tabular()
    table.weight.requires_grad_(False)
    result = unchanged(table, lambda: step(table, chunks))
    assert (result.outcome, result.parameters) == ("nothing_to_do", [])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_non_finite_advantage_skips(value):
    table, (chunk,) = tabular()
    chunk.advantages[3] = value
    result = unchanged(table, lambda: step(table, [chunk]))
    assert (result.outcome, result.reason) == ("skipped", "non-finite gradient")


@pytest.mark.parametrize("call", [1, 2, 5])
def test_non_finite_curvature_skips(call, monkeypatch):
    table, chunks = tabular()
    calls = 0
    metric = TabularOld.metric

    def breaks(self, vectors):
        nonlocal calls
        calls += 1
        return metric(self, vectors) * (math.nan if calls == call else 1.0)

    monkeypatch.setattr(TabularOld, "metric", breaks)
    result = unchanged(table, lambda: step(table, chunks))
    assert (result.outcome, result.reason) == ("skipped", "non-finite curvature")


def test_two_processes_take_the_step_of_one_with_all_data():
    """Two threads with a real barrier stand for two ranks; their shares are unequal."""
    reference, chunks = tabular()
    step(reference, chunks, kl_matching_search, damping=0.01)

    barrier = threading.Barrier(2, timeout=30)  # a rank that fails must not hang the other
    slots = [None, None]

    def sum_of(rank, vector):
        slots[rank] = vector.detach().clone()
        barrier.wait()
        total = slots[0] + slots[1]
        barrier.wait()
        return total

    tables = [None, None]

    def run(rank):
        table, shares = tabular(sizes=(11, 29))
        tables[rank] = table
        step(
            table,
            [shares[rank]],
            kl_matching_search,
            damping=0.01,
            sum_over_processes=partial(sum_of, rank),
        )

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert th.equal(tables[0].weight, tables[1].weight)
    error = (tables[0].weight - reference.weight).norm() / reference.weight.norm()
    assert error < 1e-10
