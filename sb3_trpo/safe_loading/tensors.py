"""The tensors of a ``.pth`` entry: their shapes, read without torch, and the entry written anew."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sb3_trpo.safe_loading.archive import packed, unpacked
from sb3_trpo.safe_loading.limits import (
    MAX_TENSOR_ENTRIES,
    MAX_TENSOR_EXPANSION,
    MAX_VIEWS,
    Budget,
    Refused,
    printable,
)
from sb3_trpo.safe_loading.nodes import Global, Made, Mapping, Node, Persistent, is_key
from sb3_trpo.safe_loading.pickle_tree import read_pickle

_ITEM_BYTES = {
    **dict.fromkeys(("DoubleStorage", "LongStorage"), 8),
    **dict.fromkeys(("FloatStorage", "IntStorage"), 4),
    **dict.fromkeys(("HalfStorage", "BFloat16Storage", "ShortStorage"), 2),
    **dict.fromkeys(("CharStorage", "ByteStorage", "BoolStorage"), 1),
}
_LOCATIONS = ("cpu", "cuda", "mps", "xpu", "hpu", "npu")
_TENSOR = "torch._utils._rebuild_tensor_v2"
_PARAMETER = "torch._utils._rebuild_parameter"
_MOST_AXES = 8


@dataclass(frozen=True)
class Tensor:
    """
    A tensor in a file.

    :param shape: its sizes
    :param kind: of its numbers, as torch names their storage
    """

    shape: tuple[int, ...]
    kind: str


@dataclass(frozen=True)
class TensorFile:
    """
    A ``.pth`` entry.

    :param content: dicts and lists as in the entry, with :class:`Tensor` in place of tensors
    :param data: the entry, with nothing in it but what was looked at
    """

    content: Any
    data: bytes


def read_tensors(data: bytes, budget: Budget) -> TensorFile:
    """
    Read what ``torch.save`` wrote, as far as it is tensors in dicts and lists.

    :param data: the entry
    :param budget: what its pickle may cost
    :return: its content; ``torch.load(weights_only=True)`` reads the tensors
    :raises Refused: it is damaged, holds something else, or tensors larger than their storages
    """
    if not data.startswith(b"PK\x03\x04"):
        raise Refused("it is no file of torch >= 1.6")
    entries = unpacked(data, max_entries=MAX_TENSOR_ENTRIES, max_expansion=MAX_TENSOR_EXPANSION)
    folder = next(iter(entries), "").partition("/")[0]
    parts = {name.partition("/")[2]: content for name, content in entries.items()}
    if any(not name.startswith(f"{folder}/") for name in entries) or "data.pkl" not in parts:
        raise Refused("it is no file of torch >= 1.6")
    if parts.get("byteorder", b"little") != b"little":
        raise Refused("it is of a big-endian machine")
    reader = _Reader(parts)
    tree = read_pickle(parts["data.pkl"], budget, with_storages=True)
    content = reader.read(tree.root)
    reader.check_total()
    kept = {name: parts[name] for name in ("data.pkl", *sorted(reader.storages))}
    kept |= {"version": b"3\n", "byteorder": b"little"}
    return TensorFile(content, packed({f"archive/{name}": part for name, part in kept.items()}))


class _Reader:
    def __init__(self, parts: dict[str, bytes]) -> None:
        self._parts = parts
        self.storages: dict[str, int] = {}
        self._kinds: dict[str, str] = {}
        self._n_bytes = 0

    def read(self, node: Node) -> Any:
        if node is None or isinstance(node, (bool, int, float, str)):
            return node
        if isinstance(node, (list, tuple)):
            return [self.read(item) for item in node]
        if isinstance(node, Mapping):
            return dict(self._items(node.pairs))
        if isinstance(node, Made):
            return self._made(node)
        name = printable(node) if isinstance(node, Global) else type(node).__name__
        raise Refused(f"{name} among tensors is not on the list")

    def check_total(self) -> None:
        """Refuse many tensors on one storage: each becomes a parameter of its own."""
        stored = sum(self.storages.values())
        if self._n_bytes > MAX_VIEWS * stored:
            raise Refused(f"its tensors are {self._n_bytes:,} bytes of {stored:,} stored")

    def _items(self, pairs: list[tuple[Node, Node]]) -> Iterator[tuple[str | int, Any]]:
        seen = set()
        for key, value in pairs:
            if type(key) not in (str, int) or not is_key(key) or key in seen:
                raise Refused("a dict of tensors has a key that is no name, or that comes twice")
            seen.add(key)
            yield key, self.read(value)

    def _made(self, call: Made) -> Any:
        name = call.name
        if name not in (_TENSOR, _PARAMETER, "collections.OrderedDict") or call.is_new:
            raise Refused(f"{printable(name)} among tensors is not on the list")
        if name == "collections.OrderedDict":
            return self._ordered_dict(call)
        if call.states or call.items or call.pairs:
            raise Refused("a tensor with attributes is not on the list")
        if name == _PARAMETER:
            data, requires_grad, hooks = _exactly(call.arguments, 3)
            if not isinstance(data, Made) or data.name != _TENSOR:
                raise Refused("a parameter that is no tensor is not on the list")
            _check_flags(requires_grad, hooks)
            return self._made(data)
        return self._tensor(call)

    def _ordered_dict(self, call: Made) -> dict[str | int, Any]:
        if call.arguments or call.items or len(call.states) > 1:
            raise Refused("an OrderedDict with arguments is not on the list")
        for state in call.states:  # the versions of the modules that the tensors are from
            attributes = self.read(state)
            if not isinstance(attributes, dict) or set(attributes) != {"_metadata"}:
                raise Refused("an OrderedDict with attributes is not on the list")
            if not _is_metadata(attributes["_metadata"]):
                raise Refused("the metadata of its tensors are no versions of modules")
        return dict(self._items(call.pairs))

    def _tensor(self, call: Made) -> Tensor:
        storage, offset, shape, strides, requires_grad, hooks = _exactly(call.arguments, 6)
        _check_flags(requires_grad, hooks)
        kind, n_items = self._storage(storage)
        numbers = (offset, *_whole(shape), *_whole(strides))
        if not all(type(number) is int and 0 <= number < 2**62 for number in numbers):
            raise Refused("a tensor of that shape is not on the list")
        if len(shape) != len(strides) or len(shape) > _MOST_AXES:
            raise Refused("a tensor of that shape is not on the list")
        n = math.prod(shape)
        last = offset + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
        if n > n_items or (n and last >= n_items):
            raise Refused(f"a tensor of shape {shape} is larger than its storage of {n_items}")
        self._n_bytes += n * _ITEM_BYTES[kind]
        return Tensor(shape, kind)

    def _storage(self, node: Node) -> tuple[str, int]:
        key = node.key if isinstance(node, Persistent) else None
        if not (isinstance(key, tuple) and len(key) == 5 and key[0] == "storage"):
            raise Refused("a tensor without a storage is not on the list")
        _, cls, name, location, n_items = key
        kind = cls.name if isinstance(cls, Global) and cls.module == "torch" else None
        if kind not in _ITEM_BYTES or not (isinstance(name, str) and isinstance(location, str)):
            raise Refused("a storage other than plain numbers is not on the list")
        if location.partition(":")[0] not in _LOCATIONS:
            raise Refused(f"a storage on {printable(location)} is not on the list")
        entry = f"data/{name}"
        if entry not in self._parts:
            raise Refused(f"it has no storage {printable(name)}")
        n_bytes = len(self._parts[entry])
        if type(n_items) is not int or n_items * _ITEM_BYTES[kind] != n_bytes:
            raise Refused(f"a storage of {printable(n_items)} numbers has {n_bytes:,} bytes")
        if self._kinds.setdefault(entry, kind) != kind:  # torch would use the first for both
            raise Refused(f"its storage {printable(name)} is of two kinds of numbers")
        self.storages[entry] = n_bytes
        return kind, n_items


def _exactly(arguments: Any, n: int) -> Any:
    if len(arguments) != n:
        raise Refused("a tensor with attributes is not on the list")
    return arguments


def _whole(sizes: Any) -> tuple[Any, ...]:
    if not isinstance(sizes, tuple):
        raise Refused("a tensor of that shape is not on the list")
    return sizes


def _check_flags(requires_grad: Any, hooks: Any) -> None:
    is_empty = isinstance(hooks, Made) and hooks.name == "collections.OrderedDict"
    if type(requires_grad) is not bool or not is_empty:
        raise Refused("a tensor with attributes is not on the list")
    if hooks.arguments or hooks.states or hooks.items or hooks.pairs:
        raise Refused("a tensor with hooks is not on the list")


def _is_metadata(versions: Any) -> bool:
    if not isinstance(versions, dict):
        return False
    # Nothing else: torch takes orders from there, such as to assign tensors, not to copy them.
    return all(
        isinstance(module, dict) and module.keys() <= {"version"} and type(version) is int
        for module in versions.values()
        for version in (module.get("version", 0) if isinstance(module, dict) else None,)
    )
