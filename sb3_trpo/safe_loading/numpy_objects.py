"""NumPy's numbers and arrays, from the bytes of a pickle."""

import math
import re
from typing import Any

import numpy as np

from sb3_trpo.safe_loading.builder import Builder, Maker
from sb3_trpo.safe_loading.limits import Refused
from sb3_trpo.safe_loading.nodes import Global, Made

# Booleans, integers and floats of up to 8 bytes: no objects, structures, texts or dates.
_KIND = re.compile(r"b1|[iu][1248]|f[248]")
_PLAIN_STATE = (None, None, None, -1, -1, 0)  # of a type without fields and without metadata
_ARRAY_STATE_VERSION = 1
MOST_AXES = 8


def _dtype(_: Builder, call: Made) -> np.dtype[Any]:
    arguments, states = call.arguments, call.states
    kind = arguments[0] if len(arguments) == 3 else None
    if call.is_new or not isinstance(kind, str) or not _KIND.fullmatch(kind):
        raise Refused("a numpy.dtype other than plain numbers is not on the list")
    if len(states) > 1 or call.items or call.pairs:
        raise Refused("a numpy.dtype with attributes is not on the list")
    order = "|"
    if states:
        if not (isinstance(states[0], tuple) and states[0][2:] == _PLAIN_STATE):
            raise Refused("a numpy.dtype with fields or metadata is not on the list")
        order = states[0][1]
    if order not in ("<", ">", "|", "="):
        raise Refused("a numpy.dtype of unknown byte order is not on the list")
    return np.dtype(order + kind)


def _scalar(builder: Builder, call: Made) -> Any:
    if call.is_new or call.states or len(call.arguments) != 2:
        raise Refused("a NumPy number made in another way than NumPy does is not on the list")
    dtype, content = builder.build(call.arguments[0]), call.arguments[1]
    return array_of(content, dtype, ())[()]


def _from_buffer(builder: Builder, call: Made) -> np.ndarray:
    if call.is_new or call.states or len(call.arguments) != 4:
        raise Refused("an array made in another way than NumPy does is not on the list")
    content, dtype, shape, order = call.arguments
    return array_of(content, builder.build(dtype), shape, order)


def _reconstruct(builder: Builder, call: Made) -> np.ndarray:
    """Make an array as pickles of protocol 4 and older have it."""
    states = call.states
    is_plain = [
        str(argument) for argument in call.arguments[:1] if isinstance(argument, Global)
    ] == ["numpy.ndarray"]
    if call.is_new or not is_plain or len(states) != 1 or not isinstance(states[0], tuple):
        raise Refused("an array made in another way than NumPy does is not on the list")
    if len(states[0]) != 5 or states[0][0] != _ARRAY_STATE_VERSION:
        raise Refused("an array with another state than NumPy's is not on the list")
    _, shape, dtype, is_fortran, content = states[0]
    return array_of(content, builder.build(dtype), shape, "F" if is_fortran is True else "C")


def array_of(content: Any, dtype: Any, shape: Any, order: Any = "C") -> np.ndarray:
    """
    Make an array of bytes that are there, and of no others.

    :param content: its bytes
    :param dtype: plain numbers
    :param shape: of the array
    :param order: ``"C"`` or ``"F"``
    :return: a new array
    :raises Refused: the bytes are not as many as the shape says
    """
    if not (isinstance(content, bytes) and isinstance(dtype, np.dtype)):
        raise Refused("an array of objects is not on the list")
    is_shape = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
    if not is_shape or len(shape) > MOST_AXES or order not in ("C", "F"):
        raise Refused("an array of that shape is not on the list")
    if math.prod(shape) * dtype.itemsize != len(content):
        raise Refused(f"an array of shape {shape} has {len(content):,} bytes")
    return np.frombuffer(content, dtype).reshape(shape, order=order).copy()


def _numpy(name: str) -> tuple[str, str]:
    """NumPy 2 and 1 call its private modules by different names."""
    return f"numpy._core.{name}", f"numpy.core.{name}"


ARRAY_MAKERS: dict[str, Maker] = {
    "numpy.dtype": _dtype,
    **dict.fromkeys(_numpy("multiarray.scalar"), _scalar),
    **dict.fromkeys(_numpy("numeric._frombuffer"), _from_buffer),
    **dict.fromkeys(_numpy("multiarray._reconstruct"), _reconstruct),
}
