"""
Files that do something when SB3 or torch load them, each with a canary.

A canary is a file that appears, or a class or model that has changed: code of the file has run, or
its data went where no data belongs.
"""

import codecs
import copyreg
import functools
import io
import marshal
import operator
import os
import pickle
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch as th
from gymnasium import spaces
from numpy.f2py import crackfortran
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_trpo import TRPO
from tests.model_files import (
    VECTOR,
    entries_of,
)
from tests.test_interop import Anything, quietly

EXTENSION = 0x7FFF0001  # of pickle's registry; nobody's
MARK = "_canary_of_sb3_trpo"


def load(path):
    return quietly(TRPO.load, path, device="cpu")


def load_and_learn(path):
    env = Anything(VECTOR, spaces.Discrete(2))
    return quietly(TRPO.load, path, env, device="cpu").learn(8)


def load_tensors(path):
    """As torch < 2.6 does unless it is told otherwise."""
    for name, content in entries_of(path.read_bytes()).items():
        if name.endswith(".pth"):
            th.load(io.BytesIO(content), weights_only=False)


def load_statistics(path):
    VecNormalize.load(str(path), DummyVecEnv([lambda: Anything(VECTOR, spaces.Discrete(2))]))


def load_statistics_in_the_zip(path):
    pickle.loads(entries_of(path.read_bytes())["vec_normalize.pkl"])


def load_with_the_extension(path):
    copyreg.add_extension("posix", "system", EXTENSION)
    try:
        load(path)
    finally:
        copyreg.remove_extension("posix", "system", EXTENSION)


def nothing():
    pass


@dataclass(frozen=True)
class Malicious:
    """A file, what sets it off, and how one knows that it went off."""

    kind: str
    name: str
    content: bytes
    set_off: Callable = load
    has_changed: Callable | None = None  # of what set_off returns; None: the canary is a file
    restore: Callable = nothing


class Calls:
    """An object that pickle makes by a call."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments

    def __call__(self):
        """For pickle, which wants what it calls to be callable: here the result of a call."""


def made_by_calls(canary):
    """Objects whose unpickling leaves the canary, by kind and name."""
    shell, code = f"touch {canary}", f"open({str(canary)!r}, 'w').close()"
    system = Calls(os.system, shell)
    by_torch = io.BytesIO()
    th.save(system, by_torch)
    import_os = Calls(__import__, "os")
    marshalled = Calls(marshal.loads, marshal.dumps(compile(code, "x", "exec")))
    rot13 = Calls(codecs.decode, codecs.encode(code, "rot13"), "rot13")
    return {
        "shell": {
            "os.system": system,
            "subprocess.check_call": Calls(subprocess.check_call, ["touch", str(canary)]),
            "os.popen": Calls(Calls(getattr, Calls(os.popen, shell), "read")),
            "os.mkdir": Calls(os.mkdir, str(canary)),
        },
        "builtins": {
            "eval": Calls(eval, code),
            "exec": Calls(exec, code),
            "open": Calls(open, str(canary), "w"),
            "exec of rot13": Calls(exec, rot13),
            "exec of marshalled code": Calls(exec, marshalled),
            "map": Calls(list, Calls(map, os.system, [shell])),
        },
        "getattr chains": {
            "of an import": Calls(Calls(getattr, import_os, "system"), shell),
            "through a dict": Calls(
                Calls(operator.getitem, Calls(vars, import_os), "system"), shell
            ),
            "operator.attrgetter": Calls(Calls(operator.attrgetter("system"), import_os), shell),
            "operator.methodcaller": Calls(operator.methodcaller("system", shell), import_os),
            "functools.partial": Calls(functools.partial(os.system, shell)),
            "functools.reduce": Calls(
                Calls(functools.reduce, getattr, ["path", "os", "system"], import_os), shell
            ),
        },
        "nested pickles": {
            "pickle.loads": Calls(pickle.loads, pickle.dumps(system)),
            "pickle.load": Calls(pickle.load, Calls(io.BytesIO, pickle.dumps(system))),
            "torch.load": Calls(th.storage._load_from_bytes, by_torch.getvalue()),
        },
        "numpy": {
            "array of objects": np.array([system, system], dtype=object),
            "structured array of objects": np.array([(1, system)], dtype=[("a", "i4"), ("b", "O")]),
            "numpy.testing": Calls(np.testing._private.utils.runstring, code, {}),
            "numpy.f2py": Calls(crackfortran.myeval, code),
        },
    }


def text(string):
    return pickle.BINUNICODE + struct.pack("<I", len(string)) + string.encode()


def made_by_opcodes(canary):
    """Pickles that no pickler writes, by name; each leaves the canary."""
    shell = text(f"touch {canary}")
    memo = pickle.MEMOIZE + pickle.POP
    system = text("posix") + text("system") + pickle.STACK_GLOBAL
    call = shell + pickle.TUPLE1 + pickle.REDUCE
    listed = text(FlattenExtractor.__module__) + text("FlattenExtractor") + pickle.STACK_GLOBAL
    schedule = text("stable_baselines3.common.utils") + text("ConstantSchedule")
    schedule += pickle.STACK_GLOBAL + pickle.EMPTY_TUPLE + pickle.NEWOBJ
    own_setstate = pickle.EMPTY_DICT + text("__setstate__") + system + pickle.SETITEM

    def consumed(new):
        """A frozenset of the results of a map: made without a REDUCE."""
        builtin = [text("builtins") + text(n) + pickle.STACK_GLOBAL for n in ("frozenset", "map")]
        one = pickle.EMPTY_LIST + shell + pickle.APPEND
        mapped = builtin[1] + system + one + pickle.TUPLE2 + new
        return builtin[0] + mapped + pickle.TUPLE1 + new

    bodies = {
        "GLOBAL": b"cposix\nsystem\n" + call,
        "names from the memo": text("posix")
        + memo
        + text("system")
        + memo
        + pickle.BINGET
        + b"\0"
        + pickle.BINGET
        + b"\1"
        + pickle.STACK_GLOBAL
        + call,
        "INST": pickle.MARK + shell + b"iposix\nsystem\n",
        "OBJ": pickle.MARK + system + shell + pickle.OBJ,
        "NEWOBJ": consumed(pickle.NEWOBJ),
        "NEWOBJ_EX": consumed(pickle.EMPTY_DICT + pickle.NEWOBJ_EX),
        "result thrown away": system + call + pickle.POP + listed,
        "result thrown away beside a sound value": system
        + call
        + pickle.POP
        + pickle.EMPTY_DICT
        + text("net_arch")
        + pickle.EMPTY_LIST
        + pickle.BININT1
        + b"\x04"
        + pickle.APPEND
        + pickle.SETITEM,
        "call inside a memo": pickle.MARK
        + system
        + call
        + pickle.MEMOIZE
        + pickle.POP_MARK
        + listed,
        "texts of protocol 0": b"cposix\nsystem\n(S'touch " + str(canary).encode() + b"'\ntR",
        "state after a __setstate__ of its own": schedule
        + own_setstate
        + pickle.BUILD
        + shell
        + pickle.BUILD,
    }
    return {name: b"\x80\x04" + body + pickle.STOP for name, body in bodies.items()}


def changing_a_class():
    """A pickle of listed names alone: BUILD sets attributes of the class that it names."""
    slots = pickle.EMPTY_DICT + text(MARK) + pickle.NEWTRUE + pickle.SETITEM
    body = text(RolloutBuffer.__module__) + text("RolloutBuffer") + pickle.STACK_GLOBAL
    return b"\x80\x04" + body + pickle.NONE + slots + pickle.TUPLE2 + pickle.BUILD + pickle.STOP


def with_code_in_the_file(canary):
    """Classes and functions with their code, as cloudpickle stores what a script defined."""
    path = str(canary)

    def touch():
        open(path, "w").close()

    def schedule(progress):  # noqa: ARG001
        touch()
        return 1e-3

    def activation():
        touch()
        return th.nn.Tanh()

    def optimizer(parameters, **kwargs):
        touch()
        return th.optim.Adam(parameters, **kwargs)

    class Extractor(FlattenExtractor):
        def __init__(self, space):
            touch()
            super().__init__(space)

    class Policy(ActorCriticPolicy):
        def __init__(self, *args, **kwargs):
            touch()
            super().__init__(*args, **kwargs)

    class Buffer(RolloutBuffer):
        def reset(self):
            touch()
            super().reset()

    return {
        "learning_rate": {"learning_rate": schedule},
        "activation_fn": {"policy_kwargs": {"net_arch": [4], "activation_fn": activation}},
        "optimizer_class": {"policy_kwargs": {"net_arch": [4], "optimizer_class": optimizer}},
        "features_extractor_class": {
            "policy_kwargs": {"net_arch": [4], "features_extractor_class": Extractor}
        },
        "policy_class": {"policy_class": Policy},
        "rollout_buffer_class": {"rollout_buffer_class": Buffer},
        "target_kl": {"target_kl": schedule},
    }
