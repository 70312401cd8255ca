"""The LSTM's closed form, against torch's LSTM and the Jacobian of a loop over its cell."""

import numpy as np
import pytest
import torch as th

from sb3_trpo.lstm import LstmPass, PlainLstm, plain_lstm
from tests.test_recurrent import ACTIONS, collect, flat, make, without_closed_forms


def lstm_inputs_states(length, sequences):
    generator = th.Generator().manual_seed(0)
    th.manual_seed(0)
    lstm = th.nn.LSTM(3, 4).double()
    draw = {"generator": generator, "dtype": th.float64}
    states = tuple(th.randn(1, sequences, 4, **draw) for _ in range(2))
    return lstm, th.randn(length, sequences, 3, **draw), states


def loop(inputs, states):
    """The LSTM as its definition has it, differentiable in the parameters both ways."""

    def run(weight, recurrent, bias, recurrent_bias):
        hidden, cell = states[0][0], states[1][0]
        found = []
        for rows in inputs:
            gates = rows @ weight.t() + bias + hidden @ recurrent.t() + recurrent_bias
            i, f, g, o = gates.chunk(4, dim=1)
            cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * cell.tanh()
            found.append(hidden)
        return th.stack(found)

    return run


@pytest.mark.parametrize(("length", "sequences"), [(1, 1), (1, 4), (9, 1), (6, 5)])
def test_products_are_those_of_the_jacobian_of_the_definition(length, sequences):
    lstm, inputs, states = lstm_inputs_states(length, sequences)
    found = LstmPass(plain_lstm(lstm), inputs, states)
    parameters = tuple(p.detach() for p in plain_lstm(lstm).parameters)
    generator = th.Generator().manual_seed(1)
    for _ in range(2):  # the room for products serves all of them
        tangents = [th.randn(p.shape, generator=generator, dtype=th.float64) for p in parameters]
        outputs, change = th.func.jvp(loop(inputs, states), parameters, tuple(tangents))
        assert th.allclose(found.outputs, outputs, rtol=1e-12, atol=1e-14)
        assert th.allclose(found.outputs, lstm(inputs, states)[0], rtol=1e-12, atol=1e-14)
        assert th.allclose(found.jvp(tangents), change, rtol=1e-10, atol=1e-13)
        cotangent = th.randn(outputs.shape, generator=generator, dtype=th.float64)
        _, pull = th.func.vjp(loop(inputs, states), *parameters)
        for ours, theirs in zip(found.vjp(cotangent), pull(cotangent), strict=True):
            assert th.allclose(ours, theirs, rtol=1e-10, atol=1e-13)


def test_large_layers_take_the_prepared_product_to_rounding():
    th.manual_seed(0)
    lstm = th.nn.LSTM(8, 256)
    inputs, states = th.randn(20, 8, 8), (th.randn(1, 8, 256), th.randn(1, 8, 256))
    double = PlainLstm([p.detach().double() for p in plain_lstm(lstm).parameters])
    single = LstmPass(plain_lstm(lstm), inputs, states)
    exact = LstmPass(double, inputs.double(), tuple(state.double() for state in states))
    tangents = [th.randn_like(p) for p in double.parameters]
    cotangent = th.randn_like(exact.outputs)
    pairs = [
        (single.outputs, exact.outputs),
        (single.jvp([t.float() for t in tangents]), exact.jvp(tangents)),
        *zip(single.vjp(cotangent.float()), exact.vjp(cotangent), strict=True),
    ]
    for ours, theirs in pairs:
        assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


def test_a_result_is_not_overwritten_by_the_next_product():
    lstm, inputs, states = lstm_inputs_states(4, 2)
    found = LstmPass(plain_lstm(lstm), inputs, states)
    parameters = plain_lstm(lstm).parameters
    first = found.jvp([th.ones_like(p) for p in parameters])
    kept = first.clone()
    found.jvp([-th.ones_like(p) for p in parameters])
    assert th.equal(first, kept)


@pytest.mark.parametrize(
    "module",
    [
        th.nn.LSTM(3, 4, num_layers=2),
        th.nn.LSTM(3, 4, bias=False),
        th.nn.LSTM(3, 4, bidirectional=True),
        th.nn.LSTM(3, 4, proj_size=2),
        th.nn.LSTM(3, 4, batch_first=True),
        th.nn.GRU(3, 4),
        th.nn.LSTM(3, 4).requires_grad_(False),
        th.nn.utils.parametrizations.weight_norm(th.nn.LSTM(3, 4), "weight_hh_l0"),
    ],
)
def test_other_layers_are_not_taken_for_plain_ones(module):
    assert plain_lstm(module) is None
    assert plain_lstm(th.nn.LSTM(3, 4)) is not None


CHANGES = {
    "whole": {},
    "chunks": {"actor_batch_size": 50},
    "thinned": {"sub_sampling_factor": 2},
    "gsde": {"use_sde": True},
    "relu": {"policy_kwargs": {"activation_fn": th.nn.ReLU}},
    "shared": {"policy_kwargs": {"shared_lstm": True, "enable_critic_lstm": False}},
    "entropy": {"ent_coef": 0.01},
}


@pytest.mark.parametrize("name", ACTIONS)
@pytest.mark.parametrize("changes", CHANGES)
def test_update_is_that_of_the_general_path(name, changes, monkeypatch):
    if changes == "gsde" and name != "gaussian":
        pytest.skip("gSDE is for Box actions")
    steps = []
    for closed in (True, False):
        model = make(name, **CHANGES[changes])
        if not closed:
            without_closed_forms(monkeypatch)
        collect(model, 2)
        assert (model._plain_actor() is not None) == closed
        before = flat(model.policy.parameters())
        np.random.seed(0)
        model.train()
        assert model.logger.name_to_value["train/is_line_search_success"] == 1
        steps.append(flat(model.policy.parameters()) - before)
    # 15 iterations of CG amplify a rounding of 1e-7.
    assert (steps[0] - steps[1]).norm() <= 1e-4 * steps[1].norm()
