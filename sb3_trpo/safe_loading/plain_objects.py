"""Small standard objects: ordered dicts, deques, schedules of SB3 and rl_zoo3."""

import math
from collections import OrderedDict, deque
from collections.abc import Callable
from functools import partial
from numbers import Real
from typing import Any

from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule

from sb3_trpo.safe_loading.allow_list import name_of
from sb3_trpo.safe_loading.builder import Builder, Maker, attributes_of
from sb3_trpo.safe_loading.limits import Refused
from sb3_trpo.safe_loading.nodes import Made

SCHEDULES = (FloatSchedule, ConstantSchedule, LinearSchedule)
_OF_ZOO = "rl_zoo3.utils.SimpleLinearSchedule"  # of each "lin_X" in its files
_ATTRIBUTES = {
    _OF_ZOO: ("initial_value",),
    name_of(FloatSchedule): ("value_schedule",),
    name_of(ConstantSchedule): ("val",),
    name_of(LinearSchedule): ("start", "end", "end_fraction"),
}
_BY_NAME: dict[str, Callable[..., Any]] = {
    **{name_of(cls): cls for cls in SCHEDULES},
    # The same line by SB3's class: rl_zoo3 need not be installed, and is not imported.
    _OF_ZOO: partial(LinearSchedule, end=0.0, end_fraction=1.0),
}


def _ordered_dict(builder: Builder, call: Made) -> OrderedDict[Any, Any]:
    if call.is_new or call.arguments or call.states or call.items:
        raise Refused("collections.OrderedDict with arguments or attributes is not on the list")
    return OrderedDict(builder.dict_of(call.pairs))


def _deque(builder: Builder, call: Made) -> deque[Any]:
    inside, longest = call.arguments if len(call.arguments) == 2 else ((), None)
    if call.is_new or call.states or call.pairs or inside not in ((), []):
        raise Refused("collections.deque with arguments or attributes is not on the list")
    if not (longest is None or (type(longest) is int and 0 < longest < 2**31)):
        raise Refused("a deque of that length is not on the list")
    return deque((builder.build(item) for item in call.items), maxlen=longest)


def _schedule(builder: Builder, call: Made) -> Any:
    """Make a schedule anew, from the numbers that it was made from."""
    name = call.name
    attributes = attributes_of(builder, call)
    if set(attributes) != set(_ATTRIBUTES[name]):
        raise Refused(f"{name} with other attributes than its own is not on the list")
    inside = [attributes[attribute] for attribute in _ATTRIBUTES[name]]
    for value in inside:
        is_number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
        is_schedule = isinstance(value, SCHEDULES) or builder.vouched.knows(value)
        if not (is_schedule if _BY_NAME[name] is FloatSchedule else is_number):
            raise Refused(f"{name} of {type(value).__name__} is not on the list")
    return _BY_NAME[name](*inside)


PLAIN_MAKERS: dict[str, Maker] = {
    "collections.OrderedDict": _ordered_dict,
    "collections.deque": _deque,
    **dict.fromkeys(_BY_NAME, _schedule),
}
