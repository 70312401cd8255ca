"""A zip of a model, looked at whole: what it holds, and of each part whether it may be loaded."""

import base64
import binascii
import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from stable_baselines3.common.save_util import open_path

from sb3_trpo.safe_loading.allow_list import Vouched
from sb3_trpo.safe_loading.archive import unpacked
from sb3_trpo.safe_loading.attributes import (
    NOT_TAKEN,
    RULES,
    STATISTICS,
    check_attribute,
)
from sb3_trpo.safe_loading.limits import (
    MAX_ATTRIBUTES,
    MAX_DATA_BYTES,
    MAX_ENTRIES,
    MAX_FILE_BYTES,
    MAX_JSON_ITEMS,
    Budget,
    Refused,
    printable,
)
from sb3_trpo.safe_loading.makers import object_of
from sb3_trpo.safe_loading.nodes import Tree
from sb3_trpo.safe_loading.pickle_tree import read_pickle
from sb3_trpo.safe_loading.tensors import TensorFile, read_tensors
from sb3_trpo.zip_format import ZipPath

PICKLED = ":serialized:"
PARAMETERS = ("policy.pth", "policy.optimizer.pth")
NO_PARAMETERS = "pytorch_variables.pth"
_MOST_DIGITS = 40


@dataclass(frozen=True)
class Attribute:
    """
    An attribute of the model, as a file has it.

    :param value: to load; None where it is refused
    :param names: what its pickle would import; empty for JSON
    :param is_pickle: it is stored as a pickle
    :param refusal: why it is not loaded; empty if it is
    :param is_left_out: the model makes it anew, and does without the file's
    """

    value: Any = None
    names: tuple[str, ...] = ()
    is_pickle: bool = False
    refusal: str = ""
    is_left_out: bool = False


@dataclass(frozen=True)
class ModelFile:
    """
    A zip of a model.

    :param entries: names to contents
    :param attributes: of the model
    :param tensors: the ``.pth`` entries that can be loaded
    :param refusals: names of ``.pth`` entries to why they cannot
    """

    entries: dict[str, bytes]
    attributes: dict[str, Attribute]
    tensors: dict[str, TensorFile] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)

    def values(self) -> dict[str, Any]:
        """
        Return what a model gets.

        :return: attributes; where it does without the file's, what it starts with
        """
        return {
            name: self._first(name) if attribute.is_left_out else attribute.value
            for name, attribute in self.attributes.items()
        }

    def _first(self, name: str) -> Any:
        if name not in STATISTICS:
            return None
        length = self.attributes.get("_stats_window_size", Attribute()).value
        return deque(maxlen=int(length) if length and 0 < length < 2**31 else 100)


def read_bytes(path: ZipPath) -> bytes:
    """
    Read a file whole, once: what was looked at is what is loaded.

    :param path: a file or an open one, which is left at the position it had
    :return: its bytes
    :raises Refused: it is too large
    """
    file = open_path(path, "r", verbose=0, suffix="zip")
    position = file.tell()
    try:
        file.seek(0)
        raw = file.read(MAX_FILE_BYTES + 1)
    finally:
        if file is path:
            file.seek(position)
        else:
            file.close()
    if len(raw) > MAX_FILE_BYTES:
        raise Refused(f"it is larger than {MAX_FILE_BYTES:,} bytes")
    return raw


def read_model_file(raw: bytes, vouched: Vouched, replaced: frozenset[str]) -> ModelFile:
    """
    Look at all of a file.

    :param raw: the zip
    :param vouched: what the user allows beyond the list
    :param replaced: attributes that the user gives, so that the file's do not matter
    :return: its parts, refused ones among them
    :raises Refused: it is no zip of a model at all
    """
    entries = unpacked(raw, max_entries=MAX_ENTRIES)
    if "data" not in entries:
        raise Refused("it is damaged, or no model of Stable-Baselines3: it has no entry 'data'")
    budget = Budget()
    attributes = {
        name: Attribute(is_left_out=True)
        if name in replaced
        else _attribute(name, value, vouched, budget)
        for name, value in _json(entries["data"]).items()
    }
    tensors, refusals = {}, {}
    for name in entries:
        if name.endswith(".pth"):
            try:
                tensors[name] = _tensors(name, entries[name], budget)
            except Refused as error:
                refusals[name] = str(error)
    return ModelFile(entries, attributes, tensors, refusals)


def _tensors(name: str, data: bytes, budget: Budget) -> TensorFile:
    if name not in (*PARAMETERS, NO_PARAMETERS):
        raise Refused("TRPO has no such parameters")
    found = read_tensors(data, budget)
    # SB3 would set them by their names, wherever these lead.
    if name == NO_PARAMETERS and found.content not in (None, {}):
        raise Refused("TRPO has no variables beside its policy's")
    if name != NO_PARAMETERS and not isinstance(found.content, dict):
        raise Refused("it is no dict of tensors")
    return found


def _attribute(name: str, stored: Any, vouched: Vouched, budget: Budget) -> Attribute:
    is_pickle = isinstance(stored, dict) and PICKLED in stored
    can_be_left_out = name in NOT_TAKEN or (name in RULES and RULES[name].can_be_left_out)
    names: tuple[str, ...] = ()
    try:
        value = stored
        if is_pickle:
            tree = _tree(stored[PICKLED], budget)
            names = tree.names
            # Of what is not taken, no object is made, either.
            value = None if name in NOT_TAKEN else object_of(tree, vouched)
        if name in NOT_TAKEN:
            raise Refused("it is not taken from files")
        check_attribute(name, value, vouched)
    except Refused as error:
        return Attribute(None, names, is_pickle, str(error), can_be_left_out)
    return Attribute(value, names, is_pickle)


def _tree(text: Any, budget: Budget) -> Tree:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise Refused(f"its pickle is not in base64: {printable(error)}") from error
    return read_pickle(data, budget)


def _json(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_DATA_BYTES:
        raise Refused(f"its entry 'data' is larger than {MAX_DATA_BYTES:,} bytes")
    if sum(data.count(mark) for mark in b",[{") > MAX_JSON_ITEMS:
        raise Refused(f"its entry 'data' has more than {MAX_JSON_ITEMS:,} items")
    try:
        found = json.loads(data.decode(), object_pairs_hook=_unique, parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise Refused(f"its entry 'data' is no JSON: {printable(error)}") from error
    if not isinstance(found, dict):
        raise Refused("its entry 'data' is no JSON of attributes")
    if len(found) > MAX_ATTRIBUTES:
        raise Refused(f"its entry 'data' has {len(found):,} attributes")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice")
    return found


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"an integer has {len(digits)} digits")
    return int(digits)
