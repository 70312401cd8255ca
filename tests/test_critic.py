"""The critic's fit moves the value function and nothing else."""

import numpy as np
import pytest
import torch as th

from sb3_trpo.batch import Batch, minibatches
from sb3_trpo.critic import Minibatch, fit_value_function
from sb3_trpo.distributed import OneProcess
from sb3_trpo.union import Union, deal
from tests.policies_under_test import DoubleExtractor
from tests.test_updates import collect, make_model


def test_only_the_value_function_moves_even_under_weight_decay():
    model = make_model(
        target_kl=lambda _: 0.0,
        policy_kwargs={
            "optimizer_class": th.optim.AdamW,
            "optimizer_kwargs": {"weight_decay": 0.1},
        },
    )
    collect(model)
    before = {n: p.detach().clone() for n, p in model.policy.named_parameters()}
    model.train()
    for name, parameter in model.policy.named_parameters():
        assert th.equal(parameter, before[name]) == ("value" not in name), name
    moments = {id(p) for p in model.policy.optimizer.state}
    named = dict(model.policy.named_parameters())
    assert moments == {id(p) for n, p in named.items() if "value" in n}


def test_no_epochs_leave_the_critic():
    model = make_model(n_critic_updates=0)
    collect(model)
    before = model.policy.value_net.weight.clone()
    model.train()
    assert th.equal(model.policy.value_net.weight, before)
    assert "train/value_loss" not in model.logger.name_to_value


@pytest.mark.parametrize("share", [True, False])
def test_extractor_of_the_critic_moves_with_it_unless_it_is_the_actors(share):
    model = make_model(
        target_kl=lambda _: 0.0,
        policy_kwargs={
            "features_extractor_class": DoubleExtractor,
            "share_features_extractor": share,
        },
    )
    collect(model)
    before = {n: p.detach().clone() for n, p in model.policy.named_parameters()}
    model.train()
    moved = {n for n, p in model.policy.named_parameters() if not th.equal(p, before[n])}
    expected = {n for n in before if "value" in n or (n.startswith("vf_") and not share)}
    assert moved == expected
    assert any(n.startswith("vf_") for n in moved) == (not share)


class CountingSGD(th.optim.SGD):
    """Counts its steps and notes the gradient's norm."""

    def __init__(self, params, lr):
        super().__init__(params, lr=lr)
        self.norms = []

    def step(self, closure=None):
        grads = [p.grad for g in self.param_groups for p in g["params"] if p.grad is not None]
        self.norms.append(th.cat([g.reshape(-1) for g in grads]).norm().item())
        return super().step(closure)


@pytest.mark.parametrize(
    ("max_grad_norm", "clipped"), [(None, False), (0, False), (0.0, False), (0.5, True)]
)
def test_model_takes_the_asked_number_of_steps_and_clips_them(max_grad_norm, clipped):
    model = make_model(
        n_critic_updates=3,
        max_grad_norm=max_grad_norm,
        policy_kwargs={"optimizer_class": CountingSGD},
    )
    collect(model)
    model.rollout_buffer.returns[:] += 100.0
    model.train()
    norms = model.policy.optimizer.norms
    assert len(norms) == 3 * 64 // 32
    assert all((norm <= 0.5 + 1e-5) == clipped for norm in norms)


def test_learning_rate_schedule_reaches_the_critic():
    model = make_model(
        learning_rate=lambda progress: 0.1 * progress,
        policy_kwargs={"optimizer_class": CountingSGD},
    )
    collect(model)
    model._current_progress_remaining = 0.0
    before = model.policy.value_net.weight.detach().clone()
    model.train()
    assert len(model.policy.optimizer.norms) == 2
    assert th.equal(model.policy.value_net.weight, before)


@pytest.mark.parametrize("optimizer", ["Adam", "AdamW", "RMSprop", "SGD", "Adagrad", "NAdam"])
def test_any_optimizer_without_a_closure_fits(optimizer):
    model = make_model(
        learning_rate=0.01,
        n_critic_updates=20,
        policy_kwargs={"optimizer_class": getattr(th.optim, optimizer)},
    )
    collect(model)

    def loss():
        batch = model._batch(model.rollout_buffer)
        with th.no_grad():
            return (
                (model.policy.predict_values(batch.observations)[:, 0] - batch.returns) ** 2
            ).mean()

    before = loss()
    model.train()
    assert loss() < before


def fit(max_grad_norm, epochs=1):
    th.manual_seed(0)
    line = th.nn.Linear(2, 1)
    observations = th.tensor([[1.0, 2.0], [3.0, -1.0], [0.5, 0.5]])
    batch = Batch(observations, th.zeros(3), th.zeros(3), th.tensor([10.0, -20.0, 5.0]), th.ones(3))
    before = th.cat([p.detach().reshape(-1) for p in line.parameters()])
    result = fit_value_function(
        lambda rows: line(rows.observations).flatten(),
        ([Minibatch(batch, 3)] for _ in range(epochs)),
        optimizer=th.optim.SGD(line.parameters(), lr=1.0),
        parameters=list(line.parameters()),
        max_grad_norm=max_grad_norm,
        group=OneProcess(),
    )
    after = th.cat([p.detach().reshape(-1) for p in line.parameters()])
    return result, (after - before).norm().item()


def test_gradient_norm_is_clipped_and_zero_or_none_mean_it_is_not():
    assert fit(0.5)[1] == pytest.approx(0.5, rel=1e-4)
    assert fit(None)[1] == fit(0)[1] > 5


def test_divergence_is_reported():
    result, _ = fit(None, epochs=200)
    assert not result.is_finite


@pytest.mark.parametrize(("n", "sizes"), [(9, [4, 5]), (8, [4, 4]), (10, [4, 4, 2]), (1, [1])])
def test_last_minibatch_of_one_row_joins_the_one_before(n, sizes):
    np.random.seed(0)
    rows = th.arange(n)
    batch = Batch(rows, rows, rows, rows, th.ones(n))
    cards = deal(Union.in_rank_order([n], 0), 4, np.random.permutation)
    parts = [minibatch.samples for minibatch in minibatches(batch, cards)]
    assert [len(part) for part in parts] == sizes
    dealt = th.cat([part.returns for part in parts])
    assert th.equal(dealt.sort().values, rows)
    assert n < 5 or not th.equal(dealt, rows)
