"""What ``load`` does with a file before SB3 sees it."""

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from stable_baselines3.common.type_aliases import GymEnv

from sb3_trpo.safe_loading.allow_list import Vouched
from sb3_trpo.safe_loading.archive import packed
from sb3_trpo.safe_loading.fits import check_buffer, check_parameters
from sb3_trpo.safe_loading.limits import Refused, printable, reason
from sb3_trpo.safe_loading.model_file import (
    PARAMETERS,
    Attribute,
    ModelFile,
    read_bytes,
    read_model_file,
)
from sb3_trpo.zip_format import ZipPath, check_is_trpo

_READ_BY_LOAD = frozenset(
    ("policy_class", "policy_kwargs", "observation_space", "action_space", "verbose")
)
"""The file's are compared with the user's, or used before these replace them."""
_MOST_TEXT = 10_000
_NEEDED = (*sorted(_READ_BY_LOAD), "n_steps", "n_envs")


@dataclass(frozen=True)
class InertFile:
    """
    A model's file in which nothing is left that would be run.

    :param zip: the file, in memory
    :param objects: to pass as ``custom_objects``, the user's own among them
    """

    zip: io.BytesIO
    objects: dict[str, Any]


def inert(
    path: ZipPath,
    allow: Iterable[Any] | Mapping[str, Any],
    custom_objects: dict[str, Any] | None,
    *,
    changes: dict[str, Any],
    env: GymEnv | None,
) -> InertFile:
    """
    Turn a file of unknown origin into one that SB3 can load without running anything of it.

    Plain values stay JSON, objects on the list are made here and handed on as ``custom_objects``,
    tensors are written anew. No pickle of the file is left but those of its tensors, which torch
    reads with ``weights_only``.

    :param path: of the zip, or an open file
    :param allow: classes and functions beyond the list
    :param custom_objects: the user's replacements for attributes
    :param changes: further ones, which ``load`` sets last
    :param env: that the model will get
    :return: the same model
    :raises ValueError: names all that is refused, and what to pass instead
    """
    given = dict(custom_objects or {})
    changed = {name: value for name, value in changes.items() if name not in _READ_BY_LOAD}
    replaced = frozenset(given) | frozenset(changed)
    vouched = Vouched(allow)
    with errors_named(path):
        file = read_model_file(read_bytes(path), vouched, replaced)
    check_is_trpo(file.attributes, path)
    refusals = "".join(f"\n- {refusal}" for refusal in refusals_in(file))
    if refusals:
        raise ValueError(f"{path} holds what is not loaded with trusted=False:{refusals}")
    values = file.values()
    values |= {name: value for name, value in given.items() if name in values}
    with errors_named(path):
        check_sizes(file, {**values, **changed}, env)
        return InertFile(_NamedBytes(_zip(file, values), path), {**values, **given})


class _NamedBytes(io.BytesIO):
    """Bytes that messages call by the name of the file that they are from."""

    def __init__(self, content: bytes, path: ZipPath) -> None:
        super().__init__(content)
        self._path = path

    def __str__(self) -> str:
        return str(self._path)


def refusals_in(file: ModelFile) -> list[str]:
    """
    List what is not loaded, by name.

    :param file: that was looked at
    :return: one line for each attribute or entry that is refused, with what to pass instead
    """
    return [
        *(
            f"{printable(name)}: {attribute.refusal}; {_advice(name, attribute)}"
            for name, attribute in file.attributes.items()
            if attribute.refusal and not attribute.is_left_out
        ),
        *(f"{name}: {refusal}" for name, refusal in file.refusals.items()),
    ]


def _advice(name: str, attribute: Attribute) -> str:
    replacement = f'pass custom_objects={{"{printable(name)}": …}}'
    if attribute.names:
        return f"{replacement}, or allow=[…] with the class or function of yours that is meant"
    return replacement


def check_sizes(file: ModelFile, values: dict[str, Any], env: GymEnv | None = None) -> None:
    """
    Refuse a model whose parts do not fit together, before it is made.

    :param file: in which nothing is refused by name
    :param values: attributes of the model
    :param env: that it will get
    :raises Refused: says what does not fit
    """
    missing = [name for name in _NEEDED if values.get(name) is None]
    missing += [name for name in PARAMETERS[:1] if name not in file.tensors]
    if missing:
        raise Refused(f"it has no {missing[0]}")
    n_envs = values["n_envs"] if env is None else getattr(env, "num_envs", 1)
    check_buffer(values, int(n_envs))
    policy, optimizer = (file.tensors.get(name) for name in PARAMETERS)
    if policy is not None:
        moments = None if optimizer is None else optimizer.content
        check_parameters(values, policy.content, moments)


def _zip(file: ModelFile, values: dict[str, Any]) -> bytes:
    plain = {n: v if _is_plain(v) else type(v).__name__ for n, v in values.items()}
    entries = {"data": json.dumps(plain).encode()}
    for name, content in file.entries.items():
        if name in file.tensors:
            entries[name] = file.tensors[name].written()
        elif name == "system_info.txt":
            entries[name] = _readable(content)  # which load prints on request
        elif name != "data":
            entries[name] = content  # SB3 reads none of them
    return packed(entries)


def _readable(text: bytes) -> bytes:
    lines = text[:_MOST_TEXT].decode(errors="replace").splitlines()
    return "\n".join(printable(line) for line in lines).encode()


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float))


@contextmanager
def errors_named(path: ZipPath) -> Iterator[None]:
    """Turn whatever error a file's contents lead to into a ValueError that names the file."""
    try:
        yield
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise  # it was not read at all
    except Exception as error:
        raise ValueError(f"{path} cannot be loaded: {reason(error, 500)}") from error
