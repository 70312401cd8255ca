"""Files that are replaced as a whole: what was there stays until all of the new is on the disk."""

import io
import os
import pathlib
import shutil
import warnings
from collections.abc import Callable


def write_zip(
    path: str | pathlib.Path | io.BufferedIOBase, write: Callable[[io.BufferedIOBase], None]
) -> None:
    """
    Write a model's zip to where ``BaseAlgorithm.save`` would.

    :param path: the suffix ``.zip`` is added if there is none; or an open file
    :param write: writes into a file that is open for reading and writing
    """
    if not isinstance(path, (str, pathlib.Path)):
        content = io.BytesIO()
        write(content)
        path.write(content.getvalue())
        return
    target = _target(pathlib.Path(path))
    draft = target.with_name(f".{target.name}.draft")  # what a kill leaves, the next save takes
    try:
        with draft.open("w+b") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, draft)
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def sync_folder(folder: pathlib.Path) -> None:
    """
    Have a folder's entries written to the disk.

    :param folder: in which names have changed
    """
    if os.name == "nt":  # folders cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _target(path: pathlib.Path) -> pathlib.Path:
    """Return what SB3 makes of a path, with its warnings."""
    if path.suffix == "":
        path = pathlib.Path(f"{path}.zip")
    if path.is_dir():
        warnings.warn(f"Path '{path}' is a folder. Will save instead to {path}_2", stacklevel=5)
        path = pathlib.Path(f"{path}_2")
    if not path.parent.exists():
        warnings.warn(f"Path '{path.parent}' does not exist. Will create it.", stacklevel=5)
        path.parent.mkdir(exist_ok=True, parents=True)
    return path.resolve()  # what a link points to is replaced, not the link
