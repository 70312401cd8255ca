"""
What messages would cost with more ranks over a network.

An all-reduce of n bytes by R ranks is taken to cost ``2 log2(R) α + 2 (R − 1)/R · n/β``: halving
and doubling, as in Rabenseifner 2004, "Optimization of collective reduction operations"; a gather
``(R − 1) α``, round a ring. α is the latency of one message, β the bandwidth.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize


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

    def gather_s(self, ranks: int) -> float:
        """Return the seconds of one gather of little data."""
        return (ranks - 1) * self.latency_s


def fitted(n_bytes: Sequence[float], seconds: Sequence[float]) -> Link:
    """
    Fit a link to measured all-reduces of two ranks.

    :param n_bytes: of each
    :param seconds: of each
    :return: the link with the least sum of absolute logarithms of the ratios: no single size rules
    """
    n_bytes, seconds = np.asarray(n_bytes, float), np.asarray(seconds, float)

    def error(logarithms: np.ndarray) -> float:
        latency, per_byte = np.exp(logarithms)
        return float(np.abs(np.log((2 * latency + per_byte * n_bytes) / seconds)).sum())

    start = np.log([np.median(seconds) / 2, seconds[-1] / n_bytes[-1]])
    best = minimize(error, start, method="Nelder-Mead", options={"maxiter": 10_000, "xatol": 1e-9})
    latency, per_byte = np.exp(best.x)
    return Link(float(latency), float(1 / per_byte))


def over_ethernet(local: Link, *, gbit_per_s: float = 10, wire_s: float = 25e-6) -> Link:
    """
    Replace the machine's own memory by a network.

    :param local: between two ranks on one machine: what the software costs stays
    :param gbit_per_s: of each machine's port, of which nine tenths are used
    :param wire_s: what the network adds to the latency
    :return: the link between two machines
    """
    return Link(local.latency_s + wire_s, min(local.bytes_per_s, 0.9 * gbit_per_s * 1e9 / 8))


@dataclass(frozen=True)
class Update:
    """
    What one rank does in an update.

    :param seconds: where it is alone
    :param samples: its own
    :param messages: all-reduces
    :param n_bytes: of all of them together
    :param gathers: of little data
    :param epochs: in each of which it shuffles the samples of all ranks
    :param dealing_s: seconds per sample of all ranks and epoch for that
    """

    seconds: float
    samples: float
    messages: float
    n_bytes: float
    gathers: int
    epochs: int
    dealing_s: float


def efficiency(link: Link, ranks: int, update: Update) -> float:
    """
    Say how much of its own speed each rank keeps.

    Each rank has the same environments and samples as one alone, and waits for no other but in
    messages.

    :param link: between ranks
    :param ranks: how many
    :param update: of each
    :return: in (0, 1]
    """
    one = link.all_reduce_s(update.n_bytes / update.messages, ranks)
    messages_s = update.messages * one + update.gathers * link.gather_s(ranks)
    dealing_s = update.epochs * update.dealing_s * update.samples * ranks
    return update.seconds / (update.seconds + messages_s + dealing_s)
