"""What callbacks see of a rollout: SB3's local variables, costly ones computed when first read."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback, CallbackList


class RolloutLocals(dict[str, Any]):
    """
    A dict some of whose values are computed when first read.

    :param known: the values that are there already
    """

    def __init__(self, known: Mapping[str, Any]) -> None:
        super().__init__(known)
        self._deferred: dict[str, Callable[[], Any]] = {}

    def defer(self, **thunks: Callable[[], Any]) -> None:
        """Replace the deferred values: name to a function without arguments."""
        for name in thunks:
            self.pop(name, None)
        self._deferred = thunks

    def __missing__(self, key: str) -> Any:
        value = self[key] = self._deferred.pop(key)()
        return value

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or key in self._deferred

    def get(self, key: str, default: Any = None) -> Any:
        """Read a value, or the default if there is none of that name."""
        if key not in self:
            return default
        return self[key]

    def update(self, other: Mapping[str, Any]) -> None:  # type: ignore[override]  # as SB3 calls it
        """Take values over; from itself there is nothing to take."""
        if other is not self:
            super().update(other)

    def _computed(self) -> "RolloutLocals":
        for key in list(self._deferred):
            self[key]
        return self

    # Whoever looks at all of them has them all computed, dict(…) and {**…} included.
    def __iter__(self) -> Iterator[str]:
        return super(RolloutLocals, self._computed()).__iter__()

    def __len__(self) -> int:
        return super(RolloutLocals, self._computed()).__len__()

    def keys(self) -> Any:
        """Compute all values, and view their names."""
        return super(RolloutLocals, self._computed()).keys()

    def values(self) -> Any:
        """Compute all values, and view them."""
        return super(RolloutLocals, self._computed()).values()

    def items(self) -> Any:
        """Compute all values, and view them with their names."""
        return super(RolloutLocals, self._computed()).items()

    def copy(self) -> dict[str, Any]:
        """Compute all values, and copy them."""
        return dict(self.items())


class BoundaryCallback(BaseCallback):
    """A callback that is also called between rollouts, before anything of the next is drawn."""

    def on_boundary(self, outermost: BaseCallback) -> None:
        """
        Be called at the beginning of each rollout, earlier than ``on_rollout_start``.

        :param outermost: of all callbacks
        """


class SharedLocals(CallbackList):
    """The outermost callback: all others then share one :class:`RolloutLocals`."""

    def on_boundary(self) -> None:
        """Call those that want to be called between rollouts."""
        for callback in _in_lists(self):
            if isinstance(callback, BoundaryCallback):
                callback.on_boundary(self)

    def on_training_start(self, locals_: dict[str, Any], globals_: dict[str, Any]) -> None:
        """Start with the variables of ``learn``, which SB3's callbacks pass on by reference."""
        super().on_training_start(RolloutLocals(locals_), globals_)


def _in_lists(callback: BaseCallback) -> Iterator[BaseCallback]:
    yield callback
    if isinstance(callback, CallbackList):
        for inner in callback.callbacks:
            yield from _in_lists(inner)
