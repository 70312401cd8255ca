"""Files that are larger, deeper or otherwise than they should be; they run nothing."""

import copy
import io
import json
import pickle
import stat
import struct
import zipfile
from collections import OrderedDict

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.utils import ConstantSchedule

from tests.malicious import Calls, text
from tests.model_files import (
    attributes_of,
    entries_of,
    pickled,
    whole_file,
    with_entries,
    with_json,
    with_objects,
    with_pickles,
    zipped,
)

MIB = 2**20
START, STOP = b"\x80\x04", pickle.STOP


def hostile_files():
    """Name, content, and what the refusal must say."""
    yield from _archives()
    yield from _jsons()
    yield from _pickles()
    yield from _arrays_and_spaces()
    yield from _sizes()


# --- archives -------------------------------------------------------------------------------------


def rezipped(change, entries=None, **options):
    """The small model, with ``change`` called on each entry's header, and on the archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as archive:
        for name, content in (entries or entries_of(whole_file())).items():
            archive.writestr(name, content)
        for entry in list(archive.filelist):
            change(entry, archive)
    return file.getvalue()


DEFLATED = {"compression": zipfile.ZIP_DEFLATED}


def bomb(n_mib=200, padding=b""):
    """Zeros, and a thousandth of them; padding is not compressed."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **DEFLATED) as archive:
        archive.writestr("archive/padding", padding, zipfile.ZIP_STORED)
        with archive.open("archive/data.pkl", "w") as entry:
            for _ in range(n_mib):
                entry.write(bytes(MIB))
    return file.getvalue()


def _archives():
    zeros = bomb()
    # Neither unpacks to more than ten times its size and 16 MiB; together they do.
    twice = {**entries_of(whole_file()), "policy.pth": bomb(140, bytes(14 * MIB))}
    yield "zip bomb", zeros, "unpack to 209,715,200"
    yield "zip bomb in a .pth", with_entries(policy__pth=zeros), "unpack to 209,93"
    yield "zip bomb in a zip bomb", rezipped(lambda *_: None, twice, **DEFLATED), "unpack to 176,"
    lying = zeros.replace(struct.pack("<L", 200 * MIB), struct.pack("<L", 100))
    yield "zip bomb that says it is small", lying, "damaged"
    many = zipped({"data": b"{}", **{f"x{i}": b"" for i in range(100)}})
    yield "many entries", many, "101 entries"
    yield "very many entries", b"PK\x01\x02" * 200_000, "more than 100,000 entries"
    for name in (
        "../policy.pth",
        "/policy.pth",
        "a/../policy.pth",
        "a\\policy.pth",
        "C:policy.pth",
    ):
        content = zipped({**entries_of(whole_file()), name: b""})
        yield f"name {name}", content, "name that is none of a file in a folder"
    for name in ("folder/", "\x1b[2J"):
        content = zipped({**entries_of(whole_file()), name: b""})
        yield f"name {name!r}", content, "name that is none of a file in a folder"
    hidden = zipped({**entries_of(whole_file()), "policy.pth?.txt": b""})
    hidden = hidden.replace(b"policy.pth?.txt", b"policy.pth\0.txt")
    yield "name with a null byte", hidden, "name that is none of a file in a folder"

    def link(entry, _):
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16

    def encrypted(entry, _):
        entry.flag_bits |= 1

    def unknown_method(entry, _):
        entry.compress_type = 97

    def overlap(entry, archive):
        if entry.filename == "data":
            again = copy.copy(entry)
            again.filename = again.orig_filename = "data2"
            archive.filelist.append(again)

    def other_checksum(entry, _):
        entry.CRC ^= 1

    yield "link", rezipped(link), "is a link"
    yield "encrypted", rezipped(encrypted), "is encrypted"
    yield "unknown compression", rezipped(unknown_method), "is compressed by method 97"
    yield "overlapping entries", rezipped(overlap), "entries overlap"
    yield "checksum", rezipped(other_checksum), "damaged"
    yield "empty", b"", "damaged"
    yield "no zip", b"\x00" * 1000, "damaged"
    twice = zipped([*entries_of(whole_file()).items(), ("data", b"{}")])
    yield "name twice in the zip", twice, "it has two entries 'data'"
    yield "no data", with_entries(data=None), "no entry 'data'"
    yield "no policy", with_entries(policy__pth=None), "it has no policy.pth"


# --- JSON -----------------------------------------------------------------------------------------


def _jsons():
    def data(content):
        return with_entries(data=content)

    whole = json.dumps(attributes_of(whole_file()))[:-1]
    yield "deep JSON", data(f'{whole}, "gamma": {"[" * 100_000}'), "no JSON"
    yield (
        "long JSON",
        data(f'{whole}, "gamma": [{"1," * 2_000_000}1]}}'),
        "more than 300,000 items",
    )
    yield "digits", data(f'{whole}, "seed": {"1" * 4000}}}'), "an integer has 4000 digits"
    yield "name twice", data(f'{whole}, "gamma": 0.5}}'), "a name comes twice"
    yield "no dict", data("[1, 2]"), "no JSON of attributes"
    yield "no text", data(b"\xff\xfe"), "no JSON"
    yield "no JSON", data("{"), "no JSON"
    yield "NaN", with_json(gamma=float("nan")), "gamma: it must be a finite number, got nan"
    yield "infinity", with_json(n_steps=float("inf")), "n_steps: it must be a whole number, got inf"
    yield "number beyond floats", with_json(gamma=10**39), "gamma: gamma must be in [0, 1], got 1"
    for name in attributes_of(whole_file()):
        if name not in ("tensorboard_log", "lr_schedule"):
            yield f"text as {name}", with_json(**{name: "text"}), _refusal_of(name)
            yield f"list as {name}", with_json(**{name: [[1]]}), _refusal_of(name)
    yield "unknown attribute", with_json(env="CartPole-v1"), "env: TRPO has no such attribute"
    yield "class", with_json(__class__="x"), "__class__: TRPO has no such attribute"
    yield "no base64", with_json(gamma={":serialized:": "*"}), "gamma: its pickle is not in base64"
    yield "no text as pickle", with_json(gamma={":serialized:": [1]}), "gamma: its pickle is not in"
    many = {f"x{i}": 1 for i in range(100_000)}
    yield "many attributes", with_json(**many), "more than 200 attributes"
    yield "missing", with_json(policy_class=None), "policy_class: it must be a policy class"


def _refusal_of(name):
    is_left_out = name.startswith(("ep_", "_last_"))
    return None if is_left_out else f"- {name}: "


# --- pickles --------------------------------------------------------------------------------------


def _pickles():
    bodies = {
        "shared lists": (_doubled(30) + STOP, "more than 300,000 objects"),
        "many lists": (b"](" + pickle.EMPTY_LIST * 290_000 + b"e.", "it must be a dict, got list"),
        "many calls": (b"](" + _call() + _call(b"h\0") * 90_000 + b"e.", "more than 300,000"),
        "deep": (pickle.NONE + pickle.TUPLE1 * 100_000 + STOP, "32 levels"),
        "deep lists": (pickle.EMPTY_LIST * 50_000 + pickle.APPEND * 49_999 + STOP, "32 levels"),
        "deep calls": (_calls_of_calls(20_000) + STOP, "32 levels"),
        "contains itself": (
            pickle.EMPTY_LIST + pickle.MEMOIZE + pickle.BINGET + b"\0" + pickle.APPEND + STOP,
            "contains itself",
        ),
        "endless": ((pickle.NONE + pickle.POP) * 600_000 + STOP, "more than 300,000 opcodes"),
        "long integer": (pickle.LONG4 + struct.pack("<i", 2**30) + STOP, "opcode LONG4"),
        "long bytes": (pickle.BINBYTES8 + struct.pack("<Q", 2**62) + STOP, "damaged pickle"),
        "long bytearray": (pickle.BYTEARRAY8 + struct.pack("<Q", 2**62) + STOP, "damaged pickle"),
        "long text": (pickle.BINUNICODE8 + struct.pack("<Q", 2**62) + STOP, "damaged pickle"),
        "negative": (pickle.LONG1 + b"\xff" + b"\xff" * 10 + STOP, "damaged pickle"),
        "no end": (pickle.NONE, "without an end"),
        "nothing": (b"", "without an end"),
        "more after the end": (pickle.NONE + STOP + pickle.NONE, "goes on after its end"),
        "two results": (pickle.NONE * 2 + STOP, "goes on after its end"),
        "open mark": (pickle.MARK + pickle.NONE + STOP, "goes on after its end"),
        "no operand": (pickle.TUPLE2 + STOP, "damaged pickle"),
        "no mark": (pickle.NONE + pickle.TUPLE + STOP, "damaged pickle"),
        "no such memo": (pickle.BINGET + b"\x09" + STOP, "damaged pickle"),
        "odd dict": (b"}(NNNu" + STOP, "sets items of what is no dict"),
        "item of None": (b"NNa" + STOP, "appends to what is no list"),
        "state of a list": (b"]N" + pickle.BUILD + STOP, "sets the state of what it did not make"),
        "name of bytes": (b"C\x01aC\x01b" + pickle.STACK_GLOBAL + STOP, "name that is no text"),
        "call of None": (b"N)" + pickle.REDUCE + STOP, "what is no class or function by name"),
        "arguments in a list": (
            text("a") + text("b") + b"\x93]" + pickle.REDUCE + STOP,
            "no tuple",
        ),
        "persistent": (pickle.NONE + pickle.BINPERSID + STOP, "opcode BINPERSID"),
        "persistent text": (b"Pabc\n" + STOP, "opcode PERSID"),
        "buffer": (pickle.NEXT_BUFFER + STOP, "opcode NEXT_BUFFER"),
        "digits": (b"I" + b"1" * 10_000 + b"\n" + STOP, "opcode INT"),
        "unknown opcode": (b"\xff" + STOP, "opcode b'\\xff'"),
        "same hash": (keys_of_one_hash(50_000) + STOP, "no text or small number"),
        "thrown away": (_call() + b"0}.", "calls 'collections.OrderedDict' and throws"),
        "thrown away from the memo": (_call() + b"\x940}.", "and throws the result away"),
        "named in passing": (b"cthis\ns\n0}.", "names 'this.s' and does not use it"),
        "state of another's": (
            _class_setstate(_call() + b"}") + b"0}.",
            "and throws the result away",
        ),
        "a set": (pickle.EMPTY_SET + STOP, "a set is not on the list"),
        "control characters": (
            text("\x1b[2J") + text("\n") + b"\x93" + STOP,
            r"\x1b[2J.\n is not on",
        ),
    }
    for name, (body, message) in bodies.items():
        content = with_pickles(policy_kwargs=START + body)
        yield f"pickle: {name}", content, message


def _class_setstate(arguments):
    name = text("cloudpickle.cloudpickle") + text("_class_setstate") + pickle.STACK_GLOBAL
    return name + arguments + pickle.TUPLE2 + pickle.REDUCE


def _doubled(n):
    """A list of two lists of two lists of …, each of them one and the same."""
    body = pickle.EMPTY_LIST + pickle.MEMOIZE
    for i in range(n):
        get = pickle.BINGET + bytes([i])
        body += pickle.POP + pickle.EMPTY_LIST + pickle.MEMOIZE
        body += get + pickle.APPEND + get + pickle.APPEND
    return body


_ORDERED_DICT = text("collections") + text("OrderedDict") + pickle.STACK_GLOBAL


def _call(function=_ORDERED_DICT + pickle.MEMOIZE):
    return function + pickle.EMPTY_TUPLE + pickle.REDUCE


def keys_of_one_hash(n):
    """A dict whose keys all have the hash 0."""
    keys = [(i * (2**61 - 1)).to_bytes(12, "little") for i in range(n)]
    return b"}(" + b"".join(pickle.LONG1 + b"\x0c" + key + pickle.NONE for key in keys) + b"u"


def _arrays_of_the_same_bytes(n, n_bytes):
    content = pickle.BINBYTES + struct.pack("<I", n_bytes) + bytes(n_bytes) + b"\x94" + b"0"
    size = pickle.BININT + struct.pack("<i", n_bytes) + pickle.TUPLE1
    dtype = text("numpy") + text("dtype") + b"\x93(" + text("u1") + b"\x89\x88tR"
    make = text("numpy._core.numeric") + text("_frombuffer") + b"\x93"
    call = make + b"(h\0" + dtype + size + text("C") + b"tR"
    return START + content + b"](" + call * n + b"e" + STOP


def _spaces_of_the_same_arrays(n):
    boxes = [spaces.Box(-1, 1, (500_000,), np.float32), *(spaces.Discrete(2) for _ in range(n))]
    for box in boxes[1:]:
        box.__class__ = spaces.Box
        vars(box).clear()
        vars(box).update(vars(boxes[0]))
    return boxes


def _calls_of_calls(n):
    return _ORDERED_DICT + (pickle.EMPTY_TUPLE + pickle.REDUCE) * n


# --- arrays and spaces ----------------------------------------------------------------------------


def _arrays_and_spaces():
    float32 = np.dtype("f4")
    make = (np._core if hasattr(np, "_core") else np.core).numeric._frombuffer
    for name, arguments, message in (
        ("shape", (b"\0" * 8, float32, (10**12,), "C"), "of shape (1000000000000,) has 8 bytes"),
        ("negative shape", (b"", float32, (-1, 0), "C"), "an array of that shape"),
        ("many axes", (b"\0" * 4, float32, (1,) * 40, "C"), "an array of that shape"),
        ("order", (b"\0" * 4, float32, (1,), "X"), "an array of that shape"),
        ("objects", (b"\0" * 8, np.dtype("O"), (1,), "C"), "other than plain numbers"),
        ("structure", (b"\0" * 8, np.dtype([("a", "f8")]), (1,), "C"), "other than plain numbers"),
        ("parts", (b"\0" * 8, np.dtype(("f4", (2,))), (1,), "C"), "other than plain numbers"),
        (
            "metadata",
            (b"\0" * 8, np.dtype("f4", metadata={"a": 1}), (2,), "C"),
            "fields or metadata",
        ),
        ("texts", (b"\0" * 8, np.dtype("U2"), (1,), "C"), "other than plain numbers"),
    ):
        yield f"array: {name}", with_objects(seed=Calls(make, *arguments)), message
    same = _arrays_of_the_same_bytes(100, 8 * MIB)
    yield "array: of the same bytes", with_pickles(seed=same), "arrays of more than"
    same = _spaces_of_the_same_arrays(100)
    yield "spaces of the same arrays", with_objects(seed=same), "arrays of more than"
    many = spaces.MultiBinary([2] * 8)
    vars(many)["n"] = (2**62,) * 60_000
    yield "MultiBinary of many axes", with_objects(observation_space=many), "too many axes"
    for name, space in {
        "huge Discrete": spaces.Discrete(10**12),
        "huge MultiBinary": spaces.MultiBinary(10**10),
        "large MultiDiscrete": spaces.MultiDiscrete([10**9, 10**9]),
    }.items():
        fault = "takes a rollout buffer of|does not fit the policy"
        yield f"{name} observations", with_objects(observation_space=space), fault
        yield f"{name} actions", with_objects(action_space=space), fault
    for name, changes in {
        "negative n": {"n": np.int64(-1)},
        "n beyond 64 bits": {"n": 2**70},
        "n of text": {"n": "2"},
        "further attributes": {"sample": 1},
        "no n": {"n": None},
    }.items():
        space = spaces.Discrete(2)
        vars(space).update(changes)
        yield (
            f"Discrete: {name}",
            with_objects(action_space=space),
            "- action_space: a Discrete space",
        )
    for name, changes in {
        "another shape": {"_shape": (10**9,)},
        "bounds of two shapes": {"low": np.zeros((3, 4), np.float32)},
        "bounds that are NaN": {"low": np.full(3, np.nan, np.float32)},
        "bounds the wrong way": {"low": np.full(3, 9, np.float32)},
        "no bounds": {"low": None},
        "type of text": {"dtype": "O"},
    }.items():
        space = spaces.Box(-1, 1, (3,), np.float32)
        vars(space).update(changes)
        content = with_objects(observation_space=space)
        yield f"Box: {name}", content, "- observation_space: a Box space"
    nested = spaces.Dict(a=spaces.Dict(b=spaces.Discrete(2)))
    yield (
        "empty Dict",
        with_objects(observation_space=spaces.Dict()),
        "cannot be made: AssertionError",
    )
    yield "Dict in a Dict", with_objects(observation_space=nested), "- observation_space: a Dict"
    text_space = spaces.Text(3)
    yield "Text", with_objects(observation_space=text_space), "Text may be named|is not on the list"


# --- sizes and arguments --------------------------------------------------------------------------


def _sizes():
    yield "n_steps", with_json(n_steps=10**9), "n_steps=1000000000 with 1 environments"
    yield "n_envs", with_json(n_envs=10**12), "with 1000000000000 environments"
    for name, kwargs, message in (
        ("units", {"net_arch": [10**9]}, "its net_arch is not"),
        ("many units", {"net_arch": [9_999_999, 9_999_999]}, "does not fit the policy"),
        ("layers", {"net_arch": [1] * 100_000}, "its net_arch is not"),
        ("many layers", {"net_arch": [4] * 100}, "does not fit the policy"),
        ("units of text", {"net_arch": ["4"]}, "its net_arch is not"),
        ("no units", {"net_arch": [0]}, "its net_arch is not"),
        ("deep net_arch", {"net_arch": {"pi": {"pi": [4]}}}, "its net_arch is not"),
        ("unknown argument", {"forward": 1}, "policies of SB3 have no argument forward"),
        ("features", {"features_extractor_kwargs": {"features_dim": 10**7}}, "cannot be made"),
        ("rate", {"net_arch": [4], "optimizer_kwargs": {"lr": 1.0}}, "cannot be made"),
        ("setting", {"net_arch": [4], "optimizer_kwargs": {"params": []}}, "cannot be made"),
        ("memory", {"net_arch": [4], "lstm_hidden_size": 9_999_999}, "cannot be made"),
        ("NaN", {"log_std_init": float("nan")}, "its log_std_init is not"),
        ("flag", {"ortho_init": 2}, "its ortho_init is not"),
    ):
        yield f"policy: {name}", with_json(policy_kwargs=kwargs), message
    for name, thing in (
        ("activation_fn", th.optim.Adam),
        ("activation_fn", th.nn.Tanh()),
        ("activation_fn", th.nn.Transformer),
        ("optimizer_class", th.nn.Tanh),
        ("optimizer_class", th.optim.LBFGS),
        ("features_extractor_class", th.nn.Tanh),
    ):
        content = with_objects(policy_kwargs={"net_arch": [4], name: thing})
        yield f"policy: {thing} as {name}", content, "- policy_kwargs: "
    schedule = ConstantSchedule(1.0)
    vars(schedule)["val"] = "text"
    yield "schedule of text", with_objects(learning_rate=schedule), "ConstantSchedule of str"
    vars(schedule)["val"] = float("nan")
    yield "schedule of NaN", with_objects(learning_rate=schedule), "ConstantSchedule of float"
    vars(schedule).update(val=1.0, more=1)
    yield "schedule and more", with_objects(learning_rate=schedule), "other attributes than its own"
    called = Calls(th.nn.Tanh)
    yield "listed, called", with_objects(policy_kwargs={"activation_fn": called}), "but not called"
    kwargs = pickled(pickle.dumps(OrderedDict(n_envs=10**9)))
    yield "buffer arguments", with_json(rollout_buffer_kwargs=kwargs), "- rollout_buffer_kwargs: "
