"""The ``.pth`` entries of hostile files."""

import io
import pickle
import zipfile
from collections import OrderedDict

import torch as th

from tests.hostile_files import keys_of_one_hash
from tests.malicious import Calls
from tests.model_files import entries_of, whole_file, with_entries, zipped


class Storage:
    """A storage of a file, which may lie."""

    def __init__(self, n, key="0", kind=th.FloatStorage, location="cpu"):
        self.id = ("storage", kind, key, location, n)


class Pickler(pickle.Pickler):
    def persistent_id(self, thing):
        return thing.id if isinstance(thing, Storage) else None


def torch_file(content, storages=None, **entries):
    """What torch.save would write of something, with these storages."""
    data = io.BytesIO()
    Pickler(data, protocol=2).dump(content)
    parts = {"data.pkl": data.getvalue(), "byteorder": b"little", "version": b"3\n", **entries}
    parts.update({f"data/{key}": part for key, part in (storages or {"0": b"\0" * 64}).items()})
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, part in parts.items():
            archive.writestr(f"archive/{name}", part)
    return file.getvalue()


def view(storage, offset=0, shape=(16,), strides=(1,), grad=False, hooks=None):
    hooks = OrderedDict() if hooks is None else hooks
    return Calls(th._utils._rebuild_tensor_v2, storage, offset, shape, strides, grad, hooks)


def state_of(name):
    return th.load(io.BytesIO(entries_of(whole_file())[name]))


def saved(thing):
    file = io.BytesIO()
    th.save(thing, file)
    return file.getvalue()


def _moments(state):
    """Those of the first parameter that has any."""
    return state["state"][min(state["state"])]


def _group(state):
    return state["param_groups"][0]


def with_moments(change):
    state = state_of("policy.optimizer.pth")
    change(state)
    return with_entries(**{"policy.optimizer.pth": saved(state)})


def hostile_tensors():
    """Name, content, and what the refusal must say."""
    yield from _views()
    yield from _others()
    yield from _misfits()


def _views():
    whole = Storage(16)
    for name, tensor, message in (
        (
            "of one number",
            view(Storage(1, "1"), 0, (10**6, 10**6), (0, 0)),
            "larger than its storage",
        ),
        ("beyond the end", view(whole, 1), "larger than its storage"),
        ("far beyond the end", view(whole, 0, (2,), (10**15,)), "larger than its storage"),
        ("before the start", view(whole, -1, (2,), (1,)), "of that shape"),
        ("backwards", view(whole, 0, (2,), (-1,)), "of that shape"),
        ("of fractions", view(whole, 0, (1.5,), (1,)), "of that shape"),
        ("of many axes", view(whole, 0, (1,) * 30, (1,) * 30), "of that shape"),
        ("of two lengths", view(whole, 0, (2, 2), (1,)), "of that shape"),
        ("of a storage that lies", view(Storage(10**9)), "has 64 bytes"),
        ("of no storage", view(Storage(16, "7")), "no storage 7"),
        ("of another folder", view(Storage(16, "../data.pkl")), "no storage"),
        ("elsewhere", view(Storage(16, location="file:///etc/passwd")), "a storage on file"),
        ("of nothing", view(None), "without a storage"),
        ("of another kind", view(Storage(16, kind=th.ComplexFloatStorage)), "plain numbers"),
        ("of no kind", view(Storage(16, kind=Calls)), "plain numbers"),
        ("with hooks", view(whole, hooks=OrderedDict(a=1)), "with hooks"),
        ("with flags", view(whole, grad=3), "with attributes"),
        (
            "of two kinds",
            [view(whole), view(Storage(16, kind=th.IntStorage))],
            "storage 0 is of two kinds",
        ),
    ):
        storages = {"0": b"\0" * 64, "1": b"\0" * 4}
        content = torch_file(OrderedDict(log_std=tensor), storages)
        yield f"view {name}", with_entries(policy__pth=content), message
    keys = pickle.PROTO + b"\x02" + keys_of_one_hash(50_000) + pickle.STOP
    content = torch_file({}, **{"data.pkl": keys})
    yield "keys of one hash", with_entries(policy__pth=content), "a key that is no name"
    many = torch_file({str(i): view(Storage(16)) for i in range(100)})
    yield "many views", with_entries(policy__pth=many), "6,400 bytes of 64 stored"


def _others():
    attributes = OrderedDict()
    attributes.further = 1
    yield "tensors: thrown away", _with_a_call_in_passing(2**40), "throws the result away"
    metadata = OrderedDict()
    metadata._metadata = {"": "text"}
    orders = OrderedDict()
    orders._metadata = {"": {"version": 1, "assign_to_params_buffers": 1}}
    sparse = th.sparse_coo_tensor(th.zeros((1, 1), dtype=th.long), th.ones(1), (10,))
    for name, thing, message in (
        ("bytearray", Calls(bytearray, 10**12), "__builtin__.bytearray among tensors"),
        ("tensor by its class", Calls(th.FloatTensor, 10**10), "torch.FloatTensor among tensors"),
        ("sparse", sparse, "_rebuild_sparse_tensor among tensors"),
        ("parameter", th.nn.Parameter(th.ones(3)), "log_std must be missing, got (3,)|action_net"),
        ("attributes", attributes, "OrderedDict with attributes"),
        ("metadata", metadata, "metadata of its tensors"),
        ("orders to torch", orders, "metadata of its tensors"),
        ("set", {1, 2}, "among tensors"),
        ("bytes", b"abc", "_codecs.encode among tensors"),
        ("dtype", th.float32, "torch.float32 among tensors"),
        ("keys", {(1, 2): 3}, "no name"),
        ("key of floats", {1.5: 3}, "no name"),
    ):
        content = with_entries(policy__pth=saved(OrderedDict(log_std=thing)))
        yield f"tensors: {name}", content, message
    one = OrderedDict(log_std=view(Storage(16)))
    big = torch_file(one, byteorder=b"big")
    yield "tensors: big-endian", with_entries(policy__pth=big), "big-endian"
    for name in ("policy.pth", "policy.optimizer.pth", "pytorch_variables.pth"):
        yield (
            f"{name} of bytes",
            with_entries(**{name: b"abc"}),
            f"- {name}: it is no file of torch",
        )
        yield f"{name} of nothing", with_entries(**{name: b""}), f"- {name}: it is no file of torch"
        yield f"{name} of a number", with_entries(**{name: saved(3)}), f"- {name}: "
    yield "further.pth", with_entries(further__pth=saved({})), "TRPO has no such parameters"
    value = with_entries(pytorch_variables__pth=saved({"log_std": th.zeros(1)}))
    yield "variables", value, "no variables beside its policy's"


def _with_a_call_in_passing(n_bytes):
    """A call that torch allows, and nobody sees: of a bytearray, before the tensors."""
    inside = entries_of(entries_of(whole_file())["policy.pth"])
    name = next(name for name in inside if name.endswith("data.pkl"))
    call = b"c__builtin__\nbytearray\n" + pickle.LONG1 + b"\x06" + n_bytes.to_bytes(6, "little")
    data = inside[name]
    inside[name] = data[:2] + call + pickle.TUPLE1 + pickle.REDUCE + pickle.POP + data[2:]
    return with_entries(policy__pth=zipped(inside))


def _misfits():
    policy = state_of("policy.pth")
    first = next(iter(policy))
    for name, change, message in (
        ("missing", {first: None}, f"{first} must be"),
        ("further", {"further": th.zeros(3)}, "further must be missing, got (3,)"),
        ("another shape", {first: th.zeros(7, 7)}, f"{first} must be"),
        ("number", {first: 3.0}, "something that is no tensor"),
    ):
        state = {n: t for n, t in {**policy, **change}.items() if t is not None}
        yield f"policy: {name}", with_entries(policy__pth=saved(state)), message
    for name, change, message in (
        ("moment", lambda s: _moments(s).update(exp_avg=th.zeros(9)), "exp_avg of parameter"),
        ("huge moment", lambda s: _moments(s).update(exp_avg=th.zeros(10**6)), "of parameter"),
        ("dict as moment", lambda s: _moments(s).update(step={}), "step of parameter"),
        ("text as moment", lambda s: _moments(s).update(step="1"), "step of parameter"),
        ("no rate", lambda s: s["param_groups"][0].pop("lr"), "must have a setting lr"),
        ("NaN", lambda s: _group(s).update(eps=float("nan")), "setting eps that is no number"),
        ("three betas", lambda s: _group(s).update(betas=(0.9,) * 3), "must have a setting betas"),
        ("no parameter", lambda s: s["state"].update({99: {}}), "a state of no parameter: 99"),
        ("state of text", lambda s: s["state"].update({0: "text"}), "a state of no parameter: 0"),
        ("groups", lambda s: s["param_groups"].append({}), "other groups of parameters"),
        ("no groups", lambda s: s.pop("param_groups"), "not the state of an optimiser"),
        ("more", lambda s: s.update(more=1), "not the state of an optimiser"),
        ("few parameters", lambda s: s["param_groups"][0]["params"].pop(), "of another number"),
        (
            "text",
            lambda s: s["param_groups"][0].update(lr="text"),
            "setting lr that is no number",
        ),
    ):
        yield f"optimizer: {name}", with_moments(change), message
