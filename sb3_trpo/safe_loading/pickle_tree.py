"""
A pickle read as data: a tree of what it would make, with nothing imported, called or set.

This is an interpreter of pickle's opcodes, the reading half of ``pickletools``, and no subclass of
``pickle.Unpickler``: with ``find_class`` alone every allowed callable is called with whatever
arguments a file gives it, and every object gets whatever state, before anybody has looked. Here
the whole tree is there first.
"""

import io
import pickletools
from collections.abc import Callable

from sb3_trpo.safe_loading.limits import Budget, Refused, printable
from sb3_trpo.safe_loading.nodes import (
    Global,
    Items,
    Made,
    Mapping,
    Node,
    Persistent,
    Tree,
    check_size,
    used,
)


def read_pickle(data: bytes, budget: Budget, *, with_storages: bool = False) -> Tree:
    """
    Read a pickle of protocol 2 to 5.

    :param data: the pickle
    :param budget: what it may cost
    :param with_storages: it is one of torch's
    :return: what it would make
    :raises Refused: it is damaged, or does what no pickle of SB3 does
    """
    machine = _Machine(data, budget, with_storages=with_storages)
    try:
        root = machine.run()
        check_size(root)
        _check_used(root, machine)
    except Refused as error:
        names = ", ".join(printable(name) for name in list(machine.names)[:5])
        raise Refused(f"{error}{f' (it names {names})' if names else ''}") from error
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise Refused(f"it is a damaged pickle: {printable(error)}") from error
    return Tree(root, tuple(machine.names), tuple(machine.calls), len(data))


_SETTERS = tuple(
    f"cloudpickle.{module}.{name}_setstate"
    for module in ("cloudpickle", "cloudpickle_fast")
    for name in ("_function", "_class")
)
_BY_VALUE = tuple(
    f"cloudpickle.cloudpickle.{name}" for name in ("_make_function", "_make_skeleton_class")
)


def _check_used(root: Node, machine: "_Machine") -> None:
    """
    Refuse what is named or called in passing: it would be run where the file is trusted.

    Only cloudpickle does so, to tell a function or a class with its code what else it is.
    """
    setters = [call for call in machine.calls if _is_setter(call)]
    ids, names = used([root, *setters])
    for call in machine.calls:
        if id(call) not in ids:
            raise Refused(f"it calls {printable(call.name)!r} and throws the result away")
    for name in machine.names:
        if name not in names:
            raise Refused(f"it names {printable(name)!r} and does not use it")


def _is_setter(call: Made) -> bool:
    target = call.arguments[0] if call.arguments else None
    if call.name not in _SETTERS or not isinstance(target, Made):
        return False
    return target.name in _BY_VALUE or isinstance(target.function, Made)


class _Machine:
    def __init__(self, data: bytes, budget: Budget, *, with_storages: bool) -> None:
        self._data, self._budget = io.BytesIO(data), budget
        self._stack: list[Node] = []
        self._below: list[list[Node]] = []  # one stack per open mark
        self._memo: dict[int, Node] = {}
        self.names: dict[str, None] = {}
        self.calls: list[Made] = []
        self._do = (
            dict(_DO) if with_storages else {k: v for k, v in _DO.items() if k != "BINPERSID"}
        )

    def run(self) -> Node:
        while True:
            self._budget.spend()
            code = self._data.read(1)
            if not code:
                raise Refused("it is a pickle without an end")
            opcode = _OPCODES.get(code)
            do = self._do.get(opcode.name) if opcode else None
            if opcode is None or do is None:  # its argument is not even read
                name = opcode.name if opcode else repr(code)
                raise Refused(f"it has the opcode {name}, which no pickle of SB3 needs")
            argument = opcode.arg.reader(self._data) if opcode.arg else None
            if opcode.name == "STOP":
                return self._end()
            do(self, argument)

    def _end(self) -> Node:
        if self._below or len(self._stack) != 1 or self._data.read(1):
            raise Refused("it is a pickle that goes on after its end")
        return self._stack[0]

    def _pop(self) -> Node:
        return self._stack.pop()

    def _since_mark(self) -> list[Node]:
        items = self._stack
        self._stack = self._below.pop()
        return items

    def push(self, argument: Node) -> None:
        self._stack.append(argument)

    def mark(self, _: Node) -> None:
        self._below.append(self._stack)
        self._stack = []

    def pop(self, _: Node) -> None:
        self._pop()

    def pop_mark(self, _: Node) -> None:
        self._since_mark()

    def memoize(self, index: int | None) -> None:
        self._memo[len(self._memo) if index is None else index] = self._stack[-1]

    def get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def tuple_of(self, n: int) -> None:
        if n > len(self._stack):
            raise IndexError("stack underflow")
        items = self._stack[-n:]
        self._stack[-n:] = [tuple(items)]

    def tuple_since_mark(self, _: Node) -> None:
        items = self._since_mark()
        self._stack.append(tuple(items))

    def frozenset_since_mark(self, _: Node) -> None:
        items = self._since_mark()
        self._stack.append(Items(items))

    def append(self, _: Node) -> None:
        item = self._pop()
        self._extend([item])

    def appends(self, _: Node) -> None:
        self._extend(self._since_mark())

    def _extend(self, items: list[Node]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif isinstance(target, (Made, Items)):
            target.items.extend(items)
        else:
            raise Refused("it appends to what is no list")

    def set_item(self, _: Node) -> None:
        value, key = self._pop(), self._pop()
        self._update([key, value])

    def set_items(self, _: Node) -> None:
        self._update(self._since_mark())

    def _update(self, items: list[Node]) -> None:
        target = self._stack[-1]
        if not isinstance(target, (Mapping, Made)) or len(items) % 2:
            raise Refused("it sets items of what is no dict")
        target.pairs.extend(zip(items[::2], items[1::2], strict=True))

    def global_(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._name(module, name)

    def stack_global(self, _: Node) -> None:
        name, module = self._pop(), self._pop()
        if not (isinstance(module, str) and isinstance(name, str)):
            raise Refused("it imports by a name that is no text")
        self._name(module, name)

    def _name(self, module: str, name: str) -> None:
        found = Global(module, name)
        self.names[str(found)] = None
        self._stack.append(found)

    def reduce(self, _: Node) -> None:
        arguments, function = self._pop(), self._pop()
        self._call(Made(function, arguments))

    def new(self, _: Node) -> None:
        arguments, function = self._pop(), self._pop()
        self._call(Made(function, arguments, is_new=True))

    def new_with_keywords(self, _: Node) -> None:
        keywords, arguments, function = self._pop(), self._pop(), self._pop()
        self._call(Made(function, arguments, keywords, is_new=True))

    def _call(self, call: Made) -> None:
        if not isinstance(call.arguments, tuple):
            raise Refused("it calls with arguments that are no tuple")
        self.calls.append(call)
        self._stack.append(call)

    def build(self, _: Node) -> None:
        state = self._pop()
        target = self._stack[-1]
        if not isinstance(target, Made):
            raise Refused("it sets the state of what it did not make")
        target.states.append(state)

    def persistent(self, _: Node) -> None:
        self._stack.append(Persistent(self._pop()))


def _push(value: Callable[[], Node]) -> Callable[[_Machine, Node], None]:
    return lambda machine, _: machine.push(value())


_NUMBERS = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT")
_TEXTS = ("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
_BYTES = ("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8")
# What is missing here (INST, OBJ, EXT, PERSID, text forms of numbers, buffers out of band, …) is
# refused. LONG4 is, too: integers of up to 255 bytes are long enough.
_DO: dict[str, Callable[[_Machine, Node], None]] = {
    **dict.fromkeys((*_NUMBERS, *_TEXTS), _Machine.push),
    **dict.fromkeys(_BYTES, lambda machine, argument: machine.push(bytes(argument))),
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda machine, argument: None),  # noqa: ARG005
    "NONE": _push(lambda: None),
    "NEWTRUE": _push(lambda: True),
    "NEWFALSE": _push(lambda: False),
    "EMPTY_TUPLE": _push(tuple),
    "EMPTY_LIST": _push(list),
    "EMPTY_DICT": _push(Mapping),
    "EMPTY_SET": _push(Items),
    "MARK": _Machine.mark,
    "POP": _Machine.pop,
    "POP_MARK": _Machine.pop_mark,
    "MEMOIZE": _Machine.memoize,
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _Machine.memoize),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Machine.get),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "TUPLE": _Machine.tuple_since_mark,
    "FROZENSET": _Machine.frozenset_since_mark,
    **dict.fromkeys(("APPENDS", "ADDITEMS"), _Machine.appends),
    "APPEND": _Machine.append,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "GLOBAL": _Machine.global_,
    "STACK_GLOBAL": _Machine.stack_global,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.new,
    "NEWOBJ_EX": _Machine.new_with_keywords,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.persistent,
}
_OPCODES = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}
