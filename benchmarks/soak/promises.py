"""What must be on the disk, whatever happened."""

from pathlib import Path

from benchmarks.soak.disk import names
from benchmarks.soak.events import Events
from benchmarks.soak.watched import State
from sb3_trpo import TRPO
from sb3_trpo.checkpoint import newest_checkpoint
from sb3_trpo.checkpoint.files import Damaged, read_checkpoint


class Unsound(Exception):
    """Something is not as promised."""


def begun_from(folder: Path, events: Events) -> Path | None:
    """
    Find the checkpoint to go on from, and see that it is the one that was promised.

    :param folder: of checkpoints
    :param events: of the training
    :return: the newest whole one; None if there is none
    :raises Unsound: one is damaged and not by the soak, or an older one is found than was written
    """
    touched = {event["name"] for event in events.read("damage")}
    whole = [name for name in names(folder) if _is_whole(folder / name, name in touched)]
    written = {event["name"] for event in events.read("written")}
    promised, newest = max(written - touched, default=""), max(whole, default="")
    if newest < promised:
        raise Unsound(f"checkpoint {promised} was written, and the newest is {newest or None}")
    found = newest_checkpoint(folder)
    if (found.name if found else "") != newest:
        raise Unsound(f"the newest whole checkpoint is {newest or None}, got {found}")
    return found


def _is_whole(path: Path, may_be_damaged: bool) -> bool:  # noqa: FBT001
    try:
        read_checkpoint(path)
    except Damaged as error:
        if not may_be_damaged:
            raise Unsound(f"damaged, and not by the soak: {error}") from error
        return False
    return True


def check_is_what_was_written(model: TRPO, path: Path, events: Events) -> None:
    """
    Compare a resumed model with the one that was written, bit for bit.

    :param model: just resumed
    :param path: of the checkpoint
    :param events: of the training
    :raises Unsound: they differ
    """
    steps = int(path.name.split("-")[-1])
    digests = {event["steps"]: event["digest"] for event in events.read("writing")}
    if model.num_timesteps != steps or State.of(model).digest() != digests[steps]:
        raise Unsound(f"what was resumed is not what was written at {steps} steps")
