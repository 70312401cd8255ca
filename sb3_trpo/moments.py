"""Count, mean and sum of squared deviations of some numbers, which can be merged and parted."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Moments:
    """
    The first two moments of some samples.

    Merging and parting as in Chan, Golub & LeVeque 1983, "Algorithms for computing the sample
    variance", equations 2.1.

    :param count: of the samples, or their total weight
    :param mean: (…) of each entry
    :param m2: (…) sum of the squared deviations from the mean
    """

    count: float
    mean: Any
    m2: Any

    @classmethod
    def of(cls, samples: np.ndarray) -> "Moments":
        """
        Take the moments of some numbers.

        :param samples: of any shape; at least one
        :return: theirs, in float64
        """
        mean = samples.mean(dtype=np.float64)
        return cls(samples.size, float(mean), float(np.square(samples - mean).sum()))

    @property
    def variance(self) -> Any:
        """(…) of the samples themselves, not an estimate of where they came from."""
        return self.m2 / self.count

    def merged(self, other: "Moments") -> "Moments":
        """Return the moments of these samples and of others together."""
        count = self.count + other.count
        if count == 0:
            return self
        shift = other.mean - self.mean
        return Moments(
            count,
            self.mean + shift * (other.count / count),
            self.m2 + other.m2 + shift**2 * (self.count * other.count / count),
        )

    def less(self, earlier: "Moments") -> "Moments":
        """Return the moments of the samples that came after ``earlier``, which are among these."""
        count = self.count - earlier.count
        if count <= 0:
            return Moments(0, 0 * self.mean, 0 * self.m2)
        mean = (self.count * self.mean - earlier.count * earlier.mean) / count
        spread = (mean - earlier.mean) ** 2 * (earlier.count * count / self.count)
        return Moments(count, mean, np.maximum(self.m2 - earlier.m2 - spread, 0))
