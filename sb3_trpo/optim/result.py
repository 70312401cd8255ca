"""What a trust-region step did."""

from dataclasses import dataclass
from typing import Literal

import torch as th

Outcome = Literal["taken", "rejected", "nothing_to_do", "skipped"]


@dataclass(frozen=True)
class TrustRegionResult:
    """
    What a step did. A quantity that was not reached keeps its default.

    :param outcome: ``"taken"``: the parameters moved; ``"rejected"``: no trial passed;
        ``"nothing_to_do"``: there was no step to try; ``"skipped"``: a number was not finite. In
        all but the first the parameters are bit for bit what they were
    :param parameters: those that the action distribution depends on and that require grad
    :param reason: why there was no step, in a few words; empty if there was one
    :param old_surrogate: before the step
    :param surrogate: after it
    :param entropy: mean entropy of the old policy, in nats
    :param target_kl: δ, in nats
    :param kl: mean joint KL(old ‖ new) after the step, in nats
    :param step_fraction: of the full step √(2δ / xᵀFx) · x
    :param line_search_steps: trials measured
    :param cg_iterations: of the solve
    :param cg_residual: relative
    :param expected_improvement: gᵀ step, to first order
    :param grad_norm: ‖g‖₂
    :param step_norm: ‖step‖₂
    """

    outcome: Outcome
    parameters: list[th.Tensor]
    reason: str = ""
    old_surrogate: float = 0.0
    surrogate: float = 0.0
    entropy: float = 0.0
    target_kl: float = 0.0
    kl: float = 0.0
    step_fraction: float = 0.0
    line_search_steps: int = 0
    cg_iterations: int = 0
    cg_residual: float = 0.0
    expected_improvement: float = 0.0
    grad_norm: float = 0.0
    step_norm: float = 0.0

    @property
    def kl_utilization(self) -> float:
        """Share of the budget δ that the step realised."""
        return self.kl / self.target_kl if self.target_kl > 0 else 0.0

    @property
    def improvement_ratio(self) -> float:
        """Actual over expected improvement of the surrogate; 1 where it is linear."""
        if self.expected_improvement == 0:
            return 0.0
        return (self.surrogate - self.old_surrogate) / self.expected_improvement
