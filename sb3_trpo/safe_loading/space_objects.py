"""Spaces, made anew by their constructors from the numbers that describe them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces

from sb3_trpo.safe_loading.builder import Builder, Maker, attributes_of
from sb3_trpo.safe_loading.limits import MAX_AXES, Refused, printable, reason
from sb3_trpo.safe_loading.nodes import Made, Mapping, Node

Space = spaces.Space[Any]

_OF_ALL = {"_shape", "shape", "dtype", "_np_random", "np_random"}
_OWN = {
    "Box": {"low", "high", "bounded_below", "bounded_above", "low_repr", "high_repr"},
    "Discrete": {"n", "start"},
    "MultiDiscrete": {"nvec", "start"},
    "MultiBinary": {"n"},
    "Dict": {"spaces", "sort_keys"},
}
_INT64 = 2**63
_MOST_PARTS = 1000
_LONGEST_NAME = 200


def _space(builder: Builder, call: Made) -> Space:
    kind = call.name.rpartition(".")[2]
    generator, rest = _without_generator(call)
    attributes = attributes_of(builder, rest)
    unknown = set(attributes) - _OWN[kind] - _OF_ALL
    if unknown:
        named = ", ".join(printable(name) for name in sorted(map(str, unknown)))
        raise Refused(f"a {kind} space with the attribute {named} is not on the list")
    try:
        builder.copy(sum(x.nbytes for x in attributes.values() if isinstance(x, np.ndarray)))
        space = _CONSTRUCTORS[kind](attributes)
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
        AssertionError,  # of gymnasium < 1.0
    ) as error:
        raise Refused(f"a {kind} space of these numbers is not one: {reason(error)}") from error
    if generator is not None:
        space._np_random = generator
    return space


def _without_generator(call: Made) -> tuple[np.random.Generator | None, Made]:
    """Take the space's generator out, which has a form of its own."""
    states = call.states
    if len(states) != 1 or not isinstance(states[0], Mapping):
        return None, call
    pairs = states[0].pairs
    found = [value for key, value in pairs if key in ("_np_random", "np_random")]
    generator = _generator(found[0]) if len(found) == 1 else None
    others = Mapping([(k, v) for k, v in pairs if k not in ("_np_random", "np_random")])
    return generator, Made(call.function, call.arguments, call.keywords, call.is_new, [others])


def _generator(node: Node) -> np.random.Generator | None:
    """Make a generator that goes on where the file's stood; None: a new one will be made."""
    state = next(_pcg64_states(node), None)
    if state is None:
        return None
    generator = np.random.Generator(np.random.PCG64())
    try:
        generator.bit_generator.state = {"bit_generator": "PCG64", **state}
    except (ValueError, TypeError, KeyError, OverflowError):
        return None
    return generator


def _pcg64_states(node: Node) -> Any:
    """Look for what PCG64 is told to become, in the pickles of NumPy 1 and 2."""
    if not isinstance(node, Made):
        return
    for state in node.states:
        for part in state if isinstance(state, tuple) else (state,):
            numbers = _numbers(part)
            if numbers is not None:
                yield numbers
    for argument in node.arguments:
        yield from _pcg64_states(argument)


def _numbers(node: Node) -> dict[str, Any] | None:
    if not isinstance(node, Mapping):
        return None
    known = {key: value for key, value in node.pairs if isinstance(key, str)}
    inner = known.get("state")
    if known.get("bit_generator") != "PCG64" or not isinstance(inner, Mapping):
        return None
    numbers = {key: value for key, value in inner.pairs if isinstance(key, str)}
    wanted = [numbers.get("state"), numbers.get("inc")]
    rest = [known.get("has_uint32"), known.get("uinteger")]
    if not all(type(number) is int and 0 <= number < 2**128 for number in wanted):
        return None
    if not all(type(number) is int and 0 <= number < 2**32 for number in rest):
        return None
    inside = {"state": wanted[0], "inc": wanted[1]}
    return {"state": inside, "has_uint32": rest[0], "uinteger": rest[1]}


def _box(attributes: dict[str, Any]) -> Space:
    low, high = attributes["low"], attributes["high"]
    if not (isinstance(low, np.ndarray) and isinstance(high, np.ndarray)):
        raise TypeError("its bounds are no arrays")
    shape = attributes.get("_shape", low.shape)
    if not low.shape == high.shape == shape:
        raise ValueError("its bounds have other shapes than itself")
    if not np.all(low <= high):  # NaN, too, which gymnasium < 1.0 takes
        raise ValueError("its bounds are not in order")
    return spaces.Box(low, high, dtype=_dtype_of(attributes, low.dtype))


def _discrete(attributes: dict[str, Any]) -> Space:
    n, start = _whole(attributes["n"]), _whole(attributes.get("start", 0))
    dtype = _dtype_of(attributes, np.dtype(np.int64))
    if dtype == np.int64:  # the only one that older versions know
        return spaces.Discrete(n, start=start)
    return spaces.Discrete(n, start=start, dtype=dtype.type)


def _multi_discrete(attributes: dict[str, Any]) -> Space:
    nvec, start = attributes["nvec"], attributes.get("start")
    if not (isinstance(nvec, np.ndarray) and (start is None or isinstance(start, np.ndarray))):
        raise TypeError("its counts are no arrays")
    dtype = _dtype_of(attributes, nvec.dtype)
    return spaces.MultiDiscrete(nvec, dtype=dtype.type, start=start)


def _multi_binary(attributes: dict[str, Any]) -> Space:
    n = attributes["n"]
    if isinstance(n, (tuple, list)):
        if len(n) > MAX_AXES:
            raise ValueError("it has too many axes")
        return spaces.MultiBinary([_whole(axis) for axis in n])
    return spaces.MultiBinary(_whole(n))


def _dict(attributes: dict[str, Any]) -> Space:
    inside = attributes["spaces"]
    if not isinstance(inside, dict):
        raise TypeError("its spaces are no dict")
    if len(inside) > _MOST_PARTS:
        raise ValueError("it has too many parts")
    for name, space in inside.items():
        if not isinstance(name, str) or len(name) > _LONGEST_NAME:
            raise TypeError("its parts have no names, or long ones")
        if not isinstance(space, spaces.Space) or isinstance(space, spaces.Dict):
            raise TypeError("its parts are no spaces, or Dicts, which no policy of SB3 takes")
    return spaces.Dict(list(inside.items()))  # a list keeps their order


def _whole(number: Any) -> int:
    if not isinstance(number, (int, np.integer)) or isinstance(number, bool):
        raise TypeError("it counts by what is no whole number")
    if not -_INT64 <= int(number) < _INT64:
        raise ValueError("it counts beyond 64 bits")
    return int(number)


def _dtype_of(attributes: dict[str, Any], otherwise: np.dtype[Any]) -> np.dtype[Any]:
    dtype = attributes.get("dtype", otherwise)
    if not isinstance(dtype, np.dtype):
        raise TypeError("its type is none of NumPy's")
    return dtype


_CONSTRUCTORS: dict[str, Callable[[dict[str, Any]], Space]] = {
    "Box": _box,
    "Discrete": _discrete,
    "MultiDiscrete": _multi_discrete,
    "MultiBinary": _multi_binary,
    "Dict": _dict,
}
_MODULES = {
    "Box": "box",
    "Discrete": "discrete",
    "MultiDiscrete": "multi_discrete",
    "MultiBinary": "multi_binary",
    "Dict": "dict",
}
# Files of SB3 1.x hold spaces of gym, which describe themselves in the same way.
SPACE_MAKERS: dict[str, Maker] = {
    f"{package}.spaces.{_MODULES[kind]}.{kind}": _space
    for package in ("gymnasium", "gym")
    for kind in _CONSTRUCTORS
}
