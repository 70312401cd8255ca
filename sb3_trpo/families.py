"""What the trust region has to know about each type of torch distribution."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch as th
from torch.distributions import Bernoulli, Categorical, Laplace, Normal
from torch.distributions import Distribution as TorchDistribution


@dataclass(frozen=True)
class Family:
    """
    What the trust region has to know about one type of torch distribution.

    :param names: arguments of ``type(distribution)`` that are its parameters, read from attributes
        of the same name; each (N,) or (N, A)
    :param diagonal: maps the distribution to the diagonal of its Fisher matrix in these parameters,
        one tensor each, where the matrix is diagonal
    :param metric: maps the distribution to its Fisher matrix in its only parameter, as a product,
        where it is not diagonal; without either the second derivative of the KL is taken
    """

    names: tuple[str, ...]
    diagonal: Callable[[Any], tuple[th.Tensor, ...]] | None = None
    metric: Callable[[Any], Callable[[th.Tensor], th.Tensor]] | None = None


def _normal_diagonal(normal: Normal) -> tuple[th.Tensor, ...]:
    precision = normal.scale**-2
    return precision, 2 * precision


def _categorical_metric(categorical: Categorical) -> Callable[[th.Tensor], th.Tensor]:
    probs = categorical.logits.exp()  # diag(p) − p pᵀ in the logits

    def product(logits: th.Tensor) -> th.Tensor:
        weighted = probs * logits
        return weighted - probs * weighted.sum(dim=-1, keepdim=True)

    return product


def _bernoulli_diagonal(bernoulli: Bernoulli) -> tuple[th.Tensor, ...]:
    return (bernoulli.probs * (1 - bernoulli.probs),)


def _laplace_diagonal(laplace: Laplace) -> tuple[th.Tensor, ...]:
    # Written out, since autograd takes the |Δloc| in the KL to be flat at 0 and finds no curvature.
    precision = laplace.scale**-2
    return precision, precision


_FAMILIES: dict[type[TorchDistribution], Family] = {
    Normal: Family(("loc", "scale"), diagonal=_normal_diagonal),
    Categorical: Family(("logits",), metric=_categorical_metric),
    Bernoulli: Family(("logits",), diagonal=_bernoulli_diagonal),
    Laplace: Family(("loc", "scale"), diagonal=_laplace_diagonal),
}


def register_distribution(
    distribution_class: type[TorchDistribution], parameter_names: tuple[str, ...]
) -> None:
    """
    Tell TRPO the parameters of a torch distribution of your own.

    Needed only where they cannot be found from ``arg_constraints``. The KL comes from
    ``torch.distributions.kl_divergence`` (add yours with ``torch.distributions.register_kl``), the
    Fisher matrix from its second derivative.

    :param distribution_class: subclass of ``torch.distributions.Distribution``
    :param parameter_names: keyword arguments of its constructor that are the parameters, each also
        an attribute that holds a tensor of shape (N,) or (N, A); the constructor must accept
        ``validate_args`` as well, as torch's do
    :raises ValueError: not a class of distributions, or no names
    """
    if not (
        isinstance(distribution_class, type) and issubclass(distribution_class, TorchDistribution)
    ):
        raise ValueError(
            "distribution_class must be a subclass of torch.distributions.Distribution, "
            f"got {distribution_class!r}"
        )
    is_list = isinstance(parameter_names, (tuple, list)) and len(parameter_names) > 0
    if not (is_list and all(isinstance(name, str) for name in parameter_names)):
        raise ValueError(
            f"parameter_names must be a non-empty tuple of str, got {parameter_names!r}"
        )
    _FAMILIES[distribution_class] = Family(tuple(parameter_names))


def family_of(distribution: TorchDistribution) -> Family:
    """
    Find what a distribution's parameters are, and its metric.

    :param distribution: of a type that torch, SB3 or the user defined
    :return: its family
    :raises ValueError: its parameters cannot be found; names what to call
    """
    cls = type(distribution)
    if isinstance(distribution, Categorical):
        # Subclasses keep state beside the logits (a mask, say) that these already express.
        cls = Categorical
    if cls in _FAMILIES:  # the exact type: a subclass may mean something else by its parameters
        return _FAMILIES[cls]
    # Where a distribution accepts probs or logits, only the one it was built from lies in its
    # __dict__; where it keeps neither (Beta wraps a Dirichlet), all its parameters are properties.
    arguments = tuple(distribution.arg_constraints)
    names = tuple(name for name in arguments if name in distribution.__dict__) or arguments
    if "logits" in names:
        names = tuple(name for name in names if name != "probs")
    if not names or not all(isinstance(getattr(distribution, n), th.Tensor) for n in names):
        raise ValueError(
            f"TRPO does not know the parameters of the action distribution {cls.__name__}. Call "
            f"sb3_trpo.distributions.register_distribution({cls.__name__}, names) before learning, "
            "with the names of the arguments of its constructor that are its parameters, each also "
            "an attribute that holds a tensor."
        )
    return Family(names)
