"""Saved models, whole or with parts replaced, as bytes."""

import base64
import functools
import io
import json
import zipfile

import cloudpickle
import numpy as np
from gymnasium import spaces

from sb3_trpo import TRPO
from tests.test_interop import Anything

SMALL = {"n_steps": 8, "batch_size": 4, "n_critic_updates": 1, "device": "cpu", "seed": 0}
VECTOR = spaces.Box(-1, 1, (3,), np.float32)
PICKLED = ":serialized:"


def small_model(**changes):
    options = {"policy_kwargs": {"net_arch": [4]}, **SMALL, **changes}
    return TRPO("MlpPolicy", Anything(VECTOR, spaces.Discrete(2)), **options)


def saved(model):
    file = io.BytesIO()
    model.save(file)
    return file.getvalue()


@functools.cache
def whole_file():
    """A small model after two updates."""
    return saved(small_model().learn(16))


def entries_of(raw):
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(entries):
    """A zip; entries may be a list of pairs, with names twice."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in entries.items() if isinstance(entries, dict) else entries:
            archive.writestr(name, content)
    return file.getvalue()


def with_entries(**changes):
    """The small model with some entries replaced; names with __ for dots."""
    entries = {**entries_of(whole_file())}
    entries.update({name.replace("__", "."): content for name, content in changes.items()})
    return zipped({name: content for name, content in entries.items() if content is not None})


def attributes_of(raw):
    return json.loads(entries_of(raw)["data"])


def with_json(**attributes):
    """The small model with some attributes replaced by JSON."""
    return with_entries(data=json.dumps({**attributes_of(whole_file()), **attributes}))


def pickled(data):
    """What SB3 stores of a pickle."""
    return {":type:": "<class 'object'>", PICKLED: base64.b64encode(data).decode()}


def with_pickles(**pickles):
    """The small model with some attributes replaced by pickles."""
    return with_json(**{name: pickled(data) for name, data in pickles.items()})


def with_objects(**objects):
    """The same, of objects as SB3 would pickle them."""
    return with_pickles(**{name: cloudpickle.dumps(thing) for name, thing in objects.items()})
