import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sb3_trpo.optim import Trial, backtracking_search, kl_matching_search

DELTA = 0.01
property_test = settings(max_examples=150, deadline=None, derandomize=True)
BOTH = pytest.mark.parametrize("search", [backtracking_search, kl_matching_search])


def run(search, kl, surrogate, max_iterations=10, target_kl=DELTA):
    trials = []

    def evaluate(s):
        trials.append(Trial(s, surrogate(s), kl(s)))
        return trials[-1]

    result = search(
        evaluate,
        old_surrogate=0.0,
        target_kl=target_kl,
        shrinking_factor=0.8,
        max_iterations=max_iterations,
    )
    assert result.evaluations == len(trials) <= max_iterations
    return result, trials


@pytest.mark.parametrize("i", range(10))
def test_backtracking_takes_the_smallest_power_that_passes(i):
    limit = 0.8**i * 1.0001
    result, _ = run(backtracking_search, lambda s: DELTA * (s / limit) ** 2, lambda s: s)
    assert result.accepted.step_fraction == pytest.approx(0.8**i, rel=1e-12)
    assert result.evaluations == i + 1


@pytest.mark.parametrize(
    ("scale", "quartic"),
    [(c, 0.0) for c in (1e-3, 0.1, 0.5, 1.0, 2.0, 10.0, 1e3)]
    + [(c, 0.5) for c in (0.1, 0.5, 1.0, 2.0, 10.0)],
)
def test_kl_matching_spends_the_budget(scale, quartic):
    result, _ = run(
        kl_matching_search, lambda s: scale * DELTA * (s**2 + quartic * s**4), lambda s: s
    )
    assert 0.9 * DELTA <= result.accepted.kl <= DELTA


def test_growth_is_at_most_twofold():
    _, trials = run(kl_matching_search, lambda s: 1e-9 * s**2, lambda s: s)
    fractions = [trial.step_fraction for trial in trials]
    assert fractions == [2.0**i for i in range(10)]


def test_longer_trial_that_fails_does_not_cost_the_candidate():
    def kl(s):
        return 0.5 * DELTA * s**2 if s <= 1 else math.nan

    result, trials = run(kl_matching_search, kl, lambda s: s)
    assert result.accepted is not None
    assert result.accepted.step_fraction <= 1
    assert trials[1].step_fraction > 1


def test_search_ends_when_the_surrogate_falls():
    def surrogate(s):
        return s * (2.2 - s)  # highest at 1.1

    result, trials = run(kl_matching_search, lambda s: 0.2 * DELTA * s**2, surrogate)
    assert [trial.step_fraction for trial in trials] == [1.0, 2.0]
    assert result.accepted.step_fraction == 1.0


def test_no_improvement_shortens_the_trial():
    result, trials = run(kl_matching_search, lambda s: 0.1 * DELTA * s**2, lambda s: 0.5 * s - s**2)
    fractions = [trial.step_fraction for trial in trials]
    assert fractions[:3] == pytest.approx([1.0, 0.8, 0.64])
    assert result.accepted.surrogate > 0


@BOTH
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_non_finite_surrogate_never_passes(search, bad):
    result, _ = run(search, lambda s: 0.1 * DELTA * s, lambda _: bad)
    assert result.accepted is None


@BOTH
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_non_finite_kl_never_passes(search, bad):
    result, trials = run(search, lambda s: bad if s > 0.5 else 0.95 * DELTA, lambda s: s)
    assert result.accepted.step_fraction <= 0.5
    assert trials[0].step_fraction == 1.0


@BOTH
def test_equal_surrogate_is_no_improvement(search):
    assert run(search, lambda _: 0.0, lambda _: 0.0)[0].accepted is None


@property_test
@given(
    log_scale=st.floats(-3, 3),
    quartic=st.floats(0.1, 1),  # keeps the curve rising whatever the cubic term
    cubic=st.floats(-0.3, 0.3),
)
def test_kl_matching_spends_the_budget_on_smooth_curves(log_scale, quartic, cubic):
    """Even where the full step is a thousand times off in KL, ten trials are enough."""

    def kl(s):
        length = s * math.sqrt(10**log_scale)
        return DELTA * (length**2 + cubic * length**3 + quartic * length**4)

    result, trials = run(kl_matching_search, kl, lambda s: s)
    assert 0.9 * DELTA <= result.accepted.kl <= DELTA
    assert result.accepted in trials


@property_test
@given(
    log_scale=st.floats(-2, 2),
    peak=st.floats(0.05, 5),
    break_at=st.floats(0.1, 4),
    broken=st.sampled_from([math.nan, math.inf, 1.0]),
)
def test_search_on_smooth_curves_with_a_cliff_obeys_the_rule(log_scale, peak, break_at, broken):
    result, trials = run(
        kl_matching_search,
        lambda s: broken if s > break_at else 10**log_scale * DELTA * s**2,
        lambda s: s * (2 * peak - s),
    )
    passing = [t for t in trials if t.kl <= DELTA and t.surrogate > 0]
    assert result.accepted == max(passing, key=lambda t: t.surrogate, default=None)
    longest_passed = 0.0
    for trial in trials[:-1]:  # never beyond twice the longest that passed, but for the first
        if trial in passing:
            longest_passed = max(longest_passed, trial.step_fraction)
    assert trials[-1].step_fraction <= max(1.0, 2 * longest_passed)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    kls=st.lists(st.floats(0, 3 * DELTA) | st.just(math.nan), min_size=10, max_size=10),
    surrogates=st.lists(st.floats(-1, 1) | st.just(math.nan), min_size=10, max_size=10),
    search=st.sampled_from([backtracking_search, kl_matching_search]),
)
def test_accepted_trial_obeys_the_rule_on_any_landscape(kls, surrogates, search):
    kl, surrogate = iter(kls), iter(surrogates)
    result, trials = run(search, lambda _: next(kl), lambda _: next(surrogate))
    passing = [t for t in trials if t.kl <= DELTA and t.surrogate > 0]
    if result.accepted is None:
        assert not passing
    elif search is kl_matching_search:
        assert result.accepted == max(passing, key=lambda t: t.surrogate)
    else:
        assert [result.accepted] == passing
    assert all(t.step_fraction > 0 for t in trials)
