"""
Python values as JSON and NumPy arrays, read back as they were: what is read runs no code.

Numbers, text, None, lists, tuples, dicts with keys of text, NumPy's numbers and arrays of numbers.
"""

import io
import json
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from sb3_trpo.safe_loading.archive import content_of

MOST_BYTES = 2**30
"""Of arrays that :func:`unpack` reads."""
MOST_TEXT = 2**26
"""Of its JSON."""
_KINDS = "biuf"  # bool, whole numbers, floats


@dataclass(frozen=True)
class Packed:
    """
    A value, ready for two files.

    :param json: the value, with references to arrays
    :param npz: the arrays
    """

    json: bytes
    npz: bytes


def pack(value: Any) -> Packed:
    """
    Turn a value into JSON and arrays.

    :param value: of the kinds above, nested as you like
    :return: for :func:`unpack`
    :raises TypeError: something in it is of another kind
    """
    arrays: list[np.ndarray] = []
    text = json.dumps(_encoded(value, arrays))
    file = io.BytesIO()
    named: dict[str, Any] = {f"a{index}": array for index, array in enumerate(arrays)}
    np.savez(file, **named)
    return Packed(text.encode(), file.getvalue())


def unpack(packed: Packed) -> Any:
    """
    Read a value back.

    :param packed: from :func:`pack`, or from a stranger
    :return: the value
    :raises ValueError: damaged, or not what :func:`pack` writes
    """
    try:
        if len(packed.json) > MOST_TEXT:
            raise ValueError(f"JSON of more than {MOST_TEXT} bytes")
        return _decoded(json.loads(packed.json), _arrays_in(packed.npz))
    except (
        ValueError,  # of UTF-8, JSON, NumPy's headers
        LookupError,
        TypeError,
        AttributeError,
        OverflowError,  # of a number that its type cannot hold
        EOFError,
        OSError,
        MemoryError,
        RuntimeError,  # an encrypted member, an unknown compression, too deep a nesting
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ValueError(f"not JSON and arrays as pack() writes them: {error!r}") from error


def _arrays_in(npz: bytes) -> dict[str, np.ndarray]:
    """Read all arrays: in pieces, unlike NumPy, since a member may unfold to more than it says."""
    with zipfile.ZipFile(io.BytesIO(npz)) as archive:
        n_bytes = sum(member.file_size for member in archive.infolist())
        if n_bytes > min(MOST_BYTES, len(npz)):  # pack() does not compress
            raise ValueError(f"arrays of more than {MOST_BYTES} bytes, or compressed ones")
        return {
            member.filename.removesuffix(".npy"): _array_in(content_of(archive, member))
            for member in archive.infolist()
        }


def _array_in(content: bytes) -> np.ndarray:
    return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)


def is_plain(value: Any) -> bool:
    """Tell whether :func:`pack` takes a value."""
    try:
        _encoded(value, [])
    except TypeError:
        return False
    return True


def _encoded(value: Any, arrays: list[np.ndarray]) -> Any:
    if isinstance(value, np.ndarray):
        _check_kind(value.dtype)
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, np.generic):
        _check_kind(value.dtype)
        return {"scalar": [value.dtype.str, value.item()]}
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is tuple:
        return {"tuple": [_encoded(item, arrays) for item in value]}
    if isinstance(value, list):
        return [_encoded(item, arrays) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: _encoded(item, arrays) for key, item in value.items()}}
    raise TypeError(f"cannot be stored as JSON and arrays: {value!r}")


def _decoded(encoded: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(encoded, list):
        return [_decoded(item, arrays) for item in encoded]
    if not isinstance(encoded, dict):
        return encoded
    ((kind, content),) = encoded.items()
    if kind == "array":
        array: np.ndarray = arrays.pop(f"a{content}")  # each is referred to once
        _check_kind(array.dtype)
        return array
    if kind == "scalar":
        dtype = np.dtype(content[0])
        _check_kind(dtype)
        if not isinstance(content[1], (bool, int, float)):
            raise TypeError(f"no number: {content[1]!r:.100}")
        scalar = dtype.type(content[1])
        if dtype.kind in "iu" and scalar != content[1]:  # NumPy 1 wraps around
            raise OverflowError(f"no {dtype}: {content[1]!r:.100}")
        return scalar
    if kind == "tuple":
        return tuple(_decoded(item, arrays) for item in content)
    if kind == "dict":
        return {key: _decoded(item, arrays) for key, item in content.items()}
    raise ValueError(f"unknown kind of value: {kind!r}")


def _check_kind(dtype: np.dtype[Any]) -> None:
    if dtype.kind not in _KINDS or dtype.itemsize > 8:  # JSON would round longer floats
        raise TypeError(f"cannot be stored as JSON and arrays: NumPy's {dtype}")
