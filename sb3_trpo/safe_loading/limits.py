"""How large a file may be, and each of its parts: checked on headers, before anything is made."""

from dataclasses import dataclass

MIB = 2**20

MAX_FILE_BYTES = 2048 * MIB
MAX_EXPANSION = 10
"""Unpacked bytes per byte of the zip, beside 16 MiB: SB3 does not compress at all."""
MAX_TENSOR_EXPANSION = 1
"""The same of the zip inside a ``.pth`` entry, lest the two multiply: torch does not, either."""
MAX_UNPACKED_SLACK = 16 * MIB
MAX_ENTRIES = 64
MAX_TENSOR_ENTRIES = 20_000
"""Of the zip inside a ``.pth`` entry: one per storage."""
MAX_HEADERS = 100_000
"""Of entries, in a zip and the zips inside it."""
MAX_DATA_BYTES = 64 * MIB
MAX_JSON_ITEMS = 300_000
MAX_OPCODES = 300_000
"""Of all pickles of a file together."""
MAX_DEPTH = 32
MAX_NODES = 300_000
"""Of one pickle, each counted as often as it is referred to."""
MAX_CONTENT = MAX_DATA_BYTES
"""Bytes and characters in one pickle, counted likewise: a hundred arrays may share their bytes."""
MAX_KEY = 2**63
"""Of whole numbers as keys: longer ones can be made to have the same hash, all of them."""
MAX_ATTRIBUTES = 1000
MAX_LAYERS = 100
MAX_UNITS = 10_000_000
MAX_VIEWS = 4
"""Bytes of tensors per byte stored: SB3 stores a shared extractor under three names."""
MAX_BUFFER_BYTES = 2048 * MIB


class Refused(ValueError):
    """Something in a file that is not loaded."""


@dataclass
class Budget:
    """
    What the pickles of one file may still cost.

    :param opcodes: left to read
    """

    opcodes: int = MAX_OPCODES

    def spend(self) -> None:
        """
        Pay for one opcode.

        :raises Refused: none are left
        """
        self.opcodes -= 1
        if self.opcodes < 0:
            raise Refused(f"its pickles have more than {MAX_OPCODES:,} opcodes")


def printable(text: object, longest: int = 100) -> str:
    """
    Write out what a file says, without its control characters, and not without end.

    :param text: a name or a value from a file
    :param longest: characters
    :return: a single line
    """
    line = str(text)[: longest + 1]
    if not line.isprintable():
        line = ascii(line)[1:-1]
    return line if len(line) <= longest else line[: longest - 1] + "…"
