"""Refusals of arguments; each names the argument, its value and what is allowed."""

import math
from collections.abc import Callable, Iterable, Sequence
from numbers import Integral, Real
from typing import Any

import torch as th


def check(name: str, value: Any, allowed: str, *, is_right: bool) -> None:
    """
    Refuse a value, unless it is right.

    :param name: of the argument
    :param value: as given
    :param allowed: what may be given
    :param is_right: whether it is
    :raises ValueError: it is not
    """
    if not is_right:
        raise ValueError(f"{name} must be {allowed}, got {shown(value)}")


def shown(value: Any) -> str:
    """
    Describe a value in a message.

    :param value: any
    :return: the shape of a tensor, all of anything else
    """
    if isinstance(value, th.Tensor):
        return f"a tensor of {value.dtype} and shape {tuple(value.shape)}"
    return repr(value)


def is_real(value: Any) -> bool:
    """Tell whether a value is a finite number; a bool is none."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def is_whole(value: Any, least: int) -> bool:
    """Tell whether a value is a whole number of at least some size; a bool is none."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def is_floating(value: Any, n_dims: int) -> bool:
    """Tell whether a value is a tensor of floating point numbers and so many dimensions."""
    return isinstance(value, th.Tensor) and value.dim() == n_dims and value.is_floating_point()


def check_function(name: str, value: Any, *, or_none: bool = False) -> None:
    """
    Refuse what cannot be called.

    :param name: of the argument
    :param value: as given
    :param or_none: whether None will do
    :raises ValueError: it cannot be called
    """
    allowed = "None or a function" if or_none else "a function"
    check(name, value, allowed, is_right=callable(value) or (or_none and value is None))


def check_module(name: str, value: Any) -> None:
    """
    Refuse what is no network.

    :param name: of the argument
    :param value: as given
    :raises ValueError: it is none
    """
    check(name, value, "a torch.nn.Module", is_right=isinstance(value, th.nn.Module))


def check_all(name: str, value: Any, what: str, has: Callable[[Any], bool]) -> None:
    """
    Refuse what is no list of things of one kind.

    :param name: of the argument
    :param value: as given
    :param what: they are
    :param has: tells whether a thing is one
    :raises ValueError: it is no list, or one of the things is not
    """
    is_list = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    check(name, value, f"a list of {what}", is_right=is_list and all(map(has, value)))


def has_methods(names: Iterable[str]) -> Callable[[Any], bool]:
    """
    Make the test that protocols stand for, where a class need not be named.

    :param names: of methods and attributes
    :return: tells whether an object, no class, has them all
    """
    # On the class: to read an attribute of the object may take a pass of a network.
    return lambda value: (
        not isinstance(value, type)
        and all(
            hasattr(type(value), name) or name in getattr(value, "__dict__", ()) for name in names
        )
    )
