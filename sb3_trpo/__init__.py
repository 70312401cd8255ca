"""Trust Region Policy Optimization for Stable-Baselines3."""

import importlib
from typing import TYPE_CHECKING, Any

from sb3_trpo.normalization import load_normalization
from sb3_trpo.policies import CnnPolicy, MlpPolicy, MultiInputPolicy
from sb3_trpo.trpo import TRPO
from sb3_trpo.version import __version__

if TYPE_CHECKING:
    from sb3_trpo.maskable import MaskableTRPO
    from sb3_trpo.recurrent import RecurrentTRPO

__all__ = [
    "TRPO",
    "CnnPolicy",
    "MaskableTRPO",
    "MlpPolicy",
    "MultiInputPolicy",
    "RecurrentTRPO",
    "__version__",
    "load_normalization",
]

_VARIANTS = {"MaskableTRPO": "sb3_trpo.maskable", "RecurrentTRPO": "sb3_trpo.recurrent"}


def _variant(name: str) -> Any:
    """Import a variant when it is asked for: sb3_contrib, an extra, may be missing."""
    if name not in _VARIANTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_VARIANTS[name]), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "sb3_contrib":
            raise
        raise ImportError(
            f'{name} needs sb3_contrib, an extra: pip install ".[contrib]" in a clone of sb3_trpo'
        ) from error


if not TYPE_CHECKING:  # to a type checker, a name that we do not have is an error
    __getattr__ = _variant
