"""TRPO whose updates are watched: whole or not at all, whatever is thrown at them."""

import hashlib
from dataclasses import dataclass
from typing import Any, ClassVar

import torch as th

from sb3_trpo import TRPO


@dataclass(frozen=True)
class State:
    """
    What an update may change.

    :param tensors: parameters, buffers and the optimiser's
    :param n_updates: done
    """

    tensors: list[th.Tensor]
    n_updates: int

    @staticmethod
    def of(model: TRPO) -> "State":
        """Copy it."""
        optimizer = model.policy.optimizer.state_dict()["state"]
        tensors = [*model.policy.state_dict().values()]
        tensors += [
            value if isinstance(value, th.Tensor) else th.tensor(value)
            for index in sorted(optimizer)
            for _, value in sorted(optimizer[index].items())
        ]
        return State([tensor.detach().clone() for tensor in tensors], model._n_updates)

    def same_as(self, other: "State") -> bool:
        """Compare bit for bit."""
        return (
            self.n_updates == other.n_updates
            and len(self.tensors) == len(other.tensors)
            and all(th.equal(*pair) for pair in zip(self.tensors, other.tensors, strict=True))
        )

    def is_finite(self) -> bool:
        """Tell whether no number is NaN or infinite."""
        return all(bool(th.isfinite(tensor).all()) for tensor in self.tensors)

    def is_sound_after(self, before: "State") -> bool:
        """Tell whether this may be what one update makes of the state before."""
        return self.is_finite() and self.n_updates == before.n_updates + 1

    def digest(self) -> str:
        """Return a hash of all bits."""
        found = hashlib.sha256(str(self.n_updates).encode())
        for tensor in self.tensors:
            found.update(tensor.numpy().tobytes())
        return found.hexdigest()


class NoWatch:
    """Does an update without a fault, and without looking."""

    def update(self, model: "WatchedTRPO") -> None:
        """Do an update."""
        TRPO.train(model)


class WatchedTRPO(TRPO):
    """
    TRPO with somebody around its updates.

    On the class and not on the model, whose attributes are saved.
    """

    watch: ClassVar[Any] = NoWatch()

    def train(self) -> None:
        """Do an update as the watch has it."""
        type(self).watch.update(self)
