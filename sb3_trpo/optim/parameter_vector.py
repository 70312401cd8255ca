"""A list of parameters, seen as one flat vector."""

from collections.abc import Sequence

import torch as th

from sb3_trpo.optim.checks import check_all, shown


class ParameterVector:
    """
    Some parameters of a network as the vector θ that the formulas speak of.

    The tensors stay where they are: writing copies into them, so that whatever holds a
    reference to their storage (an optimiser, a captured graph) keeps seeing them.

    :param parameters: the tensors, in the order of their entries in the vector
    :raises ValueError: they are no tensors of floating point numbers
    """

    def __init__(self, parameters: Sequence[th.Tensor]) -> None:
        check_all("parameters", parameters, "tensors of floating point numbers", _is_parameter)
        self.tensors = list(parameters)
        self._sizes = [tensor.numel() for tensor in self.tensors]
        self._size = sum(self._sizes)

    def __len__(self) -> int:
        return self._size

    def read(self) -> th.Tensor:
        """Copy the parameters into a new vector (P,)."""
        return self.flatten([tensor.detach() for tensor in self.tensors])

    @th.no_grad()
    def write(self, vector: th.Tensor) -> None:
        """
        Overwrite the parameters, in place.

        :param vector: the new values (P,)
        :raises ValueError: it is not of that shape
        """
        for tensor, values in zip(self.tensors, self.split(vector), strict=True):
            tensor.copy_(values)

    def flatten(self, parts: Sequence[th.Tensor | None]) -> th.Tensor:
        """
        Join one part per parameter (a gradient, say) into a new vector.

        :param parts: a tensor shaped as its parameter, or None for zeros
        :return: the vector (P,)
        :raises ValueError: a part is not shaped as its parameter
        """
        shapes = [tensor.shape for tensor in self.tensors]
        is_list = isinstance(parts, Sequence) and len(parts) == len(shapes)
        if not (is_list and all(map(_fits, parts, shapes))):
            raise ValueError(
                f"parts must be tensors of the shapes {[*map(tuple, shapes)]}, or None, got "
                f"{[*map(shown, parts)] if isinstance(parts, Sequence) else shown(parts)}"
            )
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
        :raises ValueError: it is not of that shape
        """
        if not isinstance(vector, th.Tensor) or vector.shape != (self._size,):
            raise ValueError(f"vector must be of shape ({self._size},), got {shown(vector)}")
        return [
            part.view_as(tensor).to(tensor.dtype)
            for part, tensor in zip(vector.split_with_sizes(self._sizes), self.tensors, strict=True)
        ]


def _is_parameter(value: object) -> bool:
    return isinstance(value, th.Tensor) and value.is_floating_point()


def _fits(part: object, shape: th.Size) -> bool:
    return part is None or (isinstance(part, th.Tensor) and part.shape == shape)
