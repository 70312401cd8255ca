"""A list of parameters, seen as one flat vector."""

from collections.abc import Sequence

import torch as th


class ParameterVector:
    """
    Some parameters of a network as the vector θ that the formulas speak of.

    The tensors stay where they are: writing copies into them, so that whatever holds a
    reference to their storage (an optimiser, a captured graph) keeps seeing them.

    :param parameters: the tensors, in the order of their entries in the vector
    """

    def __init__(self, parameters: Sequence[th.Tensor]) -> None:
        self.tensors = list(parameters)
        self._sizes = [tensor.numel() for tensor in self.tensors]

    def __len__(self) -> int:
        return sum(self._sizes)

    def read(self) -> th.Tensor:
        """Copy the parameters into a new vector (P,)."""
        return self.flatten([tensor.detach() for tensor in self.tensors])

    @th.no_grad()
    def write(self, vector: th.Tensor) -> None:
        """
        Overwrite the parameters, in place.

        :param vector: the new values (P,)
        """
        for tensor, values in zip(self.tensors, self.split(vector), strict=True):
            tensor.copy_(values)

    def flatten(self, parts: Sequence[th.Tensor | None]) -> th.Tensor:
        """
        Join one part per parameter (a gradient, say) into a new vector.

        :param parts: a tensor shaped as its parameter, or None for zeros
        :return: the vector (P,)
        """
        return th.cat(
            [
                (th.zeros_like(tensor) if part is None else part).reshape(-1)
                for tensor, part in zip(self.tensors, parts, strict=True)
            ]
        )

    def split(self, vector: th.Tensor) -> list[th.Tensor]:
        """
        Cut a vector into views shaped as the parameters.

        :param vector: (P,)
        :return: one view per parameter, in the parameter's dtype
        """
        return [
            part.view_as(tensor).to(tensor.dtype)
            for part, tensor in zip(vector.split_with_sizes(self._sizes), self.tensors, strict=True)
        ]
