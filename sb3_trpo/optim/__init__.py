"""The numerical core: trust-region steps on anything that yields a distribution. Torch alone."""

from sb3_trpo.optim.conjugate_gradient import CGResult, conjugate_gradient
from sb3_trpo.optim.fisher import FisherVectorProduct, choose_jacobian_form
from sb3_trpo.optim.line_search import (
    LineSearch,
    LineSearchResult,
    Trial,
    backtracking_search,
    kl_matching_search,
)
from sb3_trpo.optim.parameter_vector import ParameterVector
from sb3_trpo.optim.problem import (
    Chunk,
    FastLinearisation,
    JacobianForm,
    Linearisation,
    OldPolicy,
    TrustRegionProblem,
)
from sb3_trpo.optim.result import TrustRegionResult
from sb3_trpo.optim.trust_region import trust_region_step

__all__ = [
    "CGResult",
    "Chunk",
    "FastLinearisation",
    "FisherVectorProduct",
    "JacobianForm",
    "LineSearch",
    "LineSearchResult",
    "Linearisation",
    "OldPolicy",
    "ParameterVector",
    "Trial",
    "TrustRegionProblem",
    "TrustRegionResult",
    "backtracking_search",
    "choose_jacobian_form",
    "conjugate_gradient",
    "kl_matching_search",
    "trust_region_step",
]
