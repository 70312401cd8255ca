"""A log that survives a SIGKILL: one line of JSON per event."""

import json
import os
import time
from pathlib import Path
from typing import Any


class Events:
    """
    Events of a training, shared by all processes that have a part in it.

    :param path: of the file
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)

    def add(self, event: str, /, **details: Any) -> None:
        """Write one, in a single call of the kernel's: whole or not at all."""
        entry = {"event": event, "pid": os.getpid(), "at": round(time.time(), 3), **details}
        os.write(self._file, (json.dumps(entry) + "\n").encode())

    def read(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Return those written so far, of one kind or all."""
        events = [json.loads(line) for line in self._path.read_text().splitlines()]
        return [event for event in events if kind in (None, event["event"])]

    def close(self) -> None:
        """Give the file back."""
        os.close(self._file)
