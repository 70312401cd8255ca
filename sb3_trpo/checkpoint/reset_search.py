"""
From which states of its generators an environment's reset began.

Known are the states before a step and after the reset that followed it. If the step drew nothing,
the reset began from the first. Else a reset from there tells how many numbers it draws; counted
back from the end, that is where it began, give or take a few, for some distributions draw again
when a number does not suit them. The right state is known by what the reset leads to; the states
after it do not tell by themselves, for a half of 64 bits that it used up shows no more.
"""

import itertools
from collections.abc import Iterator

from sb3_trpo.checkpoint.env_access import EnvAccess, States
from sb3_trpo.checkpoint.random_states import State, ahead, draws_between, same

_FARTHEST = 8
_MOST_TRIALS = 64


class ResetSearch:
    """
    The search for one environment.

    :param access: to the environments, for what can be set
    :param before: the step
    :param now: after the reset
    """

    def __init__(self, access: EnvAccess, before: States, now: States) -> None:
        self._before, self._now = before, now
        self._moved = [n for n in now if n not in before or not same(before[n], now[n])]
        self._rest: Iterator[States] | None = None
        is_possible = all(name in before and access.can_write(name) for name in self._moved)
        self.trial: States | None = self._with(before) if is_possible else None
        """The states to reset from next; None: there is nothing left to try."""

    def _with(self, states: States) -> States:
        return {**self._now, **{name: states[name] for name in self._moved}}

    def go_on(self, after: States) -> None:
        """
        Choose the next trial.

        :param after: the states that the last one led to
        """
        if self._rest is None:
            self._rest = itertools.islice(self._nearest(after), _MOST_TRIALS)
        self.trial = next(self._rest, None)

    def _nearest(self, after: States) -> Iterator[States]:
        choices = [self._starts(name, after[name]) for name in self._moved]
        ranks = itertools.product(*(range(len(states)) for states in choices))
        for order in sorted(itertools.islice(ranks, 100 * _MOST_TRIALS), key=sum):
            chosen = zip(self._moved, choices, order, strict=True)
            yield self._with({name: states[rank] for name, states, rank in chosen})

    def _starts(self, name: str, after: State) -> list[State]:
        """List where one generator may have stood, the likeliest first."""
        before, now = self._before[name], self._now[name]
        in_all, in_reset = draws_between(before, now), draws_between(before, after)
        if in_all is None or in_reset is None:
            return [before]
        offsets = sorted(range(-_FARTHEST, _FARTHEST + 1), key=abs)
        counts = [in_all - in_reset + offset for offset in offsets]
        likely = (ahead(before, count, now) for count in counts if 0 <= count <= in_all)
        return [state for states in likely for state in states]
