"""From the tree of a pickle to objects: known classes by known ways, and nothing else."""

from collections.abc import Callable
from typing import Any, TypeAlias

from sb3_trpo.safe_loading.allow_list import Vouched, is_listed, listed, name_of
from sb3_trpo.safe_loading.limits import Refused, printable
from sb3_trpo.safe_loading.nodes import Global, Items, Made, Mapping, Node, Persistent, Tree, is_key

_BY_VALUE = "cloudpickle.cloudpickle."
_NO_CLASS = "a call of what is no class or function by name is not on the list"


class Builder:
    """
    Makes what a tree describes.

    :param tree: of a pickle
    :param makers: by the name that would be called: what makes the object instead
    :param vouched: what the user allows beyond the list
    """

    def __init__(self, tree: Tree, makers: "dict[str, Maker]", vouched: Vouched) -> None:
        self._tree, self._makers, self.vouched = tree, makers, vouched
        self._made: dict[int, Any] = {}

    def result(self) -> Any:
        """
        Make the whole tree.

        :return: what the pickle stands for
        :raises Refused: something in it is not on the list, by name
        """
        return self.build(self._tree.root)

    def build(self, node: Node) -> Any:
        """
        Make a part of the tree; one that is referred to twice is made once.

        :param node: of the tree
        :return: what it stands for
        :raises Refused: something in it is not on the list, by name
        """
        if node is None or isinstance(node, (bool, int, float, str, bytes)):
            return node
        if id(node) not in self._made:
            self._made[id(node)] = self._build(node)
        return self._made[id(node)]

    def _build(self, node: Node) -> Any:
        if isinstance(node, list):
            return [self.build(item) for item in node]
        if isinstance(node, tuple):
            return tuple(self.build(item) for item in node)
        if isinstance(node, Mapping):
            return self.dict_of(node.pairs)
        if isinstance(node, Global):
            return self._named(str(node))
        if isinstance(node, Made):
            return self._called(node)
        kind = {Items: "a set", Persistent: "a storage"}[type(node)]
        raise Refused(f"{kind} is not on the list")

    def dict_of(self, pairs: list[tuple[Node, Node]]) -> dict[Any, Any]:
        """
        Make a dict.

        :param pairs: of keys and values
        :return: the dict
        :raises Refused: a key is no text or number, or comes twice
        """
        result: dict[Any, Any] = {}
        for key_node, value in pairs:
            key = self.build(key_node)
            if not (isinstance(key, (str, int, float)) and is_key(key)) or key in result:
                raise Refused("a dict has a key that is no text or number, or that comes twice")
            result[key] = self.build(value)
        return result

    def _named(self, name: str) -> Any:
        vouched = self.vouched.get(name)
        return listed(name) if vouched is None else vouched

    def _called(self, call: Made) -> Any:
        by_value = _name_by_value(self._tree, call)
        if by_value is not None:
            return self._replaced(by_value)
        if isinstance(call.function, Made):  # an object of a class that is stored with its code?
            cls = _name_by_value(self._tree, call.function)
            if cls is None:
                raise Refused(_NO_CLASS)
            return self._vouched_object(self._replaced(cls), call)
        name = call.name
        if not name:
            raise Refused(_NO_CLASS)
        if name in self._makers:
            if call.keywords is not None:
                raise Refused(f"{name} with arguments by name is not on the list")
            return self._makers[name](self, call)
        vouched = self.vouched.get(name)
        if vouched is None:
            listed_but = "may be named, but not called" if is_listed(name) else "is not on the list"
            raise Refused(f"{printable(name)} {listed_but}")
        return self._vouched_object(vouched, call)

    def _replaced(self, name: str) -> Any:
        """Return the user's own for what was pickled by value: the file's code is not used."""
        vouched = self.vouched.get(name)
        if vouched is None:
            raise Refused(f"{printable(name)}, whose code is in the file, is not on the list")
        return vouched

    def _vouched_object(self, cls: Any, call: Made) -> Any:
        arguments = [self.build(argument) for argument in call.arguments]
        keywords = {} if call.keywords is None else self.build(call.keywords)
        if call.is_new:
            made = cls.__new__(cls, *arguments, **keywords)
        else:
            made = cls(*arguments, **keywords)
        for node in call.states:
            state = self.build(node)
            if hasattr(made, "__setstate__"):
                made.__setstate__(state)
            elif isinstance(state, dict) and all(isinstance(key, str) for key in state):
                vars(made).update(state)
            else:
                raise Refused(f"the state of {printable(name_of(cls))} is no dict")
        if call.items or call.pairs:
            raise Refused(f"items of {printable(name_of(cls))} are not on the list")
        return made


Maker: TypeAlias = Callable[[Builder, Made], Any]


def _name_by_value(tree: Tree, call: Made) -> str | None:
    """Return the name of a class or function that cloudpickle stored with its code."""
    if isinstance(call.function, Made):
        is_function = call.function.name == f"{_BY_VALUE}_builtin_type"  # cloudpickle < 2
        return "a function" if is_function else None
    if call.name == f"{_BY_VALUE}_make_skeleton_class" and len(call.arguments) > 3:
        name, module = call.arguments[1], _texts(call.arguments[3]).get("__module__")
        return f"{module}.{name}" if isinstance(name, str) else "a class"
    if call.name != f"{_BY_VALUE}_make_function":
        return None
    for other in tree.calls:  # its name comes with its state
        if other.name == f"{_BY_VALUE}_function_setstate" and len(other.arguments) == 2:
            target, states = other.arguments
            if target is call and isinstance(states, tuple):
                named = {key: text for state in states for key, text in _texts(state).items()}
                return f"{named.get('__module__')}.{named.get('__qualname__')}"
    return "a function"


def _texts(node: Node) -> dict[str, str]:
    pairs = node.pairs if isinstance(node, Mapping) else []
    return {k: v for k, v in pairs if isinstance(k, str) and isinstance(v, str)}


def attributes_of(builder: Builder, call: Made) -> dict[str, Any]:
    """
    Make the attributes of an object that is made by ``__new__`` and one dict of them.

    :param builder: of the tree
    :param call: that makes the object
    :return: its attributes
    :raises Refused: it is made in another way
    """
    if not (call.is_new and call.arguments == () and len(call.states) == 1):
        raise Refused(f"{call.name} may be named, but not called")
    if call.items or call.pairs or not isinstance(call.states[0], Mapping):
        raise Refused(f"{call.name} with items is not on the list")
    return builder.dict_of(call.states[0].pairs)
