"""VecNormalize's statistics in a saved model: plain entries of its zip, without pickle."""

import io
import pathlib
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import IO, Any

from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.save_util import open_path
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, unwrap_vec_normalize

from sb3_trpo.call_arguments import check_file, check_given
from sb3_trpo.normalizer_statistics import Statistics, checked, running_observations
from sb3_trpo.plain_data import MOST_BYTES, Packed, pack, unpack
from sb3_trpo.safe_loading.archive import READ_ERRORS, check_listed, content_of
from sb3_trpo.safe_loading.limits import MAX_EXPANSION, MAX_UNPACKED_SLACK

ZipPath = str | pathlib.Path | io.BufferedIOBase
_ENTRIES = ("vec_normalize.json", "vec_normalize.npz")
_MOST_TEXT = 2**20


def append_statistics(file: IO[bytes] | io.BufferedIOBase, env: VecEnv | None) -> None:
    """
    Add the statistics of a VecNormalize to a zip file, if there is one.

    :param file: of a saved model, open for reading and writing
    :param env: the model's environments
    """
    normaliser = None if env is None else unwrap_vec_normalize(env)
    if normaliser is None:
        return
    packed = pack(asdict(Statistics.of(normaliser)))
    with zipfile.ZipFile(file, mode="a") as archive:
        for name, content in zip(_ENTRIES, (packed.json, packed.npz), strict=True):
            archive.writestr(name, content)


def read_statistics(path: ZipPath) -> Statistics | None:
    """
    Read the statistics in a saved model, unpickling nothing.

    :param path: of the zip, or an open file, which is left at the position it had
    :return: the statistics; None if the file has none
    :raises ValueError: no zip file, or the statistics in it are damaged
    """
    try:
        with _opened(path) as archive:
            if not _has_entries(archive):
                return None
            sizes = zip(_ENTRIES, (_MOST_TEXT, MOST_BYTES), strict=True)
            packed = Packed(*(_content(archive, name, most) for name, most in sizes))
        return checked(unpack(packed))
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise  # it was not read at all
    except READ_ERRORS as error:
        raise ValueError(f"{path}: statistics of VecNormalize cannot be read: {error}") from error


@contextmanager
def _opened(path: ZipPath) -> Iterator[zipfile.ZipFile]:
    file = open_path(path, "r", verbose=0, suffix="zip")
    position = file.tell()
    try:
        with zipfile.ZipFile(file) as archive:
            check_listed(archive)
            yield archive
    finally:
        if file is path:
            file.seek(position)
        else:
            file.close()


def _has_entries(archive: zipfile.ZipFile) -> bool:
    return set(_ENTRIES) <= set(archive.namelist())


def _content(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    entry = archive.getinfo(name)
    if entry.file_size > min(most, MAX_EXPANSION * entry.compress_size + MAX_UNPACKED_SLACK):
        raise ValueError(f"{name} unpacks to {entry.file_size:,} bytes")
    return content_of(archive, entry)


def load_normalization(path: ZipPath, venv: VecEnv, *, training: bool = True) -> VecNormalize:
    """
    Wrap environments as a saved model's were: in a VecNormalize with its statistics and options.

    Reads arrays and JSON alone; nothing is unpickled.

    :param path: of a zip that ``save()`` wrote while the model's environments were normalised, or
        an open file
    :param venv: vectorised environments that are not normalised
    :param training: whether the statistics move on with the data. False is for evaluation and use:
        they stay as they are, and rewards are not normalised
    :return: the environments, normalised
    :raises ValueError: the file has no statistics, or not those of such observations; or
        ``venv`` is not what is wanted
    """
    check_file("path", path, method="read")
    if not isinstance(venv, VecEnv):
        raise ValueError(f"venv must be a VecEnv (make_vec_env makes one), got {venv!r}")
    if unwrap_vec_normalize(venv) is not None:
        raise ValueError(f"venv must not be normalised already, got {venv!r}")
    check_given(training=training)
    statistics = read_statistics(path)
    if statistics is None:
        raise ValueError(
            f"path must be a file that was saved with the statistics of a VecNormalize, got {path}"
        )
    normaliser = normalised(venv, statistics)
    normaliser.training = bool(training)
    if not training:
        normaliser.norm_reward = False
    return normaliser


def normalised(venv: VecEnv, statistics: Statistics) -> VecNormalize:
    """
    Wrap environments in a VecNormalize.

    :param venv: the environments
    :param statistics: to start with
    :return: the environments, normalised
    :raises ValueError: the statistics are of other observations
    """
    try:
        normaliser = VecNormalize(venv, **statistics.options)
        statistics.give_to(normaliser)
    except (KeyError, ValueError) as error:  # keys that are not there; a space that is no Box
        raise ValueError(
            f"venv must have the observations that the statistics are of, got "
            f"{venv.observation_space}: {error}"
        ) from error
    return normaliser


def warn_of_normalization(header: dict[str, Any], path: ZipPath, env: GymEnv | None) -> None:
    """
    Warn where a model's environments were normalised and the ones to go on with are not.

    Or the reverse; or where they are normalised, but the statistics are those of no data.

    :param header: attributes of the file
    :param path: of the file
    :param env: to go on with; None: nothing is known of them
    """
    if env is None:
        return
    normaliser = unwrap_vec_normalize(env) if isinstance(env, VecEnv) else None
    with _opened(path) as archive:
        has_statistics = _has_entries(archive)
    # SB3 keeps unnormalised observations if and only if there is a VecNormalize.
    was_normalised = has_statistics or header.get("_last_original_obs") is not None
    is_fresh = normaliser is not None and _has_seen_nothing(normaliser)
    if not was_normalised and normaliser is None:
        return
    where = (
        "sb3_trpo.load_normalization(path, venv) wraps environments with the file's statistics."
        if has_statistics
        else "The file does not hold the statistics: VecNormalize.load() reads them where they are."
    )
    if not was_normalised:
        warnings.warn(
            f"{path} was saved without VecNormalize, and env has one: the policy will see other "
            "observations than those it learnt with.",
            stacklevel=3,
        )
    elif normaliser is None:
        warnings.warn(
            f"{path} was saved with VecNormalize, and env has none: the policy will see other "
            f"observations than those it learnt with. {where}",
            stacklevel=3,
        )
    elif is_fresh:
        warnings.warn(
            f"{path} was saved with VecNormalize, and that of env has seen no data yet: the policy "
            f"will see other observations than those it learnt with. {where}",
            stacklevel=3,
        )


def _has_seen_nothing(normaliser: VecNormalize) -> bool:
    untouched = RunningMeanStd().count
    running = [normaliser.ret_rms, *running_observations(normaliser).values()]
    return all(own.count == untouched for own in running)
