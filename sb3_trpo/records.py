"""What an update's results are called in the log."""

from stable_baselines3.common.policies import ActorCriticPolicy

from sb3_trpo.critic import CriticResult
from sb3_trpo.optim import TrustRegionResult


def actor_figures(actor: TrustRegionResult, policy: ActorCriticPolicy) -> dict[str, float]:
    """
    Name the figures of the actor's step.

    :param actor: the step
    :param policy: after it
    :return: key in the log to value
    """
    figures = {
        "train/policy_objective": actor.surrogate,
        "train/kl_divergence_loss": actor.kl,
        "train/approx_kl": actor.kl,
        "train/is_line_search_success": float(actor.outcome == "taken"),
        "train/target_kl": actor.target_kl,
        "train/kl_utilization": actor.kl_utilization,
        "train/cg_iterations": actor.cg_iterations,
        "train/cg_residual": actor.cg_residual,
        "train/line_search_steps": actor.line_search_steps,
        "train/step_fraction": actor.step_fraction,
        "train/expected_improvement": actor.expected_improvement,
        "train/improvement_ratio": actor.improvement_ratio,
        "train/grad_norm": actor.grad_norm,
        "train/step_norm": actor.step_norm,
        "train/entropy": actor.entropy,
    }
    if hasattr(policy, "log_std"):
        figures["train/std"] = policy.log_std.exp().mean().item()
    return figures


def critic_figures(critic: CriticResult, explained_variance: float) -> dict[str, float]:
    """
    Name the figures of the value function's fit.

    :param critic: the fit
    :param explained_variance: of the returns, by the values from before the fit
    :return: key in the log to value
    """
    figures = {"train/explained_variance": explained_variance}
    if critic.value_loss is not None:
        figures["train/value_loss"] = critic.value_loss
    return figures
