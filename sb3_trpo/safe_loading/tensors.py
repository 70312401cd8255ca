"""The tensors of a ``.pth`` entry: their shapes, read without torch, and the entry written anew."""

import io
import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch as th

from sb3_trpo.safe_loading.archive import unpacked
from sb3_trpo.safe_loading.builder import is_key
from sb3_trpo.safe_loading.limits import (
    MAX_AXES,
    MAX_TENSOR_ENTRIES,
    MAX_VIEWS,
    Budget,
    Refused,
    printable,
)
from sb3_trpo.safe_loading.nodes import Global, Made, Mapping, Node, Persistent
from sb3_trpo.safe_loading.pickle_tree import read_pickle

_DTYPES = {
    "DoubleStorage": th.float64,
    "FloatStorage": th.float32,
    "HalfStorage": th.float16,
    "BFloat16Storage": th.bfloat16,
    "LongStorage": th.int64,
    "IntStorage": th.int32,
    "ShortStorage": th.int16,
    "CharStorage": th.int8,
    "ByteStorage": th.uint8,
    "BoolStorage": th.bool,
}
_LOCATIONS = ("cpu", "cuda", "mps", "xpu", "hpu", "npu")
_TENSOR = "torch._utils._rebuild_tensor_v2"
_PARAMETER = "torch._utils._rebuild_parameter"


@dataclass(frozen=True)
class Tensor:
    """
    A tensor in a file.

    :param shape: its sizes
    :param kind: of its numbers, as torch names their storage
    :param storage: the entry with its numbers
    :param offset: of its first number there
    :param strides: between its numbers
    """

    shape: tuple[int, ...]
    kind: str
    storage: str
    offset: int
    strides: tuple[int, ...]


@dataclass(frozen=True)
class TensorFile:
    """
    A ``.pth`` entry.

    :param content: as in the entry, with :class:`Tensor` in place of tensors
    :param storages: names to the bytes of their numbers
    """

    content: Any
    storages: dict[str, bytes]

    def written(self) -> bytes:
        """
        Write the entry anew: torch reads a pickle of its own, and not one byte of the file's.

        What it reads again would run what was thrown away in between, and so was not looked at.

        :return: what ``torch.save`` makes of the content
        """
        memory = {
            name: _memory(self.storages[name], kind)
            for name, kind in {t.storage: t.kind for t in _tensors_in(self.content)}.items()
        }
        file = io.BytesIO()
        th.save(_with_tensors(self.content, memory), file)
        return file.getvalue()


def _tensors_in(content: Any) -> Iterator[Tensor]:
    if isinstance(content, Tensor):
        yield content
    elif isinstance(content, (dict, list, tuple)):
        for part in content.values() if isinstance(content, dict) else content:
            yield from _tensors_in(part)


def _memory(content: bytes, kind: str) -> th.Tensor:
    if not content:
        return th.empty(0, dtype=_DTYPES[kind])
    return th.frombuffer(bytearray(content), dtype=_DTYPES[kind])


def _with_tensors(content: Any, memory: dict[str, th.Tensor]) -> Any:
    if isinstance(content, Tensor):
        return memory[content.storage].as_strided(content.shape, content.strides, content.offset)
    if isinstance(content, dict):
        parts = {name: _with_tensors(part, memory) for name, part in content.items()}
        if not isinstance(content, OrderedDict):
            return parts
        ordered = OrderedDict(parts)
        vars(ordered).update(vars(content))  # the versions of modules
        return ordered
    if isinstance(content, (list, tuple)):
        return type(content)(_with_tensors(part, memory) for part in content)
    return content


def read_tensors(data: bytes, budget: Budget) -> TensorFile:
    """
    Read what ``torch.save`` wrote, as far as it is tensors in dicts and lists.

    :param data: the entry
    :param budget: what it may cost
    :return: its content
    :raises Refused: it is damaged, holds something else, or tensors larger than their storages
    """
    if not data.startswith(b"PK\x03\x04"):
        raise Refused("it is no file of torch >= 1.6")
    entries = unpacked(data, budget, max_entries=MAX_TENSOR_ENTRIES)
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
    return TensorFile(content, {name: parts[name] for name in reader.storages})


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
            return type(node)(self.read(item) for item in node)
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
            if not is_key(key) or key in seen:
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

    def _ordered_dict(self, call: Made) -> OrderedDict[str | int, Any]:
        if call.arguments or call.items or len(call.states) > 1:
            raise Refused("an OrderedDict with arguments is not on the list")
        found = OrderedDict(self._items(call.pairs))
        for state in call.states:  # the versions of the modules that the tensors are from
            attributes = self.read(state)
            if not isinstance(attributes, dict) or set(attributes) != {"_metadata"}:
                raise Refused("an OrderedDict with attributes is not on the list")
            if not _is_metadata(attributes["_metadata"]):
                raise Refused("the metadata of its tensors are no versions of modules")
            vars(found).update(attributes)
        return found

    def _tensor(self, call: Made) -> Tensor:
        storage, offset, shape, strides, requires_grad, hooks = _exactly(call.arguments, 6)
        _check_flags(requires_grad, hooks)
        kind, entry, n_items = self._storage(storage)
        numbers = (offset, *_whole(shape), *_whole(strides))
        if not all(type(number) is int and 0 <= number < 2**62 for number in numbers):
            raise Refused("a tensor of that shape is not on the list")
        if len(shape) != len(strides) or len(shape) > MAX_AXES:
            raise Refused("a tensor of that shape is not on the list")
        n = math.prod(shape)
        last = offset + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
        if n > n_items or (n and last >= n_items):
            raise Refused(f"a tensor of shape {shape} is larger than its storage of {n_items}")
        self._n_bytes += n * _DTYPES[kind].itemsize
        return Tensor(shape, kind, entry, offset, strides)

    def _storage(self, node: Node) -> tuple[str, str, int]:
        key = node.key if isinstance(node, Persistent) else None
        if not (isinstance(key, tuple) and len(key) == 5 and key[0] == "storage"):
            raise Refused("a tensor without a storage is not on the list")
        _, cls, name, location, n_items = key
        kind = cls.name if isinstance(cls, Global) and cls.module == "torch" else None
        if kind not in _DTYPES or not (isinstance(name, str) and isinstance(location, str)):
            raise Refused("a storage other than plain numbers is not on the list")
        if location.partition(":")[0] not in _LOCATIONS:
            raise Refused(f"a storage on {printable(location)} is not on the list")
        entry = f"data/{name}"
        if entry not in self._parts:
            raise Refused(f"it has no storage {printable(name)}")
        n_bytes = len(self._parts[entry])
        if type(n_items) is not int or n_items * _DTYPES[kind].itemsize != n_bytes:
            raise Refused(f"a storage of {printable(n_items)} numbers has {n_bytes:,} bytes")
        if self._kinds.setdefault(entry, kind) != kind:
            raise Refused(f"its storage {printable(name)} is of two kinds")
        self.storages[entry] = n_bytes
        return kind, entry, n_items


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
