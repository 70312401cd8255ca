"""
The seam of the core: what a batch of samples looks like to a trust-region step.

Whatever turns samples into an action distribution (a network, a mask, LSTM states, a Dict
observation) and whatever a mean runs over (one process or many) enters here and nowhere else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import torch as th

from sb3_trpo.optim.checks import (
    check,
    check_all,
    check_function,
    check_module,
    has_methods,
    is_floating,
    shown,
)
from sb3_trpo.optim.parameter_vector import ParameterVector


class OldPolicy(Protocol):
    """The old policy on the samples of one chunk, as the reference for everything else."""

    entropy: th.Tensor
    """(n,) nats, float64."""

    def surrogate(self, dist_params: th.Tensor) -> th.Tensor:
        """
        Per-sample surrogate, differentiable in ``dist_params``.

        :param dist_params: (n, K) of the policy to rate, float64
        :return: (n,) ratio · advantage, plus the entropy bonus if there is one
        """
        ...

    def kl(self, dist_params: th.Tensor) -> th.Tensor:
        """
        Per-sample joint KL(old ‖ new).

        :param dist_params: (n, K) of the new policy, float64
        :return: (n,) nats
        """
        ...

    def metric(self, vectors: th.Tensor) -> th.Tensor:
        """
        Apply each sample's Fisher matrix in ``dist_params``, at the old policy.

        :param vectors: (n, K)
        :return: (n, K), same dtype
        """
        ...


class Linearisation(Protocol):
    """The Jacobian J of ``dist_params`` at the current parameters, as two products."""

    def jvp(self, vector: th.Tensor) -> th.Tensor:
        """Map v (P,) to J v (n, K)."""
        ...

    def vjp(self, cotangent: th.Tensor) -> th.Tensor:
        """Map u (n, K) to Jᵀu (P,)."""
        ...


class FastLinearisation(Linearisation, Protocol):
    """A Jacobian that needs no autograd, and so knows what autograd would have found."""

    parameters: ParameterVector
    """All that ``dist_params`` depends on and that trains, in the order of the module."""
    outputs: th.Tensor
    """(n, K) ``dist_params``, without a graph."""


class Chunk(Protocol):
    """
    Some samples of the batch: as many as one pass of the network takes.

    A chunk may be visited any number of times, and always in the same order.
    """

    @property
    def weights(self) -> th.Tensor:
        """(n,) weight of each sample in every mean; padding weighs 0."""
        ...

    def dist_params(self) -> th.Tensor:
        """(n, K) parameters of the action distributions at the current network parameters."""
        ...

    def old_policy(self, dist_params: th.Tensor) -> OldPolicy:
        """
        Fix the reference.

        :param dist_params: (n, K) of the old policy, without a graph, in the network's dtype
        :return: surrogate, KL and metric with respect to it
        """
        ...


JacobianForm = Literal["reverse", "forward"]
Linearise = Callable[[Chunk], FastLinearisation]


_is_chunk = has_methods(["dist_params"])  # the core's parts need no more each
_is_old_policy = has_methods(["metric"])


def check_chunk(name: str, chunk: Chunk) -> None:
    """
    Refuse what is no chunk.

    :param name: of the argument
    :param chunk: as given
    :raises ValueError: it is none
    """
    check(name, chunk, "a Chunk", is_right=_is_chunk(chunk))


def check_chunks(chunks: Sequence[Chunk], name: str = "chunks") -> None:
    """
    Refuse what is no list of chunks.

    :param chunks: as given
    :param name: of the argument
    :raises ValueError: it is none
    """
    check_all(name, chunks, "Chunk", _is_chunk)


def check_old_policies(old_policies: Sequence[OldPolicy], n_chunks: int) -> None:
    """
    Refuse what is no list of an old policy per chunk.

    :param old_policies: as given
    :param n_chunks: how many there must be
    :raises ValueError: it is none
    """
    check_all("old_policies", old_policies, "OldPolicy", _is_old_policy)
    if len(old_policies) != n_chunks:
        raise ValueError(f"old_policies must be {n_chunks}, one a chunk, got {len(old_policies)}")


def check_form(name: str, form: JacobianForm) -> None:
    """
    Refuse what is no form of J v.

    :param name: of the argument
    :param form: as given
    :raises ValueError: there is none of that name
    """
    forms = get_args(JacobianForm)
    is_right = isinstance(form, str) and form in forms
    check(name, form, f"one of {', '.join(forms)}", is_right=is_right)


def check_rows(outputs: th.Tensor, weights: th.Tensor) -> None:
    """
    Refuse samples whose parts would be broadcast against each other.

    :param outputs: ``dist_params`` of a chunk
    :param weights: of the chunk
    :raises ValueError: one of them has another shape
    """
    if not is_floating(outputs, 2):
        raise ValueError(f"chunks must have dist_params of shape (n, K), got {shown(outputs)}")
    if not isinstance(weights, th.Tensor) or weights.shape != outputs.shape[:1]:
        raise ValueError(
            f"chunks must have weights of shape ({len(outputs)},), one a sample, "
            f"got {shown(weights)}"
        )


def identity(vector: th.Tensor) -> th.Tensor:
    """Sum over the one process that there is."""
    return vector


@dataclass(frozen=True)
class TrustRegionProblem:
    """
    One batch, ready for a step.

    :param module: owns all parameters that the distributions may depend on
    :param chunks: the whole batch; gradient, surrogate, KL and scale use all of it
    :param fisher_chunks: the samples of the Fisher-vector products in the solve; None: ``chunks``
    :param sum_over_processes: sums a flat vector over all processes, the same on each
    :param linearise: a faster way than autograd to the J of a chunk; None: autograd
    :raises ValueError: one of them is of another kind
    """

    module: th.nn.Module
    chunks: Sequence[Chunk]
    fisher_chunks: Sequence[Chunk] | None = None
    sum_over_processes: Callable[[th.Tensor], th.Tensor] = identity
    linearise: Linearise | None = None

    def __post_init__(self) -> None:
        check_module("module", self.module)
        check_chunks(self.chunks)
        if not self.chunks:
            raise ValueError(f"chunks must be at least one, which may be empty, got {self.chunks}")
        if self.fisher_chunks is not None:
            check_chunks(self.fisher_chunks, "fisher_chunks")
        check_function("sum_over_processes", self.sum_over_processes)
        check_function("linearise", self.linearise, or_none=True)
