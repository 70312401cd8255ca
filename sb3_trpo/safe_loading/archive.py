"""Zip files, read strictly: one meaning per file, and no more bytes than its size allows."""

import io
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from itertools import pairwise

from sb3_trpo.safe_loading.limits import (
    MAX_EXPANSION,
    MAX_HEADERS,
    MAX_UNPACKED_SLACK,
    MIB,
    Refused,
    printable,
)

READ_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    NotImplementedError,  # methods of compression that zipfile does not know
    RuntimeError,  # encrypted entries
    ValueError,  # names that are no text, JSON that is none
    OverflowError,
)
"""What Python's zipfile and json raise on bytes that are not what they should be."""

_NAME = re.compile(r"[A-Za-z0-9_.\-]+(/[A-Za-z0-9_.\-]+)*")
_LOCAL_HEADER = struct.Struct("<26xHH")  # ends in the lengths of name and extra field
_ENCRYPTED = 0x1
_CENTRAL_HEADER = b"PK\x01\x02"


def unpacked(
    raw: bytes, *, max_entries: int, max_expansion: int = MAX_EXPANSION
) -> dict[str, bytes]:
    """
    Read all entries of a zip, or refuse it.

    Refused are names that lead elsewhere or come twice, entries that overlap, are links, folders or
    encrypted, sizes and checksums that do not hold, and archives that unpack to far more than they
    are.

    :param raw: the zip
    :param max_entries: most entries
    :param max_expansion: most unpacked bytes per byte
    :return: names to contents, in the order of the archive
    :raises Refused: says what is wrong
    """
    # Each entry that zipfile will make an object of has a header; a zip inside has such, too.
    if raw.count(_CENTRAL_HEADER) > MAX_HEADERS:
        raise Refused(f"it has more than {MAX_HEADERS:,} entries")
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            entries = archive.infolist()
            _check_entries(entries, max_entries)
            _check_expansion(entries, len(raw), max_expansion)
            _check_places(entries, raw, archive.start_dir)
            return {entry.filename: _content(archive, entry) for entry in entries}
    except Refused:
        raise
    except READ_ERRORS as error:
        raise Refused(f"it is damaged: {printable(error)}") from error


def packed(entries: dict[str, bytes]) -> bytes:
    """
    Write a zip without compression.

    :param entries: names to contents
    :return: the zip
    """
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


def _check_entries(entries: list[zipfile.ZipInfo], max_entries: int) -> None:
    if len(entries) > max_entries:
        raise Refused(f"it has {len(entries)} entries, of {max_entries} allowed")
    seen = set()
    for entry in entries:
        fault = _fault(entry)
        if fault:
            raise Refused(f"its entry {printable(entry.orig_filename)!r} {fault}")
        if entry.filename in seen:
            raise Refused(f"it has two entries {entry.filename!r}")
        seen.add(entry.filename)


def _check_expansion(entries: list[zipfile.ZipInfo], n_bytes: int, most: int) -> None:
    n_unpacked = sum(entry.file_size for entry in entries)
    if n_unpacked > most * n_bytes + MAX_UNPACKED_SLACK:
        raise Refused(f"its {n_bytes:,} bytes unpack to {n_unpacked:,}")


def _fault(entry: zipfile.ZipInfo) -> str:
    name = entry.orig_filename  # zipfile cuts the other at a null byte
    if not _NAME.fullmatch(name) or any(set(part) == {"."} for part in name.split("/")):
        return "has a name that is none of a file in a folder"
    if entry.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "is a link"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"is compressed by method {entry.compress_type}"
    if entry.compress_type == zipfile.ZIP_STORED and entry.compress_size != entry.file_size:
        return f"has two sizes, {entry.compress_size} and {entry.file_size}"
    return ""


def _check_places(entries: list[zipfile.ZipInfo], raw: bytes, start_of_directory: int) -> None:
    """Refuse entries that share bytes, which zipfile does in newer versions alone."""
    places = sorted(_places(entries, raw))
    for (_, end), (start, _) in pairwise([*places, (start_of_directory, start_of_directory)]):
        if end > start:
            raise Refused("its entries overlap")


def _places(entries: list[zipfile.ZipInfo], raw: bytes) -> Iterator[tuple[int, int]]:
    for entry in entries:
        start = entry.header_offset
        if start < 0:
            raise Refused("its entries lie outside of it")
        lengths = _LOCAL_HEADER.unpack_from(raw, start)
        yield start, start + _LOCAL_HEADER.size + sum(lengths) + entry.compress_size


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """
    Read in pieces: asked for all, zipfile unpacks a bomb before it looks at the size.

    It compares the checksum when it comes to the end.
    """
    pieces, n_left = [], entry.file_size
    with archive.open(entry) as file:
        while n_left > 0:
            piece = file.read(min(n_left, MIB))
            if not piece:
                raise Refused(f"its entry {entry.filename!r} is shorter than it says")
            pieces.append(piece)
            n_left -= len(piece)
    return b"".join(pieces)
