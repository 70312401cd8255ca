"""Where a reset began is found, whatever a step and the reset draw."""

from copy import deepcopy

import numpy as np
import pytest

from sb3_trpo.checkpoint.reset_search import ResetSearch
from tests.training_runs import Walk


class Reachable:
    """All generators can be set."""

    def can_write(self, name):
        return True


def state_of(env):
    return deepcopy(env.np_random.bit_generator.state)


def found(env, before):
    """Tell whether the search leads to the reset that has just been made."""
    now, place, goal = state_of(env), env._place, env._goal
    search = ResetSearch(Reachable(), {"np_random": before}, {"np_random": now})
    while search.trial is not None:
        env.np_random.bit_generator.state = search.trial["np_random"]
        env.reset()
        after = state_of(env)
        if after == now and np.array_equal(env._place, place):
            return np.array_equal(env._goal, goal)
        search.go_on({"np_random": after})
    return False


# A half of 64 bits that the reset used up does not show afterwards: equal states are not enough.
@pytest.mark.parametrize("noise", ["none", "floats", "bits"])
def test_every_reset_is_found(noise):
    lost = []
    for seed in range(400):
        env = Walk("discrete", noise)
        env.reset(seed=seed)
        env.np_random.random(seed % 7)
        if seed % 2:
            env.np_random.integers(2, size=1)
        before = state_of(env)
        env.step(0)
        env.reset()
        if not found(env, before):
            lost.append(seed)
    assert lost == []
