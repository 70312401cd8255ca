"""The batch as the trust-region step wants it: chunks, and the fastest way to their Jacobian."""

from functools import partial
from typing import TYPE_CHECKING

from sb3_trpo.batch import ActorChunk, Batch
from sb3_trpo.clipped_actions import distribution_map_of
from sb3_trpo.distributions import check_log_prob
from sb3_trpo.optim import JacobianForm, TrustRegionProblem, choose_jacobian_form

if TYPE_CHECKING:
    from sb3_trpo.trpo import TRPO


def actor_problem(
    model: "TRPO", batch: Batch, form: JacobianForm | None
) -> tuple[TrustRegionProblem, JacobianForm | None]:
    """
    Make the problem that one actor step solves.

    :param model: whose actor; its policy is in eval mode
    :param batch: the whole rollout, advantages normalised
    :param form: how J v is computed; None: not chosen yet
    :return: the problem, and the form
    :raises ValueError: the action distribution is not one that TRPO can work with
    :raises NotImplementedError: the network cannot be differentiated twice
    """
    few, others = batch.ends()
    distribution_map = distribution_map_of(model, model._distribution(few))
    plain = model._plain_actor()

    def general(rows: Batch) -> ActorChunk:
        distribution = partial(model._distribution, rows)
        return ActorChunk(rows, distribution, distribution_map, ent_coef=model.ent_coef)

    def chunk(rows: Batch) -> ActorChunk:
        if plain is None:
            return general(rows)
        distribution = partial(plain.distribution, rows)
        return ActorChunk(rows, distribution, distribution_map, ent_coef=model.ent_coef)

    if form is None:
        check_log_prob(distribution_map, model._distribution(others), others.actions)
        form = choose_jacobian_form(general(few), model.policy)
    fisher_chunks = None
    if model.sub_sampling_factor > 1:
        kept = model._union(batch).thinned(model.sub_sampling_factor, model._n_updates)
        is_none_here = not isinstance(kept, slice) and len(kept) == 0  # but on other processes
        parts = [] if is_none_here else batch.thinned(kept).split(model.actor_batch_size)
        fisher_chunks = [chunk(rows) for rows in parts]
    problem = TrustRegionProblem(
        model.policy,
        chunks=[chunk(rows) for rows in batch.split(model.actor_batch_size)],
        fisher_chunks=fisher_chunks,
        sum_over_processes=model._processes.sum,
        linearise=None if plain is None else partial(plain.linearise, distribution_map),
    )
    return problem, form
