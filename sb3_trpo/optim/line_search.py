"""
How far to go along a step: two searches over one trial function.

Both know nothing of policies: ``evaluate`` moves the parameters to a fraction of the full step
and measures there. A trial passes if its KL is at most the target and its surrogate is above the
old one; a number that is not finite never passes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Protocol

from sb3_trpo.optim.checks import check, check_function, is_real, is_whole, shown

# Where the KL search aims, and with what it is content, as fractions of the target.
AIM = 0.97
CONTENT = 0.9
MOST_GROWTH = 2.0


@dataclass(frozen=True)
class Trial:
    """
    One point on the line.

    :param step_fraction: of the full step; 1 is the full step
    :param surrogate: the surrogate objective there
    :param kl: the mean joint KL(old ‖ new) there, in nats
    """

    step_fraction: float
    surrogate: float
    kl: float

    def __post_init__(self) -> None:
        for name, value in vars(self).items():  # NaN among them: such a trial does not pass
            if not isinstance(value, Real):
                raise ValueError(f"{name} must be a number, got {shown(value)}")


@dataclass(frozen=True)
class LineSearchResult:
    """
    What a search ended with.

    :param accepted: the trial to take, or None if none passed
    :param evaluations: how many trials were measured
    """

    accepted: Trial | None
    evaluations: int


Evaluate = Callable[[float], Trial]


class LineSearch(Protocol):
    """A search whose own options are bound already."""

    def __call__(
        self, evaluate: Evaluate, *, old_surrogate: float, target_kl: float
    ) -> LineSearchResult:
        """Choose a fraction of the step."""
        ...


def _check(
    evaluate: Evaluate,
    old_surrogate: float,
    target_kl: float,
    shrinking_factor: float,
    max_iterations: int,
) -> None:
    check_function("evaluate", evaluate)
    check("old_surrogate", old_surrogate, "a finite number", is_right=is_real(old_surrogate))
    is_right = is_real(target_kl) and target_kl > 0
    check("target_kl", target_kl, "a finite number > 0", is_right=is_right)
    is_right = is_real(shrinking_factor) and 0 < shrinking_factor < 1
    check("shrinking_factor", shrinking_factor, "in (0, 1)", is_right=is_right)
    is_right = is_whole(max_iterations, 1)
    check("max_iterations", max_iterations, "a whole number >= 1", is_right=is_right)


def _measured(evaluate: Evaluate, fraction: float) -> Trial:
    trial = evaluate(fraction)
    if not isinstance(trial, Trial):
        raise ValueError(f"evaluate must return a Trial, got {shown(trial)}")
    return trial


def _passes(trial: Trial, old_surrogate: float, target_kl: float) -> bool:
    # Comparisons with NaN are False; infinity is no improvement, and no KL either.
    return -math.inf < trial.kl <= target_kl and old_surrogate < trial.surrogate < math.inf


def backtracking_search(
    evaluate: Evaluate,
    *,
    old_surrogate: float,
    target_kl: float,
    shrinking_factor: float,
    max_iterations: int,
) -> LineSearchResult:
    """
    Try the fractions αⁱ for i = 0, 1, …, and take the first that passes.

    Source: TRPO paper (arXiv:1502.05477), appendix C.

    :param evaluate: measures the trial at a fraction of the full step
    :param old_surrogate: the surrogate at fraction 0
    :param target_kl: δ, the bound on the KL, in nats; > 0
    :param shrinking_factor: α, in (0, 1)
    :param max_iterations: most trials; at least 1
    :return: the accepted trial, if any, and the number of evaluations
    :raises ValueError: an option is out of range
    """
    _check(evaluate, old_surrogate, target_kl, shrinking_factor, max_iterations)
    for i in range(max_iterations):
        trial = _measured(evaluate, shrinking_factor**i)
        if _passes(trial, old_surrogate, target_kl):
            return LineSearchResult(trial, i + 1)
    return LineSearchResult(None, max_iterations)


def kl_matching_search(
    evaluate: Evaluate,
    *,
    old_surrogate: float,
    target_kl: float,
    shrinking_factor: float,
    max_iterations: int,
) -> LineSearchResult:
    """
    Shorten *and* lengthen the step until the measured KL is close to its bound.

    The KL grows about with the square of the fraction s, so the next trial is at
    ``s · sqrt(0.97 δ / KL(s))``, at most twice as long, between the longest trial that passed and
    the shortest that failed. Every trial that passes is a candidate; the one with the largest
    surrogate is taken. Ends at a candidate that uses 0.9 of δ, when a longer trial's surrogate
    falls below the candidate's, or when the trials are spent.

    :param evaluate: measures the trial at a fraction of the full step
    :param old_surrogate: the surrogate at fraction 0
    :param target_kl: δ, the bound on the KL, in nats; > 0
    :param shrinking_factor: how much to shorten a trial whose KL says nothing about the length, in
        (0, 1)
    :param max_iterations: most trials; at least 1
    :return: the accepted trial, if any, and the number of evaluations
    :raises ValueError: an option is out of range
    """
    _check(evaluate, old_surrogate, target_kl, shrinking_factor, max_iterations)
    best: Trial | None = None
    longest_passed, shortest_failed = 0.0, math.inf
    fraction = 1.0
    for i in range(max_iterations):
        trial = _measured(evaluate, fraction)
        passed = _passes(trial, old_surrogate, target_kl)
        fallen = (
            best is not None and fraction > best.step_fraction and trial.surrogate < best.surrogate
        )
        if passed and (best is None or trial.surrogate > best.surrogate):
            best = trial
        if fallen or (passed and trial.kl >= CONTENT * target_kl):
            return LineSearchResult(best, i + 1)
        if passed:
            longest_passed = max(longest_passed, fraction)
        else:
            shortest_failed = min(shortest_failed, fraction)
        fraction = _next_fraction(
            trial, target_kl, longest_passed, shortest_failed, shrinking_factor
        )
    return LineSearchResult(best, max_iterations)


def _next_fraction(
    trial: Trial,
    target_kl: float,
    longest_passed: float,
    shortest_failed: float,
    shrinking_factor: float,
) -> float:
    if 0 < trial.kl < math.inf:
        growth = min(math.sqrt(AIM * target_kl / trial.kl), MOST_GROWTH)
    else:
        growth = MOST_GROWTH if trial.kl <= 0 else shrinking_factor
    proposal = trial.step_fraction * growth
    if longest_passed < proposal < shortest_failed:
        return proposal
    if longest_passed == 0:
        return shortest_failed * shrinking_factor
    return (longest_passed + shortest_failed) / 2
