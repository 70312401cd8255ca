"""The policies under the names people import: SB3's own, so that files name no class of ours."""

import inspect
from typing import Any

from stable_baselines3.common.policies import (
    ActorCriticCnnPolicy,
    ActorCriticPolicy,
    BasePolicy,
    MultiInputActorCriticPolicy,
)

MlpPolicy = ActorCriticPolicy
CnnPolicy = ActorCriticCnnPolicy
MultiInputPolicy = MultiInputActorCriticPolicy

__all__ = [
    "CnnPolicy",
    "MlpPolicy",
    "MultiInputPolicy",
    "has_two_extractors",
    "is_recurrent",
    "is_unmodified",
    "with_separate_extractors",
]

HOW_TO_SHARE = (
    "If these are the parameters of a policy whose actor and critic share a features extractor "
    "(the default of PPO, A2C and sb3_contrib.TRPO for images and Dicts), build the model with "
    "policy_kwargs=dict(share_features_extractor=True)."
)
"""What to do about parameters that do not fit two extractors."""


def with_separate_extractors(
    policy_class: type[BasePolicy], policy_kwargs: dict[str, Any] | None
) -> dict[str, Any]:
    """
    Give actor and critic an extractor each, where the user did not say otherwise.

    A shared one learns from the actor alone (the trust region forbids the critic to move it), which
    leaves the critic with a read-out of features that were not made for it.

    :param policy_class: the class that will be built
    :param policy_kwargs: as the user gave them; never written to
    :return: a copy, with ``share_features_extractor=False`` added for SB3's image and Dict policies
        and those of their subclasses whose ``__init__`` takes it
    :raises ValueError: ``policy_kwargs`` is no dict
    """
    if not (policy_kwargs is None or isinstance(policy_kwargs, dict)):
        raise ValueError(f"policy_kwargs must be None or a dict, got {policy_kwargs!r}")
    kwargs = dict(policy_kwargs or {})
    takes_it = "share_features_extractor" in inspect.signature(policy_class.__init__).parameters
    has_an_extractor_to_train = any(
        kind_of(cls) in ("cnn", "multi_input") for cls in policy_class.__mro__
    )
    if (
        takes_it and has_an_extractor_to_train and not kwargs.get("shared_lstm")
    ):  # which wants one extractor
        kwargs.setdefault("share_features_extractor", False)
    return kwargs


def kind_of(policy_class: type) -> str | None:
    """
    Tell which of the three kinds of policies a class of SB3's or sb3_contrib's is.

    :param policy_class: any
    :return: ``"mlp"``, ``"cnn"`` or ``"multi_input"``; None for other classes, subclasses among
        them
    """
    if policy_class.__module__ not in _HOSTS:
        return None
    return _KINDS.get(policy_class.__name__.replace("Maskable", "").replace("Recurrent", ""))


def has_two_extractors(policy: BasePolicy) -> bool:
    """
    Tell whether actor and critic have a features extractor each, with parameters.

    :param policy: just built or trained
    :return: False where they share one, or theirs have nothing to learn
    """
    if getattr(policy, "share_features_extractor", True):
        return False
    return any(True for _ in policy.features_extractor.parameters())


# By name, for sb3_contrib may be missing.
_MASKABLE, _RECURRENT = (
    f"sb3_contrib.common.{name}.policies" for name in ("maskable", "recurrent")
)
_HOSTS = (ActorCriticPolicy.__module__, _MASKABLE, _RECURRENT)
_KINDS = {
    "ActorCriticPolicy": "mlp",
    "ActorCriticCnnPolicy": "cnn",
    "MultiInputActorCriticPolicy": "multi_input",
}
_METHODS = (
    "forward",
    "predict_values",
    "evaluate_actions",
    "_predict",
    "get_distribution",
    "extract_features",
    "_get_action_dist_from_latent",
    "forward_actor",
    "forward_critic",
    "_process_sequence",
)


def is_recurrent(policy_class: type) -> bool:
    """Tell whether a class is one of sb3_contrib's policies with memory."""
    return policy_class.__module__ == _RECURRENT


def is_unmodified(policy: BasePolicy) -> bool:
    """
    Tell whether a policy computes what SB3's class says, so that faster code may stand in for it.

    :param policy: any
    :return: False for a subclass, an instance with a method of its own, or where a module or a
        parameter has hooks
    """
    if kind_of(type(policy)) is None:
        return False
    for module in policy.modules():
        hooks = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks
        if hooks or not vars(module).keys().isdisjoint(_METHODS):
            return False
    return not any(parameter._backward_hooks for parameter in policy.parameters())
