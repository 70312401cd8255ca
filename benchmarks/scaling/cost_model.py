"""
What messages would cost with more ranks over a network.

An all-reduce of n bytes by R ranks is taken to cost ``2 log2(R) α + 2 (R − 1)/R · n/β``: halving
and doubling, as in Rabenseifner 2004, "Optimization of collective reduction operations". α is the
latency of one message, β the bandwidth.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls


@dataclass(frozen=True)
class Link:
    """
    How fast messages between two ranks are.

    :param latency_s: α, of one message however small
    :param bytes_per_s: β
    """

    latency_s: float
    bytes_per_s: float

    def all_reduce_s(self, n_bytes: float, ranks: int) -> float:
        """Return the seconds of one all-reduce."""
        rounds = 2 * math.log2(ranks)
        return rounds * self.latency_s + 2 * (ranks - 1) / ranks * n_bytes / self.bytes_per_s


def fitted(n_bytes: Sequence[float], seconds: Sequence[float]) -> Link:
    """
    Fit a link to measured all-reduces of two ranks.

    :param n_bytes: of each
    :param seconds: of each
    :return: the link with the least sum of squared relative errors
    """
    n_bytes, seconds = np.asarray(n_bytes, float), np.asarray(seconds, float)
    columns = np.stack([np.full_like(n_bytes, 2.0), n_bytes], axis=1) / seconds[:, None]
    (latency, inverse_bandwidth), _ = nnls(columns, np.ones_like(seconds))
    return Link(float(latency), 1 / float(inverse_bandwidth))


def over_ethernet(local: Link, *, gbit_per_s: float = 10, wire_s: float = 25e-6) -> Link:
    """
    Replace the machine's own memory by a network.

    :param local: between two ranks on one machine: what the software costs stays
    :param gbit_per_s: of each machine's port, of which nine tenths are used
    :param wire_s: what the network adds to the latency
    :return: the link between two machines
    """
    return Link(local.latency_s + wire_s, min(local.bytes_per_s, 0.9 * gbit_per_s * 1e9 / 8))


def efficiency(
    link: Link, ranks: int, *, s_per_update: float, messages: float, n_bytes: float
) -> float:
    """
    Say how much of its own speed each rank keeps.

    Each rank has the same environments and samples as one alone, and waits for no other but in
    messages.

    :param link: between ranks
    :param ranks: how many
    :param s_per_update: of one rank alone
    :param messages: all-reduces of an update
    :param n_bytes: of all of them together
    :return: in (0, 1]
    """
    one = link.all_reduce_s(n_bytes / messages, ranks)
    return s_per_update / (s_per_update + messages * one)
