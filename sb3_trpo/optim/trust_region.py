"""
The actor's step: gradient, conjugate gradient, scale, line search, commit or restore.

Source: TRPO paper (arXiv:1502.05477), section 6 and appendix C.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch as th

from sb3_trpo.optim.checks import check, check_function, is_real, shown
from sb3_trpo.optim.conjugate_gradient import CGResult, check_solve, conjugate_gradient
from sb3_trpo.optim.fisher import FisherVectorProduct
from sb3_trpo.optim.line_search import LineSearch, LineSearchResult, Trial
from sb3_trpo.optim.parameter_vector import ParameterVector
from sb3_trpo.optim.precision import dot, precise
from sb3_trpo.optim.problem import (
    Chunk,
    FastLinearisation,
    JacobianForm,
    OldPolicy,
    TrustRegionProblem,
    check_form,
    check_rows,
)
from sb3_trpo.optim.result import TrustRegionResult

_LEAST_SHARE = 0.01
"""Of ``xᵀFx`` in ``xᵀ(F + λI)x``: below, the difference has lost too many digits."""


@dataclass(frozen=True)
class _Gradient:
    """The gradient pass over the batch, and what later passes reuse of it."""

    vector: th.Tensor
    parameters: ParameterVector
    old_policies: list[OldPolicy]
    old_surrogate: float
    entropy: float
    total_weight: float
    outputs: th.Tensor | None  # of the only chunk, with its graph
    linearisation: FastLinearisation | None  # of the only chunk


def trust_region_step(
    problem: TrustRegionProblem,
    *,
    target_kl: float,
    damping: float,
    cg_max_iterations: int,
    cg_relative_tolerance: float,
    jacobian_form: JacobianForm,
    line_search: LineSearch,
) -> TrustRegionResult:
    """
    Take one trust-region step on the surrogate, or leave the parameters bit for bit as they are.

    Maximises the surrogate to first order under ``xᵀFx / 2 <= δ``, then lets ``line_search`` set
    the length by the measured KL and surrogate. An exception, KeyboardInterrupt included, restores
    the parameters and is raised again.

    :param problem: the batch
    :param target_kl: δ, the bound on the mean joint KL(old ‖ new), in nats; where it is <= 0 there
        is nothing to do
    :param damping: λ in ``(F + λI) x = g``; >= 0. It shapes the direction alone
    :param cg_max_iterations: most Fisher-vector products in the solve; at least 1
    :param cg_relative_tolerance: of the solve, in [0, 1)
    :param jacobian_form: how J v is computed, see :func:`choose_jacobian_form`
    :param line_search: chooses the fraction of the full step
    :return: the outcome and the figures of the step
    :raises ValueError: an option is out of range
    """
    is_problem = isinstance(problem, TrustRegionProblem)
    check("problem", problem, "a TrustRegionProblem", is_right=is_problem)
    check("target_kl", target_kl, "a finite number", is_right=is_real(target_kl))
    is_right = is_real(damping) and damping >= 0
    check("damping", damping, "a finite number >= 0", is_right=is_right)
    check_solve(cg_max_iterations, cg_relative_tolerance, "cg_")
    check_form("jacobian_form", jacobian_form)
    check_function("line_search", line_search)
    gradient = _surrogate_gradient(problem)
    result = TrustRegionResult(
        outcome="nothing_to_do",
        parameters=gradient.parameters.tensors,
        old_surrogate=gradient.old_surrogate,
        surrogate=gradient.old_surrogate,
        entropy=gradient.entropy,
        target_kl=target_kl,
        grad_norm=math.sqrt(dot(gradient.vector, gradient.vector).item()),
    )
    if not (math.isfinite(result.grad_norm) and math.isfinite(result.old_surrogate)):
        return replace(result, outcome="skipped", reason="non-finite gradient")
    if len(gradient.parameters) == 0:
        return replace(result, reason="no trainable actor parameter")
    if result.grad_norm == 0:
        return replace(result, reason="zero gradient")
    if not target_kl > 0:
        return replace(result, reason="target_kl is not positive")

    cg, curvature = _search_direction(
        problem,
        gradient,
        damping=damping,
        max_iterations=cg_max_iterations,
        relative_tolerance=cg_relative_tolerance,
        form=jacobian_form,
    )
    result = replace(result, cg_iterations=cg.iterations, cg_residual=cg.relative_residual)
    if cg.stopped_by == "non_finite" or not math.isfinite(curvature):
        return replace(result, outcome="skipped", reason="non-finite curvature")
    if curvature <= 0:
        return replace(result, reason="no curvature along the gradient")

    # F, not F + λI: damping must not shorten the step.
    full_step = math.sqrt(2 * target_kl / curvature) * cg.x
    searched = _move(problem, gradient, full_step, target_kl=target_kl, line_search=line_search)
    return _searched_result(result, searched, gradient.vector, full_step)


def _surrogate_gradient(problem: TrustRegionProblem) -> _Gradient:
    """Fix the old policy, and differentiate the mean surrogate at it."""
    candidates = ParameterVector([p for p in problem.module.parameters() if p.requires_grad])
    only_one = len(problem.chunks) == 1
    grads: list[th.Tensor | None] = [None] * len(candidates.tensors)
    old_policies: list[OldPolicy] = []
    sums: list[th.Tensor] = []
    for chunk in problem.chunks:
        fast = None if problem.linearise is None else problem.linearise(chunk)
        outputs = chunk.dist_params() if fast is None else fast.outputs
        check_rows(outputs, chunk.weights)
        old_policy = chunk.old_policy(outputs.detach())
        head = precise(outputs.detach()).requires_grad_()
        weights = precise(chunk.weights)
        with th.enable_grad():
            surrogate = (weights * old_policy.surrogate(head)).sum()
        sums.append(
            th.stack([weights.sum(), surrogate.detach(), (weights * old_policy.entropy).sum()])
        )
        old_policies.append(old_policy)
        if fast is not None or outputs.requires_grad:
            (cotangent,) = th.autograd.grad(surrogate, head)
            cotangent = cotangent.to(outputs.dtype)
            parts = (
                _by_autograd(outputs, candidates, cotangent, keep=only_one)
                if fast is None
                else _by_formula(fast, candidates, cotangent)
            )
            grads = [_add(total, part) for total, part in zip(grads, parts, strict=True)]
        if not only_one:
            del fast, outputs  # before the next chunk's are built

    here = th.stack(sums).sum(dim=0)
    # A process whose samples leave some parameters out (experts, a branch) must know of the others.
    counts = here.new_tensor([grad is not None for grad in grads])
    totals = problem.sum_over_processes(th.cat([here, counts])).tolist()
    total_weight, surrogate_sum, entropy_sum, *counts_of_all = totals
    used = [i for i, count in enumerate(counts_of_all) if count > 0]
    parameters = ParameterVector([candidates.tensors[i] for i in used])
    vector = (
        problem.sum_over_processes(parameters.flatten([grads[i] for i in used])) / total_weight
        if used
        else here.new_zeros(0)
    )
    return _Gradient(
        vector=vector,
        parameters=parameters,
        old_policies=old_policies,
        old_surrogate=surrogate_sum / total_weight,
        entropy=entropy_sum / total_weight,
        total_weight=total_weight,
        outputs=outputs if only_one else None,
        linearisation=fast if only_one else None,
    )


def _by_autograd(
    outputs: th.Tensor, candidates: ParameterVector, cotangent: th.Tensor, *, keep: bool
) -> Sequence[th.Tensor | None]:
    """Jᵀu, one part per candidate, None where ``outputs`` does not depend on it."""
    return th.autograd.grad(
        outputs, candidates.tensors, cotangent, retain_graph=keep, allow_unused=True
    )


def _by_formula(
    fast: FastLinearisation, candidates: ParameterVector, cotangent: th.Tensor
) -> Sequence[th.Tensor | None]:
    """Jᵀu, one part per candidate, None where ``dist_params`` do not depend on it."""
    parts = fast.parameters.split(fast.vjp(cotangent))
    found = {id(tensor): part for tensor, part in zip(fast.parameters.tensors, parts, strict=True)}
    return [found.get(id(tensor)) for tensor in candidates.tensors]


def _add(total: th.Tensor | None, part: th.Tensor | None) -> th.Tensor | None:
    if part is None:
        return total
    return part if total is None else total + part


def _search_direction(
    problem: TrustRegionProblem,
    gradient: _Gradient,
    *,
    damping: float,
    max_iterations: int,
    relative_tolerance: float,
    form: JacobianForm,
) -> tuple[CGResult, float]:
    """Solve ``(F + λI) x = g``; return the solve and ``xᵀFx`` with the F of all samples."""

    def product(
        chunks: Sequence[Chunk],
        old_policies: list[OldPolicy],
        total_weight: float,
        outputs: th.Tensor | None = None,
        kept: FastLinearisation | None = None,
    ) -> FisherVectorProduct:
        return FisherVectorProduct(
            chunks,
            old_policies,
            gradient.parameters,
            module=problem.module,
            form=form,
            total_weight=total_weight,
            sum_over_processes=problem.sum_over_processes,
            outputs=outputs,
            linearise=problem.linearise,
            kept=kept,
        )

    whole = product(
        problem.chunks,
        gradient.old_policies,
        gradient.total_weight,
        gradient.outputs,
        gradient.linearisation,
    )
    in_solve = whole
    if problem.fisher_chunks is not None:
        with th.no_grad():
            old = [chunk.old_policy(chunk.dist_params()) for chunk in problem.fisher_chunks]
        in_solve = product(problem.fisher_chunks, old, _total_weight(problem))
    cg = conjugate_gradient(
        lambda vector: in_solve(vector) + damping * vector,
        gradient.vector,
        max_iterations=max_iterations,
        relative_tolerance=relative_tolerance,
    )
    curvature = (
        _curvature_by_recurrence(cg, gradient.vector, damping) if in_solve is whole else None
    )
    if curvature is None:
        # On all samples even when the solve saw a part: g leaves the range of the part's F, and a
        # scale taken from it overshoots δ by factors.
        curvature = dot(cg.x, whole(cg.x)).item()
    return cg, curvature


def _curvature_by_recurrence(cg: CGResult, g: th.Tensor, damping: float) -> float | None:
    """Return ``xᵀFx`` from ``(F + λI) x = g − r``; None where too little of it is F's part."""
    of_damped = dot(cg.x, g - cg.residual).item()
    curvature = of_damped - damping * dot(cg.x, cg.x).item()
    return curvature if curvature > _LEAST_SHARE * of_damped else None


def _total_weight(problem: TrustRegionProblem) -> float:
    """Total weight of the samples in the solve, of which this process may have none."""
    here = precise(problem.chunks[0].weights).new_zeros(1)
    for chunk in problem.fisher_chunks or ():
        here += precise(chunk.weights).sum()
    return float(problem.sum_over_processes(here).item())


def _move(
    problem: TrustRegionProblem,
    gradient: _Gradient,
    full_step: th.Tensor,
    *,
    target_kl: float,
    line_search: LineSearch,
) -> LineSearchResult:
    """Search along the step and leave the parameters at the accepted trial, or as they were."""
    parameters = gradient.parameters
    old = parameters.read()

    def evaluate(step_fraction: float) -> Trial:
        parameters.write(old + step_fraction * full_step)
        return _measure(problem, gradient, step_fraction)

    try:
        searched = line_search(evaluate, old_surrogate=gradient.old_surrogate, target_kl=target_kl)
        if not isinstance(searched, LineSearchResult):
            raise ValueError(f"line_search must return a LineSearchResult, got {shown(searched)}")
        if searched.accepted is None:
            parameters.write(old)
        else:
            parameters.write(old + searched.accepted.step_fraction * full_step)
    except BaseException:
        parameters.write(old)
        raise
    return searched


@th.no_grad()
def _measure(problem: TrustRegionProblem, gradient: _Gradient, step_fraction: float) -> Trial:
    """Surrogate and KL of the policy at the current parameters, over the whole batch."""
    sums = []
    for chunk, old_policy in zip(problem.chunks, gradient.old_policies, strict=True):
        dist_params = precise(chunk.dist_params())
        weights = precise(chunk.weights)
        sums.append(
            th.stack(
                [
                    (weights * old_policy.surrogate(dist_params)).sum(),
                    (weights * old_policy.kl(dist_params)).sum(),
                ]
            )
        )
    totals = problem.sum_over_processes(th.stack(sums).sum(dim=0)) / gradient.total_weight
    surrogate, kl = totals.tolist()
    return Trial(step_fraction, surrogate=surrogate, kl=kl)


def _searched_result(
    result: TrustRegionResult,
    searched: LineSearchResult,
    gradient: th.Tensor,
    full_step: th.Tensor,
) -> TrustRegionResult:
    result = replace(result, line_search_steps=searched.evaluations)
    trial = searched.accepted
    if trial is None:
        return replace(result, outcome="rejected", reason="no trial passed")
    return replace(
        result,
        outcome="taken",
        surrogate=trial.surrogate,
        kl=trial.kl,
        step_fraction=trial.step_fraction,
        expected_improvement=trial.step_fraction * dot(gradient, full_step).item(),
        step_norm=trial.step_fraction * math.sqrt(dot(full_step, full_step).item()),
    )
