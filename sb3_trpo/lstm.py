"""
A plain LSTM layer in closed form: a pass over sequences, and products with its Jacobian.

Autograd differentiates an LSTM twice by building a node per operation and timestep: on the default
sizes a Fisher-vector product takes ten times the arithmetic. Both products are recurrences as short
as the LSTM's own, with everything that does not depend on the step before done for all timesteps at
once.

With gates ``i, f, g, o = σ, σ, tanh, σ (W_ih x + b_ih + W_hh h' + b_hh)``, where ``h'`` and ``c'``
are of the step before, the layer is ``c = f c' + i g``, ``h = o tanh(c)``. Source: Hochreiter &
Schmidhuber 1997, in the form of ``torch.nn.LSTM``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch as th

from sb3_trpo.dense import multiplier, times_transpose

States = tuple[th.Tensor, th.Tensor]
"""Hidden and cell state of an LSTM, each (layers, sequences, units)."""


@dataclass(frozen=True)
class PlainLstm:
    """
    One layer, in one direction, without projection.

    :param parameters: weights of the inputs (4 units, inputs) and of the hidden state
        (4 units, units), then their biases (4 units,)
    """

    parameters: Sequence[th.Tensor]

    @property
    def n_units(self) -> int:
        """Size of the hidden state."""
        return self.parameters[1].shape[1]


def plain_lstm(module: th.nn.Module) -> PlainLstm | None:
    """
    Return a module as a plain layer.

    :param module: any
    :return: None if it is anything but one layer of ``nn.LSTM``, or not all of it trains
    """
    if type(module) is not th.nn.LSTM:
        return None
    is_plain = (
        module.num_layers == 1
        and module.bias
        and not (module.bidirectional or module.batch_first or module.proj_size)
    )
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    if not is_plain or {name for name, _ in module.named_parameters()} != {*names}:
        return None  # a parametrisation renames what it computes
    parameters = [getattr(module, name) for name in names]
    return PlainLstm(parameters) if all(p.requires_grad for p in parameters) else None


class LstmPass:
    """
    One forward pass over sequences of one length, kept for products with its Jacobian J.

    :param lstm: the layer
    :param inputs: (L, S, features), constants
    :param states: before the first timestep, (1, S, units) each
    """

    @th.no_grad()
    def __init__(self, lstm: PlainLstm, inputs: th.Tensor, states: States) -> None:
        of_inputs, self._recurrent, *biases = (p.detach() for p in lstm.parameters)
        self._n_units = lstm.n_units
        self._shape = inputs.shape[:2]
        self._inputs = inputs.flatten(0, 1)
        gates = times_transpose(self._inputs, of_inputs, biases[0] + biases[1])
        self._gates = gates.view(*self._shape, 4, self._n_units)
        self._hidden, self._cells = (
            inputs.new_empty(len(inputs) + 1, *state.shape[1:]) for state in states
        )
        self._hidden[0], self._cells[0] = states[0][0], states[1][0]
        self._cell_tanh = th.empty_like(self._cells[1:])
        self._run()
        self.outputs = self._hidden[1:]

    def _run(self) -> None:
        times_recurrent = multiplier(self._recurrent, self._shape[1])
        hidden, cells = self._hidden.unbind(), self._cells.unbind()
        rows = zip(_by_timestep(self._gates), self._cell_tanh.unbind(), strict=True)
        for t, ((whole, sigmoid, i, f, g, o), cell_tanh) in enumerate(rows):
            whole += times_recurrent(hidden[t])
            sigmoid.sigmoid_()
            g.tanh_()
            o.sigmoid_()
            th.mul(f, cells[t], out=cells[t + 1]).addcmul_(i, g)
            th.tanh(cells[t + 1], out=cell_tanh)
            th.mul(o, cell_tanh, out=hidden[t + 1])

    # What the products need beyond the pass itself is made for the first of them.
    @cached_property
    def _slopes(self) -> tuple[th.Tensor, th.Tensor]:
        """Derivatives of c by the gates i, f, g and of h by o (L, S, 4, units), and of h by c."""
        i, f, g, o = self._gates.unbind(2)
        by_gates = [
            g * i * (1 - i),
            self._cells[:-1] * f * (1 - f),
            i * (1 - g * g),
            self._cell_tanh * o * (1 - o),
        ]
        return th.stack(by_gates, dim=2), o * (1 - self._cell_tanh * self._cell_tanh)

    # Views by timestep are made once: thousands a product would take a quarter of its time.
    @cached_property
    def _forwards(self) -> tuple[th.Tensor, th.Tensor, list[tuple[th.Tensor, ...]]]:
        """Room for a J v: changes of the gates and of h, and views of all it takes, by timestep."""
        gates, outputs = th.empty_like(self._gates), th.empty_like(self._cell_tanh)
        by_gates, by_cell = self._slopes
        parts = [
            gates.flatten(2),
            by_gates.flatten(2),
            gates[:, :, :3],
            gates[:, :, 3],
            by_cell,
            self._gates[:, :, 1],
            outputs,
        ]
        return gates, outputs, list(zip(*(part.unbind() for part in parts), strict=True))

    @cached_property
    def _backwards(self) -> tuple[th.Tensor, list[tuple[th.Tensor, ...]]]:
        """Room for a Jᵀu: cotangents of the gates, and views of all it takes, last step first."""
        gates = th.empty_like(self._gates)
        by_gates, by_cell = self._slopes
        parts = [
            gates.flatten(2),
            gates[:, :, :3],
            gates[:, :, 3],
            by_gates[:, :, :3],
            by_gates[:, :, 3],
            by_cell,
            self._gates[:, :, 1],
        ]
        return gates, list(zip(*(part.unbind() for part in parts), strict=True))[::-1]

    @th.no_grad()
    def jvp(self, tangents: Sequence[th.Tensor]) -> th.Tensor:
        """
        Multiply from the right.

        :param tangents: shaped as the layer's parameters, in their order
        :return: (L, S, units) J v
        """
        of_inputs, recurrent, *biases = tangents
        gates, outputs, rows = self._forwards
        # All of the change of the gates but what the change of h' adds.
        flat = gates.flatten(2).flatten(0, 1)
        flat.copy_(times_transpose(self._inputs, of_inputs, biases[0] + biases[1]))
        flat += times_transpose(self._before, recurrent)
        times_recurrent = multiplier(self._recurrent, self._shape[1])
        hidden: th.Tensor | None = None
        cell = th.zeros_like(outputs[0])
        for whole, slopes, of_cell, o, by_cell, forget, output in rows:
            if hidden is not None:
                whole += times_recurrent(hidden)
            whole.mul_(slopes)
            cell = th.sum(of_cell, dim=1).addcmul_(forget, cell)
            hidden = th.addcmul(o, by_cell, cell, out=output)
        return outputs.clone()

    @th.no_grad()
    def vjp(self, cotangent: th.Tensor) -> list[th.Tensor]:
        """
        Multiply from the left.

        :param cotangent: (L, S, units)
        :return: Jᵀu, shaped as the layer's parameters, in their order
        """
        gates, rows = self._backwards
        times_transposed = multiplier(self._recurrent.t(), self._shape[1])
        later: th.Tensor | None = None
        of_cell = th.zeros_like(cotangent[0])
        of_outputs = cotangent.unbind()[::-1]
        for of_hidden, (whole, part, o, slopes, o_slope, by_cell, forget) in zip(
            of_outputs, rows, strict=True
        ):
            if later is not None:
                of_hidden = of_hidden + times_transposed(later)
            of_cell.addcmul_(by_cell, of_hidden)
            th.mul(slopes, of_cell[:, None], out=part)
            th.mul(o_slope, of_hidden, out=o)
            of_cell.mul_(forget)
            later = whole
        flat = gates.flatten(2).flatten(0, 1).t()
        of_bias = flat.sum(dim=1)
        return [
            times_transpose(flat, self._inputs.t()),
            times_transpose(flat, self._before.t()),
            of_bias,
            of_bias.clone(),
        ]

    @property
    def _before(self) -> th.Tensor:
        """(L · S, units) h before each timestep."""
        return self._hidden[:-1].flatten(0, 1)


def _by_timestep(gates: th.Tensor) -> list[tuple[th.Tensor, ...]]:
    """View (L, S, 4, units): per timestep all gates side by side, i and f, i, f, g, o."""
    parts = [gates.flatten(2), gates[:, :, :2], *gates.unbind(2)]
    return list(zip(*(part.unbind() for part in parts), strict=True))
