"""One of the independent torch distributions that an SB3 distribution consists of."""

from collections.abc import Callable

import torch as th
from torch.distributions import Categorical, Independent, kl_divergence
from torch.distributions import Distribution as TorchDistribution

from sb3_trpo.families import family_of

Metric = Callable[[th.Tensor], th.Tensor]


class Component:
    """
    One torch distribution over a batch of states: its columns of ``dist_params``.

    :param distribution: an example
    :raises ValueError: its parameters are not known and cannot be found
    """

    def __init__(self, distribution: TorchDistribution) -> None:
        self._event_dims = 0
        while isinstance(distribution, Independent):
            self._event_dims += distribution.reinterpreted_batch_ndims
            distribution = distribution.base_dist
        self._class: Callable[..., TorchDistribution] = type(distribution)
        if isinstance(distribution, Categorical):
            self._class = Categorical  # what a subclass adds, a mask say, the logits express
        self._family = family_of(distribution)
        tensors = self._tensors(distribution)
        self._tail_shapes = [tensor.shape[1:] for tensor in tensors]
        self._widths = [tensor[:1].numel() for tensor in tensors]
        self.width = sum(self._widths)

    def _tensors(self, distribution: TorchDistribution) -> list[th.Tensor]:
        while isinstance(distribution, Independent):
            distribution = distribution.base_dist
        try:
            return [getattr(distribution, name) for name in self._family.names]
        except AttributeError as error:
            raise ValueError(
                f"The action distribution {type(distribution).__name__} has no attribute of each "
                f"of the names registered for its parameters, {self._family.names}: {error}."
            ) from error

    def read(self, distribution: TorchDistribution) -> th.Tensor:
        """Return the parameters (N, width), with their graph."""
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
        """Make the distribution with the given parameters (N, width)."""
        # Unvalidated: at a trial that goes too far the numbers say so, and the search shortens.
        arguments = dict(zip(self._family.names, self._split(columns), strict=True))
        try:
            base = self._class(**arguments, validate_args=False)
        except TypeError as error:
            raise ValueError(
                f"TRPO must be able to build the action distribution {self._class.__name__} from "
                f"its parameters {self._family.names} and validate_args, by keyword: {error}. "
                "sb3_trpo.distributions.register_distribution takes other names."
            ) from error
        return (
            Independent(base, self._event_dims, validate_args=False) if self._event_dims else base
        )

    def kl(self, old: th.Tensor, new: th.Tensor) -> th.Tensor:
        """Compute KL(old ‖ new) (N,) from the parameters of both."""
        kl = kl_divergence(self.build(old), self.build(new))
        return kl.flatten(1).sum(dim=1) if kl.dim() > 1 else kl

    def metric(self, columns: th.Tensor) -> Metric:
        """Return the product with the Fisher matrix in the parameters."""
        base = self.build(columns)
        while isinstance(base, Independent):
            base = base.base_dist
        if self._family.diagonal is not None:
            diagonal = self._join(list(self._family.diagonal(base)))
            return lambda vectors: diagonal * vectors
        if self._family.metric is not None:
            product = self._family.metric(base)
            return lambda vectors: self._join([product(*self._split(vectors))])
        return self._second_derivative_of_kl(columns)

    def _second_derivative_of_kl(self, columns: th.Tensor) -> Metric:
        with th.enable_grad():
            new = columns.clone().requires_grad_()
            kl = self.kl(columns, new).sum()
            (slope,) = th.autograd.grad(kl, new, create_graph=True)
        return lambda vectors: th.autograd.grad(slope, new, vectors, retain_graph=True)[0]
