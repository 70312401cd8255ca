"""How large a file may be, and each of its parts: checked on headers, before anything is made."""

from dataclasses import dataclass

MIB = 2**20

MAX_FILE_BYTES = 2048 * MIB
MAX_EXPANSION = 10
"""
Unpacked bytes per byte of the zip, beside 16 MiB, those of the zips inside it included.

SB3 does not compress at all.
"""
MAX_UNPACKED_SLACK = 16 * MIB
MAX_ENTRIES = 64
MAX_TENSOR_ENTRIES = 20_000
"""Of the zip inside a ``.pth`` entry: one per storage."""
MAX_HEADERS = 100_000
"""Of entries, in a zip and the zips inside it."""
MAX_DATA_BYTES = 64 * MIB
MAX_JSON_ITEMS = 300_000
MAX_ATTRIBUTES = 200
MAX_OPCODES = 300_000
"""Of all pickles of a file together."""
MAX_DEPTH = 32
MAX_NODES = 300_000
"""Of one pickle, each counted as often as it is referred to."""
MAX_COPIES = 4
"""Bytes of arrays made per byte of the pickle: an array is there once, and its space copies it."""
MAX_AXES = 8
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
    What one file may still cost.

    :param n_bytes: of the file
    :param opcodes: of its pickles, left to read
    :param unpacked: bytes that came out of it and of the zips inside it
    """

    n_bytes: int
    opcodes: int = MAX_OPCODES
    unpacked: int = 0

    def unpack(self, n_bytes: int) -> None:
        """
        Pay for what a zip says that it holds.

        :param n_bytes: unpacked
        :raises Refused: that is out of all proportion to the file
        """
        unpacked = self.unpacked + n_bytes
        if unpacked > MAX_EXPANSION * self.n_bytes + MAX_UNPACKED_SLACK:
            raise Refused(f"its {self.n_bytes:,} bytes unpack to {unpacked:,}")
        self.unpacked = unpacked

    def spend(self) -> None:
        """
        Pay for one opcode.

        :raises Refused: none are left
        """
        self.opcodes -= 1
        if self.opcodes < 0:
            raise Refused(f"its pickles have more than {MAX_OPCODES:,} opcodes")


def reason(error: Exception, longest: int = 100) -> str:
    """
    Write out what an exception says; some, of assertions for one, have no words.

    :param error: the exception
    :param longest: characters
    :return: a single line
    """
    return printable(error, longest) or type(error).__name__


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
