"""Warnings about arguments that are allowed, and seldom meant."""

import warnings
from typing import TYPE_CHECKING

from stable_baselines3.common.policies import ActorCriticPolicy

if TYPE_CHECKING:
    from sb3_trpo.trpo import TRPO


def warn_of_truncated_minibatches(model: "TRPO") -> None:
    """
    Say where the last minibatch of the value function's fit is smaller than the others.

    :param model: a model under construction; one without environment has no rollouts yet
    """
    if model.env is None:
        return
    n_samples = model._crew.n_samples
    rest = n_samples % model.batch_size
    if not rest:
        return
    ranks = "" if model._processes.size == 1 else f" of {model._processes.size} ranks"
    rollout = f"a rollout{ranks} (n_steps={model.n_steps}, n_envs={model.n_envs})"
    if n_samples < model.batch_size:
        says = f"is larger than {rollout}, whose {n_samples} samples are one minibatch"
    else:
        says = (
            f"does not divide the {n_samples} samples of {rollout}, so that the last minibatch of "
            f"the value function's fit has {rest}. A batch_size that is a factor of them is "
            "recommended"
        )
    warnings.warn(f"batch_size={model.batch_size} {says}.", stacklevel=3)


def warn_of_shared_extractor(policy: ActorCriticPolicy) -> None:
    """
    Say what a features extractor costs that actor and critic share.

    :param policy: just built
    """
    extractor = getattr(policy, "features_extractor", None)
    shares = getattr(policy, "share_features_extractor", False)
    if shares and extractor is not None and any(True for _ in extractor.parameters()):
        warnings.warn(
            "Actor and critic share a features extractor. It learns from the actor alone, since "
            "the critic must not move what the trust region has fixed, and so the critic's fit is "
            "usually worse. policy_kwargs=dict(share_features_extractor=False) gives each its own.",
            stacklevel=3,
        )
