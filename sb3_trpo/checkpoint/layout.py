"""Which files a checkpoint consists of."""

from typing import Any

from sb3_trpo.plain_data import Packed, unpack

MODEL = "model.zip"
"""What ``save()`` writes."""


def files_of(model: bytes, ranks: list[Packed]) -> dict[str, bytes]:
    """
    Name the contents.

    :param model: its zip
    :param ranks: the states of the processes
    :return: contents by name
    """
    files = {MODEL: model}
    for rank, packed in enumerate(ranks):
        files |= {f"rank{rank}.json": packed.json, f"rank{rank}.npz": packed.npz}
    return files


def state_of(files: dict[str, bytes], rank: int) -> Any:
    """
    Find what a process wrote.

    :param files: of a checkpoint
    :param rank: of the process; 0, where there are fewer
    :return: what was packed
    :raises ValueError: it is damaged
    """
    own = rank if f"rank{rank}.json" in files else 0
    return unpack(Packed(files[f"rank{own}.json"], files[f"rank{own}.npz"]))
