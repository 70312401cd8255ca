"""The number of Fisher-vector products in an update, counted and fixed."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest import mock

import sb3_contrib
import sb3_contrib.trpo.trpo as contrib_module
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from benchmarks.speed.replay import Replay
from sb3_trpo.optim.fisher import FisherVectorProduct


@dataclass
class Count:
    """Products so far."""

    n: int = 0


@contextlib.contextmanager
def counted() -> Iterator[Count]:
    """Count all Fisher-vector products, ours and sb3_contrib's."""
    count = Count()

    def counting(method: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **keywords: Any) -> Any:
            count.n += 1
            return method(*arguments, **keywords)

        return wrapper

    ours, theirs = FisherVectorProduct.__call__, sb3_contrib.TRPO.hessian_vector_product
    with (
        mock.patch.object(FisherVectorProduct, "__call__", counting(ours)),
        mock.patch.object(sb3_contrib.TRPO, "hessian_vector_product", counting(theirs)),
    ):
        yield count


@contextlib.contextmanager
def all_iterations() -> Iterator[None]:
    """Keep sb3_contrib's solver, whose tolerance is no argument of TRPO, from stopping early."""
    solver = partial(contrib_module.conjugate_gradient_solver, residual_tol=0.0)
    with mock.patch.object(contrib_module, "conjugate_gradient_solver", solver):
        yield


def train_quietly(model: OnPolicyAlgorithm) -> float:
    """Do one update; without critic epochs sb3_contrib takes the mean of no losses, and warns."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=RuntimeWarning)
        model.train()
    return 1.0


def count_in_update(model: OnPolicyAlgorithm, replay: Replay) -> int:
    """Count the products of one update."""
    replay.put_into(model)
    with counted() as count:
        train_quietly(model)
    return count.n


def fix_products(model: Any, replay: Replay, n_products: int) -> int:
    """
    Set ``cg_max_steps`` so that an update takes exactly so many products, wherever it takes them.

    Beside one per iteration, sb3_contrib takes one for its random start and one for the step's
    scale; we take one for the scale where damping is nearly all of the solve's matrix.

    :param model: one of the two TRPOs; its solver does not stop early
    :param replay: what the update starts from
    :param n_products: that it shall take
    :return: the products counted afterwards
    :raises RuntimeError: another number was counted
    """
    model.cg_max_steps = n_products
    model.cg_max_steps -= count_in_update(model, replay) - n_products
    n_counted = count_in_update(model, replay)
    if n_counted != n_products:
        raise RuntimeError(
            f"{type(model).__module__} takes {n_counted} Fisher-vector products, not {n_products}"
        )
    return n_counted
