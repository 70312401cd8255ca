"""Wrong arguments of the numerical core, and of what describes distributions to it."""

import math
from functools import partial

import torch as th
from stable_baselines3.common.distributions import (
    CategoricalDistribution,
    DiagGaussianDistribution,
    MultiCategoricalDistribution,
)

from sb3_trpo.distributions import (
    DistributionMap,
    check_log_prob,
    register_distribution,
    unvalidated,
)
from sb3_trpo.optim import (
    FisherVectorProduct,
    ParameterVector,
    Trial,
    TrustRegionProblem,
    backtracking_search,
    choose_jacobian_form,
    conjugate_gradient,
    kl_matching_search,
    trust_region_step,
)
from tests.bad_arguments import NO_COUNT, NO_FUNCTION, Table
from tests.optim.test_trust_region import N, tabular

NO_VECTOR = [3, None, "x", [1.0] * 12, th.zeros(11), th.zeros(12, 1), th.zeros(())]
NO_NUMBER = [math.nan, math.inf, "0.1", None, True]
NO_MODULE = [3, None, "x", th.nn.Linear, th.zeros(3)]
NO_SHARE = [1.0, -0.1, math.nan, "0.5", None]


def chunks(sizes=(N,)):
    return tabular(sizes=sizes)[1]


class OtherShape:
    """A chunk of the table's with one part replaced."""

    def __init__(self, weights=None, dist_params=None):
        self._chunk = chunks()[0]
        self.weights = self._chunk.weights if weights is None else weights
        self._dist_params = dist_params

    def dist_params(self):
        return self._chunk.dist_params() if self._dist_params is None else self._dist_params

    def old_policy(self, dist_params):
        return self._chunk.old_policy(dist_params)


def solve():
    arguments = {"matvec": lambda v: 2 * v, "b": th.ones(3)}
    return conjugate_gradient, {**arguments, "max_iterations": 3, "relative_tolerance": 0.1}


def product():
    table, [chunk] = tabular()
    old_policy = chunk.old_policy(chunk.dist_params().detach())
    arguments = {
        "chunks": [chunk],
        "old_policies": [old_policy],
        "parameters": ParameterVector([table.weight]),
        "module": table,
        "form": "reverse",
        "total_weight": float(N),
    }
    return FisherVectorProduct, arguments


def multiply():
    make, arguments = product()
    return make(**arguments), {"vector": th.ones(12, dtype=th.float64)}


def choice():
    table, [chunk] = tabular()
    return choose_jacobian_form, {"chunk": chunk, "module": table}


def problem(chunk=None):
    table, whole = tabular()
    return TrustRegionProblem(table, whole if chunk is None else [chunk])


def step():
    arguments = {"problem": problem(), "target_kl": 0.01, "damping": 0.1, "cg_max_iterations": 5}
    search = partial(backtracking_search, shrinking_factor=0.5, max_iterations=5)
    rest = {"cg_relative_tolerance": 0.0, "jacobian_form": "reverse", "line_search": search}
    return trust_region_step, {**arguments, **rest}


def search(function):
    arguments = {"evaluate": lambda s: Trial(s, s, 0.01 * s**2), "old_surrogate": 0.0}
    rest = {"target_kl": 0.01, "shrinking_factor": 0.5, "max_iterations": 5}
    return function, {**arguments, **rest}


SEARCH = {
    "evaluate": [*NO_FUNCTION, print, lambda s: (s, s, s)],
    "old_surrogate": NO_NUMBER,
    "target_kl": [*NO_NUMBER, 0.0, -0.1],
    "shrinking_factor": [*NO_SHARE, 0.0],
    "max_iterations": NO_COUNT,
}


def vector():
    return ParameterVector([th.zeros(2, 3), th.zeros(6)])


def gaussian(n_states=3):
    mean = th.zeros(n_states, 2)
    return DiagGaussianDistribution(2).proba_distribution(mean, th.zeros(2).expand_as(mean))


def several(n_states=3):
    return MultiCategoricalDistribution([2, 3]).proba_distribution(th.zeros(n_states, 5))


def of(make=gaussian):
    return DistributionMap(make())


NO_PARAMS = [3, None, "x", th.zeros(3), th.zeros(3, 5), th.zeros(3, 4, dtype=th.int)]
NO_DISTRIBUTION = [3, None, "x", DiagGaussianDistribution, CategoricalDistribution(2)]
NO_ACTIONS = [None, [[0.0, 0.0]] * 3, th.zeros(3), th.zeros(3, 1), th.zeros(2, 2)]

TABLES = [
    Table(
        "sb3_trpo.optim.conjugate_gradient",
        solve,
        {
            "matvec": [*NO_FUNCTION, lambda v: v[:1], print, lambda v: v[:, None]],
            "b": [3, None, [1.0, 2.0], th.ones(2, 2), th.ones(3, dtype=th.int), th.ones(())],
            "max_iterations": NO_COUNT,
            "relative_tolerance": NO_SHARE,
        },
    ),
    Table(
        "sb3_trpo.optim.FisherVectorProduct",
        product,
        {
            "chunks": [3, None, [3], th.zeros(2), chunks()[0]],
            "old_policies": [3, None, [3], []],
            "parameters": [3, None, [th.zeros(3)]],
            "module": NO_MODULE,
            "form": ["backward", None, 3, ["reverse"]],
            "total_weight": [*NO_NUMBER, -1.0],
            "sum_over_processes": [*NO_FUNCTION, None],
            "outputs": [3, [1.0], th.zeros(3), th.zeros(3, 2, dtype=th.int)],
            "linearise": NO_FUNCTION,
            "kept": [3, "x", abs],
        },
    ),
    Table("sb3_trpo.optim.FisherVectorProduct.__call__", multiply, {"vector": NO_VECTOR}),
    Table(
        "sb3_trpo.optim.choose_jacobian_form",
        choice,
        {"chunk": [3, None, th.zeros(3, 2), OtherShape], "module": NO_MODULE},
    ),
    Table(
        "sb3_trpo.optim.TrustRegionProblem",
        lambda: (TrustRegionProblem, {"module": tabular()[0], "chunks": chunks()}),
        {
            "module": NO_MODULE,
            "chunks": [3, None, [3], [], chunks()[0], "x"],
            "fisher_chunks": [3, [3], chunks()[0], "x"],
            "sum_over_processes": [*NO_FUNCTION, None],
            "linearise": NO_FUNCTION,
        },
    ),
    Table(
        "sb3_trpo.optim.trust_region_step",
        step,
        {
            "problem": [3, None, chunks()],
            "target_kl": NO_NUMBER,
            "damping": [*NO_NUMBER, -1.0],
            "cg_max_iterations": NO_COUNT,
            "cg_relative_tolerance": NO_SHARE,
            "jacobian_form": ["backward", None, 3],
            "line_search": [*NO_FUNCTION, lambda *_, **__: None, lambda *_, **__: 0.5],
        },
    ),
    *(
        Table(f"sb3_trpo.optim.{f.__name__}", partial(search, f), SEARCH)
        for f in (backtracking_search, kl_matching_search)
    ),
    Table(
        "sb3_trpo.optim.Trial",
        lambda: (Trial, {"step_fraction": 1.0, "surrogate": math.nan, "kl": math.inf}),
        {key: ["1", None, th.zeros(2)] for key in ("step_fraction", "surrogate", "kl")},
    ),
    Table(
        "sb3_trpo.optim.ParameterVector",
        lambda: (ParameterVector, {"parameters": [th.zeros(3)]}),
        {"parameters": [3, None, th.nn.Linear(2, 2), [3], [th.zeros(3, dtype=th.int)], "x"]},
    ),
    Table(
        "sb3_trpo.optim.ParameterVector.write",
        lambda: (vector().write, {"vector": th.ones(12)}),
        {"vector": NO_VECTOR},
    ),
    Table(
        "sb3_trpo.optim.ParameterVector.split",
        lambda: (vector().split, {"vector": th.ones(12)}),
        {"vector": NO_VECTOR},
    ),
    Table(
        "sb3_trpo.optim.ParameterVector.flatten",
        lambda: (vector().flatten, {"parts": [None, th.ones(6)]}),
        {
            "parts": [
                *(3, None, "xx", [None], [th.ones(2, 3)] * 2, [th.ones(3, 2), None]),
                [[0.0] * 6, th.ones(6)],
            ]
        },
    ),
    Table(
        "sb3_trpo.distributions.DistributionMap",
        lambda: (DistributionMap, {"example": gaussian()}),
        {"example": [*NO_DISTRIBUTION, gaussian().distribution]},
    ),
    Table(
        "sb3_trpo.distributions.DistributionMap.read",
        lambda: (of().read, {"distribution": gaussian()}),
        {"distribution": [*NO_DISTRIBUTION, several(), DiagGaussianDistribution(2)]},
    ),
    Table(
        "sb3_trpo.distributions.DistributionMap.build",
        lambda: (of().build, {"dist_params": th.ones(3, 4)}),
        {"dist_params": NO_PARAMS},
    ),
    Table(
        "sb3_trpo.distributions.DistributionMap.log_prob",
        lambda: (of().log_prob, {"distribution": gaussian(), "actions": th.zeros(3, 2)}),
        {"distribution": [*NO_DISTRIBUTION, several()], "actions": NO_ACTIONS},
    ),
    Table(
        "sb3_trpo.distributions.DistributionMap.log_prob",
        lambda: (of(several).log_prob, {"distribution": several(), "actions": th.zeros(3, 2)}),
        {"distribution": [*NO_DISTRIBUTION, gaussian()], "actions": NO_ACTIONS},
    ),
    Table(
        "sb3_trpo.distributions.DistributionMap.kl",
        lambda: (of().kl, {"old": th.ones(3, 4), "new": th.ones(3, 4)}),
        {"old": NO_PARAMS, "new": [*NO_PARAMS, th.ones(2, 4)]},
    ),
    Table(
        "sb3_trpo.distributions.DistributionMap.metric",
        lambda: (of().metric, {"dist_params": th.ones(3, 4)}),
        {"dist_params": NO_PARAMS},
    ),
    Table(
        "sb3_trpo.distributions.check_log_prob",
        lambda: (
            check_log_prob,
            {"distribution_map": of(), "distribution": gaussian(), "actions": th.zeros(3, 2)},
        ),
        {
            "distribution_map": [3, None, gaussian()],
            "distribution": [*NO_DISTRIBUTION, several()],
            "actions": NO_ACTIONS,
        },
    ),
    Table(
        "sb3_trpo.distributions.register_distribution",
        lambda: (
            register_distribution,
            {"distribution_class": th.distributions.Gumbel, "parameter_names": ("loc", "scale")},
        ),
        {
            "distribution_class": [3, None, gaussian().distribution, th.nn.Linear],
            "parameter_names": [(), 3, None, "loc", [3]],
        },
    ),
    Table("sb3_trpo.distributions.unvalidated", lambda: (unvalidated, {}), {}),
]


# Whose parts do not fit each other: they must be noticed before they are broadcast.
CHUNKS = [
    *(OtherShape(weights=x) for x in (th.ones(N - 1), th.ones(N, 1), th.ones(()), 1.0)),
    *(OtherShape(dist_params=x) for x in (th.zeros(N), [[0.0] * 3] * N, th.zeros(N - 1, 3))),
]
