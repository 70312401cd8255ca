"""States of generators, and where between two of them an environment's reset began."""

import random

import numpy as np
import pytest
import torch as th
from gymnasium import spaces

from sb3_trpo.checkpoint.random_states import (
    ahead,
    draws_between,
    generator_of,
    leaves,
    process_states,
    restore_process,
    same,
)
from sb3_trpo.plain_data import pack, unpack

DRAWS = {
    "nothing": lambda _: None,
    "floats": lambda g: g.random(5),
    "normals": lambda g: g.normal(size=50),
    "one bit": lambda g: g.integers(2),
    "bits": lambda g: g.integers(2, size=7),
    "bytes": lambda g: g.integers(256, size=9, dtype=np.uint8),
    "large": lambda g: g.integers(2**40, size=3),
    "mixed": lambda g: (g.integers(2), g.random(), g.integers(2, size=2), g.normal()),
    "floats in 32 bits": lambda g: g.random(3, dtype=np.float32),
    "a permutation": lambda g: g.permutation(20),
}


def test_processes_generators_go_on_where_they_were():
    states = unpack(pack(process_states()))

    def drawn():
        return random.random(), random.gauss(0, 1), np.random.normal(), th.rand(2).tolist()

    np.random.normal()  # which leaves a second number behind
    states = unpack(pack(process_states()))
    first = drawn()
    assert drawn() != first
    restore_process(states)
    assert drawn() == first


@pytest.mark.parametrize("name", DRAWS)
def test_steps_between_two_states_are_counted(name):
    generator = np.random.default_rng(3)
    before = generator.bit_generator.state
    DRAWS[name](generator)
    after = generator.bit_generator.state
    count = draws_between(before, after)
    assert any(same(after, state) for state in ahead(before, count, after))
    check = np.random.PCG64()
    check.state = before
    check.random_raw(count)
    assert check.state["state"] == after["state"]


@pytest.mark.parametrize("step", DRAWS)
@pytest.mark.parametrize("reset", DRAWS)
def test_state_before_the_second_of_two_draws_is_among_those_listed(step, reset):
    generator = np.random.default_rng(4)
    before = generator.bit_generator.state
    DRAWS[step](generator)
    middle = generator.bit_generator.state
    DRAWS[reset](generator)
    after = generator.bit_generator.state
    in_all = draws_between(before, after)
    listed = [state for count in range(in_all + 1) for state in ahead(before, count, after)]
    assert any(same(middle, state) for state in listed)


def test_distance_is_that_of_pcg64s_own_jumps():
    generator = np.random.PCG64(5)
    before = generator.state
    generator.advance(2**100 + 12345)
    assert draws_between(before, generator.state) == 2**100 + 12345


def test_no_distance_between_different_sequences_or_kinds():
    one, other = np.random.PCG64(1).state, np.random.PCG64(2).state
    assert draws_between(one, other) is None
    assert draws_between(np.random.MT19937(1).state, np.random.MT19937(1).state) is None


def test_half_a_number_that_was_used_does_not_tell_states_apart():
    state = np.random.PCG64(1).state
    assert same(state, {**state, "uinteger": 5})
    assert not same({**state, "has_uint32": 1}, {**state, "has_uint32": 1, "uinteger": 5})


def test_parts_of_spaces_have_generators_of_their_own():
    space = spaces.Dict(
        a=spaces.Discrete(3), b=spaces.Tuple([spaces.Box(0, 1), spaces.MultiBinary(2)])
    )
    found = dict(leaves(space, "space"))
    assert list(found) == ["space", "space/a", "space/b", "space/b/0", "space/b/1"]
    assert generator_of(found["space/a"]) is None
    space.seed(1)
    assert generator_of(found["space/a"]) is not None
