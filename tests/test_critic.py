"""The critic's fit moves the value function and nothing else."""

import numpy as np
import pytest
import torch as th

from sb3_trpo.batch import Batch, minibatches
from sb3_trpo.critic import fit_value_function
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


def fit(max_grad_norm, epochs=1):
    th.manual_seed(0)
    line = th.nn.Linear(2, 1)
    observations = th.tensor([[1.0, 2.0], [3.0, -1.0], [0.5, 0.5]])
    batch = Batch(observations, th.zeros(3), th.zeros(3), th.tensor([10.0, -20.0, 5.0]), th.ones(3))
    before = th.cat([p.detach().reshape(-1) for p in line.parameters()])
    result = fit_value_function(
        lambda rows: line(rows.observations).flatten(),
        ([batch] for _ in range(epochs)),
        optimizer=th.optim.SGD(line.parameters(), lr=1.0),
        parameters=list(line.parameters()),
        max_grad_norm=max_grad_norm,
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
    parts = list(minibatches(batch, 4))
    assert [len(part) for part in parts] == sizes
    dealt = th.cat([part.returns for part in parts])
    assert th.equal(dealt.sort().values, rows)
    assert n < 5 or not th.equal(dealt, rows)
