"""The classes that a file may name. None of them is called because a pickle says so."""

import importlib
from collections.abc import Iterable, Mapping
from typing import Any

from sb3_trpo.safe_loading.limits import Refused, printable

_SB3 = "stable_baselines3.common"
_CONTRIB = "sb3_contrib.common"


def _names(module: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{module}.{name}" for name in names)


POLICIES = (
    *_names(
        f"{_SB3}.policies",
        "ActorCriticPolicy",
        "ActorCriticCnnPolicy",
        "MultiInputActorCriticPolicy",
    ),
    *_names(
        f"{_CONTRIB}.maskable.policies",
        "MaskableActorCriticPolicy",
        "MaskableActorCriticCnnPolicy",
        "MaskableMultiInputActorCriticPolicy",
    ),
    *_names(
        f"{_CONTRIB}.recurrent.policies",
        "RecurrentActorCriticPolicy",
        "RecurrentActorCriticCnnPolicy",
        "RecurrentMultiInputActorCriticPolicy",
    ),
)
BUFFERS = (
    *_names(f"{_SB3}.buffers", "RolloutBuffer", "DictRolloutBuffer"),
    *_names(f"{_CONTRIB}.maskable.buffers", "MaskableRolloutBuffer", "MaskableDictRolloutBuffer"),
    *_names(
        f"{_CONTRIB}.recurrent.buffers", "RecurrentRolloutBuffer", "RecurrentDictRolloutBuffer"
    ),
)
EXTRACTORS = _names(f"{_SB3}.torch_layers", "FlattenExtractor", "NatureCNN", "CombinedExtractor")
ACTIVATIONS = _names(
    "torch.nn.modules.activation",
    *("CELU", "ELU", "GELU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU"),
    *("LogSigmoid", "Mish", "PReLU", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softplus"),
    *("Softshrink", "Softsign", "Tanh", "Tanhshrink"),
)
# Those whose step needs no closure, takes dense gradients and parameters of any shape.
OPTIMIZERS = (
    *(
        f"torch.optim.{name.lower()}.{name}"
        for name in ("ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam")
    ),
    *(f"torch.optim.{name.lower()}.{name}" for name in ("RMSprop", "Rprop", "SGD")),
    f"{_SB3}.sb2_compat.rmsprop_tf_like.RMSpropTFLike",
)
_LISTED = frozenset((*POLICIES, *BUFFERS, *EXTRACTORS, *ACTIVATIONS, *OPTIMIZERS))


def name_of(thing: Any) -> str:
    """
    Return the name under which pickle would look a class or function up.

    :param thing: the class or function
    :return: module and qualified name
    """
    return f"{thing.__module__}.{thing.__qualname__}"


def is_listed(name: str) -> bool:
    """
    Tell whether a class is on the list, installed or not.

    :param name: module and class
    :return: True if so
    """
    return name in _LISTED


def listed(name: str) -> Any:
    """
    Return a class of the list.

    :param name: module and class
    :return: the class
    :raises Refused: it is not on the list, or its package is not installed
    """
    if name not in _LISTED:
        raise Refused(f"{printable(name)} is not on the list")
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise Refused(f"{name} is on the list, but not installed: {error}") from error


class Vouched:
    """
    What the user said may be used, beyond the list.

    :param allow: classes and functions, or a dict from the names that the file gives them
    :raises ValueError: something in it is neither a class nor a function
    """

    def __init__(self, allow: Iterable[Any] | Mapping[str, Any]) -> None:
        if not isinstance(allow, Iterable):  # a class by itself, for one
            raise ValueError(f"allow must be a list of classes or functions, got {allow!r}")
        pairs = list(allow.items()) if isinstance(allow, Mapping) else [("", x) for x in allow]
        self._things: dict[str, Any] = {}
        for name, thing in pairs:
            if not (callable(thing) and hasattr(thing, "__qualname__") and isinstance(name, str)):
                raise ValueError(
                    "allow must hold classes or functions, or be a dict from the names in the "
                    f"file to them, got {thing!r}"
                )
            # By its short name, too, under which it is pickled by value.
            short = f"{thing.__module__}.{thing.__name__}"
            for known in (name,) if name else (short, name_of(thing)):
                self._things[known] = thing

    def get(self, name: str) -> Any:
        """
        Return what has a name in the file; None if nothing was vouched for under it.

        :param name: module and name
        :return: the user's own class or function
        """
        return self._things.get(name)

    def knows(self, value: Any) -> bool:
        """
        Tell whether a value is what the user vouched for, or an object of such a class.

        :param value: any
        :return: True if so
        """
        return any(value is thing or type(value) is thing for thing in self._things.values())

    def has_a(self, base: type) -> bool:
        """
        Tell whether the user vouched for a class of some kind.

        :param base: the kind
        :return: True if one is a subclass
        """
        return any(isinstance(t, type) and issubclass(t, base) for t in self._things.values())
