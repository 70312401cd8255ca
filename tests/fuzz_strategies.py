"""Files that chance has changed: bytes of a file, of its parts, and their structure."""

import base64
import functools
import io
import json
import struct
import zipfile
from collections import OrderedDict

import cloudpickle
import numpy as np
import sb3_contrib
import torch as th
from gymnasium import spaces
from hypothesis import strategies as st
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_trpo import TRPO, MaskableTRPO, RecurrentTRPO
from sb3_trpo.normalizer_statistics import OPTIONS
from sb3_trpo.safe_loading.allow_list import (
    _LISTED,
    ACTIVATIONS,
    EXTRACTORS,
    OPTIMIZERS,
    POLICIES,
    listed,
)
from sb3_trpo.safe_loading.attributes import RULES
from sb3_trpo.safe_loading.makers import MAKERS
from tests.hostile_tensors import Storage, torch_file, view
from tests.malicious import text
from tests.model_files import (
    PICKLED,
    SMALL,
    attributes_of,
    entries_of,
    pickled,
    saved,
    whole_file,
    zipped,
)
from tests.test_interop import VECTOR, Anything, make

DANGEROUS = (
    *("posix.system", "os.system", "subprocess.Popen", "builtins.eval", "builtins.exec"),
    *("builtins.getattr", "builtins.open", "builtins.__import__", "functools.partial"),
    *("operator.attrgetter", "cloudpickle.cloudpickle._make_function", "pickle.loads"),
    *("cloudpickle.cloudpickle._make_skeleton_class", "torch.storage._load_from_bytes"),
)
NAMES = (*sorted(_LISTED), *sorted(MAKERS), *DANGEROUS)


@functools.cache
def base_files():
    """Models of several kinds, to start from."""
    small = {**SMALL, "policy_kwargs": {"net_arch": [3], "activation_fn": th.nn.ReLU}}
    memory = {**SMALL, "policy_kwargs": {"net_arch": [3], "lstm_hidden_size": 3}}
    return (
        whole_file(),
        saved(make(sb3_contrib.TRPO, "gsde", **small)[0].learn(8)),
        saved(make(sb3_contrib.TRPO, "dict", **small)[0]),
        saved(make(MaskableTRPO, "multi_discrete", **small)[0]),
        saved(RecurrentTRPO("MlpLstmPolicy", make(MaskableTRPO, "discrete")[1], **memory)),
        saved(TRPO("MlpPolicy", VecNormalize(DummyVecEnv([walking])), **small).learn(8)),
    )


def walking():
    return Anything(VECTOR, spaces.Discrete(2))


# --- bytes ----------------------------------------------------------------------------------------


@st.composite
def edited(draw, content):
    """Some bytes overwritten, taken out, put in, repeated or cut off."""
    content = bytearray(content)
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, max(len(content) - 1, 0)))
        length = draw(st.sampled_from((0, 1, 1, 1, 2, 4, 8, 64)))
        how = draw(st.sampled_from(("flip", "write", "take", "put", "repeat", "cut")))
        if how == "flip" and content:
            content[place] ^= 1 << draw(st.integers(0, 7))
        elif how == "write":
            content[place : place + length] = draw(st.binary(min_size=length, max_size=length))
        elif how == "take":
            del content[place : place + length]
        elif how == "put":
            content[place:place] = draw(st.binary(max_size=length))
        elif how == "repeat":
            content[place:place] = content[place : place + length]
        elif draw(st.integers(0, 9)) == 0:
            del content[place:]
    return bytes(content)


def edited_file():
    return st.sampled_from(base_files()).flatmap(edited)


@st.composite
def edited_entry(draw):
    """A part of a file is changed, and its checksums with it."""
    entries = entries_of(draw(st.sampled_from(base_files())))
    name = draw(st.sampled_from(sorted(entries)))
    content = entries[name]
    if name.endswith(".pth") and draw(st.booleans()):
        inside = entries_of(content)
        inner = draw(st.sampled_from(("archive/data.pkl", *sorted(inside)[:3])))
        inside[inner] = draw(edited(inside[inner]))
        entries[name] = zipped(inside)
    else:
        entries[name] = draw(edited(content))
    return zipped(entries)


@st.composite
def edited_pickle(draw):
    """The pickle of an attribute is changed."""
    raw = draw(st.sampled_from(base_files()))
    attributes = attributes_of(raw)
    stored = [n for n, v in attributes.items() if isinstance(v, dict) and PICKLED in v]
    name = draw(st.sampled_from(stored))
    data = pickle_of(attributes[name])
    other = pickle_of(attributes[draw(st.sampled_from(stored))])
    data = draw(st.sampled_from((data, data, other)))
    return with_attributes(raw, {name: pickled(draw(edited(data)))})


def pickle_of(stored):
    return base64.b64decode(stored[PICKLED])


def with_attributes(raw, changes):
    entries = entries_of(raw)
    entries["data"] = json.dumps({**json.loads(entries["data"]), **changes})
    return zipped(entries)


# --- structure ------------------------------------------------------------------------------------

NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70), st.integers(-2, 300), st.floats(), st.booleans(), st.none()
)
JSON = st.recursive(
    st.one_of(NUMBERS, st.text(max_size=5)),
    lambda inside: st.one_of(
        st.lists(inside, max_size=3),
        st.dictionaries(
            st.sampled_from((PICKLED, "pi", "vf", "a", "net_arch")), inside, max_size=3
        ),
    ),
    max_leaves=8,
)


@st.composite
def other_json(draw):
    """Attributes are other JSON, are gone, or are new."""
    raw = draw(st.sampled_from(base_files()))
    names = st.sampled_from((*sorted(RULES), "env", "predict", "__class__", "__dict__"))
    changes = draw(st.dictionaries(names, JSON, min_size=1, max_size=3))
    entries = entries_of(raw)
    attributes = {**json.loads(entries["data"]), **changes}
    for name in draw(st.lists(st.sampled_from(sorted(attributes)), max_size=1)):
        del attributes[name]
    entries["data"] = json.dumps(attributes)
    return zipped(entries)


def _global(name):
    module, _, attribute = name.rpartition(".")
    return text(module) + text(attribute) + b"\x93"


def assembled(canary):
    """Opcodes for a random object: listed and dangerous names, called and set at random."""
    shell = f"touch {canary}"
    global_ = st.sampled_from(NAMES).map(_global)
    fatal = st.sampled_from(DANGEROUS).map(lambda name: _global(name) + text(shell) + b"\x85R")
    leaf = st.one_of(
        st.sampled_from((b"N", b"\x88", b"\x89", b")", b"]", b"}", b"\x8f")),
        st.integers(0, 255).map(lambda n: b"K" + bytes([n])),
        st.integers(-(2**31), 2**31 - 1).map(lambda n: b"J" + struct.pack("<i", n)),
        st.floats().map(lambda x: b"G" + struct.pack(">d", x)),
        st.binary(max_size=16).map(lambda b: b"C" + bytes([len(b)]) + b),
        st.sampled_from((shell, "f4", "<", "C", "low", "high", "n", "pi", "__setstate__")).map(
            text
        ),
        global_,
        fatal,
        st.integers(0, 3).map(lambda n: b"h" + bytes([n])),
    )

    def larger(inside):
        pairs = st.lists(inside, max_size=4).map(lambda x: b"(" + b"".join(x))
        tuple_ = pairs.map(lambda body: body + b"t")
        arguments = st.one_of(tuple_, inside.map(lambda one: one + b"\x85"))
        call = st.tuples(st.one_of(global_, global_, inside), arguments).map(b"".join)
        made = st.one_of(call.map(lambda c: c + b"R"), call.map(lambda c: c + b"\x81"))
        dict_ = pairs.map(lambda body: b"}" + body + b"u")
        return st.one_of(
            tuple_,
            pairs.map(lambda body: b"]" + body + b"e"),
            dict_,
            made,
            st.tuples(made, st.one_of(dict_, inside)).map(lambda two: b"".join(two) + b"b"),
            inside.map(lambda body: body + b"\x94"),
            st.tuples(inside, inside).map(lambda two: two[0] + b"0" + two[1]),
        )

    return st.recursive(leaf, larger, max_leaves=25).map(lambda body: b"\x80\x04" + body + b".")


@st.composite
def other_objects(draw, canary):
    """An attribute is the pickle of a random object."""
    raw = draw(st.sampled_from(base_files()))
    name = draw(st.sampled_from(sorted(attributes_of(raw))))
    return with_attributes(raw, {name: pickled(draw(assembled(canary)))})


@st.composite
def other_tensors(draw):
    """The policy's tensors have other shapes, steps, storages."""
    raw = draw(st.sampled_from(base_files()))
    entries = entries_of(raw)
    tensors = th.load(io.BytesIO(entries["policy.pth"]))
    changed = draw(st.sets(st.sampled_from(sorted(tensors)), max_size=2))
    content, storages = OrderedDict(), {}
    for key, (name, tensor) in enumerate(tensors.items()):
        storage = Storage(tensor.numel(), str(key))
        storages[str(key)] = tensor.numpy().tobytes()
        content[name] = view(storage, 0, tuple(tensor.shape), tensor.stride())
        if name in changed:
            content[name] = draw(_other_view(tensor, str(key)))
    entries["policy.pth"] = torch_file(content, storages)
    return zipped(entries)


@st.composite
def _other_view(draw, tensor, key):
    n = tensor.numel()
    sizes = st.lists(st.integers(-1, 2**40) | st.integers(0, 4), max_size=3).map(tuple)
    kinds = (th.FloatStorage, th.FloatStorage, th.IntStorage, th.DoubleStorage, th.BoolStorage)
    storage = Storage(
        draw(st.sampled_from((n, n, n, 0, 10**12))), key, draw(st.sampled_from(kinds))
    )
    shape = draw(st.just(tuple(tensor.shape)) | sizes)
    return view(storage, draw(st.integers(-1, 2)), shape, draw(st.just(tensor.stride()) | sizes))


@st.composite
def other_moments(draw):
    """The optimiser has other settings and moments."""
    entries = entries_of(draw(st.sampled_from(base_files()[:2])))
    name = "policy.optimizer.pth"
    state = th.load(io.BytesIO(entries[name]))
    values = NUMBERS | st.text(max_size=3) | st.lists(NUMBERS, max_size=3).map(tuple)
    values |= st.integers(0, 3).map(th.zeros) | st.integers(0, 3).map(lambda n: th.ones(n, n))
    places = [state, *state["param_groups"], *state["state"].values()]
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(places))
        key = draw(st.sampled_from((*place, "params", "betas", "step", "fused", "more", 0, 99)))
        if draw(st.integers(0, 4)):
            place[key] = draw(values)
        else:
            place.pop(key, None)
    file = io.BytesIO()
    th.save(state, file)
    entries[name] = file.getvalue()
    return zipped(entries)


# --- objects of the list, with other contents ---------------------------------------------------

ARRAYS = st.tuples(
    st.sampled_from(("f4", "f8", "i8", "u1", "b1")),
    st.lists(st.integers(0, 4), max_size=3),
    st.sampled_from((0, 1, -1, 2, 255, float("nan"), float("inf"))),
).map(lambda x: np.full(x[1], x[2] if x[0][0] == "f" else int(x[2] == 1), x[0]))


@st.composite
def other_space(draw):
    """A space has other attributes than its class gives it."""
    raw = draw(st.sampled_from(base_files()))
    name = draw(st.sampled_from(("observation_space", "action_space")))
    space = cloudpickle.loads(pickle_of(attributes_of(raw)[name]))
    made = draw(
        st.sampled_from(
            (
                space,
                spaces.Box(0, 255, (1, 36, 36), np.uint8),
                spaces.MultiDiscrete([2, 3]),
                spaces.MultiBinary(3),
                spaces.Discrete(3),
                spaces.Dict(a=spaces.Box(-1, 1, (2,)), b=spaces.Discrete(2)),
            )
        )
    )
    values = NUMBERS | ARRAYS | st.lists(st.integers(-1, 2**62), max_size=12).map(tuple)
    values |= st.just(space) | st.dictionaries(st.text(max_size=3), st.just(space), max_size=2)
    values |= st.sampled_from(("f4", np.dtype("f4"), np.dtype("i8"), np.dtype("O")))
    known = (*vars(made), "_shape", "dtype", "n", "nvec", "start", "low", "spaces", "sample")
    for key in draw(st.lists(st.sampled_from(known), max_size=2)):
        vars(made)[key] = draw(values)
    return with_attributes(raw, {name: pickled(cloudpickle.dumps(made))})


@st.composite
def other_arguments(draw):
    """The policy gets other arguments: classes of the list and their settings."""
    raw = draw(st.sampled_from(base_files()))
    classes = st.sampled_from((*EXTRACTORS, *ACTIVATIONS, *OPTIMIZERS, *POLICIES)).map(listed)
    small = st.integers(-1, 12) | NUMBERS
    settings = st.sampled_from(
        (*("lr", "eps", "betas", "momentum", "fused", "features_dim", "dropout", "bias"),)
    )
    values = {
        **dict.fromkeys(("activation_fn", "optimizer_class", "features_extractor_class"), classes),
        **dict.fromkeys(
            ("optimizer_kwargs", "features_extractor_kwargs", "lstm_kwargs"),
            st.dictionaries(settings, small | st.tuples(small, small), max_size=2),
        ),
        "net_arch": st.lists(small, max_size=4)
        | st.dictionaries(st.sampled_from(("pi", "vf")), st.lists(small, max_size=3)),
        **dict.fromkeys(("lstm_hidden_size", "n_lstm_layers", "log_std_init"), small),
        **dict.fromkeys(("use_sde", "full_std", "squash_output", "shared_lstm"), st.booleans()),
        **dict.fromkeys(("normalize_images", "share_features_extractor"), st.booleans()),
    }
    kwargs = attributes_of(raw)["policy_kwargs"]
    if PICKLED in kwargs:
        kwargs = cloudpickle.loads(pickle_of(kwargs))
    for name in draw(st.lists(st.sampled_from(sorted(values)), max_size=3)):
        kwargs[name] = draw(values[name])
    return with_attributes(raw, {"policy_kwargs": pickled(cloudpickle.dumps(kwargs))})


@st.composite
def other_statistics(draw):
    """The statistics of a VecNormalize are other arrays and other JSON."""
    entries = entries_of(base_files()[-1])
    name = draw(st.sampled_from(("vec_normalize.json", "vec_normalize.npz")))
    if draw(st.booleans()):
        entries[name] = draw(edited(entries[name]))
        return zipped(entries)
    array = draw(ARRAYS)
    inside = {"array": draw(st.integers(-1, 3))}
    scalar = {"scalar": [draw(st.sampled_from(("i1", "f4", "O", "U9", "V0"))), draw(JSON)]}
    options = st.sampled_from((*OPTIONS, "options", "rewards", "observations"))
    found = {"dict": {"a": inside}}
    if draw(st.booleans()):
        found = json.loads(entries["vec_normalize.json"])
        place = found["dict"]
        if draw(st.booleans()):
            place = place["options"]["dict"]
        place[draw(options)] = draw(st.sampled_from((inside, scalar, draw(JSON))))
    entries["vec_normalize.json"] = json.dumps(found).encode()
    if draw(st.booleans()):
        file = io.BytesIO()
        np.savez(file, a0=array, a1=array)
        entries["vec_normalize.npz"] = file.getvalue()
    return zipped(entries)


HEADER_FIELDS = (
    *("header_offset", "file_size", "compress_size", "CRC", "flag_bits"),
    *("compress_type", "external_attr"),
)


@st.composite
def other_archive(draw):
    """Headers of the zip say something else."""
    entries = entries_of(draw(st.sampled_from(base_files())))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", draw(st.sampled_from((0, 8)))) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
        for _ in range(draw(st.integers(1, 3))):
            entry = draw(st.sampled_from(archive.filelist))
            field = draw(st.sampled_from(HEADER_FIELDS))
            most = {"flag_bits": 2**16 - 1, "compress_type": 99}.get(field, 2**32 - 2)
            value = draw(st.integers(0, most) | st.integers(0, 100))
            setattr(entry, field, value if field != "header_offset" else value % 10_000)
            if draw(st.booleans()):
                archive.filelist.append(draw(st.sampled_from(archive.filelist)))
    return file.getvalue()


def kinds_of_changes(canary):
    """Name to strategy."""
    return {
        "bytes of the file": edited_file(),
        "bytes of an entry": edited_entry(),
        "bytes of a pickle": edited_pickle(),
        "JSON": other_json(),
        "objects": other_objects(canary),
        "tensors": other_tensors(),
        "moments of the optimiser": other_moments(),
        "spaces": other_space(),
        "arguments of the policy": other_arguments(),
        "statistics of VecNormalize": other_statistics(),
        "headers of the zip": other_archive(),
    }
