"""What the tables of wrong arguments consist of."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

NO_BOOL = [1, "no", None]
NO_FUNCTION = [3, "x", [abs]]
NO_COUNT = [0, -1, 1.5, math.nan, "2", True]


@dataclass(frozen=True)
class Table:
    """
    Wrong values of the arguments of a public function, constructor or method.

    :param name: as users write it
    :param make: returns what to call, and arguments with which it works
    :param wrong: values by argument, each to replace the right one
    :param anything: arguments that cannot be wrong, and why
    :param shows_value: whether the message has the value's repr
    """

    name: str
    make: Callable[[], tuple[Callable[..., Any], dict[str, Any]]]
    wrong: dict[str, list[Any]]
    anything: dict[str, str] = field(default_factory=dict)
    shows_value: bool = False
