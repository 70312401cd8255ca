"""
SB3's action distributions as the core sees them: parameters as one tensor, joint KL, metric.

An SB3 distribution holds one torch distribution, or a list of independent ones. Each of these is
described by a :class:`Family`; their parameters stand side by side in ``dist_params`` (N, K), their
KLs add up to the joint one, and their metrics act on their own columns.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch as th
from stable_baselines3.common.distributions import Distribution
from torch.distributions import Bernoulli, Categorical, Independent, Laplace, Normal, kl_divergence
from torch.distributions import Distribution as TorchDistribution

Metric = Callable[[th.Tensor], th.Tensor]


@dataclass(frozen=True)
class Family:
    """
    What the trust region has to know about one type of torch distribution.

    :param names: arguments of ``type(distribution)`` that are its parameters, read from attributes
        of the same name; each (N,) or (N, A)
    :param metric: maps the distribution to its Fisher matrix in these parameters, as a product on
        their tensors; None: the second derivative of the KL is taken
    """

    names: tuple[str, ...]
    metric: Callable[[Any], Callable[..., tuple[th.Tensor, ...]]] | None = None


def _normal_metric(normal: Normal) -> Callable[..., tuple[th.Tensor, ...]]:
    precision = normal.scale**-2
    return lambda loc, scale: (precision * loc, 2 * precision * scale)


def _categorical_metric(categorical: Categorical) -> Callable[..., tuple[th.Tensor, ...]]:
    probs = categorical.logits.exp()  # diag(p) − p pᵀ in the logits

    def product(logits: th.Tensor) -> tuple[th.Tensor, ...]:
        weighted = probs * logits
        return (weighted - probs * weighted.sum(dim=-1, keepdim=True),)

    return product


def _bernoulli_metric(bernoulli: Bernoulli) -> Callable[..., tuple[th.Tensor, ...]]:
    variance = bernoulli.probs * (1 - bernoulli.probs)
    return lambda logits: (variance * logits,)


def _laplace_metric(laplace: Laplace) -> Callable[..., tuple[th.Tensor, ...]]:
    # Written out, since autograd takes the |Δloc| in the KL to be flat at 0 and finds no curvature.
    precision = laplace.scale**-2
    return lambda loc, scale: (precision * loc, precision * scale)


_FAMILIES: dict[type[TorchDistribution], Family] = {
    Normal: Family(("loc", "scale"), _normal_metric),
    Categorical: Family(("logits",), _categorical_metric),
    Bernoulli: Family(("logits",), _bernoulli_metric),
    Laplace: Family(("loc", "scale"), _laplace_metric),
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
        an attribute that holds a tensor of shape (N,) or (N, A)
    :raises ValueError: not a class of distributions, or no names
    """
    if not (
        isinstance(distribution_class, type) and issubclass(distribution_class, TorchDistribution)
    ):
        raise ValueError(
            "distribution_class must be a subclass of torch.distributions.Distribution, "
            f"got {distribution_class!r}"
        )
    if not parameter_names or not all(isinstance(name, str) for name in parameter_names):
        raise ValueError(
            f"parameter_names must be a non-empty tuple of str, got {parameter_names!r}"
        )
    _FAMILIES[distribution_class] = Family(tuple(parameter_names))


def _family(distribution: TorchDistribution) -> Family:
    for cls in type(distribution).__mro__:
        if cls in _FAMILIES:
            return _FAMILIES[cls]
    # Where a distribution accepts probs or logits, only the one it was built from lies in its
    # __dict__; where it keeps neither (Beta wraps a Dirichlet), all its parameters are properties.
    arguments = tuple(distribution.arg_constraints)
    names = tuple(name for name in arguments if name in distribution.__dict__) or arguments
    if "logits" in names:
        names = tuple(name for name in names if name != "probs")
    if not names or not all(isinstance(getattr(distribution, n), th.Tensor) for n in names):
        raise ValueError(
            f"TRPO does not know the parameters of the action distribution "
            f"{type(distribution).__name__}. Call sb3_trpo.distributions.register_distribution("
            f"{type(distribution).__name__}, parameter_names) before building the model."
        )
    return Family(names)


class _Component:
    """One torch distribution over a batch of states: its columns of ``dist_params``."""

    def __init__(self, distribution: TorchDistribution) -> None:
        self._event_dims = 0
        while isinstance(distribution, Independent):
            self._event_dims += distribution.reinterpreted_batch_ndims
            distribution = distribution.base_dist
        self._class: Callable[..., TorchDistribution] = type(distribution)
        if isinstance(distribution, Categorical):
            # Subclasses keep state beside the logits (a mask, say) that these already express.
            self._class = Categorical
        self._family = _family(distribution)
        tensors = self._tensors(distribution)
        self._tail_shapes = [tensor.shape[1:] for tensor in tensors]
        self._widths = [tensor[:1].numel() for tensor in tensors]
        self.width = sum(self._widths)

    def _tensors(self, distribution: TorchDistribution) -> list[th.Tensor]:
        while isinstance(distribution, Independent):
            distribution = distribution.base_dist
        return [getattr(distribution, name) for name in self._family.names]

    def read(self, distribution: TorchDistribution) -> th.Tensor:
        return self._join(self._tensors(distribution))

    def _join(self, tensors: list[th.Tensor]) -> th.Tensor:
        return th.cat(
            [tensor.flatten(1) if tensor.dim() > 1 else tensor[:, None] for tensor in tensors],
            dim=1,
        )

    def _split(self, columns: th.Tensor) -> list[th.Tensor]:
        parts = columns.split_with_sizes(self._widths, dim=1)
        return [
            part.reshape(len(columns), *tail)
            for part, tail in zip(parts, self._tail_shapes, strict=True)
        ]

    def build(self, columns: th.Tensor) -> TorchDistribution:
        # Unvalidated: at a trial that goes too far the numbers say so, and the search shortens.
        arguments = dict(zip(self._family.names, self._split(columns), strict=True))
        base = self._class(**arguments, validate_args=False)
        return (
            Independent(base, self._event_dims, validate_args=False) if self._event_dims else base
        )

    def kl(self, old: th.Tensor, new: th.Tensor) -> th.Tensor:
        kl = kl_divergence(self.build(old), self.build(new))
        return kl.flatten(1).sum(dim=1) if kl.dim() > 1 else kl

    def metric(self, columns: th.Tensor) -> Metric:
        if self._family.metric is None:
            return self._second_derivative_of_kl(columns)
        base = self.build(columns)
        while isinstance(base, Independent):
            base = base.base_dist
        product = self._family.metric(base)
        return lambda vectors: self._join(list(product(*self._split(vectors))))

    def _second_derivative_of_kl(self, columns: th.Tensor) -> Metric:
        with th.enable_grad():
            new = columns.clone().requires_grad_()
            kl = self.kl(columns, new).sum()
            (slope,) = th.autograd.grad(kl, new, create_graph=True)
        return lambda vectors: th.autograd.grad(slope, new, vectors, retain_graph=True)[0]


class DistributionMap:
    """
    Between one policy's SB3 distribution objects and ``dist_params`` (N, K).

    :param example: a distribution as the policy returns it; of any batch size
    :raises ValueError: its parameters are not known and cannot be found, or its KL has no formula
    """

    def __init__(self, example: Distribution) -> None:
        # A shallow copy: policies rewrite their distribution object in place.
        self._template = copy.copy(example)
        self._is_list = isinstance(example.distribution, list)
        self._components = [_Component(part) for part in self._parts(example)]
        self._widths = [component.width for component in self._components]
        self._check_kl(example)

    def _parts(self, distribution: Distribution) -> list[TorchDistribution]:
        held = distribution.distribution
        parts = held if isinstance(held, list) else [held]
        for part in parts:
            if not isinstance(part, TorchDistribution):
                raise ValueError(
                    f"{type(distribution).__name__}.distribution must hold torch distributions, "
                    f"got {type(part).__name__}"
                )
        return parts

    def _check_kl(self, example: Distribution) -> None:
        dist_params = self.read(example)[:1].detach()
        try:
            self.kl(dist_params, dist_params)
        except NotImplementedError as error:
            name = type(self._parts(example)[0]).__name__
            raise ValueError(
                f"torch.distributions.kl_divergence has no formula for the action distribution "
                f"{name}. Register one with torch.distributions.register_kl({name}, {name})."
            ) from error

    def read(self, distribution: Distribution) -> th.Tensor:
        """
        Return the parameters of a distribution.

        :param distribution: of the policy this map was made for
        :return: (N, K), with their graph
        """
        parts = zip(self._components, self._parts(distribution), strict=True)
        columns = [component.read(part) for component, part in parts]
        return columns[0] if len(columns) == 1 else th.cat(columns, dim=1)

    def build(self, dist_params: th.Tensor) -> Distribution:
        """
        Make the SB3 distribution with the given parameters.

        :param dist_params: (N, K), of any floating dtype
        :return: a new object; the policy's own is not touched
        """
        parts = zip(
            self._components, dist_params.split_with_sizes(self._widths, dim=1), strict=True
        )
        built = [component.build(columns) for component, columns in parts]
        distribution = copy.copy(self._template)
        distribution.distribution = built if self._is_list else built[0]
        return distribution

    def log_prob(self, distribution: Distribution, actions: th.Tensor) -> th.Tensor:
        """
        Compute the joint log-probability, in the precision of the distribution's parameters.

        :param distribution: as returned by :meth:`build`
        :param actions: (N, A), or (N,) if discrete, as sampled
        :return: (N,) nats
        """
        held = distribution.distribution
        if isinstance(held, Bernoulli):
            # Its log_prob takes the dtype of the actions. Elsewhere they promote, and must not be
            # widened before: the inverse of a squashing clips by the epsilon of their dtype.
            actions = actions.to(held.logits.dtype)
        return distribution.log_prob(actions)

    def kl(self, old: th.Tensor, new: th.Tensor) -> th.Tensor:
        """
        Compute KL(old ‖ new) of the joint action distribution.

        :param old: (N, K)
        :param new: (N, K)
        :return: (N,) nats, summed over action dimensions
        """
        kls = [
            component.kl(p, q)
            for component, p, q in zip(
                self._components,
                old.split_with_sizes(self._widths, dim=1),
                new.split_with_sizes(self._widths, dim=1),
                strict=True,
            )
        ]
        return th.stack(kls).sum(dim=0)

    def metric(self, dist_params: th.Tensor) -> Metric:
        """
        Return the product with the Fisher matrix M of the distributions, in ``dist_params``.

        :param dist_params: (N, K)
        :return: maps (N, K) to (N, K)
        """
        metrics = [
            component.metric(columns)
            for component, columns in zip(
                self._components, dist_params.split_with_sizes(self._widths, dim=1), strict=True
            )
        ]
        if len(metrics) == 1:
            return metrics[0]

        def product(vectors: th.Tensor) -> th.Tensor:
            parts = zip(metrics, vectors.split_with_sizes(self._widths, dim=1), strict=True)
            return th.cat([metric(columns) for metric, columns in parts], dim=1)

        return product


@contextmanager
def unvalidated() -> Iterator[None]:
    """
    Let torch distributions be built from any numbers inside the block.

    A trial of the line search may go so far that the network's outputs are not finite. That is a
    figure to decide on, not an error, and checking costs time at every construction.
    """
    before = TorchDistribution._validate_args
    TorchDistribution.set_default_validate_args(False)
    try:
        yield
    finally:
        TorchDistribution.set_default_validate_args(before)
