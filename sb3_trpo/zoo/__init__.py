"""
rl_zoo3 with our algorithms: importing this module registers them.

``python -m sb3_trpo.zoo train --algo trpo --env Hopper-v5`` runs rl_zoo3's scripts with them;
``python -m rl_zoo3.train --algo trpo --gym-packages sb3_trpo.zoo …`` replaces its ``trpo`` alone,
since it reads the names of the others before it imports the package.
"""

try:
    import rl_zoo3
except ImportError as error:
    raise ImportError(
        'sb3_trpo.zoo needs rl_zoo3: pip install ".[zoo]" in a clone of sb3_trpo'
    ) from error
from rl_zoo3.hyperparams_opt import HYPERPARAMS_CONVERTER, HYPERPARAMS_SAMPLER
from stable_baselines3.common.base_class import BaseAlgorithm

from sb3_trpo import TRPO, MaskableTRPO, RecurrentTRPO
from sb3_trpo.zoo.sampling import converted, sample_parameters

ALGORITHMS: dict[str, type[BaseAlgorithm]] = {
    "trpo": TRPO,
    "maskable_trpo": MaskableTRPO,
    "recurrent_trpo": RecurrentTRPO,
}
"""What they are called on the command line."""

rl_zoo3.ALGOS.update(ALGORITHMS)  # the one dict that all of its scripts share
HYPERPARAMS_SAMPLER.update(dict.fromkeys(ALGORITHMS, sample_parameters))
HYPERPARAMS_CONVERTER.update(dict.fromkeys(ALGORITHMS, converted))
