"""Values go into JSON and arrays and come back as they were; nothing that is read runs."""

import io
import json
import math
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from sb3_trpo import plain_data
from sb3_trpo.plain_data import Packed, is_plain, pack, unpack
from tests.canaries import FIRED, Canary

DTYPES = ["bool", "int8", "uint8", "int64", "uint64", "float16", "float32", "float64"]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(exclude_categories=["Cs"])),
    *(st_numpy.from_dtype(np.dtype(name)) for name in DTYPES),
    st_numpy.arrays(st.sampled_from(DTYPES), st_numpy.array_shapes(min_dims=0, min_side=0)),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.sampled_from(["array", "dict", "scalar", "a", ""]), inner, max_size=3),
    ),
    max_leaves=8,
)


def assert_same(one, other):
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            assert_same(one[key], other[key])
    else:
        assert one == other or (one != one and other != other)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(VALUES)
def test_values_come_back_as_they_were(value):
    assert is_plain(value)
    assert_same(unpack(pack(value)), value)


def test_signed_zeros_and_infinities_come_back():
    value = [-0.0, math.inf, -math.inf, np.float32(-0.0), 2**200, 1e-320]
    found = unpack(pack(value))
    assert repr(found) == repr(value)


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1: "a key that is no text"},
        {"deep": [({"a": set()},)]},
        np.array([None]),
        np.array(["text"]),
        np.longdouble(1),
        np.complex64(1),
        b"bytes",
        type("Number", (float,), {})(1.0),
    ],
)
def test_other_values_are_refused(value):
    assert not is_plain(value)
    with pytest.raises(TypeError, match="cannot be stored as JSON and arrays"):
        pack(value)


def npz(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def header(shape, descr="'<f8'"):
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


GOOD = pack([np.zeros(3)])


@pytest.mark.parametrize(
    "packed",
    [
        Packed(b"", GOOD.npz),
        Packed(b"{", GOOD.npz),
        Packed(b"\xff", GOOD.npz),
        Packed(b'{"array": 1}', GOOD.npz),
        Packed(b'{"array": "x/../y"}', GOOD.npz),
        Packed(b'{"call": "os.system"}', GOOD.npz),
        Packed(b'{"array": 0, "dict": {}}', GOOD.npz),
        Packed(b"{}", GOOD.npz),
        Packed(b'{"scalar": ["O", 1]}', GOOD.npz),
        Packed(b'{"scalar": []}', GOOD.npz),
        Packed(b'{"scalar": ["nothing", 1]}', GOOD.npz),
        Packed(b'{"scalar": 3}', GOOD.npz),
        Packed(b'{"scalar": ["i1", 3000]}', GOOD.npz),
        Packed(b'{"scalar": ["f8", [1, 2]]}', GOOD.npz),
        Packed(b'[{"array": 0}, {"array": 0}]', GOOD.npz),
        Packed(b'{"dict": [1]}', GOOD.npz),
        Packed(b"[" * 100_000, GOOD.npz),
        Packed(GOOD.json, b""),
        Packed(GOOD.json, GOOD.npz[:-30]),
        Packed(GOOD.json, b"\x93NUMPY"),
        Packed(GOOD.json, pickle.dumps(Canary())),
        Packed(GOOD.json, npz(a0=pickle.dumps(Canary()))),
        Packed(GOOD.json, npz(a0=npy(np.array([Canary()], dtype=object)))),
        Packed(GOOD.json, npz(a0=npy(np.array(["text"])))),
        Packed(GOOD.json, npz(a0=header((10**15,)))),
        Packed(GOOD.json, npz(a0=header((3,)))),
        Packed(GOOD.json, npz(a0=header("__import__('os')"))),
    ],
)
def test_what_pack_did_not_write_is_refused_and_nothing_runs(packed):
    with pytest.raises(ValueError, match="not JSON and arrays"):
        unpack(packed)
    assert not FIRED


def test_canary_fires_where_pickle_is_read():
    pickle.loads(pickle.dumps(Canary()))
    assert FIRED
    FIRED.clear()


def test_member_that_says_it_is_small_is_not_unfolded():
    """NumPy would ask for all of it, and get it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a0.npy", bytes(200 * 2**20))
    lying = file.getvalue().replace((200 * 2**20).to_bytes(4, "little"), b"\x64\0\0\0")
    tracemalloc.start()
    with pytest.raises(ValueError, match="not JSON and arrays"):
        unpack(Packed(b'{"array": 0}', lying))
    assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    tracemalloc.stop()


def test_long_json_is_not_read(monkeypatch):
    monkeypatch.setattr(plain_data, "MOST_TEXT", 100)
    with pytest.raises(ValueError, match="JSON of more than 100 bytes"):
        unpack(Packed(b"[" + b"1," * 100 + b"1]", GOOD.npz))


def test_arrays_that_unfold_to_more_than_is_allowed_are_refused(monkeypatch):
    monkeypatch.setattr(plain_data, "MOST_BYTES", 10_000)
    file = io.BytesIO()
    np.savez_compressed(file, a0=np.zeros(10_000))
    assert len(file.getvalue()) < 1000
    with pytest.raises(ValueError, match="more than 10000 bytes"):
        unpack(Packed(json.dumps({"array": 0}).encode(), file.getvalue()))
