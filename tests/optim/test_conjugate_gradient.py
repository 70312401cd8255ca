import math

import pytest
import torch as th
from hypothesis import given, settings
from hypothesis import strategies as st

from sb3_trpo.optim import conjugate_gradient

SEEDS = st.integers(0, 10_000)
property_test = settings(max_examples=40, deadline=None, derandomize=True)


def spectrum_matrix(eigenvalues: th.Tensor, generator: th.Generator) -> th.Tensor:
    n = len(eigenvalues)
    basis, _ = th.linalg.qr(th.randn(n, n, generator=generator, dtype=th.float64))
    return basis @ th.diag(eigenvalues) @ basis.T


@property_test
@given(seed=SEEDS, size=st.integers(2, 25), log_condition=st.floats(0, 4), steps=st.integers(1, 25))
def test_error_stays_within_the_classical_bound(seed, size, log_condition, steps):
    generator = th.Generator().manual_seed(seed)
    spread = th.rand(size, generator=generator, dtype=th.float64)
    spread[0], spread[-1] = 0, 1
    matrix = spectrum_matrix(10 ** (log_condition * spread), generator)
    b = th.randn(size, generator=generator, dtype=th.float64)
    exact = th.linalg.solve(matrix, b)

    result = conjugate_gradient(
        lambda v: matrix @ v, b, max_iterations=steps, relative_tolerance=0.0
    )

    def norm(v):
        return math.sqrt(v @ matrix @ v)

    root = math.sqrt(10**log_condition)
    bound = 2 * ((root - 1) / (root + 1)) ** result.iterations * norm(exact)
    assert norm(result.x - exact) <= bound + 1e-9 * norm(exact)  # rounding, κ up to 1e4


@property_test
@given(seed=SEEDS, size=st.integers(3, 20), nullity=st.integers(1, 2))
def test_singular_system_with_b_in_range_agrees_with_lstsq(seed, size, nullity):
    generator = th.Generator().manual_seed(seed)
    eigenvalues = 1 + 9 * th.rand(size, generator=generator, dtype=th.float64)
    eigenvalues[:nullity] = 0
    matrix = spectrum_matrix(eigenvalues, generator)
    b = matrix @ th.randn(size, generator=generator, dtype=th.float64)

    result = conjugate_gradient(
        lambda v: matrix @ v, b, max_iterations=3 * size, relative_tolerance=1e-10
    )

    smallest_norm = th.linalg.lstsq(matrix, b[:, None], driver="gelsd").solution[:, 0]
    assert result.stopped_by == "converged"
    assert th.allclose(result.x, smallest_norm, rtol=1e-6, atol=1e-8)


@property_test
@given(seed=SEEDS, size=st.integers(3, 20))
def test_singular_system_with_b_outside_range_says_so(seed, size):
    generator = th.Generator().manual_seed(seed)
    eigenvalues = 1 + 9 * th.rand(size, generator=generator, dtype=th.float64)
    eigenvalues[0] = 0
    matrix = spectrum_matrix(eigenvalues, generator)
    null_vector = th.linalg.eigh(matrix).eigenvectors[:, 0]
    b = matrix @ th.randn(size, generator=generator, dtype=th.float64) + null_vector

    result = conjugate_gradient(
        lambda v: matrix @ v, b, max_iterations=4 * size, relative_tolerance=1e-10
    )

    assert th.isfinite(result.x).all()
    assert result.stopped_by in ("no_curvature", "max_iterations")
    assert result.relative_residual > 1e-10


@pytest.mark.parametrize(("dtype", "drift"), [(th.float32, 2e-5), (th.float64, 1e-13)])
def test_recurrence_residual_stays_close_to_the_true_one(dtype, drift):
    generator = th.Generator().manual_seed(0)
    eigenvalues = th.logspace(-1, 1, 50, dtype=th.float64)
    matrix = spectrum_matrix(eigenvalues, generator).to(dtype)
    b = th.randn(50, generator=generator, dtype=dtype)
    result = conjugate_gradient(lambda v: matrix @ v, b, max_iterations=40, relative_tolerance=0.0)
    true = (b - matrix @ result.x).norm() / b.norm()
    assert abs(true.item() - result.relative_residual) < drift


def test_indefinite_matrix_stops_at_the_last_sound_point():
    matrix = th.diag(th.tensor([2.0, 1.0, -1.0], dtype=th.float64))
    b = th.tensor([1.0, 1.0, 0.5], dtype=th.float64)
    result = conjugate_gradient(
        lambda v: matrix @ v, b, max_iterations=10, relative_tolerance=1e-10
    )
    assert result.stopped_by == "no_curvature"
    assert th.isfinite(result.x).all()
    assert result.iterations < 3


@pytest.mark.parametrize("bad_call", [1, 2, 3])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_non_finite_product_keeps_the_last_sound_point(bad_call, value):
    matrix = th.diag(th.linspace(1, 3, 6, dtype=th.float64))
    b = th.ones(6, dtype=th.float64)
    calls = 0

    def matvec(v):
        nonlocal calls
        calls += 1
        return matrix @ v if calls < bad_call else th.full_like(v, value)

    result = conjugate_gradient(matvec, b, max_iterations=10, relative_tolerance=0.0)
    sound = (
        conjugate_gradient(
            lambda v: matrix @ v, b, max_iterations=bad_call - 1, relative_tolerance=0.0
        ).x
        if bad_call > 1
        else th.zeros_like(b)
    )
    assert result.stopped_by == "non_finite"
    assert result.iterations == bad_call - 1
    assert th.equal(result.x, sound)


def test_product_is_asked_for_once_per_iteration():
    calls = 0

    def matvec(v):
        nonlocal calls
        calls += 1
        return th.linspace(1, 3, 6, dtype=th.float64) * v

    b = th.ones(6, dtype=th.float64)
    result = conjugate_gradient(matvec, b, max_iterations=4, relative_tolerance=0.0)
    assert (calls, result.iterations, result.stopped_by) == (4, 4, "max_iterations")


@property_test
@given(seed=SEEDS, log_tolerance=st.floats(-8, -1))
def test_solve_ends_at_the_first_iterate_within_tolerance(seed, log_tolerance):
    generator = th.Generator().manual_seed(seed)
    matrix = spectrum_matrix(th.linspace(0.1, 5, 30, dtype=th.float64), generator)
    b = th.randn(30, generator=generator, dtype=th.float64)
    tolerance = 10**log_tolerance

    def solve(steps):
        return conjugate_gradient(
            lambda v: matrix @ v, b, max_iterations=steps, relative_tolerance=tolerance
        )

    result = solve(60)
    assert result.stopped_by == "converged"
    true = (b - matrix @ result.x).norm() / b.norm()
    assert true <= tolerance * (1 + 1e-4)  # the recurrence drifts by rounding
    shorter = solve(result.iterations - 1) if result.iterations > 1 else None
    assert shorter is None or shorter.stopped_by == "max_iterations"


def test_zero_and_non_finite_right_hand_sides_need_no_product():
    def matvec(_):
        raise AssertionError("no product is needed")

    zero = conjugate_gradient(matvec, th.zeros(3), max_iterations=5, relative_tolerance=0.0)
    assert (zero.stopped_by, zero.iterations, zero.relative_residual) == ("converged", 0, 0.0)
    bad = conjugate_gradient(
        matvec, th.tensor([1.0, math.nan]), max_iterations=5, relative_tolerance=0.0
    )
    assert bad.stopped_by == "non_finite"
    assert th.equal(bad.x, th.zeros(2))


@pytest.mark.parametrize("dtype", [th.float32, th.float64])
def test_tiny_right_hand_side_is_solved_like_a_large_one(dtype):
    """A solve that compares with absolute constants would stop at once."""
    generator = th.Generator().manual_seed(2)
    matrix = spectrum_matrix(th.linspace(0.1, 5, 30, dtype=th.float64), generator).to(dtype)
    b = th.randn(30, generator=generator, dtype=dtype)
    one = conjugate_gradient(lambda v: matrix @ v, b, max_iterations=30, relative_tolerance=1e-3)
    tiny = conjugate_gradient(
        lambda v: matrix @ v, b * 1e-12, max_iterations=30, relative_tolerance=1e-3
    )
    assert one.iterations == tiny.iterations < 30
    slack = 1e-4 if dtype == th.float32 else 1e-10
    assert (tiny.x * 1e12 - one.x).norm() <= slack * one.x.norm()


def test_scale_of_b_changes_nothing_but_the_scale_of_x():
    generator = th.Generator().manual_seed(1)
    matrix = spectrum_matrix(th.linspace(0.1, 5, 30, dtype=th.float64), generator)
    b = th.randn(30, generator=generator, dtype=th.float64)
    one = conjugate_gradient(lambda v: matrix @ v, b, max_iterations=30, relative_tolerance=1e-6)
    tiny = conjugate_gradient(
        lambda v: matrix @ v, b * 2.0**-60, max_iterations=30, relative_tolerance=1e-6
    )
    assert one.iterations == tiny.iterations < 30
    assert th.equal(one.x * 2.0**-60, tiny.x)


def test_draws_no_random_numbers_and_leaves_b_alone():
    b = th.ones(4)
    kept = b.clone()
    state = th.get_rng_state()
    conjugate_gradient(lambda v: 2 * v, b, max_iterations=5, relative_tolerance=0.0)
    assert th.equal(th.get_rng_state(), state)
    assert th.equal(b, kept)
