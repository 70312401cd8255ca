"""Counting skipped updates: a warning per reason, an error when nothing else happens."""

import warnings

_MOST_IN_A_ROW = 3
_LIKELY_CAUSES = {
    "non-finite reward": (
        "The environment returned a reward that is not finite, or VecNormalize did: once it has "
        "seen one, its running statistics stay non-finite for good, and it must be made anew"
    ),
    "non-finite advantage": (
        "The value function's predictions overflow: rewards are too large, or its learning rate is"
    ),
    "non-finite gradient": (
        "The network's outputs or the log-probabilities of the actions are not finite: look at the "
        "observations' scale and at the parameters, and whether the action distribution is nearly "
        "deterministic (std close to 0)"
    ),
    "non-finite curvature": (
        "The action distribution is nearly deterministic (std close to 0), or the network's "
        "derivatives overflow"
    ),
    "non-finite value loss": (
        "The returns are too large to square, or the value function diverges: normalise rewards or "
        "lower the learning rate"
    ),
}


class SkipCounter:
    """How many updates in a row were skipped, and for which reasons there was a warning."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._warned: set[str] = set()

    def state(self) -> tuple[int, list[str]]:
        """Return what :meth:`restore` takes."""
        return self._in_a_row, sorted(self._warned)

    def restore(self, state: tuple[int, list[str]]) -> None:
        """
        Count on.

        :param state: of another counter
        """
        self._in_a_row, self._warned = state[0], set(state[1])

    def count(self, reason: str) -> None:
        """
        Take note of an update.

        :param reason: why it was skipped; empty if it was not
        :raises RuntimeError: it was the third skipped in a row
        """
        if not reason:
            self._in_a_row = 0
            return
        self._in_a_row += 1
        cause = _LIKELY_CAUSES[reason]
        if self._in_a_row >= _MOST_IN_A_ROW:
            raise RuntimeError(
                f"{self._in_a_row} updates in a row were skipped, the last for a {reason}. {cause}."
                " The policy is as it was after the last sound update."
            )
        if reason not in self._warned:
            self._warned.add(reason)
            warnings.warn(f"Update skipped: {reason}. {cause}.", stacklevel=4)
