"""What a pickle is read into: nodes that say what it would make, and do nothing."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sb3_trpo.safe_loading.limits import MAX_CONTENT, MAX_DEPTH, MAX_KEY, MAX_NODES, Refused

Node: TypeAlias = Any
"""None, a bool, int, float, str or bytes; a list or tuple of nodes; or one of the classes below."""


@dataclass(eq=False, frozen=True)
class Global:
    """
    Something that would be imported.

    :param module: where from
    :param name: with the classes around it
    """

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Mapping:
    """
    A dict, with its keys as they come.

    :param pairs: of keys and values
    """

    pairs: list[tuple[Node, Node]] = field(default_factory=list)


@dataclass(eq=False)
class Items:
    """
    A set or a frozenset.

    :param items: in the order of the file
    """

    items: list[Node] = field(default_factory=list)


@dataclass(eq=False, frozen=True)
class Persistent:
    """
    Something that is kept outside of the pickle: a storage, in torch's files.

    :param key: says which
    """

    key: Node


@dataclass(eq=False)
class Made:
    """
    What a call would return, and all that would be done to it.

    :param function: what would be called
    :param arguments: by position
    :param keywords: by name
    :param is_new: ``__new__`` would be called, and not the class
    :param states: what it would be told to become, in turn
    :param items: what would be appended
    :param pairs: what would be set by key
    """

    function: Node
    arguments: Node
    keywords: Node = None
    is_new: bool = False
    states: list[Node] = field(default_factory=list)
    items: list[Node] = field(default_factory=list)
    pairs: list[tuple[Node, Node]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name what would be called; "" if it is no global: written out, a node may be endless."""
        return str(self.function) if isinstance(self.function, Global) else ""


@dataclass(frozen=True)
class Tree:
    """
    A whole pickle.

    :param root: of the tree
    :param names: of all that would be imported, each once
    :param calls: all that would be called, also where the result is not part of the tree
    """

    root: Node
    names: tuple[str, ...]
    calls: tuple[Made, ...]


def is_key(value: Any) -> bool:
    """
    Tell whether a whole number, or something else, may be a key of a dict.

    :param value: of the key
    :return: False if it is a whole number that is too long
    """
    return not isinstance(value, int) or abs(value) < MAX_KEY


_LEAVES = frozenset((type(None), bool, int, float, str, bytes, Global))


def check_size(root: Node) -> None:
    """
    Refuse a tree that is deep, that contains itself, or that is larger than its pickle looks.

    Nodes may be shared: each is counted as often as it is referred to, which is what walking over
    the tree, comparing or copying it would cost. So are the bytes in them.

    :param root: of the tree
    :raises Refused: it is too large
    """
    # Nodes, depth and bytes; None: not known yet.
    measures: dict[int, tuple[int, int, int] | None] = {}
    to_do = [root]
    while to_do:
        node = to_do[-1]
        if measures.get(id(node)):
            to_do.pop()
            continue
        is_new = id(node) not in measures
        measures[id(node)] = None
        children = list(_children(node))
        inside = [child for child in children if type(child) not in _LEAVES]
        known = [measures.get(id(child)) for child in inside]
        if None in known:
            if not is_new:
                raise Refused("it is a pickle of something that contains itself")
            to_do.extend(inside[i] for i, measure in enumerate(known) if measure is None)
            continue
        size = 1 + len(children) - len(inside) + sum(measure[0] for measure in known if measure)
        depth = 1 + max((measure[1] for measure in known if measure), default=1)
        content = sum(len(child) for child in children if isinstance(child, (str, bytes)))
        content += sum(measure[2] for measure in known if measure)
        if content > MAX_CONTENT:
            raise Refused(f"it is a pickle of more than {MAX_CONTENT:,} bytes")
        if size > MAX_NODES or depth > MAX_DEPTH:
            raise Refused(
                f"it is a pickle of more than {MAX_NODES:,} objects or {MAX_DEPTH} levels"
            )
        measures[id(node)] = size, depth, content
        to_do.pop()


def _children(node: Node) -> Iterator[Node]:
    if isinstance(node, (list, tuple)):
        yield from node
    elif isinstance(node, Items):
        yield from node.items
    elif isinstance(node, Persistent):
        yield node.key
    elif isinstance(node, Mapping):
        for pair in node.pairs:
            yield from pair
    elif isinstance(node, Made):
        yield from (node.function, node.arguments, node.keywords)
        yield from (*node.states, *node.items)
        for pair in node.pairs:
            yield from pair
