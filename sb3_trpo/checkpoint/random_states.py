"""The random generators of a process and of its spaces: their states, there and back."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces

State = dict[str, Any]
"""Of a NumPy bit generator, as it shows itself."""
_MODULUS = 2**128
_FACTOR = 0x2360ED051FC65DA44385DF649FCCF645
"""Of PCG64, as NumPy has it."""
_LAST = 8
"""Draws that a half which is left may be of."""


def process_states() -> dict[str, Any]:
    """Return the states of Python's, NumPy's and torch's global generators, for ``pack``."""
    # Where no GPU has been used, asking would make a context on each.
    is_used = th.cuda.is_initialized()  # type: ignore[no-untyped-call]
    on_gpus = th.cuda.get_rng_state_all() if is_used else []
    return {
        **common_states(),
        "torch": th.get_rng_state().numpy(),
        "cuda": [state.numpy() for state in on_gpus],
    }


def common_states() -> dict[str, Any]:
    """Return the states of Python's and NumPy's global generators alone, for ``pack``."""
    return {"python": random.getstate(), "numpy": np.random.get_state(legacy=False)}


def restore_process(states: dict[str, Any]) -> None:
    """
    Put the states of the global generators back.

    :param states: of :func:`process_states`; those of GPUs are used where there are as many
    """
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    th.set_rng_state(th.from_numpy(states["torch"]))
    on_gpus = states["cuda"]
    if on_gpus and len(on_gpus) == th.cuda.device_count():
        th.cuda.set_rng_state_all([th.from_numpy(state) for state in on_gpus])


def same(one: Any, other: Any) -> bool:
    """Tell whether two states will draw the same numbers."""
    return bool(_canonical(one) == _canonical(other))


def _canonical(state: Any) -> Any:
    if isinstance(state, dict):
        if not state.get("has_uint32", True):
            state = {**state, "uinteger": 0}  # what was left there is not read any more
        return {key: _canonical(value) for key, value in state.items()}
    return state.tolist() if isinstance(state, np.ndarray) else state


def leaves(space: spaces.Space[Any], name: str) -> Iterator[tuple[str, spaces.Space[Any]]]:
    """Yield a space and those that it is made of, with names; each has its own generator."""
    yield name, space
    parts: Any = []
    if isinstance(space, spaces.Dict):
        parts = space.spaces.items()
    elif isinstance(space, spaces.Tuple):
        parts = enumerate(space.spaces)
    for key, part in parts:
        yield from leaves(part, f"{name}/{key}")


def generator_of(space: spaces.Space[Any]) -> np.random.Generator | None:
    """Return a space's generator; None where it has not been used yet."""
    return getattr(space, "_np_random", None)


def draws_between(before: State, after: State) -> int | None:
    """
    Count the draws of 64 bits that lead from one state of a PCG64 to another.

    Its state is a linear congruential generator's, x → a x + c, modulo 2¹²⁸: bit k of the number of
    steps shows in bit k of the state, and 2ᵏ steps are again of that form.
    Source: O'Neill 2014, *PCG: A Family of Simple Fast Space-Efficient Statistically Good
    Algorithms for Random Number Generation* (HMC-CS-2014-0905), section 4.3.1.

    :param before: a state
    :param after: another
    :return: how many; None for generators of other kinds or of different sequences
    """
    if {before["bit_generator"], after["bit_generator"]} != {"PCG64"}:  # gymnasium's
        return None
    x, wanted = before["state"]["state"], after["state"]["state"]
    factor, summand = _FACTOR, before["state"]["inc"]
    if summand != after["state"]["inc"]:
        return None
    count = 0
    for bit in range(128):
        if (x ^ wanted) >> bit & 1:
            x = (x * factor + summand) % _MODULUS
            count |= 1 << bit
        factor, summand = factor * factor % _MODULUS, (factor + 1) * summand % _MODULUS
    return count


def ahead(before: State, count: int, after: State) -> list[State]:
    """
    List what a PCG64 may look like after some draws.

    :param before: its state
    :param count: draws of 64 bits
    :param after: its state after more of them
    :return: states, the likeliest first; they differ in what they hold for a draw of 32 bits, the
        first of which takes the lower half of 64 and leaves the upper one for the second
    """
    generator: Any = np.random.PCG64()
    generator.state = before
    n_last = min(count, _LAST)
    generator.advance(count - n_last)
    drawn = [int(number) for number in generator.random_raw(n_last)]
    state = generator.state
    left, held = ((own["has_uint32"], own["uinteger"]) for own in (after, before))
    halves = [held, (0, 0), *((1, number >> 32) for number in reversed(drawn))]
    # What is left at the end is likely to have been there, unless it was drawn only later.
    halves = [left, *halves] if left in halves else [*halves, left]
    halves = list(dict.fromkeys(halves))
    return [{**state, "has_uint32": has, "uinteger": half} for has, half in halves]
