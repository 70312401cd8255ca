"""The malicious files, all of them: kinds of attacks put into the places of a model's file."""

import functools
import io
import json
import os
import pickle

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.policies import ActorCriticPolicy

from tests.malicious import (
    EXTENSION,
    MARK,
    Calls,
    Malicious,
    changing_a_class,
    load_and_learn,
    load_statistics,
    load_statistics_in_the_zip,
    load_tensors,
    load_with_the_extension,
    made_by_calls,
    made_by_opcodes,
    text,
    with_code_in_the_file,
)
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


def malicious_files(canary):
    """All of them; those that leave a file leave ``canary``."""
    system = Calls(os.system, f"touch {canary}")
    for kind, objects in made_by_calls(canary).items():
        for name, thing in objects.items():
            yield Malicious(kind, name, with_objects(policy_kwargs=thing))
    for attribute in sorted(attributes_of(whole_file()).keys() - {"policy_kwargs"}):
        yield Malicious("every attribute", attribute, with_objects(**{attribute: system}))
    yield Malicious("every attribute", "one that is new", with_objects(something=system))
    for name, data in made_by_opcodes(canary).items():
        yield Malicious("opcodes", name, with_pickles(policy_kwargs=data))
    extension = b"\x80\x04" + pickle.EXT4 + EXTENSION.to_bytes(4, "little")
    extension += text(f"touch {canary}") + pickle.TUPLE1 + pickle.REDUCE + pickle.STOP
    yield Malicious(
        "opcodes", "EXT4", with_pickles(policy_kwargs=extension), load_with_the_extension
    )
    for name, objects in with_code_in_the_file(canary).items():
        content = with_objects(**objects)
        yield Malicious("code in the file", name, content, load_and_learn)
    yield from _tensors(system)
    yield from _statistics(system)
    yield from _archives(system)
    yield from _listed_names(canary)
    yield from _attributes(canary)


def _saved(thing, **options):
    file = io.BytesIO()
    th.save(thing, file, **options)
    return file.getvalue()


def _tensors(system):
    for name in ("policy.pth", "policy.optimizer.pth", "pytorch_variables.pth", "more.pth"):
        content = with_entries(**{name: _saved({"log_std": system})})
        yield Malicious("tensors", name, content, load_tensors)
    old = _saved({"log_std": system}, _use_new_zipfile_serialization=False)
    yield Malicious("tensors", "form of torch < 1.6", with_entries(policy__pth=old), load_tensors)
    entries = entries_of(entries_of(whole_file())["policy.pth"])
    name = next(name for name in entries if name.endswith("data.pkl"))
    call = pickle.dumps(system, protocol=2)[2:-1] + pickle.POP
    entries[name] = entries[name][:2] + call + entries[name][2:]
    content = with_entries(policy__pth=zipped(entries))
    yield Malicious("tensors", "thrown away before the tensors", content, load_tensors)
    among = {**th.load(io.BytesIO(entries_of(whole_file())["policy.pth"])), "more": system}
    content = with_entries(policy__pth=_saved(among))
    yield Malicious("tensors", "among others", content, load_tensors)


def _statistics(system):
    yield Malicious("VecNormalize", "a pickle", pickle.dumps(system), load_statistics)
    inside = pickle.dumps({"obs_rms": {"mean": np.zeros(3), "var": system}})
    yield Malicious("VecNormalize", "deep in a pickle", inside, load_statistics)
    content = with_entries(vec_normalize__pkl=inside)
    yield Malicious("VecNormalize", "in the zip", content, load_statistics_in_the_zip)


def _archives(system):
    entries = [*entries_of(whole_file()).items()]
    attributes = attributes_of(whole_file())
    attributes["policy_kwargs"] = pickled(pickle.dumps(system))
    second = ("data", json.dumps(attributes).encode())
    yield Malicious("names twice", "data, innocent first", zipped([*entries, second]))
    tensors = ("policy.pth", _saved(system))
    content = zipped([*entries, tensors])
    yield Malicious("names twice", "policy.pth, innocent first", content, load_tensors)
    twice = (
        json.dumps(attributes)[:-1]
        + f', "policy_kwargs": {json.dumps(pickled(pickle.dumps(system)))}}}'
    )
    yield Malicious("names twice", "an attribute in JSON", with_entries(data=twice.encode()))


def _listed_names(canary):
    kind = "names of the list"
    content = with_pickles(rollout_buffer_class=changing_a_class())
    yield Malicious(
        kind,
        "BUILD on a class",
        content,
        has_changed=lambda _: hasattr(RolloutBuffer, MARK),
        restore=lambda: hasattr(RolloutBuffer, MARK) and delattr(RolloutBuffer, MARK),
    )
    space = spaces.Discrete(2)
    space.__dict__.update(sample=MARK)
    yield Malicious(
        kind,
        "a space with a sample of its own",
        with_objects(action_space=space),
        has_changed=lambda model: model is not None and model.action_space.sample == MARK,
    )
    partial = functools.partial(os.system, f"touch {canary}")
    kwargs = {"net_arch": [4], "activation_fn": partial}
    yield Malicious(kind, "partial as activation_fn", with_objects(policy_kwargs=kwargs))
    variables = {"policy.__class__": th.zeros(1)}
    yield Malicious(
        kind,
        "a variable that leads to a class",
        with_entries(pytorch_variables__pth=_saved(variables)),
        has_changed=lambda _: "data" in vars(ActorCriticPolicy),
        restore=lambda: "data" in vars(ActorCriticPolicy) and delattr(ActorCriticPolicy, "data"),
    )


def _attributes(canary):
    for name in ("predict", "learn", "_excluded_save_params"):
        yield Malicious(
            "attributes",
            f"{name} in JSON",
            with_json(**{name: MARK}),
            has_changed=lambda model, name=name: getattr(model, name, None) == MARK,
        )
    content = with_json(tensorboard_log=str(canary))
    yield Malicious("attributes", "a folder for the log", content, load_and_learn)
