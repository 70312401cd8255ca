"""Solve ``A x = b`` from products with A alone."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch as th

from sb3_trpo.optim.checks import check, check_function, is_floating, is_real, is_whole, shown
from sb3_trpo.optim.precision import dot

StopReason = Literal["converged", "max_iterations", "no_curvature", "non_finite"]


@dataclass(frozen=True)
class CGResult:
    """
    What a solve ended with.

    ``stopped_by`` is

    - ``"converged"``: the residual is as small as asked for;
    - ``"max_iterations"``: the budget is spent; ``x`` is the best point of the Krylov space so far;
    - ``"no_curvature"``: a direction with ``pᵀAp`` zero or negative to working precision. A is
      singular or indefinite there: more damping helps;
    - ``"non_finite"``: ``b`` or a product with A held NaN or infinity; ``x`` is the last sound
      point.

    :param x: the approximate solution (P,)
    :param residual: ``b − A x`` (P,), by the recurrence
    :param iterations: steps taken
    :param relative_residual: ``‖b − A x‖ / ‖b‖`` by the recurrence; 0 if ``b`` is 0, NaN if
        ``b`` is not finite
    :param stopped_by: see above
    """

    x: th.Tensor
    residual: th.Tensor
    iterations: int
    relative_residual: float
    stopped_by: StopReason


def conjugate_gradient(
    matvec: Callable[[th.Tensor], th.Tensor],
    b: th.Tensor,
    *,
    max_iterations: int,
    relative_tolerance: float,
) -> CGResult:
    """
    Solve ``A x = b`` approximately, from products with ``A`` alone.

    ``A`` is symmetric positive definite. Starts at zero, draws no random numbers, calls ``matvec``
    once per iteration and reads numbers back from the device once per iteration. Curvature
    ``pᵀAp <= 0`` or a non-finite number ends the solve at the last sound iterate, without raising.
    Source: TRPO paper (arXiv:1502.05477), appendix C; recurrence as in
    *Numerical Optimization* (2nd ed.), algorithm 5.2.

    :param matvec: maps ``v`` (P,) to ``A v`` (P,), same dtype and device as ``b``
    :param b: right-hand side (P,); never written to
    :param max_iterations: most products with ``A``; at least 1
    :param relative_tolerance: stop at ``‖b − A x‖₂ <= relative_tolerance · ‖b‖₂``;
        dimensionless, in [0, 1)
    :return: the solution and how the solve went
    :raises ValueError: ``b`` is not a vector, a product is not like it, or an option is out of
        range
    """
    check_function("matvec", matvec)
    check("b", b, "a vector of floating point numbers (P,)", is_right=is_floating(b, 1))
    check_solve(max_iterations, relative_tolerance)

    x, residual, direction = th.zeros_like(b), b, b
    residual_dot = dot(residual, residual)
    b_dot = last_dot = residual_dot.item()
    if b_dot == 0 or not math.isfinite(b_dot):
        sound = b_dot == 0
        relative = 0.0 if sound else math.nan
        return CGResult(x, residual, 0, relative, "converged" if sound else "non_finite")

    largest_quotient = 0.0
    iterations = 0
    stopped_by: StopReason = "max_iterations"
    while iterations < max_iterations:
        product = matvec(direction)
        if not isinstance(product, th.Tensor) or product.shape != b.shape:
            raise ValueError(
                f"matvec must return a vector of shape {tuple(b.shape)}, got {shown(product)}"
            )
        curvature_scalar = dot(direction, product)
        alpha = residual_dot / curvature_scalar
        new_x = x + alpha.to(b.dtype) * direction
        new_residual = residual - alpha.to(b.dtype) * product
        new_residual_dot = dot(new_residual, new_residual)
        curvature, direction_dot, new_dot, x_dot = th.stack(
            [curvature_scalar, dot(direction, direction), new_residual_dot, dot(new_x, new_x)]
        ).tolist()

        # Rounding leaves a tiny positive curvature where the true one is zero; dividing by it
        # would throw x far away, so "zero" is relative to the largest curvature seen.
        quotient = curvature / direction_dot
        largest_quotient = max(largest_quotient, quotient)
        if not math.isfinite(curvature):
            stopped_by = "non_finite"
            break
        if quotient <= 4 * th.finfo(b.dtype).eps * largest_quotient:
            stopped_by = "no_curvature"
            break
        if not (math.isfinite(new_dot) and math.isfinite(x_dot)):
            stopped_by = "non_finite"
            break

        x, residual, iterations = new_x, new_residual, iterations + 1
        beta = new_residual_dot / residual_dot
        residual_dot, last_dot = new_residual_dot, new_dot
        if last_dot <= relative_tolerance**2 * b_dot:
            stopped_by = "converged"
            break
        direction = residual + beta.to(b.dtype) * direction

    return CGResult(x, residual, iterations, math.sqrt(last_dot / b_dot), stopped_by)


def check_solve(max_iterations: int, relative_tolerance: float, prefix: str = "") -> None:
    """
    Refuse options of a solve.

    :param max_iterations: as given
    :param relative_tolerance: as given
    :param prefix: of the arguments' names
    :raises ValueError: one is out of range
    """
    is_right = is_whole(max_iterations, 1)
    check(f"{prefix}max_iterations", max_iterations, "a whole number >= 1", is_right=is_right)
    is_right = is_real(relative_tolerance) and 0 <= relative_tolerance < 1
    check(f"{prefix}relative_tolerance", relative_tolerance, "in [0, 1)", is_right=is_right)
