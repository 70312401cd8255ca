"""Which zip files are TRPO's, and what a file of sb3_contrib means by its numbers."""

import io
import json
import pathlib
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.save_util import load_from_zip_file, open_path

from sb3_trpo.policies import with_separate_extractors
from sb3_trpo.safe_loading.archive import READ_ERRORS, check_listed

ZipPath = str | pathlib.Path | io.BufferedIOBase


def read_header(path: ZipPath) -> dict[str, Any]:
    """
    Read the attributes of a saved model as raw JSON, unpickling nothing.

    :param path: a file or an open one, which is left at the position it had
    :return: attribute names to JSON values
    :raises ValueError: it is damaged, or no zip of a model
    """
    with _whole_zip(path) as archive:
        names = archive.namelist()
        # Cut off, it may look like a zip that was inside.
        for name in ("data", "policy.pth"):
            if name not in names:
                raise ValueError(f"it has no entry {name!r}")
        header = json.loads(archive.read("data"))
        if not isinstance(header, dict):
            raise ValueError("its entry 'data' is no JSON of attributes")
        return header


def check_whole(path: ZipPath) -> None:
    """
    Refuse a damaged file, before its parameters are used.

    :param path: a file or an open one, which is left at the position it had
    :raises ValueError: it is damaged, or no zip of a model
    """
    with _whole_zip(path) as archive:
        if not any(name.endswith(".pth") for name in archive.namelist()):
            raise ValueError("it has no entry of parameters")


@contextmanager
def _whole_zip(path: ZipPath) -> Iterator[zipfile.ZipFile]:
    file = open_path(path, "r", verbose=0, suffix="zip")
    position = file.tell()
    try:
        with zipfile.ZipFile(file) as archive:
            check_listed(archive)
            damaged = archive.testzip()
            if damaged is not None:
                raise ValueError(f"its entry {damaged!r} does not have its checksum")
            yield archive
    except READ_ERRORS as error:
        what = "damaged, or no zip of a model of Stable-Baselines3"
        raise ValueError(f"{path} is {what}: {error}") from error
    finally:
        if file is path:
            file.seek(position)
        else:
            file.close()


def check_is_trpo(header: Mapping[str, Any], path: ZipPath) -> None:
    """
    Refuse the files of other algorithms, which name none but differ in their attributes.

    :param header: of the file
    :param path: for the message
    :raises ValueError: it is not TRPO's; says what it looks like and what to do
    """
    if "cg_max_steps" in header:
        return
    advice = ""
    if "clip_range" in header:
        kind = "PPO"
        advice = " To start from its parameters, build a TRPO and call set_parameters(path)."
    elif "gae_lambda" in header:
        kind = "another on-policy algorithm (A2C, for one)"
    elif "learning_starts" in header:
        kind = "an off-policy algorithm"
    else:
        kind = "something else"
    raise ValueError(f"{path} was not saved by TRPO: it looks like a file of {kind}.{advice}")


def was_written_by_contrib(header: dict[str, Any]) -> bool:
    """
    Tell a file of sb3_contrib.TRPO from one of ours.

    :param header: of a TRPO file
    :return: True if its hyperparameters are in sb3_contrib's units
    """
    return "match_kl" not in header


def warn_of_units(action_space: spaces.Space[Any], header: dict[str, Any]) -> None:
    """
    Say that δ and damping of a contrib file were per action dimension, where that differs.

    :param action_space: of the model
    :param header: of the file, whose own numbers are meant: a caller may have replaced one of them
    """
    if not isinstance(action_space, (spaces.Box, spaces.MultiBinary)):
        return
    n_dims = int(np.prod(action_space.shape))
    target_kl, cg_damping = header.get("target_kl"), header.get("cg_damping")
    if n_dims < 2 or not (isinstance(target_kl, Real) and isinstance(cg_damping, Real)):
        return
    warnings.warn(
        f"This file was written by sb3_contrib.TRPO, whose target_kl ({target_kl}) and cg_damping "
        f"({cg_damping}) are per action dimension for this action space. Here both are joint, and "
        f"what you do not replace is left as it is. For the same bound and damping over {n_dims} "
        f"dimensions load with target_kl={target_kl * n_dims:g}, "
        f"cg_damping={cg_damping * n_dims:g}.",
        stacklevel=3,
    )


def stored_policy_kwargs(
    path: ZipPath, given: dict[str, Any], custom_objects: dict[str, Any] | None
) -> dict[str, Any]:
    """
    Return the file's ``policy_kwargs`` if the given ones mean the same, else the given ones.

    A loaded file keeps its own; the default that the constructor adds must not make a difference.

    :param path: a TRPO file, or an open one, which is left at the position it had
    :param given: as passed to ``load``
    :param custom_objects: replacements for attributes of the file
    :return: what to compare with the file's
    """
    position = path.tell() if isinstance(path, io.IOBase) else None
    data, _, _ = load_from_zip_file(path, custom_objects=custom_objects)
    if isinstance(path, io.IOBase) and position is not None:
        path.seek(position)
    stored: dict[str, Any] = (data or {})["policy_kwargs"]
    complete = partial(with_separate_extractors, (data or {})["policy_class"])
    return stored if complete(given) == complete(stored) else given
