"""Reading TensorBoard's event files."""

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.backend.event_processing import (  # type: ignore[import-untyped]
    event_accumulator,
)
from tensorboard.plugins.hparams import metadata  # type: ignore[import-untyped]
from tensorboard.util import tensor_util  # type: ignore[import-untyped]

from sb3_trpo.report.logs import Log, Series, kept_after_restarts

EVERYTHING = {"scalars": 0, "tensors": 0, "images": 1, "audio": 1, "histograms": 1}
"""How many events of a kind to keep: 0 is all, and less than 1 is not to be had."""
TEXT_SUFFIX = "/text_summary"


def read_events(paths: Iterable[Path]) -> Log:
    """
    Read the event files of one run, one for each session of training.

    :param paths: of the files
    :return: their figures, the later session's where two have the same steps
    """
    notes: list[str] = []
    sessions = [_loaded(path, notes) for path in paths]
    sessions = sorted((s for s in sessions if s is not None), key=lambda s: s.FirstEventTimestamp())
    points: dict[str, list[tuple[float, float, float]]] = {}
    texts: dict[str, list[tuple[float, str]]] = {}
    hyperparameters: dict[str, str] = {}
    for session in sessions:
        for key in session.Tags()["scalars"]:
            before = session.FirstEventTimestamp()
            for event in session.Scalars(key):
                point = (float(event.step), event.value, event.wall_time - before)
                points.setdefault(key, []).append(point)
                before = event.wall_time
        for key, pairs in _texts(session).items():
            texts.setdefault(key, []).extend(pairs)
        hyperparameters |= _hyperparameters(session)
    series, clock = _in_order(points, notes)
    return Log(
        series=series,
        texts={key: tuple(pairs) for key, pairs in texts.items()},
        clock=clock,
        hyperparameters=hyperparameters,
        notes=tuple(notes),
    )


def _loaded(path: Path, notes: list[str]) -> Any:
    if not _is_whole(path):
        notes.append(f"{path.name}: broken or cut off; read up to there")
    accumulator = event_accumulator.EventAccumulator(str(path), size_guidance=EVERYTHING)
    accumulator.Reload()
    try:
        accumulator.FirstEventTimestamp()
    except ValueError:  # not a single event
        return None
    return accumulator


def _is_whole(path: Path) -> bool:
    """Tell whether a file ends where a record ends: TensorBoard reads up to a fault in silence."""
    size, position = path.stat().st_size, 0
    with path.open("rb") as file:
        while position < size:
            file.seek(position)
            head = file.read(8)
            if len(head) < 8:
                return False
            (length,) = struct.unpack("<Q", head)
            position += 8 + 4 + length + 4  # length, its checksum, data, their checksum
    return position == size and size > 0


def _in_order(
    points: dict[str, list[tuple[float, float, float]]], notes: list[str]
) -> tuple[dict[str, Series], Series | None]:
    """Drop what a restart superseded; add up the seconds between the rows of the longest key."""
    series: dict[str, Series] = {}
    clock: Series | None = None
    dropped = 0
    for key, triples in points.items():
        steps, values, seconds = np.array(triples, dtype=np.float64).T
        kept = kept_after_restarts(steps)
        dropped = max(dropped, int((~kept).sum()))
        series[key] = Series.of(steps[kept], values[kept])
        if clock is None or kept.sum() > len(clock):
            clock = Series.of(steps[kept], np.cumsum(seconds[kept]))
    if dropped:
        notes.append(f"event files: {dropped} rows from before a restart are left out")
    return series, clock


def _texts(session: Any) -> dict[str, list[tuple[float, str]]]:
    return {
        tag.removesuffix(TEXT_SUFFIX): [
            (float(event.step), _decoded(event.tensor_proto)) for event in session.Tensors(tag)
        ]
        for tag in session.Tags()["tensors"]
        if tag.endswith(TEXT_SUFFIX)
    }


def _decoded(proto: Any) -> str:
    value = np.ravel(tensor_util.make_ndarray(proto))[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _hyperparameters(session: Any) -> dict[str, str]:
    """Return what a callback recorded as SB3's ``HParam``, if one did."""
    try:
        contents = session.PluginTagToContent("hparams")
    except KeyError:
        return {}
    if metadata.SESSION_START_INFO_TAG not in contents:
        return {}
    info = metadata.parse_session_start_info_plugin_data(contents[metadata.SESSION_START_INFO_TAG])
    values = {key: getattr(value, value.WhichOneof("kind")) for key, value in info.hparams.items()}
    return {key: f"{v:g}" if isinstance(v, float) else str(v) for key, v in values.items()}
