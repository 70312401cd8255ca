"""Fitting the value function of a policy, the fastest way that its networks allow."""

from typing import TYPE_CHECKING

import torch as th

from sb3_trpo.batch import Batch
from sb3_trpo.critic import CriticResult, fit_value_function, modules_reached
from sb3_trpo.mlp import flat_observations, plain_critic
from sb3_trpo.mlp_critic import fit_plain_value_function, steps_elementwise
from sb3_trpo.snapshot import Snapshot

if TYPE_CHECKING:
    from sb3_trpo.trpo import TRPO


def critic_step(
    model: "TRPO", batch: Batch, actor_parameters: list[th.Tensor], before: Snapshot
) -> CriticResult:
    """
    Fit the value function, without touching what the actor's step has set.

    :param model: whose value function
    :param batch: the whole rollout
    :param actor_parameters: those that the action distribution depends on; they stay
    :param before: the policy before the update, with the module buffers that the actor shares
    :return: loss and state of the fit
    """
    if model.n_critic_updates == 0:
        return CriticResult(None, 0, is_finite=True)
    policy = model.policy
    mlp = plain_critic(policy) if model.device.type == "cpu" else None
    if mlp is not None and steps_elementwise(policy.optimizer, mlp.parameters):
        return fit_plain_value_function(
            mlp,
            flat_observations(policy)(batch.observations),
            batch,
            epochs=model._deals(batch),
            optimizer=policy.optimizer,
            max_grad_norm=model.max_grad_norm,
            group=model._processes,
        )
    few, _ = batch.ends()
    of_actor = modules_reached(policy, lambda: model._distribution(few))
    of_critic = modules_reached(policy, lambda: model._values(few))
    for module in of_critic - of_actor:
        module.training = True  # not train(), which would reach into shared submodules
    is_actors = {id(parameter) for parameter in actor_parameters}
    result = fit_value_function(
        model._values,
        model._epochs(batch),
        optimizer=policy.optimizer,
        parameters=[
            parameter
            for parameter in policy.parameters()
            if parameter.requires_grad and id(parameter) not in is_actors
        ],
        max_grad_norm=model.max_grad_norm,
        group=model._processes,
    )
    policy.set_training_mode(False)
    before.restore_buffers(of_actor)  # shared ones may count passes even in eval mode
    return result
