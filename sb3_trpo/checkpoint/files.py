"""Checkpoints on the disk: folders that are there as a whole or not at all."""

import hashlib
import json
import os
import re
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sb3_trpo.whole_files import sync_folder

_NAME = re.compile(r"(\d{6,})-steps-(\d+)")
_MANIFEST = "manifest.json"
_WRITING, _DELETING = ".writing-", ".deleting-"
_FORMAT = 1


@dataclass(frozen=True)
class Stored:
    """
    A whole checkpoint.

    :param path: its folder
    :param run: of which it is
    :param files: the contents, by name
    """

    path: Path
    run: str
    files: dict[str, bytes]


class Damaged(ValueError):
    """A checkpoint is not whole."""


def write_checkpoint(
    folder: Path, files: dict[str, bytes], *, run: str, num_timesteps: int, keep: int
) -> Path:
    """
    Write a checkpoint, then delete older ones.

    At every moment the newest whole checkpoint is complete, on the disk, under its name.

    :param folder: of the run's checkpoints; made if it is missing
    :param files: contents by name
    :param run: which writes it
    :param num_timesteps: for the name
    :param keep: how many remain, this one included
    :return: its folder
    :raises OSError: it cannot be written; nothing of it is left, and the older ones are
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    manifest = json.dumps({"format": _FORMAT, "run": run, "sha256": digests}, indent=1)
    number = max((_number(path) for path in _named(folder)), default=0) + 1
    final = folder / f"{number:06d}-steps-{num_timesteps}"
    draft = folder / f"{_WRITING}{final.name}"
    try:
        os.mkdir(draft)
        for name, content in {**files, _MANIFEST: manifest.encode()}.items():
            _write(draft / name, content)
        sync_folder(draft)
        os.rename(draft, final)
    except BaseException:
        with suppress(OSError):
            _remove(draft)
        raise
    sync_folder(folder)
    for path in _named(folder)[keep:]:
        # The name goes first: what is half deleted must not look like a checkpoint.
        doomed = folder / f"{_DELETING}{path.name}"
        os.rename(path, doomed)
        _remove(doomed)
    return final


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """
    Remove what killed attempts to write or to delete have left.

    :param folder: of the run's checkpoints, into which nobody else writes
    """
    for path in folder.iterdir():
        if path.name.startswith((_WRITING, _DELETING)):
            _remove(path)


def _remove(path: Path) -> None:
    for file in path.iterdir():
        os.unlink(file)
    os.rmdir(path)


def _named(folder: Path) -> list[Path]:
    """Return the checkpoints by their names alone, the newest first."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=_number, reverse=True)


def _number(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else 0


def read_checkpoint(path: Path) -> Stored:
    """
    Read a checkpoint.

    :param path: its folder
    :return: with all its files
    :raises Damaged: it is not whole; says why
    """
    try:
        manifest = json.loads((path / _MANIFEST).read_bytes())
        if manifest["format"] != _FORMAT:
            raise Damaged(f"{path}: its format must be {_FORMAT}, got {manifest['format']!r}")
        files = {name: _read(path, name, digest) for name, digest in manifest["sha256"].items()}
        return Stored(path, str(manifest["run"]), files)
    except Damaged:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"{path}: {_MANIFEST} cannot be read: {error!r}") from error


def _read(folder: Path, name: Any, digest: Any) -> bytes:
    if not isinstance(name, str) or Path(name).name != name:
        raise Damaged(f"{folder}: {name!r} is no name of a file in it")
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise Damaged(f"{folder}: {name} cannot be read: {error}") from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise Damaged(f"{folder}: {name} is not what was written ({len(content)} bytes)")
    return content


def newest(path: Path) -> Stored | None:
    """
    Read the newest whole checkpoint; warn of each damaged one that is passed over.

    :param path: of a run's checkpoints, or of one checkpoint, which is then the only choice
    :return: None if there is none
    :raises Damaged: the one checkpoint that was asked for is not whole
    """
    if (path / _MANIFEST).exists() or _NAME.fullmatch(path.name):
        return read_checkpoint(path)
    for candidate in _named(path):
        try:
            return read_checkpoint(candidate)
        except Damaged as error:
            warnings.warn(f"a damaged checkpoint is passed over: {error}", stacklevel=4)
    return None


def as_folder(path: str | Path) -> Path:
    """
    Refuse what cannot be the path of a folder.

    :param path: as given
    :return: the same
    :raises ValueError: it is no path, or an empty one
    """
    if not isinstance(path, (str, Path)) or not str(path):
        raise ValueError(f"path must be that of a folder, got {path!r}")
    return Path(path)


def is_taken(folder: Path, run: str) -> bool:
    """
    Tell whether a folder holds checkpoints of another run.

    :param folder: of checkpoints, or still missing
    :param run: which wants to write there
    :return: True if the newest whole checkpoint is another run's, or none is whole
    """
    named = _named(folder)
    for path in named:
        try:
            return read_checkpoint(path).run != run
        except Damaged:
            continue
    return bool(named)
